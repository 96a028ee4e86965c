"""Deadlines are told once they are due, each once, and by a clock that is handed in."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from noodle_engine.execute.timing.timers import Timers
from tests.unit.execute.site import WAIT_S_MAX

ONE, OTHER = "upgrade-1", "upgrade-2"


class Desk:
    """Timers on a clock that stands still until it is moved, and what they told."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.told: queue.Queue[tuple[str, str]] = queue.Queue()
        self.timers = Timers(lambda: self.now_ms, lambda *what: self.told.put(what))

    def next(self) -> tuple[str, str]:
        return self.told.get(timeout=WAIT_S_MAX)

    def wake(self) -> None:
        """Return once the timers have looked at the clock as it is now."""
        self.timers.set("nobody", "wakes", self.now_ms)
        assert self.next() == ("nobody", "wakes")


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.timers.close()


def test_a_deadline_that_has_passed_is_told_at_once(desk: Desk) -> None:
    """As after a time in which no process ran."""
    desk.timers.set(ONE, "total", 1)
    assert desk.next() == (ONE, "total")


def test_a_deadline_is_not_told_before_it_is_due_and_then_once(desk: Desk) -> None:
    desk.timers.set(ONE, "total", 2_000)
    desk.wake()
    desk.now_ms = 1_999
    desk.wake()
    assert desk.told.empty()
    desk.now_ms = 2_000
    desk.timers.set("nobody", "wakes", 5_000)
    assert desk.next() == (ONE, "total")
    desk.wake()
    assert desk.told.empty()


def test_time_itself_is_enough(desk: Desk) -> None:
    """Nobody has to set another one: the thread sleeps until the earliest is due."""
    desk.timers.set(ONE, "later", 1_000_000)
    desk.timers.set(ONE, "total", 1_020)
    desk.now_ms = 1_020
    assert desk.next() == (ONE, "total")


def test_a_deadline_that_is_moved_is_told_at_its_new_time_only(desk: Desk) -> None:
    desk.timers.set(ONE, "total", 2_000)
    desk.timers.set(ONE, "total", 3_000)
    desk.now_ms = 2_500
    desk.wake()
    assert desk.told.empty()
    desk.now_ms = 3_000
    desk.timers.set("nobody", "wakes", 5_000)
    assert desk.next() == (ONE, "total")


def test_the_deadlines_of_an_upgrade_that_has_ended_are_never_told(desk: Desk) -> None:
    desk.timers.set_all(ONE, {"total": 2_000, "back": 2_000})
    desk.timers.set_all(OTHER, {"total": 2_000})
    desk.timers.forget(ONE)
    desk.now_ms = 2_000
    desk.timers.set("nobody", "wakes", 2_000)
    assert {desk.next(), desk.next()} == {(OTHER, "total"), ("nobody", "wakes")}
    desk.wake()
    assert desk.told.empty()


def test_all_that_are_due_are_told(desk: Desk) -> None:
    desk.timers.set_all(ONE, {"total": 2_000, "back": 1_500})
    desk.timers.set_all(OTHER, {"total": 1_800})
    desk.now_ms = 2_000
    desk.timers.set("nobody", "wakes", 5_000)
    found = {desk.next() for _ in range(3)}
    assert found == {(ONE, "total"), (ONE, "back"), (OTHER, "total")}


def test_who_is_told_may_set_and_forget_deadlines() -> None:
    """No lock is held meanwhile: another thread may, too."""
    told: queue.Queue[str] = queue.Queue()

    def due(upgrade: str, timer: str) -> None:
        if timer == "first":
            other = threading.Thread(target=timers.forget, args=(OTHER,))
            other.start()
            other.join(WAIT_S_MAX)
            assert not other.is_alive()
            timers.set(upgrade, "second", 0)
        told.put(timer)

    timers = Timers(lambda: 1, due)
    timers.set(ONE, "first", 0)
    assert [told.get(timeout=WAIT_S_MAX) for _ in range(2)] == ["first", "second"]
    timers.close()


def test_closing_ends_the_thread_and_what_is_set_then_is_told_to_nobody(desk: Desk) -> None:
    before = threading.active_count()
    desk.timers.set(ONE, "total", 1_000_000)
    assert threading.active_count() == before + 1
    desk.timers.close()
    assert threading.active_count() == before
    desk.timers.set(ONE, "total", 0)
    assert threading.active_count() == before
    assert desk.told.empty()
    desk.timers.close()


def test_closing_what_never_had_a_deadline_is_nothing() -> None:
    Timers(lambda: 0, lambda _upgrade, _timer: None).close()


def test_who_is_told_may_close() -> None:
    """A deadline that ends the engine does not wait for itself."""
    ended = threading.Event()

    def due(_upgrade: str, _timer: str) -> None:
        timers.close()
        ended.set()

    timers = Timers(lambda: 1, due)
    timers.set(ONE, "total", 0)
    assert ended.wait(WAIT_S_MAX)
    timers.close()
