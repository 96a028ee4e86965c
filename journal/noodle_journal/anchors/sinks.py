"""Where anchors are kept: a file on another mount, the standard output, and what plug-ins do.

Owns the names of sinks, the line that a note is kept as, and the two sinks that need no
network.

Laws
S1. `keep` returns only after the sink said that it has the note for good.
S2. A sink is never made, only written to: one that is not there cannot be reached.
S3. What a torn write left is passed over, and never joined with what comes after it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import orjson

from noodle_journal.anchors.failures import SinkFailed
from noodle_journal.format.notes import NOTE_BYTES_MAX, NotANote, parse_note

__all__ = ["FileSink", "Sink", "StreamSink", "line_of", "newest", "notes_in"]

READ_BYTES_MAX: Final = 64 << 20
"""How much of a sink's end is read: some hundred thousand notes."""
GLANCE_BYTES_MAX: Final = 256 << 10
"""How much of it is read where only the newest counts."""
_FORMAT: Final = 1


class Sink(Protocol):
    """One place that keeps notes.

    A plug-in is a class that is made without arguments and takes its own settings from the
    environment, as its makers document them; entry point group `noodle.anchors`. Both calls
    end within `seconds`, and raise SinkFailed where the sink cannot be reached or refuses.
    They are called from a thread of their own, one at a time.
    """

    def keep(self, note: str, *, seconds: float) -> None:
        """Keep a signed note for good; keeping the same one twice is keeping it."""

    def fetch(self, log_id: str, *, seconds: float, everything: bool) -> Sequence[str] | None:
        """The notes of a log that it has: all, or such as hold the newest. None: it cannot tell."""


def line_of(note: str) -> bytes:
    """The line of a file or stream that keeps a note."""
    said = parse_note(note)
    line = {
        "format": _FORMAT,
        "log": said.log_id.hex(),
        "size": said.size,
        "root": said.root.hex(),
        "note": note,
    }
    return orjson.dumps(line) + b"\n"


def notes_in(lines: Iterable[bytes], log_id: str) -> Iterator[str]:
    """The notes of a log among lines; what is no such line is passed over (law S3)."""
    for line in lines:
        try:
            said = orjson.loads(line)
            note = said["note"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(note, str) and said.get("log") == log_id:
            yield note


def newest(notes: Iterable[str]) -> list[str]:
    """Those of the largest size: more than one where they say different things."""
    largest, found = 0, dict[str, None]()
    for note in notes:
        try:
            size = parse_note(note).size
        except NotANote:
            continue
        if size > largest:
            largest, found = size, {}
        if size == largest:
            found[note] = None
    return list(found)


class FileSink:
    """A file of one line a note, which somebody made on another mount.

    It is never made here: where the mount is missing, its folder is there and the file is not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, note: str, *, seconds: float) -> None:  # noqa: ARG002 - a file has no limit
        """As `Sink`; durable on return."""
        try:
            descriptor = self._open(os.O_RDWR | os.O_APPEND)
            try:
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                data = (b"\n" if torn else b"") + line_of(note)
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise self._failed(exc) from exc

    def fetch(self, log_id: str, *, seconds: float, everything: bool) -> Sequence[str]:  # noqa: ARG002
        """As `Sink`."""
        most = READ_BYTES_MAX if everything else GLANCE_BYTES_MAX
        try:
            descriptor = self._open(os.O_RDONLY)
            try:
                start = max(0, os.fstat(descriptor).st_size - most)
                os.lseek(descriptor, start, os.SEEK_SET)
                with os.fdopen(os.dup(descriptor), "rb") as file:
                    lines = file.read(most).split(b"\n")
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise self._failed(exc) from exc
        notes = list(notes_in(lines[1:] if start else lines, log_id))
        return notes if everything else newest(notes)

    def _open(self, flags: int) -> int:
        # Without O_NONBLOCK a pipe in its place would wait for somebody to read it.
        descriptor = os.open(self._path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SinkFailed("it is no plain file")
        return descriptor

    def _failed(self, exc: OSError) -> SinkFailed:
        if isinstance(exc, FileNotFoundError):
            return SinkFailed(
                "the file is not there: its mount is missing, or nobody has made it yet"
            )
        return SinkFailed(exc.strerror or str(exc))


class StreamSink:
    """The standard output of the process that holds the home, for whoever collects it."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor

    def keep(self, note: str, *, seconds: float) -> None:  # noqa: ARG002 - its caller bounds it
        """As `Sink`; handed over on return: whether it is kept, only its reader knows."""
        data = line_of(note)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as exc:
            raise SinkFailed(exc.strerror or str(exc)) from exc

    def fetch(self, log_id: str, *, seconds: float, everything: bool) -> None:
        """Nothing: what was written there cannot be read back."""


assert NOTE_BYTES_MAX < GLANCE_BYTES_MAX
