"""What a file system has left and what must be free, and where mounts are.

Reads only.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import explained

__all__ = [
    "SPACE_MARGIN",
    "Mount",
    "Space",
    "free_space",
    "mount_of",
    "mounts",
    "with_margin",
]

SPACE_MARGIN: Final = 0.1
"""How much more than the bytes to write must be free."""

_MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Space:
    """What the running user may still take, and the size of a block in bytes."""

    free_bytes: int
    free_inodes: int | None
    block_bytes: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: where it is and of which file system type."""

    point: Path
    fstype: str
    options: tuple[str, ...]


def free_space(folder: Path) -> Space:
    """What is free where `folder` is. `free_inodes` is None where there is no limit."""
    with explained("ask for the free space of", folder):
        found = os.statvfs(folder)
    root = os.geteuid() == 0
    inodes = found.f_ffree if root else found.f_favail
    # btrfs counts no inodes, and keeps nothing for root: its f_bfree is what data cannot have.
    blocks = found.f_bfree if root and found.f_files else found.f_bavail
    return Space(
        free_bytes=blocks * found.f_frsize,
        free_inodes=inodes if found.f_files else None,
        block_bytes=found.f_frsize,
        read_only=bool(found.f_flag & os.ST_RDONLY),
    )


def with_margin(size: int, block: int) -> int:
    """Bytes to write with the margin, in whole blocks."""
    return ceil(size * (1 + SPACE_MARGIN) / block) * block


def mounts(source: Path = _MOUNTINFO) -> tuple[Mount, ...]:
    """Every mount this process sees, in the order they were made.

    Source: proc_pid_mountinfo(5).
    """
    with explained("read", source):
        lines = source.read_bytes().splitlines()
    found = []
    for line in lines:
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        found.append(
            Mount(
                point=Path(os.fsdecode(_plain(fields[4]))),
                fstype=os.fsdecode(after.split(b" ")[0]),
                options=tuple(os.fsdecode(fields[5]).split(",")),
            )
        )
    return tuple(found)


def mount_of(path: Path, known: tuple[Mount, ...] | None = None) -> Mount | None:
    """The mount that `path` (absolute, resolved) is in: the deepest, the last one made."""
    best: Mount | None = None
    for mount in mounts() if known is None else known:
        if not path.is_relative_to(mount.point):
            continue
        if best is None or len(mount.point.parts) >= len(best.point.parts):
            best = mount
    return best


def _plain(field: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field)
