"""Small files, written wholly or not at all, and read within a limit.

Owns the recipe for a file that must never be seen half: a temporary name in
the same folder, content, sync, rename, sync of the folder. And the one for a file
that can be lost: in place, unsynced, checked by who reads it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from noodle_engine.disk.failures import DiskError, explained
from noodle_engine.disk.names import fsync_folder, rename_noreplace, unlink_quietly

__all__ = ["read_whole", "write_disposable", "write_whole"]


def write_whole(path: Path, data: bytes, mode: int, *, replace: bool) -> bool:
    """Write a small file, wholly or not at all, durably, with exactly `mode`.

    Without `replace` a file that is there stays, and the answer is False. One
    writer at a time: the caller holds a lock. A killed writer leaves at most
    `.NAME.next`, which the next one removes; one that fails removes it itself.
    """
    temporary = path.with_name(f".{path.name}.next")
    unlink_quietly(temporary)
    try:
        written = _write_beside(temporary, path, data, mode, replace=replace)
    except DiskError:
        with suppress(DiskError):  # what went wrong first is what is told
            unlink_quietly(temporary)
        raise
    if not written:
        unlink_quietly(temporary)
    fsync_folder(path.parent)
    return written


def _write_beside(temporary: Path, path: Path, data: bytes, mode: int, *, replace: bool) -> bool:
    with explained("write", path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            _write_all(descriptor, data)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if replace:
            os.rename(temporary, path)
            return True
        return rename_noreplace(temporary, path)


def write_disposable(path: Path, data: bytes, mode: int) -> None:
    """Write a small file that can be lost, in place. The one process that writes wins.

    Nothing is synced, and a reader can meet it half written: the content must prove itself.
    Another writer at this moment means that nothing is done.

    Raises DiskError; the file is then whole, half or absent.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with explained("write", path):
        descriptor = os.open(path, flags, mode)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise OSError(errno.EINVAL, "it is no plain file, or has a second name")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            os.ftruncate(descriptor, 0)
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)


def read_whole(path: Path, *, bytes_max: int, owner: int | None = None) -> bytes | None:
    """The content of a regular file, or None if there is none. Links are not followed.

    Raises DiskError if it is longer than `bytes_max`, no plain file, or unreadable; with
    `owner` also if anybody but that user could have written it.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with explained("read", path):
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is no plain file")
            others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if owner is not None and (found.st_uid != owner or others):
                raise OSError(errno.EPERM, "another user could have written it")
            data = opened.read(bytes_max + 1)
    if len(data) > bytes_max:
        with explained("read", path):
            raise OSError(errno.EFBIG, f"it is longer than {bytes_max} bytes")
    return data


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
