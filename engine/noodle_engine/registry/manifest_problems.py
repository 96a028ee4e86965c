"""Problems of a manifest as sentences with line and key.

Owns the translation of a ValidationError, and the search for the line of a key
in the text of a TOML file. The search is for people: where it is in doubt (a
key inside an inline table) it gives the line of what surrounds it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

__all__ = ["PROBLEMS_MAX", "explain_problems"]

PROBLEMS_MAX = 50

Key = tuple[str | int, ...]

_TYPES: Final = {
    "string_type": "a text, in quotes",
    "list_type": "a list, in brackets",
    "dict_type": "a table",
    "model_type": "a table",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
}
"""What a value of another type should have been, by the names of pydantic."""

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_ASSIGNED = re.compile(r"""\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=""")
_LONG_TEXT = re.compile(r'"""|\'\'\'')


def explain_problems(error: ValidationError, model: type[BaseModel], text: str) -> tuple[str, ...]:
    """Every problem as `line N: key: what`, in the order of the file."""
    lines = dict(_lines(text))
    found = []
    for problem in error.errors(include_url=False, include_context=False):
        key = _key_of(problem)
        line = _line_of(lines, key)
        where = f"line {line}: " if line is not None else ""
        found.append((line or 0, f"{where}{_shown(key)}{_what(problem, model)}"))
    found.sort(key=lambda row: row[0])
    return tuple(sentence for _, sentence in found[:PROBLEMS_MAX])


def _key_of(problem: Any) -> Key:
    """Where a problem is, without the mark that tells a table's key from its value."""
    key: Key = problem["loc"]
    return key[:-1] if key and key[-1] == "[key]" else key


def _what(problem: Any, model: type[BaseModel]) -> str:
    key = _key_of(problem)
    if problem["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, key[:-1]))
        near = difflib.get_close_matches(str(key[-1]), known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}"
        return f"unknown key; {hint}"
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] in _TYPES:
        return f"it must be {_TYPES[problem['type']]}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _shown(key: Key) -> str:
    shown = ""
    for part in key:
        if isinstance(part, int):
            shown += f"[{part + 1}]"  # people count from one
        else:
            shown += f".{part}" if shown else part
    return f"{shown}: " if shown else ""


def _fields_at(model: type[BaseModel], key: Key) -> set[str]:
    """The keys that are known in the section `key`."""
    for part in key:
        if isinstance(part, int):
            continue
        info = model.model_fields.get(part)
        inner = None if info is None else _model_in(info.annotation)
        if inner is None:
            return set()
        model = inner
    return set(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _line_of(lines: dict[Key, int], key: Key) -> int | None:
    """The line of `key`, or of the nearest that surrounds it."""
    for length in range(len(key), 0, -1):
        if key[:length] in lines:
            return lines[key[:length]]
    return None


def _lines(text: str) -> Iterator[tuple[Key, int]]:
    """The keys of a TOML text with their lines, counted from one."""
    section: Key = ()
    counts: dict[Key, int] = {}
    inside: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if inside is not None:
            inside = None if inside in line else inside
            continue
        header = _HEADER.match(line)
        if header is not None:
            section = _parts(header[2])
            if header[1] == "[[":
                counts[section] = counts.get(section, -1) + 1
                section = (*section, counts[section])
            yield section, number
            continue
        assigned = _ASSIGNED.match(line)
        if assigned is not None:
            yield (*section, *_parts(assigned[1])), number
        marks = _LONG_TEXT.findall(line)
        if len(marks) % 2:
            inside = marks[-1]


def _parts(text: str) -> Key:
    if text[:1] in "\"'":
        return (text[1:-1],)
    return tuple(part.strip().strip("\"'") for part in text.split("."))
