"""The trees that are kept beside a target, and what is known of them.

Owns the names in `releases`, and which manifests nobody needs any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from noodle_engine.disk.failures import explained
from noodle_engine.disk.files import ObjectKind, kind_of, link_text
from noodle_engine.disk.trees.build import KeptTree
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.directory.trees.roots import led_to, tree_at, tree_digits, tree_root_in
from noodle_engine.targets.exchange import Look
from noodle_engine.targets.place import ROOT_DIGITS, Place

__all__ = [
    "LINK_ENDING",
    "digits_in",
    "forget_manifests",
    "kept_tree_at",
    "kept_trees",
    "newest_kept",
    "place_above",
]

LINK_ENDING = ".link"
_KEPT = re.compile(
    rf".+-[0-9a-f]{{{ROOT_DIGITS}}}-(?P<upgrade>[0-9A-Z]{{26}})({re.escape(LINK_ENDING)})?",
    re.DOTALL,
)
"""VERSION-ROOT-ID: whatever else stands in `releases` is somebody's."""


def kept_trees(place: Place, reader: Reader) -> Iterator[KeptTree]:
    """The trees that are kept beside a target, with what they should hold."""
    if kind_of(place.releases) is not ObjectKind.FOLDER:
        return
    known = {tree_digits(root): root for root in reader.manifests.roots()}
    with explained("list", place.releases):
        paths = sorted(place.releases.iterdir())
    for path in paths:
        root = known.get(digits_in(path.name))
        if root is not None and kind_of(path) is ObjectKind.FOLDER:
            manifest = reader.manifests.get(root)
            if manifest is not None:
                yield KeptTree(path, manifest)


def newest_kept(place: Place) -> Path | None:
    """The tree that was kept last: of an empty target, what was removed from it."""
    if kind_of(place.releases) is not ObjectKind.FOLDER:
        return None
    with explained("list", place.releases):
        names = [path.name for path in place.releases.iterdir()]
    for name in sorted(filter(_upgrade_in, names), key=_upgrade_in, reverse=True):
        path = tree_at(place.parent, place.releases / name)
        if kind_of(path) is ObjectKind.FOLDER:
            return path
    return None


def _upgrade_in(name: str) -> str:
    """The id of the upgrade in the name of what is kept: they sort by time. Empty for others."""
    found = _KEPT.fullmatch(name)
    return "" if found is None else found["upgrade"]


def forget_manifests(place: Place, reader: Reader, *, stranger: str | None = None) -> None:
    """Remove the manifests of trees that are neither kept, nor at the target, nor beside it.

    Where something is at the target that none of them knows, all others stay: they are
    what tells a person what should be there. So that of a `stranger` (its root), which
    was read for a repair that was taken back, goes first, unless a kept tree has it too.
    """
    reader.manifests.tidy()
    kept = _kept_digits(place)
    if stranger is not None and tree_digits(stranger) not in kept:
        reader.manifests.forget([one for one in reader.manifests.roots() if one == stranger])
        reader.expected = [one for one in reader.expected if tree_root_in(one) != stranger]
    roots = reader.manifests.roots()
    if not roots:
        return
    reader.expected = (*reader.expected, *roots)
    current = reader.find(place.path, Look.IDENTITY)
    if not current.is_absent and current.content not in roots:
        return
    needed = {tree_digits(current.content), *kept}
    with explained("list", place.parent):
        beside = [
            path
            for path in place.parent.iterdir()
            if path.name.startswith(f".{place.path.name}.next-")
        ]
    needed |= {tree_digits(reader.find(path, Look.IDENTITY).content) for path in beside}
    reader.manifests.forget([root for root in roots if tree_digits(root) not in needed])


def _kept_digits(place: Place) -> set[str]:
    """The digits of the roots of what is kept."""
    if kind_of(place.releases) is not ObjectKind.FOLDER:
        return set()
    with explained("list", place.releases):
        return {digits_in(path.name) for path in place.releases.iterdir()}


def digits_in(name: str) -> str:
    """The digits of a root in the name of what is kept: VERSION-ROOT-ID, or with `.link`."""
    return name.rpartition("-")[0].rpartition("-")[2]


def kept_tree_at(location: Path) -> Path | None:
    """The tree of a kept old version, if it is one of Noodle's: what goes with it."""
    kind = kind_of(location)
    if kind is ObjectKind.FOLDER:
        return location
    if kind is ObjectKind.LINK and location.parent.name == "releases":
        # P/.noodle/NAME/releases/KEPT.link: the text is relative to P.
        release = led_to(location.parents[3], link_text(location))
        if release.parent == location.parent and kind_of(release) is ObjectKind.FOLDER:
            return release
    return None


def place_above(location: Path) -> Place:
    """The place that a kept version belongs to: it is at P/.noodle/NAME/releases/KEPT."""
    room = location.parent.parent
    return Place(room.parent.parent / room.name)
