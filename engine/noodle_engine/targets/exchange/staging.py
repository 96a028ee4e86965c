"""Steps snapshot and stage: the old identified, the new durable and proved.

Owns `.NAME.next-ID` until the swap. A release is written there; a kept old
version (a rollback point) is moved there, and needs no space.

| beside the target | stage does | undo of stage does |
|---|---|---|
| nothing | write it, prove it | nothing |
| the new | prove it again | remove it (a point: move it back) |
| the old | foreign | leaves it; removes it if the new is the same and it is at the target |
| anything else | foreign | leaves it, says where |
"""

from __future__ import annotations

from pathlib import Path

from noodle_engine.disk.names import fsync_folder
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import Source
from noodle_engine.targets.exchange.objects import Exchange, Found, Look
from noodle_engine.targets.exchange.sight import (
    Sight,
    foreign,
    foreign_beside,
    is_ours,
    is_wanted,
    look_at,
    move,
    put_beside,
    set_aside,
)
from noodle_engine.targets.failures import ForeignFound, PointLost

__all__ = ["snapshot", "stage", "staged", "unstage"]


def snapshot(exchange: Exchange) -> Observation:
    """Identify the old. The object that is displaced is the snapshot.

    Step check has read it, under the same lock: it is enough to know that it is the
    same object. Whoever writes into it from now on is found by the look before the exchange.

    Raises ForeignFound if it is not what the plan was made for.
    """
    found = exchange.objects.find(exchange.place.path, Look.IDENTITY)
    if found.root != exchange.old:
        raise foreign(exchange, expected=exchange.old, found=found.root)
    exchange.objects.remember(found)
    return found.observation


def stage(exchange: Exchange) -> Observation:
    """Put the new beside the target, durable and read back (law G4).

    The folders that the old is kept in later are made now, while the disk that
    has no space for them stops nothing.
    """
    exchange.objects.make_room()
    source = exchange.context.source
    if source is None:
        return Observation(ABSENT)
    if source.point:
        return exchange.objects.noted(_take_point(exchange, source), exchange.beside)
    beside = exchange.objects.find(exchange.beside, Look.STAMPS)
    if beside.is_absent:
        return put_beside(exchange, source).observation
    if not exchange.objects.is_new(beside, source):
        seen = Sight(exchange.objects.find(exchange.place.path, Look.STAMPS), beside)
        raise foreign_beside(exchange, seen, expected=source.content)
    return _proved(exchange, exchange.beside).observation


def _proved(exchange: Exchange, path: Path) -> Found:
    """Make what stands at `path`, and its name, durable, and read it from the disk."""
    found = exchange.objects.prove(path)
    fsync_folder(path.parent)
    return found


def _take_point(exchange: Exchange, source: Source) -> Found:
    """Move a kept old version beside the target, read once more before it goes."""
    beside = exchange.objects.find(exchange.beside, Look.STAMPS)
    if beside.content == source.content:
        fsync_folder(source.path.parent)
        return _whole_point(exchange, source, exchange.beside)
    if not beside.is_absent:
        seen = Sight(exchange.objects.find(exchange.place.path, Look.STAMPS), beside)
        raise foreign_beside(exchange, seen, expected=source.content)
    kept = _whole_point(exchange, source, source.path)
    if not move(source.path, exchange.beside):
        raise foreign_beside(exchange, look_at(exchange), expected=ABSENT)
    moved = exchange.objects.displaced(exchange.beside, kept)
    if moved.root != kept.root:
        raise _point_lost(exchange, source, moved)
    return kept


def _whole_point(exchange: Exchange, source: Source, path: Path) -> Found:
    """The point, wholly read: it was made durable when it was kept. Raises PointLost."""
    found = exchange.objects.find(path, Look.WHOLE)
    fsync_folder(path.parent)
    if found.content != source.content:
        raise _point_lost(exchange, source, found)
    return found


def _point_lost(exchange: Exchange, source: Source, found: Found) -> PointLost:
    return PointLost(
        path=exchange.place.path,
        point=source.path,
        expected=source.content,
        found=found.content,
        component=exchange.context.component.name,
    )


def staged(exchange: Exchange) -> Found | None:
    """The new, if it stands beside the target whole; made durable. Else None."""
    source = exchange.context.source
    if source is None:
        return None
    beside = exchange.objects.find(exchange.beside, Look.STAMPS)
    if not beside.is_known or beside.content != source.content:
        return None
    if not source.point and not exchange.objects.is_new(beside, source):
        return None
    return _proved(exchange, exchange.beside)


def _is_twin(exchange: Exchange, seen: Sight) -> bool:
    """Whether new and old are the same, and one stands at the target: the other is to spare."""
    return (
        seen.target.root == seen.beside.root == exchange.old
        and seen.beside.is_known
        and is_wanted(exchange, seen.beside)
    )


def unstage(exchange: Exchange) -> Observation:
    """Take away what `stage` put there, and nothing else, durably.

    A point goes back to its place. What is not this upgrade's stays, and the
    observation's `left` says where; with `restore` it is set aside.
    """
    seen = look_at(exchange)
    left: dict[str, str] = {}
    if seen.beside.is_absent:
        _sync_names(exchange)
    elif is_ours(exchange, seen.beside) or _is_twin(exchange, seen):
        _drop(exchange, seen)
    elif exchange.context.restore and seen.target.root == exchange.old:
        left["left"] = str(set_aside(exchange, exchange.beside))
    else:
        left["left"] = str(exchange.beside)
    exchange.objects.clear(committed=False)
    observed = seen.target.observation
    return Observation(observed.root, {**observed.attributes, **left})


def _sync_names(exchange: Exchange) -> None:
    """Nothing is beside the target: whoever took it away may not have lived to sync that."""
    fsync_folder(exchange.place.parent)
    source = exchange.context.source
    if source is not None and source.point and source.path.parent.is_dir():
        fsync_folder(source.path.parent)


def _drop(exchange: Exchange, seen: Sight) -> None:
    source = exchange.context.source
    if source is None or not source.point:
        exchange.objects.discard(exchange.beside)
        return
    if move(exchange.beside, source.path):
        return
    kept = exchange.objects.find(source.path, Look.STAMPS)
    if kept.root == seen.beside.root:
        exchange.objects.discard(exchange.beside)
        return
    raise ForeignFound(
        path=exchange.place.path,
        expected=ABSENT,
        found=seen.target.root,
        where=source.path,
        found_there=kept.root,
    )
