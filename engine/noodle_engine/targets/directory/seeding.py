"""The data of a program: what is in `data/` before it has written any.

Owns the first content of each mutable path. It is copied from the release once,
where nothing is yet; no later release and no way back touches it. It stays when
an upgrade is taken back: a program may have written it meanwhile.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of, sync_file
from noodle_engine.disk.names import fsync_folder, make_folder, remove_empty_folder, unlink_quietly
from noodle_engine.disk.trees.build import (
    OpenTree,
    copy_file,
    finish_folders,
    make_tree_folders,
    place_link,
    remove_tree,
)
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest
from noodle_engine.disk.trees.syncing import fsync_tree, sync_file_system
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.place import Place

__all__ = ["make_data_folders", "remove_empty_data_folders", "seed"]

_FOLDER_MODE = 0o755


def seed(
    place: Place,
    options: TreeOptions,
    release: TreeManifest,
    payload: Path,
    stage: Path,
    *,
    stop: threading.Event,
) -> None:
    """Give every mutable path that has no data yet what the release has there.

    A path that the release does not have becomes an empty folder. On return all
    is durable.

    Raises a disk failure; then some paths have their data.
    """
    for path in options.mutable if not options.quiesce else ():
        there = place.data / Path(*map(_text, path.split(b"/")))
        if kind_of(there) is not ObjectKind.ABSENT:
            continue
        make_data_folders(place, path)
        begun = stage / "seed"
        _remove(begun)
        _write(begun, _part(release, path), payload, path, stop)
        _sync(begun)  # before it has its name: nobody seeds a path that is there
        move(begun, there)  # whoever made it meanwhile has made it


def make_data_folders(place: Place, path: bytes) -> None:
    """Make `data` and the folders in it that a mutable path lies in, durably."""
    place.make_room()
    folder = place.data
    make_folder(folder, _FOLDER_MODE)
    for name in path.split(b"/")[:-1]:
        folder = folder / _text(name)
        make_folder(folder, _FOLDER_MODE)


def remove_empty_data_folders(place: Place, path: bytes) -> None:
    """Remove the folders that `make_data_folders` made, where nothing is in them, durably."""
    folder = place.data / os.fsdecode(path)
    while folder != place.room:
        folder = folder.parent
        if folder == place.room or not remove_empty_folder(folder):
            return
        fsync_folder(folder.parent)


def _part(release: TreeManifest, path: bytes) -> TreeManifest | TreeEntry:
    """What the release has at a path: one entry, or a tree of its own."""
    entry = release.by_path.get(path)
    if entry is not None and entry.kind is not EntryKind.FOLDER:
        return entry
    top = release.by_path[b""]
    if entry is None:
        return TreeManifest([TreeEntry(b"", EntryKind.FOLDER, _FOLDER_MODE, top.uid, top.gid)])
    start = path + b"/"
    return TreeManifest(
        one._replace(path=one.path[len(start) :])
        for one in release.entries
        if one.path == path or one.path.startswith(start)
    )


def _write(
    begun: Path,
    part: TreeManifest | TreeEntry,
    payload: Path,
    path: bytes,
    stop: threading.Event,
) -> None:
    with OpenTree(payload) as source:
        if isinstance(part, TreeEntry):
            if part.kind is EntryKind.LINK:
                place_link(begun, part)
            else:
                copy_file(source.spot(path), begun, part, stop=stop)
            return
        make_tree_folders(begun, part)
        with OpenTree(begun) as new:
            for entry in part.entries:
                if entry.kind is EntryKind.LINK:
                    place_link(new.spot(entry.path), entry)
                elif entry.kind is EntryKind.FILE:
                    there = path + b"/" + entry.path
                    copy_file(source.spot(there), new.spot(entry.path), entry, stop=stop)
    finish_folders(begun, part)


def _sync(path: Path) -> None:
    """Make what is at `path` durable, links too: only a sync of the whole does that."""

    def one_by_one() -> None:
        if kind_of(path) is ObjectKind.FOLDER:
            fsync_tree(path)
        elif kind_of(path) is ObjectKind.FILE:
            sync_file(path)

    sync_file_system(path.parent, fall_back=one_by_one)


def _remove(path: Path) -> None:
    if kind_of(path) is ObjectKind.FOLDER:
        remove_tree(path)
    else:
        unlink_quietly(path)
    fsync_folder(path.parent)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
