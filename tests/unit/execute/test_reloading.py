"""W1 to W3: settings are taken over whole and recorded, or those of before stay."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from noodle_engine.execute.home import watching
from noodle_engine.execute.home.reloading import (
    RECORDED_LETTERS_MAX,
    RECORDED_MAX,
    Reloading,
)
from noodle_engine.execute.home.watching import POLL_S, polled, watched
from noodle_engine.execute.operations import Operations
from noodle_engine.machine.records import ConfigChanged
from noodle_engine.machine.states import State
from noodle_journal.errors import NoodleError
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.values import Values
from tests.unit.execute.site import WAIT_S_MAX, Driven, Site, hook
from tests.unit.policies.settings.sources import nested

POINTS = "runtime_upgrade.rollback.max_rollback_points"
AT_ONCE = "runtime_upgrade_manager.max_concurrent_upgrades"
THROTTLED = "performance.throttling.concurrent_limit"


@dataclass
class Heard:
    """What a reloading recorded, and what it put into force."""

    changes: list[ConfigChanged] = field(default_factory=list)
    taken: list[Values] = field(default_factory=list)
    refusing: bool = False
    news: threading.Event = field(default_factory=threading.Event)

    def record(self, change: ConfigChanged) -> None:
        if self.refusing:
            raise NoodleError(problem="the disk is full", cause="a test", remedy="none")
        self.changes.append(change)
        self.news.set()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def reloading(site: Site, heard: Heard) -> Iterator[Reloading]:
    made = Reloading(site.home, {}, (), record=heard.record, take=heard.taken.append)
    yield made
    made.close()


def put(site: Site, key: str, value: object) -> None:
    site.settings(json.dumps(nested(key, value)))


def test_a_change_is_recorded_once_with_its_keys_and_counts(
    site: Site, reloading: Reloading, heard: Heard
) -> None:
    before = reloading.look().must()
    assert (heard.changes, heard.taken) == ([], [before])  # nobody changed anything
    put(site, POINTS, 3)
    after = reloading.look().must()
    assert after.whole(POINTS) == 3
    assert reloading.look().must() is after
    twin = "rollback_manager.max_rollback_points"
    (change,) = heard.changes
    assert set(change.keys) == {POINTS, twin}
    assert (change.old_hash, change.new_hash) == (before.hash, after.hash)
    assert (change.accepted, change.errors) == (True, ())
    assert heard.taken == [before, after]


def test_a_blank_more_is_no_change(site: Site, reloading: Reloading, heard: Heard) -> None:
    put(site, POINTS, 3)
    reloading.look()
    site.settings(json.dumps(nested(POINTS, 3), indent=7))
    assert reloading.look().must().whole(POINTS) == 3
    assert heard.changes == []


def test_what_cannot_be_used_leaves_those_of_before_and_shows_no_value(
    site: Site, reloading: Reloading, heard: Heard
) -> None:
    put(site, POINTS, 3)
    before = reloading.look().must()
    site.settings(json.dumps({**nested(POINTS, "hunter2"), "debug": {"api_token": "hunter2"}}))
    for _ in range(3):
        found = reloading.look()
        assert found.failure is not None
        assert reloading.in_force is before
    (change,) = heard.changes
    assert set(change.keys) == {POINTS, "debug.api_token"}
    assert (change.accepted, change.old_hash, change.new_hash) == (False, before.hash, None)
    assert len(change.errors) == 2
    assert "hunter2" not in repr(change)
    site.settings(json.dumps({**nested(POINTS, "hunter3"), "debug": {"api_token": "hunter3"}}))
    reloading.look()
    assert len(heard.changes) == 1  # wrong in the same way at the same places
    put(site, POINTS, 3)
    assert reloading.look().must().hash == before.hash
    assert (heard.changes[1].keys, heard.changes[1].accepted) == ((), True)
    assert len(heard.changes) == 2


def test_a_record_has_room_for_whatever_is_wrong(
    site: Site, reloading: Reloading, heard: Heard
) -> None:
    """Ten thousand unknown names, one of them long: told within a bound, and soon."""
    reloading.look()
    wrong = {"x" * 200_000: 1, **{f"unknown_{number}": 1 for number in range(10_000)}}
    site.settings(json.dumps(wrong))
    assert reloading.look().failure is not None
    (change,) = heard.changes
    assert change.errors[-1] == f"and {10_001 - RECORDED_MAX} more"
    for told in (change.keys, change.errors):
        assert len(told) == RECORDED_MAX + 1
        assert max(map(len, told)) <= RECORDED_LETTERS_MAX


def test_what_cannot_be_recorded_does_not_count_until_it_can(
    site: Site, reloading: Reloading, heard: Heard
) -> None:
    before = reloading.look().must()
    heard.refusing = True
    put(site, POINTS, 3)
    assert reloading.look().must() is before
    heard.refusing = False
    assert reloading.look().must().whole(POINTS) == 3
    assert len(heard.changes) == 1


def test_a_home_whose_first_settings_are_broken_takes_the_first_good_ones(
    site: Site, reloading: Reloading, heard: Heard
) -> None:
    site.settings("{")
    assert reloading.look().failure is not None
    assert (heard.taken, heard.changes, reloading.in_force) == ([], [], None)
    put(site, POINTS, 3)
    assert reloading.look().must().whole(POINTS) == 3
    assert [(one.old_hash, one.accepted) for one in heard.changes] == [(None, True)]


# -- hearing of changes ---------------------------------------------------------------


@dataclass
class Waits:
    """A stop that lets the time pass at once, so often."""

    times: int
    waited_s: list[float | None] = field(default_factory=list)

    def is_set(self) -> bool:
        return len(self.waited_s) > self.times

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_s.append(timeout)
        return self.is_set()


def test_where_nothing_tells_of_changes_they_are_looked_for() -> None:
    stop = Waits(3)
    assert len(list(polled(list, stop))) == 3
    assert stop.waited_s == [POLL_S] * 4


def test_without_inotify_is_looked_too(tmp_path: Path) -> None:
    """No watch is left, or the kernel has none: the library raises then."""
    asked: list[Sequence[str]] = []

    def none_left(paths: Sequence[str], _stop: object) -> Iterator[object]:
        asked.append(paths)
        raise OSError(28, "no watch is left")

    stop = Waits(watching.POLLS + 5)
    seen = list(watching._told(lambda: [tmp_path, tmp_path / "absent"], stop, none_left))
    assert len(seen) == watching.POLLS + 5
    assert asked == [[str(tmp_path)]] * 2  # inotify is tried again after a while


def test_a_folder_in_the_place_of_another_is_watched_in_its_turn(tmp_path: Path) -> None:
    """inotify follows a folder, not its name."""
    folder = tmp_path / "config"
    folder.mkdir()
    watching_it = []

    def told_often(paths: Sequence[str], _stop: object) -> Iterator[object]:
        watching_it.append(Path(paths[0]).stat().st_ino)
        while True:
            yield None

    told = watching._told(lambda: [folder], Waits(0), told_often)
    next(told)
    next(told)
    folder.rename(tmp_path / "old")
    folder.mkdir()
    next(told)
    next(told)
    assert watching_it == [(tmp_path / "old").stat().st_ino, folder.stat().st_ino]


def test_a_changed_file_is_heard_of(site: Site, heard: Heard) -> None:
    made = Reloading(
        site.home, {}, (), record=heard.record, take=heard.taken.append, changes=watched
    )
    made.look()
    made.start()
    try:
        made.hurry()
        for value in (3, 4):
            heard.news.clear()
            put(site, POINTS, value)
            assert heard.news.wait(WAIT_S_MAX)
        assert made.in_force is not None
        assert made.in_force.whole(POINTS) == 4
    finally:
        made.close()


# -- live keys ------------------------------------------------------------------------


@pytest.mark.parametrize("key", [AT_ONCE, THROTTLED])
def test_more_may_run_as_soon_as_the_settings_say_so(driven: Driven, key: str) -> None:
    """Rules N and V: the smallest limit counts, for what waits already as well."""
    assert catalogue().keys[key].facts.live
    site = driven.site
    operations = Operations(driven.engine, {})
    put(site, key, 1)
    operations.reloading.look()
    gate = site.gate("gate")
    site.release("slow", "1.0.0", hook("before-swap", gate.command))
    site.release("late", "1.0.0")
    slow = driven.submit(driven.plan("slow@1.0.0"))
    gate.wait()
    waits = driven.heard(lambda one: one.entry.label == "decision")
    late = driven.submit(driven.plan("late@1.0.0"))
    assert waits.wait(WAIT_S_MAX)
    assert driven.open_one(late).waits_for == key
    waiting = operations.view(late).waiting
    assert waiting is not None
    assert (waiting.waits_for, waiting.key) == ("turn", key)

    put(site, key, 2)
    operations.reloading.look()
    assert driven.engine.wait(late, WAIT_S_MAX)
    assert driven.state(late) is State.COMMITTED
    assert driven.open_one(slow).state is not State.COMMITTED
    gate.open()
    assert driven.engine.wait(slow, WAIT_S_MAX)


def test_without_throttling_its_limit_does_not_count(driven: Driven) -> None:
    site = driven.site
    operations = Operations(driven.engine, {})
    site.settings(json.dumps({"performance": {"throttling": {"enabled": False}}}))
    values = operations.reloading.look().must()
    assert not values.switch("performance.throttling.enabled")
    site.settings(json.dumps(nested(THROTTLED, 1)))
    operations.reloading.look()
    gate = site.gate("gate")
    site.release("slow", "1.0.0", hook("before-swap", gate.command))
    site.release("late", "1.0.0")
    slow = driven.submit(driven.plan("slow@1.0.0"))
    gate.wait()
    waits = driven.heard(lambda one: one.entry.label == "decision")
    late = driven.submit(driven.plan("late@1.0.0"))
    assert waits.wait(WAIT_S_MAX)
    site.settings(json.dumps({"performance": {"throttling": {"enabled": False}}}))
    operations.reloading.look()
    assert driven.engine.wait(late, WAIT_S_MAX)
    gate.open()
    assert driven.engine.wait(slow, WAIT_S_MAX)
