"""Which kept old versions may go: the rule, and that the rest restores byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_engine import Noodle
from noodle_engine.execute.failures import PointAbsent, PointsFull, SettingsRefused
from noodle_engine.execute.retention import POINTS_BYTES_MAX, Keeping, check_room, expired
from noodle_engine.execute.timing.limits import DAY_MS
from noodle_engine.machine.codec import encode
from noodle_engine.machine.plan import Plan, World
from noodle_engine.machine.records import Noted
from noodle_engine.machine.states import Direction
from noodle_engine.machine.upgrade import Fold, Point
from noodle_journal.format.canonical import BODY_BYTES_MAX

NAMES = ("web", "api")


def point(name: str, number: int, at_ms: int) -> Point:
    return Point(
        component=name,
        kind="file",
        target=f"/{name}",
        root=f"file:{number}",
        upgrade=f"{number}",
        at_ms=at_ms,
        location=f"/kept/{number}",
        version=f"1.{number}.0",
    )


worlds = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 100)), max_size=20).map(
    lambda rows: Fold(
        points=tuple(point(name, number, day * DAY_MS) for number, (name, day) in enumerate(rows))
    )
)


@given(worlds, st.integers(1, 5), st.integers(1, 50), st.none() | st.integers(1, 150))
def test_the_newest_stays_longest_and_of_the_rest_so_many_for_so_long(
    world: Fold, points_max: int, days_max: int, newest_days_max: int | None
) -> None:
    now = 100 * DAY_MS
    keeping = Keeping(points_max, days_max, newest_days_max)
    gone = expired(world, keeping, now_ms=now)
    assert len(set(gone)) == len(gone)
    for name in NAMES:
        mine = [one for one in world.points if one.component == name]
        stay = [one for one in mine if one not in gone]
        if newest_days_max is None:
            assert stay[-1:] == mine[-1:]
        assert len(stay) <= points_max
        for age, one in enumerate(reversed(mine)):
            days = days_max if age else newest_days_max
            fits = age < points_max and (days is None or now - one.at_ms <= days * DAY_MS)
            assert (one in stay) is fits


def plan(direction: Direction) -> Plan:
    return Plan(home="log", direction=direction, components=(), steps=(), world=World({}, {}, ""))


def test_no_more_is_kept_than_can_be_remembered() -> None:
    """A way back always has room; the state with all that fits is well within a record."""
    fits = Fold(points=tuple(point("web", number, 0) for number in range(20_000)))
    check_room(plan(Direction.FORWARD), fits)
    long = replace(point("web", 0, 0), location="/" + "%FF" * 4_000, target="/" + "%FF" * 4_000)
    full = Fold(points=(long,) * 400)
    with pytest.raises(PointsFull) as caught:
        check_room(plan(Direction.FORWARD), full)
    assert "noodle gc" in caught.value.remedy
    check_room(plan(Direction.BACK), full)
    dropping = Fold(dropping=full.points)
    with pytest.raises(PointsFull):
        check_room(plan(Direction.FORWARD), dropping)
    largest = len(orjson.dumps(encode(long)))
    assert POINTS_BYTES_MAX + 256 * largest < BODY_BYTES_MAX  # one plan more


def release(folder: Path, version: str) -> Path:
    made = folder / version
    made.mkdir()
    (made / "payload").write_text(f"web {version}")
    (made / "noodle.toml").write_text(
        f'format = 1\n[component]\nname = "web"\nversion = "{version}"\nkind = "file"\n'
        f'[payload]\npath = "payload"\n[target]\npath = "{folder / "live"}"\n'
    )
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Six versions, one after the other; three points are kept."""
    home = tmp_path / "home"
    Noodle.init(home)
    with Noodle.open(home) as noodle:
        for number in range(6):
            noodle.add(release(tmp_path, f"1.{number}.0"))
            noodle.apply([f"web@1.{number}.0"])
    set_points_max(home, 3)
    return home


