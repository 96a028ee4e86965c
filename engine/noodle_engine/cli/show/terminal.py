"""Where words go: standard output, standard error, a terminal or a pipe.

Owns the streams, colours, `--json`, `--quiet` and `--verbose`. It knows no
view: what is said is handed in as lines or as an object that has a JSON form.

Laws
T1. With --json the standard output is one JSON document and nothing else.
T2. Without a terminal there is no escape sequence; NO_COLOR means none at all.
T3. A reader that goes away (`| head`) never stops an upgrade and is no error.
T4. Text that came from elsewhere cannot steer a terminal: control characters
    are shown, not sent.
"""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from noodle_engine.cli.failures import OutputFailed

if TYPE_CHECKING:
    from noodle_journal.errors import NoodleError

__all__ = ["Invocation", "clean", "prepare_streams"]

_STYLES = {"good": "32", "bad": "31", "warn": "33", "strong": "1", "faint": "2"}


@dataclass(slots=True)
class Invocation:
    """What the words before and after a command said, and the way to answer.

    `home` is what --home named; None leaves it to NOODLE_HOME and the default.
    `options` is what --set said: dotted keys and texts.
    """

    home: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    options: list[tuple[str, str]] = field(default_factory=list)
    reader_gone: bool = False
    _mutex: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def on_terminal(self) -> bool:
        """Whether a person sits at both ends and may be asked."""
        return not self.json and sys.stdin.isatty() and sys.stdout.isatty()

    @property
    def live(self) -> bool:
        """Whether lines may be redrawn."""
        dumb = os.environ.get("TERM", "") in ("", "dumb")
        return not (self.json or self.quiet or dumb) and sys.stdout.isatty()

    def style(self, text: str, name: str, stream: TextIO | None = None) -> str:
        """`text` in a colour, if its stream is a terminal that may have one (law T2)."""
        where = stream or sys.stdout
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not where.isatty():
            return text
        return f"\x1b[{_STYLES[name]}m{text}\x1b[0m"

    def say(self, lines: str | Iterable[str] = "") -> None:
        """Print what helps a person: not with --quiet, not with --json."""
        if not self.quiet:
            self.answer(lines)

    def detail(self, lines: str | Iterable[str]) -> None:
        """Print what only --verbose wants to know."""
        if self.verbose:
            self.say(lines)

    def answer(self, lines: str | Iterable[str]) -> None:
        """Print what was asked for: not with --json."""
        if self.json:
            return
        text = lines if isinstance(lines, str) else "\n".join(lines)
        self.write(text + "\n")

    def document(self, view: object) -> None:
        """Print the JSON form of an answer: only with --json (law T1)."""
        if self.json:
            from noodle_engine.machine.codec import encode

            answer = encode(view, keep_none=True)
            self.raw({"format": answer.pop("format", 1), **answer})

    def raw(self, value: object) -> None:
        """Print an object of plain values as the one JSON document."""
        import orjson

        self.write(orjson.dumps(value, default=str).decode() + "\n")

    def write(self, text: str) -> None:
        """Write to the standard output (law T3).

        Raises OutputFailed if it cannot be written for another reason than
        that its reader is gone.
        """
        with self._mutex:
            if self.reader_gone:
                return
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except BrokenPipeError:
                self.reader_gone = True
                _drop_stdout()
            except OSError as error:
                self.reader_gone = True
                _drop_stdout()
                raise OutputFailed(cause=error.strerror or str(error)) from error

    def fail(self, failure: NoodleError) -> None:
        """Tell a failure: three lines on standard error, or one JSON document."""
        if self.json and not self.reader_gone:
            self.raw(
                {
                    "format": 1,
                    "error": {
                        "code": failure.code,
                        "problem": failure.problem,
                        "cause": failure.cause,
                        "remedy": failure.remedy,
                        "data": failure.data,
                    },
                }
            )
            return
        label = self.style("error:", "bad", sys.stderr)
        remedy = self.command(failure.remedy)
        lines = (
            f"{label} {clean(failure.problem)}",
            f"  why: {clean(failure.cause)}",
            f"  do:  {clean(remedy)}",
        )
        self.warn(lines)

    def warn(self, lines: str | Iterable[str]) -> None:
        """Print on standard error, whatever the options say."""
        text = lines if isinstance(lines, str) else "\n".join(lines)
        try:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except OSError:
            pass  # nobody is left to be told

    def command(self, text: str) -> str:
        """`text` with its `noodle ...` commands naming the home that --home named."""
        if self.home is None:
            return text
        import shlex

        named = f"noodle --home {shlex.quote(self.home)} "
        if text.startswith("noodle ") and not text.startswith("noodle --home"):
            text = named + text.removeprefix("noodle ")
        return text.replace("`noodle ", f"`{named}").replace(f"{named}--home", "noodle --home")


def clean(text: str) -> str:
    """`text` with control characters shown as x1b after a backslash and the like (law T4)."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else f"\\x{ord(one):02x}" for one in text
    )


def prepare_streams() -> None:
    """Make the standard streams usable: closed ones lead nowhere, odd names are escaped."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Let what Python still writes at its end go nowhere, silently."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass
