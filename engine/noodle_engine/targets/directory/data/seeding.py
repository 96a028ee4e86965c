"""Where the data of a program begins: once, from the release, where nothing is yet.

No later release and no way back touches it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.names import rename_noreplace
from noodle_engine.disk.trees.manifest import TreeManifest
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.directory.data.carrying import Carrying
from noodle_engine.targets.directory.data.parts import (
    at_path,
    part_of,
    remove_part,
    sync_part,
    write_part,
)
from noodle_engine.targets.directory.data.places import access_in, make_data_folders
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.place import Place

__all__ = ["seed", "seed_inside"]


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
        there = place.data / Path(*map(os.fsdecode, path.split(b"/")))
        if kind_of(there) is not ObjectKind.ABSENT:
            continue
        make_data_folders(place, path, access_in(release))
        begun = stage / "seed"
        remove_part(begun)
        write_part(begun, part_of(release, path), payload, path, stop)
        sync_part(begun)  # before it has its name: nobody seeds a path that is there
        move(begun, there)  # whoever made it meanwhile has made it


def seed_inside(
    options: TreeOptions,
    release: TreeManifest,
    payload: Path,
    stage: Path,
    *,
    old: Path,
    new: Path,
    kept: Path | None,
    stop: threading.Event,
) -> None:
    """Give every path whose data lies inside, and that `old` does not have, what the release has.

    `new` is a tree that is being built. `kept` is the tree that was removed last, if the
    target is empty since: its data outlasts the removal. Nothing is durable. Raises a
    disk failure, StageUnproven.
    """
    carrying = Carrying(new, options.mutable, stage, stop)
    if kept is not None and options.quiesce:
        carrying.copy_into(kept, new)
    for path in options.mutable if options.quiesce else ():
        if at_path(old, path) is not None or at_path(new, path) is not None:
            continue  # it is carried when its writers stand still
        begun = stage / "seed"
        remove_part(begun)
        write_part(begun, part_of(release, path), payload, path, stop)
        rename_noreplace(begun, new / os.fsdecode(path))
