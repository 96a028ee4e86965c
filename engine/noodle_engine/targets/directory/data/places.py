"""The folders outside of every tree in which data lives: `.noodle/NAME/data`.

Owns who may enter them: who could not come through in the tree cannot come through here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from noodle_engine.disk.failures import explained
from noodle_engine.disk.files import ObjectKind, kind_of, status_of
from noodle_engine.disk.names import fsync_folder, make_folder, remove_empty_folder
from noodle_engine.disk.trees.build import finish_folders
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest
from noodle_engine.targets.directory.data.parts import FOLDER_MODE, at_path
from noodle_engine.targets.place import Place

__all__ = [
    "Access",
    "access_at",
    "access_in",
    "make_data_folders",
    "remove_empty_data_folders",
]


class Access(NamedTuple):
    """Who may enter a folder: its mode and owners."""

    mode: int
    uid: int
    gid: int


def make_data_folders(place: Place, path: bytes, like: Callable[[bytes], Access | None]) -> None:
    """Make `data` and the folders in it that a mutable path lies in, durably.

    `like` tells how the folder at a path of the tree may be entered: who could not
    come through there cannot come through here.
    """
    place.make_room()
    folder, at = place.data, b""
    _make_like(folder, like(at))
    for name in path.split(b"/")[:-1]:
        folder, at = folder / os.fsdecode(name), at + b"/" + name if at else name
        _make_like(folder, like(at))


def _make_like(folder: Path, wanted: Access | None) -> None:
    """Make a folder; one that holds something already stays as it is."""
    if kind_of(folder) is ObjectKind.ABSENT:
        make_folder(folder, 0o700)
    if kind_of(folder) is not ObjectKind.FOLDER:
        return
    with explained("list", folder):
        if any(folder.iterdir()):
            return
    mode, uid, gid = wanted or Access(FOLDER_MODE, os.geteuid(), os.getegid())
    entry = TreeEntry(b"", EntryKind.FOLDER, mode, uid, gid)
    finish_folders(folder, TreeManifest([entry]))
    fsync_folder(folder)


def access_in(release: TreeManifest) -> Callable[[bytes], Access | None]:
    """How the folders of a release may be entered."""

    def like(path: bytes) -> Access | None:
        entry = release.by_path.get(path)
        if entry is None or entry.kind is not EntryKind.FOLDER:
            return None
        return Access(entry.mode, entry.uid, entry.gid)

    return like


def access_at(tree: Path) -> Callable[[bytes], Access | None]:
    """How the folders of a tree may be entered."""

    def like(path: bytes) -> Access | None:
        there = at_path(tree, path) if path else tree
        if there is None or kind_of(there) is not ObjectKind.FOLDER:
            return None
        status = status_of(there)
        return Access(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    return like


def remove_empty_data_folders(place: Place, path: bytes) -> None:
    """Remove the folders that `make_data_folders` made, where nothing is in them, durably."""
    folder = place.data / os.fsdecode(path)
    while folder != place.room:
        folder = folder.parent
        if folder == place.room or not remove_empty_folder(folder):
            return
        fsync_folder(folder.parent)
