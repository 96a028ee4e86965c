"""What of the data inside comes along on a way back, and what stays where it is.

Owns that question alone: two versions may not agree on which paths are data. A way back
is not refused for that; it carries what both sides can have, and says what stays.

    path               carried
    installed's data   unless the other version has something of its own there; then such
                       paths in it as are data to both
    the other's alone  if there is something that no release has; else what that version has
                       stays as it was kept: nobody wrote it since
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from noodle_engine.disk.trees.manifest import EntryKind, TreeManifest, name_text, named
from noodle_engine.machine.text import path_bytes, path_text
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.directory.data.parts import at_path
from noodle_engine.targets.directory.trees.payload import inside

__all__ = ["Back", "carried_paths", "in_the_way", "way_back", "with_installed_data"]

_CARRIED: Final = "carried"
"""The option that names what is carried, where that is not all data of the version that comes."""


def carried_paths(options: Mapping[str, str]) -> tuple[bytes, ...]:
    """The paths of data inside that the exchange of a plan carries, from its options."""
    stored = options.get(_CARRIED)
    if stored is not None:
        return tuple(path_bytes(one) for one in json.loads(stored))
    settled = TreeOptions.from_text(options)
    return settled.mutable if settled.quiesce else ()


def with_installed_data(options: TreeOptions, installed: TreeOptions) -> TreeOptions:
    """The options with the data inside of the installed version: no tree's identity has it."""
    return _with_data(options, installed.mutable, installed) if installed.quiesce else options


def _with_data(
    options: TreeOptions, more: tuple[bytes, ...], installed: TreeOptions
) -> TreeOptions:
    paths = dict.fromkeys((*options.mutable, *more))
    outer = tuple(
        one for one in paths if not any(inside(one, [other]) for other in paths if other != one)
    )
    return replace(
        options,
        mutable=outer,
        mutable_folders=(options.mutable_folders | installed.mutable_folders) & set(outer),
        quiesce=options.quiesce or installed.quiesce,
        unquiesce=options.unquiesce or installed.unquiesce,
    )


@dataclass(frozen=True, slots=True)
class Back:
    """What a way back does with data inside.

    `options` are those of the version that comes, once it is there. `staying` is data of
    the installed version that stays with it, `kept` what comes as it was kept.
    """

    options: TreeOptions
    carried: tuple[bytes, ...] = ()
    staying: tuple[bytes, ...] = ()
    kept: tuple[bytes, ...] = ()

    @property
    def text(self) -> dict[str, str]:
        """The options as a plan holds them."""
        carried = json.dumps([path_text(one) for one in self.carried], ensure_ascii=False)
        return {**self.options.to_text(), _CARRIED: carried}

    @property
    def notices(self) -> Iterator[str]:
        """What a person should know before."""
        if self.staying:
            yield (
                f"the data at {named(self.staying)} stays with the version that is put aside: the "
                "one that comes back has something of its own there"
            )
        if self.kept:
            yield (
                f"the data at {named(self.kept)} comes back as it was kept: it is no data of the "
                "version that is put aside"
            )


def way_back(
    options: TreeOptions,
    installed: TreeOptions,
    *,
    live: tuple[Path, TreeManifest | None],
    point: tuple[Path, TreeManifest],
) -> Back:
    """What comes along from the `live` tree into a kept one. Reads names only.

    `options` are those of the version that was kept.
    """
    theirs = options.mutable if options.quiesce else ()
    ours = installed.mutable if installed.quiesce else ()
    (tree, now), (kept_tree, then) = live, point
    carried: list[bytes] = []
    staying: list[bytes] = []
    for path in ours:
        if now is not None and has_own(now, path):
            continue  # it was settled long ago that this is no data
        if _fits(then, path):
            carried.append(path)
            continue
        carried += [one for one in theirs if inside(one, [path]) and _fits(then, one)]
        if at_path(tree, path) is not None:
            staying.append(path)
    for path in theirs:
        if any(inside(path, [one]) or inside(one, [path]) for one in (*ours, *carried)):
            continue
        if at_path(tree, path) is not None and (now is None or not has_own(now, path)):
            carried.append(path)
    return Back(
        options=_with_data(options, tuple(carried), installed) if carried else options,
        carried=tuple(carried),
        staying=tuple(staying),
        kept=tuple(
            path
            for path in theirs
            if at_path(kept_tree, path) is not None
            and not any(inside(one, [path]) or inside(path, [one]) for one in carried)
        ),
    )


def has_own(tree: TreeManifest, path: bytes) -> bool:
    """Whether a release has something at a path, or in it."""
    return any(inside(entry.path, [path]) for entry in tree.entries)


def _fits(tree: TreeManifest, path: bytes) -> bool:
    return not has_own(tree, path) and in_the_way(tree, path) is None


def in_the_way(tree: TreeManifest, path: bytes) -> str | None:
    """What of a tree a path of data cannot lie in."""
    parent = path
    while parent := parent.rpartition(b"/")[0]:
        entry = tree.by_path.get(parent)
        if entry is not None and entry.kind is not EntryKind.FOLDER:
            return f"in the other version {name_text(parent)} is no folder"
    return None