def set_points_max(home: Path, points_max: object) -> None:
    file = home / "config" / "runtime_upgrade_config.json"
    settings = json.loads(file.read_text())
    settings["runtime_upgrade"] = {"rollback": {"max_rollback_points": points_max}}
    file.write_text(json.dumps(settings))


def kept(home: Path) -> list[str]:
    with Noodle.open(home) as noodle:
        return [row.version or "" for row in noodle.points().points]


def test_what_is_too_much_goes_and_what_stays_restores(home: Path, tmp_path: Path) -> None:
    assert len(kept(home)) == 5
    with Noodle.open(home) as noodle:
        would = noodle.collect(dry_run=True)
        assert [row.version for row in would.dropped] == ["1.0.0", "1.1.0"]
        assert len(noodle.points().points) == 5
        done = noodle.collect()
        assert [row.version for row in done.dropped] == ["1.0.0", "1.1.0"]
        assert done.bytes_freed == would.bytes_freed == 2 * len("web 1.0.0")
        assert not done.left
        assert noodle.collect().dropped == ()
    assert kept(home) == ["1.2.0", "1.3.0", "1.4.0"]
    rooms = list((tmp_path / ".noodle" / "live" / "releases").iterdir())
    assert len(rooms) == 3
    for version in ("1.2.0", "1.3.0", "1.4.0"):
        with Noodle.open(home) as noodle:
            noodle.rollback("web", to=version)
            assert noodle.audit_verify().ok
        assert (tmp_path / "live").read_text() == f"web {version}"


def test_a_kept_old_that_is_gone_from_the_disk_is_told_and_dropped(
    home: Path, tmp_path: Path
) -> None:
    for path in (tmp_path / ".noodle" / "live" / "releases").glob("1.0.0-*"):
        path.unlink()
    with Noodle.open(home) as noodle:
        assert noodle.points("web").points[0].size_bytes is None
        assert [row.version for row in noodle.collect().dropped] == ["1.0.0", "1.1.0"]


def test_what_the_holder_drops_for_another_is_the_same(home: Path) -> None:
    with Noodle.open(home) as holder:
        assert holder.resume() == ()  # it holds the home from now on
        with Noodle.open(home) as other:
            assert [row.version for row in other.collect().dropped] == ["1.0.0", "1.1.0"]
            assert len(other.points().points) == 3


def test_settings_that_cannot_be_read_drop_nothing(home: Path) -> None:
    set_points_max(home, "many")
    with Noodle.open(home) as noodle, pytest.raises(SettingsRefused):
        noodle.collect()
    assert len(kept(home)) == 5


def test_a_kept_old_that_was_begun_to_be_dropped_is_no_point_and_is_dropped(
    home: Path, tmp_path: Path
) -> None:
    """The engine died after it had recorded what it was about to drop (law Q2)."""
    with Noodle.open(home) as noodle:
        first, newest = noodle.points().points[0], noodle.points().points[-1]
        data = {"component": "web", "upgrades": first.upgrade}
        holder = noodle._hold()
        assert holder is not None
        holder.engine.append([Noted("points.dropping", "dropping", data)], actor="x")
    set_points_max(home, 100)
    assert first.version not in kept(home)
    with Noodle.open(home) as noodle:
        with pytest.raises(PointAbsent):
            noodle.plan_back("web", to=first.version)
        assert [row.version for row in noodle.collect().dropped] == [first.version]
        assert noodle.collect().dropped == ()
    assert not Path(first.location).exists()
    assert Path(newest.location).exists()


def test_what_a_killed_add_left_goes_too(home: Path) -> None:
    left = home / "runtime_components" / ".adding" / "1" / "release" / "payload"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    with Noodle.open(home) as noodle:
        noodle.collect(dry_run=True)
        assert left.exists()
        noodle.collect()
    assert list((home / "runtime_components" / ".adding").iterdir()) == []
