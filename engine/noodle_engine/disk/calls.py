"""System calls that the standard library lacks.

Owns the bindings to renameat2, syncfs, FICLONE, FS_IOC_FIEMAP and FS_IOC_GETFLAGS. They go through
the C library of the process (`CDLL(None)`), so that a preloaded library sees
them. Everything here raises OSError; only `disk` calls it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from functools import cache

__all__ = [
    "FLAG_APPEND",
    "FLAG_IMMUTABLE",
    "clone_file",
    "inode_flags",
    "rename_exchange",
    "rename_exclusive",
    "shared_bytes",
    "sync_file_system",
]

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_FICLONE = 0x40049409
_FS_IOC_GETFLAGS = 0x80086601
FLAG_IMMUTABLE = 0x10
FLAG_APPEND = 0x20


@cache
def _renameat2() -> Callable[..., int]:
    try:
        found = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError as error:
        raise OSError(errno.ENOSYS, "the C library has no renameat2") from error
    found.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    ]
    found.restype = ctypes.c_int
    call: Callable[..., int] = found
    return call


def _rename(first: str, second: str, flags: int) -> None:
    call = _renameat2()
    while call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), flags) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), first, None, second)


def rename_exchange(first: str, second: str) -> None:
    """Exchange what two names name, in one step."""
    _rename(first, second, _RENAME_EXCHANGE)


def rename_exclusive(source: str, target: str) -> None:
    """Rename, or FileExistsError if there is something at `target`."""
    _rename(source, target, _RENAME_NOREPLACE)


def clone_file(source: int, target: int) -> None:
    """Let the open file `target` share the blocks of `source` (a reflink)."""
    fcntl.ioctl(target, _FICLONE, source)


@cache
def _syncfs() -> Callable[..., int]:
    try:
        found = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError as error:
        raise OSError(errno.ENOSYS, "the C library has no syncfs") from error
    found.argtypes = [ctypes.c_int]
    found.restype = ctypes.c_int
    call: Callable[..., int] = found
    return call


def sync_file_system(descriptor: int) -> None:
    """Write out all of the file system that an open file is on. Source: syncfs(2)."""
    call = _syncfs()
    while call(descriptor) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def inode_flags(descriptor: int) -> int:
    """The inode's flags (chattr), or 0 where the file system has none."""
    try:
        raw = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, struct.pack("l", 0))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return 0
        raise
    return int(struct.unpack("l", raw)[0])


_FS_IOC_FIEMAP = 0xC020660B
_FIEMAP_HEAD = struct.Struct("=QQIIII")
_FIEMAP_EXTENT = struct.Struct("=QQQQQIIII")
_EXTENT_LAST = 0x1
_EXTENT_SHARED = 0x2000
_EXTENTS = 128
_EXTENTS_ALL = 2**64 - 1


def shared_bytes(descriptor: int, limit: int) -> int:
    """How many bytes of a file's blocks other files have too, at most `limit` looked at.

    Raises OSError (EOPNOTSUPP, ENOTTY where the file system does not tell).
    Source: Documentation/filesystems/fiemap.rst of the kernel.
    """
    start = shared = 0
    while start < limit:
        asked = _FIEMAP_HEAD.pack(start, _EXTENTS_ALL - start, 0, 0, _EXTENTS, 0)
        buffer = bytearray(asked + bytes(_EXTENTS * _FIEMAP_EXTENT.size))
        fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, buffer)
        mapped = _FIEMAP_HEAD.unpack_from(buffer)[3]
        if mapped == 0:
            break
        for number in range(mapped):
            at = _FIEMAP_HEAD.size + number * _FIEMAP_EXTENT.size
            logical, _, length, _, _, flags, *_ = _FIEMAP_EXTENT.unpack_from(buffer, at)
            if flags & _EXTENT_SHARED:
                shared += max(0, min(length, limit - logical))
            start = logical + length
            if flags & _EXTENT_LAST:
                return shared
    return shared
