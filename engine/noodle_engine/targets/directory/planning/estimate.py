"""What an upgrade will write, and what a person reads of it.

Owns the numbers of a plan: bytes, inodes, seconds, and the differences as they are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from noodle_engine.disk.space import free_space, with_margin
from noodle_engine.disk.trees.build import Sharing, probe_sharing
from noodle_engine.disk.trees.manifest import Change, ChangeKind, EntryKind, TreeManifest, name_text
from noodle_engine.machine.plan import Diff, Needs
from noodle_engine.targets.base import Source, TargetChange
from noodle_engine.targets.directory.data.rules import same_device
from noodle_engine.targets.directory.trees.kept import kept_trees
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.exchange.surroundings import BYTES_PER_SECOND_ASSUMED, room_inodes
from noodle_engine.targets.place import Place

__all__ = [
    "FILES_PER_SECOND_ASSUMED",
    "MEMORY_BYTES",
    "counted",
    "needs_of",
    "seconds_for",
    "to_write",
    "told",
]

MEMORY_BYTES = 160 * 1024 * 1024
FILES_PER_SECOND_ASSUMED = 10_000
_ROOM = ("holder", "room", "lock", "commands", "owner", "releases", "manifests", "data")


def to_write(
    place: Place,
    reader: Reader,
    source: Source,
    *,
    old: TreeManifest | None,
    new: TreeManifest,
) -> tuple[int, int, int]:
    """Bytes to copy, bytes to share, and inodes to make for a new tree."""
    sharing = probe_sharing(place.parent, hard_links=reader.options.immutable)
    if sharing is Sharing.HARD_LINK and same_device(source.path, place.parent):
        return 0, new.bytes, len(new.entries) - new.files  # a name more for each of its files
    have = set()
    if sharing is not Sharing.COPY:
        trees = [] if old is None else [old]
        trees += [tree.manifest for tree in kept_trees(place, reader)]
        have = {
            entry.identity
            for tree in trees
            for entry in tree.entries
            if entry.kind is EntryKind.FILE
        }
    copied = shared = linked = 0
    for entry in new.entries:
        if entry.kind is EntryKind.FILE:
            if entry.identity in have:
                shared += entry.size
                linked += 1
            else:
                copied += entry.size
    saved = linked if sharing is Sharing.HARD_LINK else 0
    return copied, shared, len(new.entries) - saved


def needs_of(place: Place, new: TreeManifest, copied: int, inodes: int) -> Needs:
    """What staging takes: bytes with a margin, inodes, memory, time."""
    block = free_space(place.parent).block_bytes
    own = room_inodes(place, _ROOM)
    # A file takes whole blocks, a folder one at least, and the manifest is kept.
    files = inodes * block // 2
    kept = len(new.entries) * 400
    return Needs(
        disk_bytes=with_margin(copied + files + kept, block) + own * block,
        inodes=inodes + own + 4,
        memory_bytes=MEMORY_BYTES,
        seconds=seconds_for(new),
    )


def seconds_for(new: TreeManifest | None) -> int:
    """How long staging takes, assumed; at least a second."""
    if new is None:
        return 1
    return (
        1
        + 2 * new.bytes // BYTES_PER_SECOND_ASSUMED // 4
        + len(new.entries) // FILES_PER_SECOND_ASSUMED
    )


def counted(changes: Sequence[Change]) -> Diff:
    """Files and links by what becomes of them; a folder counts if it stays and changes."""
    kinds = [change.kind for change in changes if not _is_folder_only(change)]
    return Diff(
        added=kinds.count(ChangeKind.ADDED),
        changed=kinds.count(ChangeKind.CHANGED) + kinds.count(ChangeKind.ATTRIBUTES),
        removed=kinds.count(ChangeKind.REMOVED),
    )


def _is_folder_only(change: Change) -> bool:
    """Whether it is a folder that comes or goes: what is in it is counted."""
    there = change.new or change.old
    return (
        change.kind in (ChangeKind.ADDED, ChangeKind.REMOVED)
        and there is not None
        and there.kind is EntryKind.FOLDER
    )


def told(changes: Sequence[Change]) -> Iterator[TargetChange]:
    """The differences as a person reads them."""
    for change in changes:
        size = change.new.size if change.new is not None else None
        yield TargetChange(change.kind.value, name_text(change.path), size, change.what)
