"""Steps recheck, point and the clean-ups: what becomes of the old.

Owns the last look before a commit and the rollback point after it. The
displaced file is the snapshot: it is read once more before the commit, for an
open descriptor may have written it, and then moved to
`.noodle/NAME/releases/VERSION-ROOT`. Clean-up removes what carries this
upgrade's id and is provably its own; everything else stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of, status_of
from noodle_engine.disk.names import fsync_folder, make_folder, unlink_quietly
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import path_text
from noodle_engine.targets.base import StepContext
from noodle_engine.targets.failures import DisplacedWritten, FlipLost, ForeignFound
from noodle_engine.targets.file.flip import is_flipped, new_root
from noodle_engine.targets.file.objects import Found, find
from noodle_engine.targets.file.sight import (
    attributes_for_new,
    foreign,
    look_at,
    move,
    write_staged,
)
from noodle_engine.targets.file.staging import unstage
from noodle_engine.targets.place import Place

__all__ = ["clean_committed", "clean_rolled_back", "drop", "point", "recheck"]

VERSION_UNKNOWN = "unversioned"
ROOT_DIGITS = 16
"""How many digits of its root a kept old has in its name; a clash adds the upgrade's id."""
VERSION_LENGTH_MAX = 128


def recheck(context: StepContext, place: Place) -> Observation:
    """Read new and old once more before the commit.

    A target that has vanished is made again from its payload, while the old
    stands beside: the new was proved already.

    Raises DisplacedWritten if the old was written since, ForeignFound if the
    target was changed, FlipLost if it is back at the old: none may be committed.
    """
    old, new = context.expected_old, new_root(context)
    seen = look_at(context, place)
    if is_flipped(context, seen):
        fsync_folder(place.parent)
        return seen.target.observation
    if seen.target.root == new:
        raise DisplacedWritten(
            path=place.path,
            where=place.next(context.upgrade),
            expected=old,
            found=seen.beside.root,
        )
    if seen.target.kind is ObjectKind.ABSENT and seen.beside.root == old:
        return _recreate(context, place)
    if seen.target.root == old:
        raise FlipLost(path=place.path, found=old)
    raise foreign(place, expected=new, found=seen.target.root)


def _recreate(context: StepContext, place: Place) -> Observation:
    """Make the new again, under the very root that was proved, where nothing is now."""
    source, new = context.source, new_root(context)
    if source is None or source.point:
        raise FlipLost(path=place.path, found=ABSENT)
    attributes = attributes_for_new(context, place, source)
    staged, made = write_staged(context, place, source, name="again", attributes=attributes)
    if made.root != new:
        raise FlipLost(path=place.path, found=ABSENT)
    if not move(staged, place.path):
        raise foreign(place, expected=new, found=find(place.path).root)
    observed = made.observation
    return Observation(observed.root, {**observed.attributes, "recreated": "new"})


def point(context: StepContext, place: Place) -> Observation:
    """Keep the old as a rollback point, durably.

    The observation is of the target; `location` says where the old is and
    `content` what it is. Without an old there is no location. An old that was
    written after the recheck is kept as it is, and `content` tells.
    """
    observed = find(place.path).observation
    if context.expected_old == ABSENT:
        return observed
    beside = find(place.next(context.upgrade))
    where = _kept_at(context, place)
    if beside.kind is ObjectKind.FILE:
        place.make_room()
        make_folder(place.releases, 0o700)
        where = _keep(context, place, beside)
    if where is None:
        raise DisplacedWritten(
            path=place.path,
            where=place.next(context.upgrade),
            expected=context.expected_old,
            found=beside.root,
        )
    kept = {"location": path_text(str(where)), "content": find(where).content}
    return Observation(observed.root, {**observed.attributes, **kept})


def _keep(context: StepContext, place: Place, beside: Found) -> Path:
    for location in _locations(context, place):
        if move(place.next(context.upgrade), location):
            return location
    raise ForeignFound(
        path=place.path,
        expected=ABSENT,
        found=find(place.path).root,
        where=location,
        found_there=beside.root,
    )


def _kept_at(context: StepContext, place: Place) -> Path | None:
    """Where an interrupted `point` has put the old already.

    The name with this upgrade's id is looked at first: it is only ever its own.
    """
    for location in reversed(tuple(_locations(context, place))):
        if find(location).root == context.expected_old:
            return location
    return None


def _locations(context: StepContext, place: Place) -> Iterator[Path]:
    version = context.from_version or VERSION_UNKNOWN
    version = re.sub(r"[^0-9A-Za-z.+-]", "_", version)[:VERSION_LENGTH_MAX]
    digits = context.expected_old.partition(":")[2][:ROOT_DIGITS]
    name = f"{version}-{digits}"
    yield place.releases / name
    yield place.releases / f"{name}-{context.upgrade}"


def clean_committed(context: StepContext, place: Place) -> Observation:
    """Remove `stage-ID`. What still stands beside the target is the old: it stays."""
    place.remove_stage(context.upgrade)
    return find(place.path).observation


def clean_rolled_back(context: StepContext, place: Place) -> Observation:
    """Remove what `stage` made, if it is still there; see `unstage`."""
    return unstage(context, place)


def drop(location: Path) -> int:
    """Remove a kept old version, durably; its bytes, 0 if it is gone already."""
    if kind_of(location) is not ObjectKind.FILE:
        return 0
    size = status_of(location).st_size
    unlink_quietly(location)
    fsync_folder(location.parent)
    return size
