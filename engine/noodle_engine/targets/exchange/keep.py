"""Steps recheck, point and the clean-ups: what becomes of the old.

Owns the last look before a commit and the rollback point after it. The
displaced object is the snapshot: it is looked at once more before the commit,
for an open descriptor may have written it, and then moved to where its kind
keeps it, under a name with this upgrade's id. Clean-up removes what carries the
id and is provably its own; everything else stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from noodle_engine.disk.failures import DiskError, FolderUnsafe
from noodle_engine.disk.names import fsync_folder
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import path_text
from noodle_engine.targets.exchange.flip import is_flipped
from noodle_engine.targets.exchange.objects import Exchange, Found, Look
from noodle_engine.targets.exchange.sight import foreign, look_at, move, set_aside
from noodle_engine.targets.exchange.staging import unstage
from noodle_engine.targets.failures import DisplacedWritten, FlipLost, ForeignFound

__all__ = ["clean_committed", "clean_rolled_back", "point", "recheck"]


def recheck(exchange: Exchange) -> Observation:
    """Look at new and old once more before the commit.

    A target that has vanished is made again from its payload, while the old
    stands beside: the new was proved already.

    Raises DisplacedWritten if the old, or its data, was written since, ForeignFound if the
    target was changed, FlipLost if it is back at the old: none may be committed.
    """
    old, new = exchange.old, exchange.new
    seen = look_at(exchange)
    if is_flipped(exchange, seen):
        written = exchange.objects.written_since(exchange.beside)
        if written is not None:
            raise DisplacedWritten(
                path=exchange.place.path,
                where=exchange.beside,
                expected="its data as it was exchanged",
                found=f"{written} written since",
            )
        fsync_folder(exchange.place.parent)
        return seen.target.observation
    if seen.target.root == new:
        raise DisplacedWritten(
            path=exchange.place.path,
            where=exchange.beside,
            expected=old,
            found=seen.beside.root,
        )
    if seen.target.is_absent and seen.beside.root == old:
        return _recreate(exchange)
    if seen.target.root == old:
        raise FlipLost(path=exchange.place.path, found=old)
    raise foreign(exchange, expected=new, found=seen.target.root)


def _recreate(exchange: Exchange) -> Observation:
    """Make the new again, under the very root that was proved, where nothing is now."""
    source = exchange.context.source
    if source is None or source.point or exchange.objects.carries:
        raise FlipLost(path=exchange.place.path, found=ABSENT)  # what programs wrote is gone too
    staged, made = exchange.objects.write_new(source)
    if made.root != exchange.new:
        raise FlipLost(path=exchange.place.path, found=ABSENT)
    if not move(staged, exchange.place.path):
        found = exchange.objects.find(exchange.place.path).root
        raise foreign(exchange, expected=exchange.new, found=found)
    observed = made.observation
    return Observation(observed.root, {**observed.attributes, "recreated": "new"})


def point(exchange: Exchange) -> Observation:
    """Keep the old as a rollback point, durably.

    The observation is of the target; `location` says where the old is and
    `content` what it is. Without an old there is no location. An old that was
    written after the recheck is kept as it is, and `written` says where. Where the
    disk refuses to move it, it is kept where it stands, beside the target: a
    disk that fails must not lose the old. In a repair the old is a stranger's: it is
    set aside, `kept` says where, and nothing goes back to it.

    The name with this upgrade's id is only ever its own: what is there is what
    an interrupted `point` put there, whatever became of it since.
    """
    observed = exchange.objects.find(exchange.place.path, Look.IDENTITY).observation
    if exchange.old == ABSENT:
        return observed
    if exchange.repairs:
        aside = _set_aside(exchange)
        told = {"kept": path_text(str(aside)), "stayed": exchange.objects.bring_over(aside)}
        told = {name: text for name, text in told.items() if text}
        return Observation(observed.root, {**observed.attributes, **told})
    where = exchange.objects.kept_at()
    beside = exchange.objects.find(exchange.beside, Look.IDENTITY)
    kept = exchange.objects.find(where, Look.IDENTITY)
    if kept.is_absent:
        if not beside.is_known:
            raise DisplacedWritten(
                path=exchange.place.path,
                where=exchange.beside,
                expected=exchange.old,
                found=beside.root,
            )
        where = _keep(exchange, where)
    else:
        if _is_same(beside, kept):  # a second name, as a power cut may leave
            exchange.objects.discard(exchange.beside)
        fsync_folder(where.parent)
        fsync_folder(exchange.place.parent)
    found = exchange.objects.find(where, Look.STAMPS)
    facts = {"location": path_text(str(where)), "content": found.content}
    if found.root != exchange.old:
        facts["written"] = facts["location"]
    return Observation(observed.root, {**observed.attributes, **facts})


def _set_aside(exchange: Exchange) -> Path:
    """Keep the displaced object of a stranger's as `NAME.foreign-ID`; twice is once.

    Raises DisplacedWritten if it is at neither name any more.
    """
    snapshot = exchange.context.snapshot
    beside = exchange.objects.find(exchange.beside, Look.IDENTITY)
    if not beside.is_absent:
        return set_aside(exchange, exchange.beside)
    for path in takewhile(os.path.lexists, exchange.place.foreign(exchange.context.upgrade)):
        found = exchange.objects.find(path, Look.IDENTITY)
        same = snapshot is not None and _is_one(found.attributes, snapshot.attributes)
        if same or (not found.is_known and found.root == exchange.old):
            fsync_folder(path.parent)
            return path
    raise DisplacedWritten(
        path=exchange.place.path,
        where=exchange.beside,
        expected=exchange.old,
        found=beside.root,
    )


def _is_same(one: Found, other: Found) -> bool:
    """Whether two names name one and the same object."""
    return one.is_known and _is_one(one.attributes, other.attributes)


def _is_one(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether attributes are of one and the same object."""
    return all(one.get(name) == other.get(name) is not None for name in ("device", "inode"))


def _keep(exchange: Exchange, where: Path) -> Path:
    try:
        exchange.objects.make_room()
        if move(exchange.beside, where):
            return where
    except (DiskError, FolderUnsafe):
        if exchange.objects.find(where, Look.IDENTITY).is_known:
            raise  # it was moved, and is perhaps not durable: done again
        return exchange.beside
    raise ForeignFound(
        path=exchange.place.path,
        expected=ABSENT,
        found=exchange.objects.find(exchange.place.path).root,
        where=where,
        found_there=exchange.objects.find(where).root,
    )


def clean_committed(exchange: Exchange) -> Observation:
    """Remove what staging left. What still stands beside the target is the old: it stays."""
    exchange.objects.clear(committed=True)
    return exchange.objects.find(exchange.place.path, Look.IDENTITY).observation


def clean_rolled_back(exchange: Exchange) -> Observation:
    """Remove what `stage` made, if it is still there; see `unstage`."""
    observed = unstage(exchange)
    exchange.objects.taken_back()
    return observed
