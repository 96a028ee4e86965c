"""Processes, by what they hold and run.

Owns the walk through /proc. It reads only, and sees what this user may see.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Holder", "command_of", "holders_of", "process_ids", "users_of"]

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds something up, and the command it runs."""

    pid: int
    command: str


def holders_of(path: Path) -> tuple[Holder, ...]:
    """The processes that hold a flock on `path`, as far as this user may see.

    Bound: one look at each descriptor of each process. Empty if nobody holds
    it, if the file is not there, or if the holder is another user's.
    Source: proc_pid_fdinfo(5), field lock.
    """
    try:
        wanted = path.stat()
    except OSError:
        return ()
    file = (wanted.st_dev, wanted.st_ino)
    return tuple(Holder(pid, command_of(pid)) for pid in process_ids() if _holds(pid, file))


def users_of(folder: Path) -> tuple[Holder, ...]:
    """The processes that work in a folder: from there, in it, or with something of it open.

    As far as this user may see: another user's processes are seen by root only.
    Bound: one look at each descriptor of each process. A process that only maps a
    file needs its name no more, and is not told.
    Source: proc(5), cwd, root, exe, fd.
    """
    top = os.path.realpath(folder)
    return tuple(Holder(pid, command_of(pid)) for pid in process_ids() if _uses(pid, top))


def _uses(pid: int, top: str) -> bool:
    process = _PROC / str(pid)
    links = [process / name for name in ("cwd", "root", "exe")]
    try:
        links += [process / "fd" / number for number in os.listdir(process / "fd")]
    except OSError:
        return False  # gone, or another user's
    for link in links:
        try:
            where = os.readlink(link)
        except OSError:
            continue
        if where == top or where.startswith(top + "/"):
            return True
    return False


def process_ids() -> Iterator[int]:
    """The numbers of all processes of this moment."""
    for name in os.listdir(_PROC):
        if name.isdecimal():
            yield int(name)


def command_of(pid: int) -> str:
    """The words a process was started with, blanks between; empty if it is gone."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")


def _holds(pid: int, file: tuple[int, int]) -> bool:
    folder = _PROC / str(pid)
    try:
        numbers = os.listdir(folder / "fd")
    except OSError:
        return False  # gone, or another user's
    for number in numbers:
        try:
            stat = (folder / "fd" / number).stat()
            if (stat.st_dev, stat.st_ino) != file:
                continue
            if b"FLOCK" in (folder / "fdinfo" / number).read_bytes():
                return True
        except OSError:
            continue  # closed meanwhile
    return False
