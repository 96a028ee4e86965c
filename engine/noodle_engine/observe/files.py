"""A file of lines that several processes write, and that never holds anybody up for long.

Owns how a line gets into a log: whole, under a lock of the file, behind the lines of others.
It never syncs: a log can be lost. It raises nothing once it is open.

Laws
L1. No line is torn: what was written of one that did not fit is taken away again.
L2. A file is put aside by one process, while no other writes; all others go on in the new one.
L3. It never becomes larger than its size.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.names import shift_aside

__all__ = ["DEVICES", "FILES_KEPT", "FULL", "LINE_BYTES_MAX", "LineFile", "no_log"]

FILES_KEPT: Final = 5
"""How many full logs are kept beside the one that is written."""
LINE_BYTES_MAX: Final = 64 * 1024
"""A longer line is cut before it gets here."""
FULL: Final = "log.full"
"""The name of the event that a full log ends with."""
DEVICES: Final = (Path("/dev"), Path("/dev/fd"), Path("/dev/pts"))
"""Where links lead to terminals and pipes, and only root makes any."""
_MODE: Final = 0o600
_TAIL_BYTES: Final = 1024


def no_log(path: Path, found: os.stat_result) -> str | None:
    """Why what was found at a path can be no log; None if it can.

    Whoever owns the folder must not lead root's lines into a file of root's.
    """
    mode = found.st_mode
    if stat.S_ISLNK(mode) and path.parent not in DEVICES:
        return "it is a link"
    if stat.S_ISDIR(mode):
        return "it is a folder"
    if stat.S_ISBLK(mode):
        return "it is no file"
    if stat.S_ISREG(mode) and found.st_nlink > 1:
        return "the file has a second name elsewhere"
    return None


PutAside = Callable[[Path], None]


class LineFile:
    """One log. Used by one thread.

    `bytes_max`: its size (law L3). `rotate`: whether a full one is put aside; otherwise it
    ends with the line that `full` gives, once, and takes no more. `put_aside` gives a full
    file another name.
    """

    def __init__(
        self,
        path: Path,
        *,
        bytes_max: int,
        rotate: bool,
        full: bytes = b"",
        put_aside: PutAside = lambda path: shift_aside(path, FILES_KEPT),
    ) -> None:
        self.path = path
        self.bytes_max = bytes_max
        self.rotate = rotate
        self.is_full = False
        self._full = full
        self._put_aside = put_aside
        self._descriptor = -1
        self._plain = True

    def open(self) -> None:
        """Open the file, or make it (0600). Raises OSError; no folder is made, and no device.

        A terminal or a pipe is opened without ever waiting for its reader.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        device = self.path.parent in DEVICES
        if not device:
            # Whoever owns the folder must not lead root's lines into a file of root's.
            flags |= os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, _MODE)
        found = os.fstat(descriptor)
        wrong = no_log(self.path, found)
        if wrong is not None:
            os.close(descriptor)
            raise OSError(errno.EINVAL, wrong)
        self.close()
        # What /dev/stderr leads to may be a file. It is not ours to give another name.
        self._descriptor, self._plain = descriptor, stat.S_ISREG(found.st_mode) and not device
        if self._plain and found.st_size == 0 and found.st_uid == 0:
            self._give_to_owner()

    def _give_to_owner(self) -> None:
        """Give a log that root has made to the owner of its folder, who writes it next."""
        with suppress(OSError):
            folder = self.path.parent.stat()
            if folder.st_uid != 0:
                os.fchown(self._descriptor, folder.st_uid, folder.st_gid)

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads along."""
        return self._descriptor >= 0 and not self._plain and os.isatty(self._descriptor)

    @property
    def is_new(self) -> bool:
        """Whether nothing was written to it yet."""
        return self._plain and self._descriptor >= 0 and os.fstat(self._descriptor).st_size == 0

    def write(self, line: bytes) -> bool:
        """Append a line, its newline included; False if it is lost."""
        try:
            if not self._plain:
                return os.write(self._descriptor, line) == len(line)
            return self._write_plain(line)
        except (OSError, DiskError):
            return False

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)

    def _write_plain(self, line: bytes) -> bool:
        while True:
            if self._descriptor < 0:
                self.open()
            _lock(self._descriptor)
            try:
                if not self._in_place():
                    # Another process has put it aside; the new one may be there already.
                    self.open()
                    continue
                size = os.fstat(self._descriptor).st_size
                if size + len(line) <= self.bytes_max - (0 if self.rotate else len(self._full)):
                    self.is_full = False
                    return self._append(line, size)
                if not self.rotate:
                    self._end(size)
                    return False
                if size == 0:
                    return False  # the line alone is larger than a log may be
                self._put_aside(self.path)
                self.open()
            finally:
                _unlock(self._descriptor)

    def _append(self, line: bytes, size: int) -> bool:
        try:
            written = os.write(self._descriptor, line)
        except OSError:
            written = 0
        if written < len(line):
            # A full disk takes a part of a line (law L1). Nobody else writes now.
            os.ftruncate(self._descriptor, size)
            return False
        return True

    def _in_place(self) -> bool:
        ours = os.fstat(self._descriptor)
        try:
            named = os.stat(self.path)  # noqa: PTH116 - each line pays
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)

    def _end(self, size: int) -> None:
        """Write the last line, unless it stands there."""
        self.is_full = True
        with open(self.path, "rb") as reading:  # noqa: PTH123 - beside os.open
            reading.seek(max(0, size - _TAIL_BYTES))
            tail = reading.read(_TAIL_BYTES)
        if FULL.encode() not in tail and size + len(self._full) <= self.bytes_max:
            self._append(self._full, size)


def _lock(descriptor: int) -> None:
    # A file system without locks has one writer, or torn lines: nothing is stopped for that.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _unlock(descriptor: int) -> None:
    if descriptor >= 0:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
