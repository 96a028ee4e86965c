"""What is at a target, or why that cannot be upgraded. Reads only."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.names import prove_exchange
from noodle_engine.disk.space import mounts
from noodle_engine.machine.text import path_text
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.directory.trees.roots import tree_at
from noodle_engine.targets.exchange import Found, Look
from noodle_engine.targets.exchange.surroundings import (
    refuse_frozen,
    refuse_mount,
    refuse_of_other,
    refuse_parent,
)
from noodle_engine.targets.failures import TargetHasMount, TargetWrongType
from noodle_engine.targets.place import Place

__all__ = ["refuse_unusable", "settled_options"]


def settled_options(options: TreeOptions, place: Place) -> TreeOptions:
    """The options with the layout that what is at the target has."""
    kind = kind_of(place.path)
    if kind is ObjectKind.FOLDER:
        return replace(options, layout="tree")
    if kind is ObjectKind.LINK:
        return replace(options, layout="link")
    return options


def refuse_unusable(
    place: Place, reader: Reader, *, going_back: bool = False, any_kind: bool = False
) -> Found:
    """What is at the target, or the failure that says why it cannot be upgraded.

    With `any_kind` it may be anything: a repair sets it aside.
    """
    refuse_parent(place)
    kind = kind_of(place.path)
    tree = tree_at(place.parent, place.path)
    if kind is not ObjectKind.ABSENT and kind_of(tree) is not ObjectKind.FOLDER and not any_kind:
        found = kind.value
        if kind is ObjectKind.LINK:
            found = f"link to {path_text(str(tree))}, which leads to none"
        raise TargetWrongType(path=place.path, found=found, kind="directory")
    if kind is not ObjectKind.ABSENT:
        refuse_of_other(place)
        refuse_mount(place)
        if kind is ObjectKind.FOLDER:
            refuse_frozen(place, place.path)
        _refuse_mounts_in(place, tree)
    if not going_back:
        prove_exchange(place.parent)
    return reader.find(place.path, Look.STAMPS)


def _refuse_mounts_in(place: Place, tree: Path) -> None:
    real = Path(os.path.realpath(tree))
    for mount in mounts():
        if mount.point == real or real in mount.point.parents:
            raise TargetHasMount(path=place.path, mount=mount.point)
