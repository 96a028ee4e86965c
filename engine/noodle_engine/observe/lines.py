"""One line of a log: what it holds, and how it is written.

Owns the two forms, JSON and text, and the order of the fields. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import orjson

from noodle_engine.observe.files import LINE_BYTES_MAX
from noodle_engine.observe.levels import Level
from noodle_engine.observe.secrets import Redactor

__all__ = ["Line", "as_json", "as_text"]

_READ_MAX: Final = LINE_BYTES_MAX
"""How much of one text is looked at: its beginning."""
_LETTERS_MAX: Final = LINE_BYTES_MAX // 8
"""How much of one text a line holds: its beginning."""

_PARTS_MAX: Final = 64
"""How much of a list or an object a line holds."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is told.

    `logger` is the part of the engine, `event` a name for programs that never changes its
    meaning, `text` a sentence for people, `fields` the facts in it. `upgrade` and `seq`
    lead to the record of the journal.
    """

    logger: str
    level: int
    event: str
    text: str
    at_ms: int
    upgrade: str | None = None
    seq: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    trace: str | None = None


def as_json(line: Line, redactor: Redactor, pid: int) -> bytes:
    """The line as one JSON object and a newline."""
    letters = _LETTERS_MAX
    made = _encoded(_content(line, redactor, pid, letters))
    while len(made) > LINE_BYTES_MAX and letters > 1:
        letters //= 4
        made = _encoded(_content(line, redactor, pid, letters))
    return made


def _content(line: Line, redactor: Redactor, pid: int, letters: int) -> dict[str, Any]:
    content: dict[str, Any] = {
        "time": _time(line.at_ms),
        "level": Level(line.level).name,
        "logger": line.logger,
        "event": line.event,
    }
    if line.text:
        content["text"] = line.text
    if line.upgrade is not None:
        content["upgrade"] = line.upgrade
    if line.seq is not None:
        content["seq"] = line.seq
    content.update((name, value) for name, value in line.fields.items() if value is not None)
    content["pid"] = pid
    if line.trace is not None:
        content["trace"] = line.trace
    return {
        name: _short(redactor.value(_short(value, _READ_MAX)), letters)
        for name, value in content.items()
    }


def as_text(line: Line, redactor: Redactor, pid: int) -> bytes:
    """The line for a person: time, level, logger, upgrade and record, sentence, facts."""
    del pid
    parts = [_time(line.at_ms).replace("T", " "), f"{Level(line.level).name:<7}"]
    parts.append(f"{line.logger:<12}")
    if line.seq is not None:
        parts.append(f"#{line.seq}")
    if line.upgrade is not None:
        parts.append(line.upgrade)
    parts.append(redactor.text(line.text) if line.text else line.event)
    found = redactor.value({k: v for k, v in line.fields.items() if v is not None})
    parts += [f"{name}={_word(value)}" for name, value in found.items()]
    head = _printable(" ".join(parts))[:_LETTERS_MAX]
    if line.trace is None:
        return f"{head}\n".encode()
    below = "".join(f"    {_printable(one)}\n" for one in redactor.text(line.trace).splitlines())
    return f"{head}\n{below}".encode()


def _encoded(content: Mapping[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def _short(value: Any, letters: int) -> Any:
    """A value of which no text is so long that the line would not fit."""
    if isinstance(value, str):
        # What is no Unicode (names of files) has no JSON; it is shown.
        plain = value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        return plain if len(plain) <= letters else f"{plain[:letters]}... (cut)"
    if isinstance(value, list | tuple):
        return [_short(one, letters) for one in value[:_PARTS_MAX]]
    if isinstance(value, dict):
        some = islice(value.items(), _PARTS_MAX)
        return {_short(name, letters): _short(one, letters) for name, one in some}
    return value


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value if value and " " not in value else orjson.dumps(_short(value, 2048)).decode()
    return orjson.dumps(_short(value, 2048)).decode()


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def _time(at_ms: int) -> str:
    try:
        found = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"
    return found.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"
