"""A name to write at, and the attributes that an entry gives what is there.

Owns what `build` and `sharing` have in common: names by their path or by their
open folder, a new file that nobody else reads, attributes set on what is open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import explained, failure_of
from noodle_engine.disk.files import Owner, set_attributes
from noodle_engine.disk.trees.manifest import TreeEntry
from noodle_engine.disk.trees.reach import Spot
from noodle_engine.disk.trees.walk import TREE_XATTRS_LEFT_OUT

__all__ = ["Place", "explained_at", "give_attributes", "new_file", "shown", "where"]

Place = Path | Spot
"""A name: by its path, or by its open folder (`OpenTree.spot`), however deep that is."""

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def where(place: Place) -> tuple[bytes | Path, int | None]:
    """Name and folder as `os` takes them."""
    if isinstance(place, Spot):
        return place.name, place.folder
    return place, None


def shown(place: Place) -> Path:
    """What to call a place in a failure."""
    return place.path if isinstance(place, Spot) else place


@contextmanager
def explained_at(doing: str, place: Place) -> Iterator[None]:
    """`explained`, with the path made only where it is needed: that takes longer than a call."""
    try:
        yield
    except OSError as error:
        raise failure_of(error, doing, shown(place)) from error


@contextmanager
def new_file(target: Place) -> Iterator[tuple[int, Path]]:
    """Make a file of mode 0600 under a new name, open to write and read.

    An OSError of the block is of writing it. Raises DiskError.
    """
    name, folder = where(target)
    path = shown(target)
    with explained("write", path):
        descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
        try:
            yield descriptor, path
        finally:
            os.close(descriptor)


def give_attributes(
    descriptor: int, path: Path, entry: TreeEntry, mtime_ns: int | None = None
) -> None:
    """Give what is open the owner, extended attributes and, last, the mode of `entry`.

    Before them the time of its last change, if one is told. Raises
    AttributesNotKept, or OSError for what the device says.
    """
    if mtime_ns is not None:
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    set_attributes(
        descriptor,
        path,
        mode=entry.mode,
        owner=Owner(entry.uid, entry.gid),
        xattrs=dict(entry.xattrs),
        left_out=TREE_XATTRS_LEFT_OUT,
    )
