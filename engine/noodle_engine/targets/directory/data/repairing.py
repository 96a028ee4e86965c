"""What a repair of a directory does besides an upgrade: data and unmanaged paths stay in place.

Owns what becomes of those paths in a tree that somebody changed. The tree is
exchanged whole with one built from its release, and set aside as a stranger's.

Laws
RP1. A mutable path's data is never moved: only the link to it is put back.
RP2. What is unmanaged goes from the tree that was set aside into the one that was put
     back, by its name, where that name is free; it is never copied and never replaced.
RP3. Everything else that somebody wrote stays with what was set aside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from noodle_engine.disk.failures import DiskError, explained
from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.trees.manifest import Change, ChangeKind, name_text
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.directory.data.rules import leads_to_data
from noodle_engine.targets.directory.trees.roots import tree_at
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.place import Place

__all__ = ["bring_unmanaged", "is_own", "notices", "without_data_links"]


def notices(place: Place, options: TreeOptions) -> Iterator[str]:
    """What of a damaged tree does not come into the one that is put back, or does."""
    tree = tree_at(place.parent, place.path)
    if kind_of(tree) is not ObjectKind.FOLDER:
        return
    for path in () if options.quiesce else options.mutable:
        there = tree / os.fsdecode(path)
        if kind_of(there) is not ObjectKind.ABSENT and not leads_to_data(place, there, path):
            yield (
                f"{name_text(path)} does not lead to its data any more: what stands there is kept "
                "with the rest, and the link is put back"
            )
    if options.unmanaged and is_own(place, place.path):
        yield f"what is unmanaged ({', '.join(options.unmanaged)}) stays in place"


def without_data_links(
    place: Place, options: TreeOptions, changes: Sequence[Change]
) -> tuple[Change, ...]:
    """The changes without the links to data that are in place: no scan has them."""
    tree = tree_at(place.parent, place.path)
    return tuple(
        one
        for one in changes
        if not (
            one.kind is ChangeKind.ADDED
            and one.path in options.mutable
            and leads_to_data(place, tree / os.fsdecode(one.path), one.path)
        )
    )


def is_own(place: Place, path: Path) -> bool:
    """Whether a name stands for a tree of this target's own, and not for one elsewhere."""
    tree = tree_at(place.parent, path)
    return tree.parent in (place.parent, place.releases) and kind_of(tree) is ObjectKind.FOLDER


def bring_unmanaged(options: TreeOptions, source: Path, target: Path) -> list[bytes]:
    """Move what is unmanaged from one tree into another, durably (RP2). Twice is once.

    What cannot be moved, as another user's folder, stays where it is, and is the answer.
    """
    stayed: list[bytes] = []
    if not options.unmanaged:
        return stayed
    for path in list(_unmanaged(options, source, b"")):
        name = os.fsdecode(path)
        if kind_of((target / name).parent) is not ObjectKind.FOLDER:
            continue
        try:
            move(source / name, target / name)
        except DiskError:
            stayed.append(path)
    return stayed


def _unmanaged(options: TreeOptions, tree: Path, within: bytes) -> Iterator[bytes]:
    """The outermost unmanaged paths of a tree."""
    folder = tree / os.fsdecode(within)
    with explained("list", folder):
        entries = sorted(os.scandir(os.fsencode(folder)), key=lambda one: one.name)
    for entry in entries:
        path = within + b"/" + entry.name if within else entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if options.is_mutable(path):
            continue
        if options.skips(path, is_folder):
            yield path
        elif is_folder:
            yield from _unmanaged(options, tree, path)
