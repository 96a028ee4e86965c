"""Which kept old versions may go, and their going.

Owns the rule and the order of dropping: the intent is recorded, the files go,
then it is recorded that they have gone. It never runs on an upgrade's path.

Laws
Q1. The newest kept old of a component is never dropped, nor one of a component
    that an open upgrade has.
Q2. After a crash anywhere in between, dropping again ends it: what is recorded
    as gone is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from noodle_engine.execute.answers.views import CollectedView, PointLeft, PointRow
from noodle_engine.machine.records import Noted
from noodle_engine.machine.upgrade import Fold, Point
from noodle_engine.targets.load import load_target
from noodle_engine.targets.place import local_path
from noodle_journal.errors import NoodleError

if TYPE_CHECKING:
    from noodle_engine.execute.engine import Engine  # who only looks does not pay for it

__all__ = ["collect", "expired", "point_row"]

DAY_MS = 86_400_000


def expired(world: Fold, *, points_max: int, days_max: int, now_ms: int) -> tuple[Point, ...]:
    """The points that the settings no longer keep (law Q1), by component, oldest first."""
    busy = {one.name for upgrade in world.upgrades.values() for one in upgrade.plan.components}
    return tuple(
        point
        for name, points in _by_component(world)
        if name not in busy
        for age, point in reversed(list(enumerate(reversed(points))))
        if age >= points_max or (age > 0 and now_ms - point.at_ms > days_max * DAY_MS)
    )


def _by_component(world: Fold) -> Iterator[tuple[str, list[Point]]]:
    ordered = sorted(world.points, key=lambda point: point.component)  # stable: oldest first
    for name, points in groupby(ordered, key=lambda point: point.component):
        yield name, list(points)


def point_row(point: Point) -> PointRow:
    """A point as callers see it, with what it takes on disk now."""
    location = local_path(point.location)
    try:
        size: int | None = location.stat().st_size
    except OSError:
        size = None
    return PointRow(
        component=point.component,
        version=point.version,
        upgrade=point.upgrade,
        at_ms=point.at_ms,
        target=str(local_path(point.target)),
        location=str(location),
        size_bytes=size,
    )


def collect(engine: Engine, *, points_max: int, days_max: int, actor: str) -> CollectedView:
    """Drop what is expired. A target that cannot be locked keeps its points, and says why.

    Raises what the journal raises; then a later call goes on.
    """
    dropped: list[PointRow] = []
    left: list[PointLeft] = []
    freed = 0
    with engine.alone():
        now = engine.clock.now_ms()
        gone = expired(engine.world, points_max=points_max, days_max=days_max, now_ms=now)
        for name, points in groupby(gone, key=lambda point: point.component):
            going = list(points)
            rows = [point_row(point) for point in going]
            try:
                freed += _drop(engine, name, going, actor)
            except NoodleError as failure:
                left.append(PointLeft(name, failure.problem, failure.remedy))
            else:
                dropped += rows
    return CollectedView(tuple(dropped), freed, tuple(left))


def _drop(engine: Engine, name: str, points: list[Point], actor: str) -> int:
    target = load_target(points[0].kind)
    path = local_path(points[0].target)
    lock = target.lock(path, engine.journal.log_id, take_over=False)
    try:
        data = {"component": name, "upgrades": " ".join(point.upgrade for point in points)}
        versions = ", ".join(point.version or "unversioned" for point in points)
        text = f"kept old versions of {name}: {versions}"
        engine.append([Noted("points.dropping", f"dropping {text}", data)], actor=actor)
        freed = sum(target.drop(local_path(point.location)) for point in points)
        engine.append([Noted("points.dropped", f"dropped {text}", data)], actor=actor)
    finally:
        lock.release()
    return freed
