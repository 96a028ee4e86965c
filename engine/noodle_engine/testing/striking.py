"""Where a process can be killed: after each call that changes a disk, without a compiler.

Owns the points. Python tells a profile function of every call of a C function, also
of those that third-party code makes, so a step is watched from outside: it need not
use `noodle_engine.disk`, and nothing of it is replaced. A point is the moment after
such a call; point 0 is before the first, and the last is when all is done and nobody
was told. Between two calls no disk changes, so a kill after one is a kill before the next.

Not seen as points of their own: what happens inside a C library or another program,
the flush of a file that `with` closes, functions called through `ctypes` except those of
`noodle_engine.disk`, a write that a kill tears in two. A power cut is not tried at all.
Source: docs/decisions/0020-kills-by-profile.md; Python's sys.setprofile.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from noodle_engine.disk import calls

__all__ = ["SYNCS", "Watch", "watched"]

SYNCS: Final = frozenset({"fsync", "fdatasync", "sync", "syncfs"})
"""The names of calls that make durable what was changed before."""

_POSIX: Final = (
    "chmod chown copy_file_range fchmod fchown fdatasync fsync ftruncate lchown link mkdir mkfifo "
    "mknod open posix_fallocate pwrite pwritev remove removexattr rename replace rmdir sendfile "
    "setxattr splice symlink sync truncate unlink utime write writev"
)
_OF_MODULES: Final = {
    "posix": frozenset(_POSIX.split()),
    "_io": frozenset({"open"}),
    "io": frozenset({"open"}),
    "fcntl": frozenset({"ioctl"}),
    "_posixsubprocess": frozenset({"fork_exec"}),
}
_OF_TYPES: Final = frozenset(
    f"{kind}.{name}"
    for kind, names in {
        "FileIO": "write truncate close",
        "BufferedWriter": "write flush truncate close",
        "BufferedRandom": "write flush truncate close",
        "TextIOWrapper": "write flush truncate close",
        "_IOBase": "writelines __exit__",
        "Connection": "commit execute executemany executescript backup close",
        "Cursor": "execute executemany executescript",
        "Popen": "__init__",
    }.items()
    for name in names.split()
)
_OURS: Final = {
    calls.rename_exchange.__code__: "rename",
    calls.rename_exclusive.__code__: "rename",
    calls.sync_file_system.__code__: "syncfs",
}
_WRITING: Final = frozenset({"BufferedWriter", "BufferedRandom", "FileIO", "TextIOWrapper"})


def _changes(function: Any) -> str | None:
    """The name of a C function that may change a disk; None for any other."""
    name = getattr(function, "__qualname__", "")
    if name in _OF_MODULES.get(getattr(function, "__module__", None) or "", ()):
        return str(name)
    if name not in _OF_TYPES:
        return None
    owner, _, method = name.partition(".")
    if owner == "_IOBase" and type(function.__self__).__name__ not in _WRITING:
        return None
    return str(method)


class Watch:
    """Counts the points of an act, and kills its process at one of them.

    `die_at` is the point, None for no kill. `names` are the calls that were made.
    """

    __slots__ = ("die_at", "names")

    def __init__(self) -> None:
        self.die_at: int | None = None
        self.names: list[str] = []

    def __call__(self, frame: FrameType, event: str, subject: Any) -> None:
        """What Python calls at each call and return."""
        if event in {"c_return", "c_exception"}:
            name = _changes(subject)
        elif event == "return":
            name = _OURS.get(frame.f_code)
        else:
            return
        if name is None:
            return
        self.names.append(name)
        if len(self.names) == self.die_at:
            _die()

    def ended(self) -> None:
        """The act is through: its last point."""
        if self.die_at == len(self.names) + 1:
            _die()


@contextmanager
def watched(watch: Watch, die_at: int | None) -> Iterator[None]:
    """Watch what this thread, and the threads that it starts, do meanwhile; die at a point."""
    watch.die_at = die_at
    if die_at == 0:
        _die()
    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        yield
        watch.ended()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _die() -> None:
    """Nothing runs after this: no handler, no flush, no release."""
    os.kill(os.getpid(), signal.SIGKILL)
