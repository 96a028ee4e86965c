"""By what a file is known to be as it was when it was read. Pure, but for the type of a status.

Owns the stamp, and the bytes that stamps are kept as. They are disposable: who
loses them reads the files again.

Laws
S1. A stamp is given only for a file whose content was read, and that had the
    stamp before and after the reading.
S2. Bytes that are torn, of another format or edited give None, never a stamp.

What a stamp does not see: a change of extended attributes alone, and a content
that was changed and whose size and time were put back. A full check sees both.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from functools import cached_property
from operator import attrgetter
from typing import Final

import blake3

__all__ = ["STALE_NS", "Stamp", "Stamps", "encode_stamps", "parse_stamps", "stamp_of"]

STALE_NS: Final = 20_000_000
"""A file that was changed so short before it was read gets no stamp: a change after
the reading could fall into the same tick of the file system's clock (at most 10 ms)."""

_MAGIC: Final = b"noodle-stamps 1\n"
_DIGEST_BYTES: Final = 32
_ROW: Final = struct.Struct("<QQqqIII")
_LENGTHS: Final = struct.Struct("<QQQ")


Stamp = tuple[int, ...]
"""What a status says of a file, its change time aside: `link()` changes that.

Device, inode, size, time of the last change in nanoseconds, `st_mode` (the kind of file
included), user and group. A plain tuple: there may be a hundred thousand.
"""

stamp_of: Final[Callable[[os.stat_result], Stamp]] = attrgetter(
    "st_dev", "st_ino", "st_size", "st_mtime_ns", "st_mode", "st_uid", "st_gid"
)
"""The stamp that a file with this status has."""


class Stamps(dict[bytes, Stamp]):
    """The stamps of one tree, by path. Made once, never changed."""

    @cached_property
    def by_folder(self) -> Mapping[bytes, Mapping[str, Stamp]]:
        """The same by folder and name, as a walk comes to them."""
        found: dict[bytes, dict[str, Stamp]] = {}
        inside: dict[str, Stamp] = {}
        last: bytes | None = None
        for path, stamp in self.items():
            folder, _, name = path.rpartition(b"/")
            if folder != last:
                inside = found.setdefault(folder, {})
                last = folder
            inside[os.fsdecode(name)] = stamp
        return found


def encode_stamps(root: str, stamps: Mapping[bytes, Stamp]) -> bytes:
    """Stamps as bytes, with the root of the tree that they are true for."""
    paths = sorted(stamps)
    name = root.encode()
    joined = b"\0".join(paths)
    body = b"".join(
        (
            _LENGTHS.pack(len(name), len(paths), len(joined)),
            name,
            joined,
            b"".join([_ROW.pack(*stamps[path]) for path in paths]),
        )
    )
    return _MAGIC + blake3.blake3(body).digest() + body


def parse_stamps(data: bytes) -> tuple[str, Stamps] | None:
    """The root and the stamps that `encode_stamps` was given; None for junk (law S2)."""
    head = len(_MAGIC) + _DIGEST_BYTES
    body = memoryview(data)[head:]
    if data[:head] != _MAGIC + blake3.blake3(body).digest() or len(body) < _LENGTHS.size:
        return None
    name_bytes, count, joined_bytes = _LENGTHS.unpack_from(body)
    start = _LENGTHS.size + name_bytes
    rows = start + joined_bytes
    if len(body) != rows + count * _ROW.size:
        return None
    paths = bytes(body[start:rows]).split(b"\0") if count else []
    if len(paths) != count:
        return None
    root = bytes(body[_LENGTHS.size : start]).decode(errors="replace")
    return root, Stamps(zip(paths, _ROW.iter_unpack(body[rows:]), strict=True))
