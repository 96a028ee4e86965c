"""Whether a release fits into the home, before any of it is written. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from noodle_engine.disk.files import status_of
from noodle_engine.disk.space import free_space, with_margin
from noodle_engine.disk.trees.build import Sharing
from noodle_engine.disk.trees.manifest import EntryKind, TreeManifest
from noodle_engine.registry.failures import HomeShort
from noodle_engine.registry.payloads.source import ReleaseSource

__all__ = ["lacking"]

_OWN_INODES: Final = 10
"""Folders, locks and the small files of one release."""
_ENTRY_BYTES: Final = 400
"""What an entry takes in the manifest that is kept, and no more."""


def lacking(
    source: ReleaseSource,
    folder: Path,
    *,
    earlier: Iterable[TreeManifest] = (),
    sharing: Sharing = Sharing.COPY,
) -> HomeShort | None:
    """What is missing where `folder` is, or None if the release fits with the margin.

    A file takes half a block more than its bytes. `earlier` are trees in the
    registry; what they have is not counted where `sharing` is possible.
    """
    space = free_space(folder)
    size, inodes = _to_write(source, earlier, sharing)
    block = space.block_bytes
    needed = with_margin(size + inodes * block // 2, block) + _OWN_INODES * block
    if space.free_bytes < needed:
        return HomeShort(home=folder, needed=needed, free=space.free_bytes, unit="bytes")
    inodes += _OWN_INODES
    if space.free_inodes is not None and space.free_inodes < inodes:
        return HomeShort(home=folder, needed=inodes, free=space.free_inodes, unit="inodes")
    return None


def _to_write(
    source: ReleaseSource, earlier: Iterable[TreeManifest], sharing: Sharing
) -> tuple[int, int]:
    """Bytes to write and inodes to make."""
    if source.tree is None:
        return status_of(source.payload).st_size + len(source.text), 1
    entries = source.tree.manifest.entries
    have = set()
    if sharing is not Sharing.COPY:
        have = {one.identity for tree in earlier for one in tree.entries}
    shared = [
        one for one in entries if one.kind is EntryKind.FILE and have and one.identity in have
    ]
    size = source.tree.manifest.bytes - sum(one.size for one in shared)
    linked = len(shared) if sharing is Sharing.HARD_LINK else 0
    return size + len(entries) * _ENTRY_BYTES + len(source.text), len(entries) - linked
