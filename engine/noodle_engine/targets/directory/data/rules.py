"""Which plans data forbids, and what a plan says of data. Reads only.

Owns every reason why data could not be found where the next version looks for it, or
could not be carried, there and back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of, link_text, status_of
from noodle_engine.disk.trees.manifest import TreeManifest, name_text, named
from noodle_engine.machine.plan import Hook, HookPoint
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.directory.data.back import in_the_way
from noodle_engine.targets.directory.data.parts import at_path, size_inside, unusable_inside
from noodle_engine.targets.directory.trees.kept import newest_kept
from noodle_engine.targets.directory.trees.payload import inside
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.directory.trees.roots import tree_at
from noodle_engine.targets.exchange import Found
from noodle_engine.targets.exchange.surroundings import refuse_frozen
from noodle_engine.targets.failures import DataElsewhere, DataRefused, MutableInside, MutableOutside
from noodle_engine.targets.place import Place

__all__ = [
    "QUIESCE_MS_MAX",
    "around_exchange",
    "data_of_removed",
    "data_that_goes",
    "leads_to_data",
    "refuse_data",
    "refuse_elsewhere",
    "refuse_unmovable",
    "same_device",
    "sized_with_data",
]

QUIESCE_MS_MAX = 300_000
"""How long the stopping or starting of who writes data may take."""


def leads_to_data(place: Place, there: Path, path: bytes) -> bool:
    """Whether what stands at a mutable path is a link to its data."""
    data = place.data / os.fsdecode(path)
    return kind_of(there) is ObjectKind.LINK and (
        os.path.normpath(os.path.realpath(there.parent) + "/" + link_text(there)) == str(data)
    )


def refuse_elsewhere(component: str, place: Place, found: Found, options: TreeOptions) -> None:
    """Refuse a release whose mutable paths are where it will not look for them.

    Inside of the old tree the data would stay there; outside it would not come in.
    """
    if found.is_absent:
        return
    tree = tree_at(place.parent, place.path)
    within: list[str] = []
    outside: list[str] = []
    for path in options.mutable:
        there = tree / os.fsdecode(path)
        kind = kind_of(there)
        if kind is ObjectKind.ABSENT:
            continue
        if options.quiesce and kind is ObjectKind.LINK and not leads_to_data(place, there, path):
            outside.append(name_text(path))  # a copy of it would lead elsewhere
            continue
        (outside if leads_to_data(place, there, path) else within).append(name_text(path))
    if options.quiesce and outside:
        raise MutableOutside(path=place.path, component=component, mutable=tuple(outside))
    if within and not options.quiesce:
        raise MutableInside(path=place.path, component=component, mutable=tuple(within))


def refuse_data(
    component: str, place: Place, reader: Reader, found: Found, new: TreeManifest
) -> None:
    """Refuse data inside that could not be carried, both ways. `new` is what comes."""
    options = reader.options
    if not options.quiesce or found.is_absent:
        return
    tree = tree_at(place.parent, place.path)
    refuse_unmovable(component, place, tree, options.mutable)
    old = reader.manifest_of(found)
    for path in options.mutable:
        why = unusable_inside(tree, path)
        if old is not None and why is None:
            own = [one.path for one in old.entries if inside(one.path, [path])]
            if own:
                why = f"the installed version has it as its own: {named(own)}"
        why = why or in_the_way(new, path)
        if why is not None:
            raise DataRefused(path=place.path, component=component, data=name_text(path), why=why)


def refuse_unmovable(
    component: str, place: Place, tree: Path, paths: Iterable[bytes], *more: Path
) -> None:
    """Refuse data in a tree (or `more`) that may not change its name, or only with a copy."""
    if not same_device(tree, place.parent):
        raise DataElsewhere(path=place.path, component=component, tree=tree)
    for path in paths:
        for there in (at_path(one, path) for one in (tree, *more)):
            if there is None:
                continue
            refuse_frozen(place, there.parent)
            if kind_of(there) in (ObjectKind.FILE, ObjectKind.FOLDER):
                refuse_frozen(place, there)


def around_exchange(
    options: TreeOptions, installed: TreeOptions, found: Found, *, goes: bool = False
) -> tuple[Hook, ...]:
    """The commands that stop who writes the tree that is there, and start who writes the next.

    Each version says who that is. Of a tree that `goes` nobody is started: there is
    nothing left to write.
    """
    if not options.quiesce or found.is_absent:
        return ()
    old = installed if installed.quiesce else options
    around = (
        Hook(HookPoint.QUIESCE, old.quiesce, undo=old.unquiesce, timeout_ms=QUIESCE_MS_MAX),
        Hook(HookPoint.UNQUIESCE, options.unquiesce, options.quiesce, timeout_ms=QUIESCE_MS_MAX),
    )
    return around[:1] if goes else around


def data_that_goes(options: TreeOptions, tree: Path) -> Iterator[str]:
    """The data inside of a tree that is removed: it goes with it, and comes back with it."""
    size, count = size_inside(options, tree)
    if count:
        yield (
            f"its data inside ({', '.join(map(name_text, options.mutable))}: {size} bytes) goes "
            "with it into the kept version; a rollback, or an install with that data, brings it "
            "back"
        )


def data_of_removed(options: TreeOptions, place: Place, *, coming: Path | None) -> Iterator[str]:
    """What becomes of the data of a version that was removed, where nothing is now.

    `coming` is a kept tree that is put in place as it is; without, a release is installed,
    and gets the data of the version that was removed last.
    """
    removed = newest_kept(place)
    if removed is None or not options.quiesce or removed == coming:
        return
    there = [path for path in options.mutable if at_path(removed, path) is not None]
    if not there:
        return
    if coming is None:
        yield f"its data at {named(there)} comes from the version kept last, as it was then"
    else:
        yield (
            f"its data at {named(there)} comes as it was kept: newer is with the version that was "
            "removed last; roll back to that one first, and then to this"
        )


def sized_with_data(
    place: Place, found: Found, options: TreeOptions, copied: int, inodes: int
) -> tuple[int, int]:
    """What is to be written with the data that is carried into the new tree."""
    tree = newest_kept(place) if found.is_absent else tree_at(place.parent, place.path)
    if tree is None:
        return copied, inodes
    size, count = size_inside(options, tree)
    return copied + size, inodes + count


def same_device(one: Path, other: Path) -> bool:
    """Whether two paths are on one device, so far as their status tells."""
    return status_of(one).st_dev == status_of(other).st_dev
