"""Which kept old versions may go, and their going.

Owns the rule and the order of dropping: the intent is recorded, the files go,
then it is recorded that they have gone. It never runs on an upgrade's path.

Laws
Q1. The newest kept old of a component is dropped by age alone, and only where old versions
    go by themselves (`rollback_manager.cleanup`); one of a component that an open upgrade has
    never is.
Q2. After a crash anywhere in between, dropping again ends it: what is recorded
    as gone is gone. What was begun to be dropped is no rollback point any more.
Q3. One that a process still works in is not dropped: its files would vanish
    under it.
Q4. No more are kept than a `state` record has room for: what would go forward past
    that is refused before anything is recorded. A way back always has room.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import orjson

from noodle_engine.execute.answers.views import CollectedView, PointLeft, PointRow
from noodle_engine.execute.failures import PointsFull
from noodle_engine.execute.timing.limits import DAY_MS
from noodle_engine.machine.codec import encode
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.records import Noted
from noodle_engine.machine.states import Direction
from noodle_engine.machine.upgrade import Fold, Point
from noodle_engine.targets.load import load_target
from noodle_engine.targets.place import local_path
from noodle_journal.errors import NoodleError
from noodle_policies.settings.values import Values

if TYPE_CHECKING:
    from noodle_engine.execute.engine import Engine  # who only looks does not pay for it

__all__ = ["POINTS_BYTES_MAX", "Keeping", "check_room", "collect", "expired", "point_row"]

POINTS_BYTES_MAX = 8 * 1024 * 1024
"""What the kept old versions may take of a `state` record, which has 16 MiB: about
twenty thousand of them, or a few hundred whose paths are as long as paths can be."""


def check_room(plan: Plan, world: Fold) -> None:
    """Refuse to go forward where too many old versions are kept (law Q4). Raises PointsFull."""
    if plan.direction is Direction.BACK:
        return  # it takes one away for the one that it leaves
    kept = (*world.points, *world.dropping)
    if len(orjson.dumps([encode(point) for point in kept])) > POINTS_BYTES_MAX:
        raise PointsFull(len(kept))


@dataclass(frozen=True, slots=True)
class Keeping:
    """How many old versions of a component stay, and for how long.

    newest_days_max: the age at which even the newest goes; None: it stays.
    """

    points_max: int
    days_max: int
    newest_days_max: int | None = None

    @classmethod
    def of(cls, values: Values) -> Keeping:
        """As the settings say."""
        cleans = values.acts("rollback_manager.cleanup.enabled")
        return cls(
            values.whole("runtime_upgrade.rollback.max_rollback_points"),
            values.whole("runtime_upgrade.rollback.rollback_retention_days"),
            values.whole("rollback_manager.cleanup.max_retention_days") if cleans else None,
        )

    def lets_go(self, age: int, days: float) -> bool:
        """Whether the point that `age` newer ones of its component follow goes at that age."""
        if age >= self.points_max:
            return True
        limit = self.days_max if age else self.newest_days_max
        return limit is not None and days > limit


def expired(world: Fold, keeping: Keeping, *, now_ms: int) -> tuple[Point, ...]:
    """The points that the settings no longer keep (law Q1), by component, oldest first."""
    busy = {one.name for upgrade in world.upgrades.values() for one in upgrade.plan.components}
    return tuple(
        point
        for name, points in _by_component(world)
        if name not in busy
        for age, point in reversed(list(enumerate(reversed(points))))
        if keeping.lets_go(age, (now_ms - point.at_ms) / DAY_MS)
    )


def _by_component(world: Fold) -> Iterator[tuple[str, list[Point]]]:
    ordered = sorted(world.points, key=lambda point: point.component)  # stable: oldest first
    for name, points in groupby(ordered, key=lambda point: point.component):
        yield name, list(points)


def point_row(point: Point) -> PointRow:
    """A point as callers see it, with what it takes on disk now."""
    location = local_path(point.location)
    cost = load_target(point.kind).cost(location)
    return PointRow(
        component=point.component,
        version=point.version,
        upgrade=point.upgrade,
        at_ms=point.at_ms,
        target=str(local_path(point.target)),
        location=str(location),
        size_bytes=None if cost is None else cost.own + cost.shared,
        own_bytes=None if cost is None else cost.own,
        shared_bytes=None if cost is None else cost.shared,
    )


def collect(engine: Engine, keeping: Keeping, *, actor: str) -> CollectedView:
    """Drop what is expired, and end what an earlier call had begun.

    A target that cannot be locked keeps its points, and so does one that is in
    use; the answer says why. Raises what the journal raises; then a later call
    goes on.
    """
    dropped: list[PointRow] = []
    left: list[PointLeft] = []
    freed = 0
    with engine.alone():
        now = engine.clock.now_ms()
        begun = engine.world.dropping
        gone = expired(engine.world, keeping, now_ms=now)
        for points in (begun, gone):
            of_target = sorted(points, key=lambda point: (point.component, point.target))
            for (name, _), group in groupby(of_target, key=lambda one: (one.component, one.target)):
                going, kept = _apart(group)
                left += [PointLeft(name, problem, _USED_REMEDY) for problem in kept]
                if not going:
                    continue
                rows = [point_row(point) for point in going]
                try:
                    freed += _drop(engine, name, going, actor)
                except NoodleError as failure:
                    left.append(PointLeft(name, failure.problem, failure.remedy))
                else:
                    dropped += rows
    return CollectedView(tuple(dropped), freed, tuple(left))


_USED_REMEDY = "restart or reload it, then run `noodle gc` again"


def _apart(points: Iterable[Point]) -> tuple[list[Point], list[str]]:
    """What may go, and of what may not (law Q3) why."""
    going: list[Point] = []
    kept: list[str] = []
    for point in points:
        users = load_target(point.kind).users(local_path(point.location))
        if users:
            version = point.version or "unversioned"
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            kept.append(f"{users[0]}{more} works in {point.component} {version}")
        else:
            going.append(point)
    return going, kept


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
