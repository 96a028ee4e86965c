"""What stands at one path of a tree: looked at, and written as a release has it.

Owns the pieces that seeding and carrying are made of. No link is followed on the way to a path.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from noodle_engine.disk.failures import explained
from noodle_engine.disk.files import ObjectKind, kind_of, status_of, sync_file
from noodle_engine.disk.names import fsync_folder, unlink_quietly
from noodle_engine.disk.trees.build import (
    OpenTree,
    Sharing,
    Spot,
    copy_file,
    finish_folders,
    make_tree_folders,
    place_link,
    remove_tree,
    share_file,
)
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest, name_text
from noodle_engine.disk.trees.syncing import fsync_tree, sync_file_system
from noodle_engine.disk.trees.walk import walk_tree
from noodle_engine.registry.tree_options import TreeOptions

__all__ = [
    "FOLDER_MODE",
    "at_path",
    "part_of",
    "remove_part",
    "size_inside",
    "sync_part",
    "unusable_inside",
    "write_part",
]

FOLDER_MODE = 0o755
"""Of a folder that no release has."""


def at_path(tree: Path, path: bytes) -> Path | None:
    """What stands at a path of a tree, no link followed on the way; None for nothing."""
    at = tree
    for name in path.split(b"/"):
        if kind_of(at) is not ObjectKind.FOLDER:
            return None
        at = at / os.fsdecode(name)
    return None if kind_of(at) is ObjectKind.ABSENT else at


def size_inside(options: TreeOptions, tree: Path) -> tuple[int, int]:
    """Bytes and inodes of the data that lies inside of a tree. Raises DiskError."""
    size = inodes = 0
    for path in options.mutable if options.quiesce else ():
        there = at_path(tree, path)
        if there is None:
            continue
        inodes += 1
        if kind_of(there) is ObjectKind.FOLDER:
            sizes: list[int] = []

            def file(_: bytes, status: os.stat_result, sizes: list[int] = sizes) -> None:
                sizes.append(status.st_size)

            found = walk_tree(there, file=file)
            size += sum(sizes)
            inodes += len(sizes) + len(found.folders) + len(found.links)
        else:
            size += status_of(there).st_size
    return size, inodes


def unusable_inside(tree: Path, path: bytes) -> str | None:
    """Why what stands at a path of a tree cannot be carried; None if it can, or is not there."""
    at = tree
    for name in path.split(b"/")[:-1]:
        at = at / os.fsdecode(name)
        if kind_of(at) not in (ObjectKind.FOLDER, ObjectKind.ABSENT):
            return f"{name_text(name)} on the way to it is no folder"
    there = at_path(tree, path)
    if there is None or kind_of(there) in (ObjectKind.FILE, ObjectKind.LINK):
        return None
    if kind_of(there) is not ObjectKind.FOLDER:
        return "it is neither file, folder nor link"
    found = walk_tree(there, file=lambda _path, _status: None)
    special = [one for one in found.specials if one.what != "socket"]
    if special:
        return f"it holds a {special[0].what}: {name_text(special[0].path)}"
    return None


def part_of(release: TreeManifest, path: bytes) -> TreeManifest | TreeEntry:
    """What the release has at a path: one entry, or a tree of its own."""
    entry = release.by_path.get(path)
    if entry is not None and entry.kind is not EntryKind.FOLDER:
        return entry
    top = release.by_path[b""]
    if entry is None:
        return TreeManifest([TreeEntry(b"", EntryKind.FOLDER, FOLDER_MODE, top.uid, top.gid)])
    start = path + b"/"
    return TreeManifest(
        one._replace(path=one.path[len(start) :])
        for one in release.entries
        if one.path == path or one.path.startswith(start)
    )


def write_part(
    begun: Path,
    part: TreeManifest | TreeEntry,
    payload: Path,
    path: bytes,
    stop: threading.Event,
    *,
    linked: bool = False,
) -> None:
    """Write at `begun` what `payload` has at `path`. Nothing is durable.

    With `linked` files that are one under several names there are so in the copy too.
    """
    with OpenTree(payload) as source:
        if isinstance(part, TreeEntry):
            if part.kind is EntryKind.LINK:
                place_link(begun, part)
            else:
                copy_file(source.spot(path), begun, part, stop=stop)
            return
        make_tree_folders(begun, part)
        with OpenTree(begun) as new, OpenTree(begun) as made:
            first: dict[tuple[int, int], bytes] = {}
            for entry in part.entries:
                if entry.kind is EntryKind.LINK:
                    place_link(new.spot(entry.path), entry)
                elif entry.kind is EntryKind.FILE:
                    there = source.spot(path + b"/" + entry.path)
                    name = _other_name(there, entry.path, first) if linked else None
                    if name is None or not share_file(
                        made.spot(name), new.spot(entry.path), entry, Sharing.HARD_LINK
                    ):
                        copy_file(there, new.spot(entry.path), entry, stop=stop)
    finish_folders(begun, part)


def _other_name(there: Spot, path: bytes, first: dict[tuple[int, int], bytes]) -> bytes | None:
    """An earlier name of a file that has several; None if this is its first. Raises DiskError."""
    with explained("look at", there.path):
        status = os.stat(there.name, dir_fd=there.folder, follow_symlinks=False)
    if status.st_nlink == 1:
        return None
    name = first.setdefault((status.st_dev, status.st_ino), path)
    return None if name == path else name


def sync_part(path: Path) -> None:
    """Make what is at `path` durable, links too: only a sync of the whole does that."""

    def one_by_one() -> None:
        if kind_of(path) is ObjectKind.FOLDER:
            fsync_tree(path)
        elif kind_of(path) is ObjectKind.FILE:
            sync_file(path)

    sync_file_system(path.parent, fall_back=one_by_one)


def remove_part(path: Path) -> None:
    """Remove what is at `path`, durably."""
    if kind_of(path) is ObjectKind.FOLDER:
        remove_tree(path)
    else:
        unlink_quietly(path)
    fsync_folder(path.parent)
