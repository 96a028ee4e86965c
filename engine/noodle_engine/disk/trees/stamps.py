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
from operator import attrgetter
from typing import Final, NamedTuple

import blake3

__all__ = ["STALE_NS", "Stamp", "encode_stamps", "parse_stamps", "stamp_fields", "stamp_of"]

STALE_NS: Final = 20_000_000
"""A file that was changed so short before it was read gets no stamp: a change after
the reading could fall into the same tick of the file system's clock (at most 10 ms)."""

_MAGIC: Final = b"noodle-stamps 1\n"
_DIGEST_BYTES: Final = 32
_ROW: Final = struct.Struct("<QQqqIII")
_LENGTHS: Final = struct.Struct("<QQQ")


class Stamp(NamedTuple):
    """What a status says of a file, its change time aside: `link()` changes that."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    mode: int
    """As `st_mode`, the kind of file included."""
    uid: int
    gid: int


stamp_fields: Final[Callable[[os.stat_result], tuple[int, ...]]] = attrgetter(
    "st_dev", "st_ino", "st_size", "st_mtime_ns", "st_mode", "st_uid", "st_gid"
)
"""The fields of `stamp_of`, as a plain tuple that equals it: for a hundred thousand files."""


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp that a file with this status has."""
    return Stamp._make(stamp_fields(status))


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


def parse_stamps(data: bytes) -> tuple[str, dict[bytes, Stamp]] | None:
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
    make = Stamp._make
    return root, {
        path: make(row) for path, row in zip(paths, _ROW.iter_unpack(body[rows:]), strict=True)
    }
