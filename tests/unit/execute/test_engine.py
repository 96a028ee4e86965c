"""The engine: laws N2 to N6, deadlines, the queue, holds, request keys. Real journal, real files.

Nothing here waits by the clock: commands stand at gates, and records are heard.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.failures import (
    ComponentBusy,
    PlanStale,
    RequestRefused,
    UpgradeUnknown,
)
from noodle_engine.execute.recording import Heard
from noodle_engine.machine.decide import TurnBack
from noodle_engine.machine.failures import MessageRefused
from noodle_engine.machine.records import (
    BACK_TIMER,
    TOTAL_TIMER,
    Alert,
    Event,
    Noted,
    StepDone,
    StepIntent,
    TimerSet,
    Transition,
)
from noodle_engine.machine.states import (
    Direction,
    HoldReason,
    Message,
    OnCrash,
    Reason,
    Release,
    State,
)
from noodle_engine.targets.failures import TargetBusy
from noodle_journal import Kind
from tests.unit.execute.site import WAIT_S_MAX, Clock, Driven, Gate, Site, hook

LIMIT = "runtime_upgrade.strategies.strategy_configs.gradual.timeout"
"""The total limit of the default strategy."""
ONE_AT_A_TIME = {"runtime_upgrade_manager.max_concurrent_upgrades": 1}
ROUNDS = 12
"""How often a race is run; each meets the ending thread somewhere else."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(site: Site, clock: Clock) -> Iterator[Driven]:
    """An engine whose clocks a test sets."""
    made = Driven.open(site, clock)
    yield made
    made.close()


def wake_timers(driven: Driven) -> None:
    """Let the timers look at the clock, which a test has moved."""
    driven.engine._timers.set("nobody", "nothing", 1 << 60)


def moves(events: list[Event], message: Message) -> list[Transition]:
    return [one for one in events if isinstance(one, Transition) and one.message is message]


def is_move(message: Message) -> Callable[[Heard], bool]:
    def found(heard: Heard) -> bool:
        event = heard.entry.event
        return isinstance(event, Transition) and event.message is message

    return found


def timers(events: list[Event], name: str) -> list[int]:
    return [one.due_ms for one in events if isinstance(one, TimerSet) and one.id == name]


def begun(events: list[Event]) -> list[str]:
    return [one.step for one in events if isinstance(one, StepIntent)]


# -- requests and their keys ----------------------------------------------------


def test_an_upgrade_runs_to_its_commit_and_each_step_has_its_intent_first(driven: Driven) -> None:
    """N2: of each step the intent comes before the result, and no result without one."""
    driven.site.release("web", "1.0.0")
    upgrade = driven.apply("web@1.0.0")

    assert driven.state(upgrade) is State.COMMITTED
    assert driven.site.has("web", "1.0.0")
    intended: set[str] = set()
    for event in driven.events(upgrade):
        if isinstance(event, StepIntent):
            intended.add(event.step)
        if isinstance(event, StepDone):
            assert event.step in intended
    assert upgrade not in driven.engine.world.upgrades


def test_a_request_key_names_one_upgrade_while_it_is_open_and_after_it_ended(
    driven: Driven,
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    plan = driven.plan("web@1.0.0")
    first = driven.submit(plan, request_key="k")
    gate.wait()
    assert driven.submit(plan, request_key="k") == first
    gate.open()
    assert driven.engine.wait(first, WAIT_S_MAX)
    size = driven.engine.journal.size

    assert driven.submit(plan, request_key="k") == first
    assert driven.engine.journal.size == size


def test_a_request_key_is_remembered_by_the_next_engine(site: Site) -> None:
    site.release("web", "1.0.0")
    one = Driven.open(site)
    plan = one.plan("web@1.0.0")
    first = one.submit(plan, request_key="k")
    assert one.engine.wait(first, WAIT_S_MAX)
    one.close()
    two = Driven.open(site)
    try:
        assert two.submit(plan, request_key="k") == first
    finally:
        two.close()


@pytest.mark.parametrize("ended", [True, False])
def test_a_request_key_with_another_plan_is_refused(driven: Driven, ended: bool) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    site.release("api", "1.0.0")
    plans = driven.plan("web@1.0.0"), driven.plan("api@1.0.0")
    first = driven.submit(plans[0], request_key="k")
    gate.wait()
    if ended:
        gate.open()
        assert driven.engine.wait(first, WAIT_S_MAX)
    size = driven.engine.journal.size

    with pytest.raises(RequestRefused) as refused:
        driven.submit(plans[1], request_key="k")

    assert refused.value.data["upgrade"] == first
    if ended:
        assert driven.engine.journal.size == size
    gate.open()


def test_a_key_that_is_looked_for_twice_reads_the_journal_once(driven: Driven) -> None:
    site = driven.site
    site.release("web", "1.0.0")
    site.release("api", "1.0.0")
    driven.apply("api@1.0.0")
    plan = driven.plan("web@1.0.0")
    assert driven.engine.known_request(plan, "k") is None
    again = driven.engine.journal.read_back(1, Kind.UPGRADE_REQUESTED)
    newest = next(again).seq

    assert driven.engine._unused_key == ("k", newest)
    first = driven.submit(plan, request_key="k")  # asks for it once more
    assert driven.engine.known_request(plan, "k") == first
    assert driven.engine.wait(first, WAIT_S_MAX)
    assert driven.engine.known_request(plan, "k") == first


def test_a_component_of_an_open_upgrade_is_busy(driven: Driven) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    plan = driven.plan("web@1.0.0")
    first = driven.submit(plan)
    gate.wait()

    with pytest.raises(ComponentBusy) as busy:
        driven.submit(plan)

    assert busy.value.data["upgrade"] == first
    gate.open()
    assert driven.engine.wait(first, WAIT_S_MAX)


def test_of_two_requests_with_one_plan_one_is_carried_out(driven: Driven) -> None:
    """The loser finds the component busy, or the versions moved: never a second upgrade."""
    driven.site.release("web", "1.0.0")
    plan = driven.plan("web@1.0.0")
    start = threading.Barrier(2, timeout=WAIT_S_MAX)
    taken: list[str] = []
    refused: list[BaseException] = []

    def ask() -> None:
        start.wait()
        try:
            taken.append(driven.submit(plan))
        except (ComponentBusy, PlanStale) as failure:
            refused.append(failure)

    run_all(ask, ask)

    assert len(taken) == len(refused) == 1
    assert driven.engine.wait(taken[0], WAIT_S_MAX)
    assert driven.state(taken[0]) is State.COMMITTED


def run_all(*works: Callable[[], object]) -> None:
    """Run each in a thread of its own, to its end."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S_MAX)
        assert not thread.is_alive(), "a deadlock"


# -- waiting --------------------------------------------------------------------


def test_wait_raises_what_the_thread_raised_and_the_upgrade_goes_on_at_resume(
    driven: Driven,
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("after-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    driven.engine.leave(upgrade)
    gate.open()
    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    lock = lock_file(site.folder / "srv" / ".noodle" / "web" / "lock")
    try:
        driven.engine.resume(upgrade, actor="test")
        with pytest.raises(TargetBusy):
            driven.engine.wait(upgrade, WAIT_S_MAX)
        with pytest.raises(TargetBusy):  # also whoever comes later
            driven.engine.wait(upgrade, WAIT_S_MAX)
        assert driven.engine.running == ()
    finally:
        lock.release()
    driven.engine.resume(upgrade, actor="test")

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.COMMITTED


def test_a_wait_that_is_over_leaves_the_upgrade_running(driven: Driven) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()

    assert not driven.engine.wait(upgrade, 0)
    assert driven.engine.running == (upgrade,)

    gate.open()
    assert driven.engine.wait(upgrade, WAIT_S_MAX)


def test_what_is_not_open_can_be_neither_resumed_nor_aborted(driven: Driven) -> None:
    driven.site.release("web", "1.0.0")
    ended = driven.apply("web@1.0.0")
    for upgrade in (ended, "0" * 26):
        with pytest.raises(UpgradeUnknown):
            driven.engine.resume(upgrade, actor="test")
        with pytest.raises(UpgradeUnknown):
            driven.engine.abort(upgrade, actor="test")


# -- races with the ending of a thread (laws N5, N6) ----------------------------


def test_an_upgrade_that_was_refused_the_lock_runs_no_hook_and_cleans_nothing(
    driven: Driven,
) -> None:
    site = driven.site
    mark = site.folder / "hook-ran"
    site.release("web", "1.0.0")
    first = driven.submit(driven.plan("web@1.0.0"))
    assert driven.engine.wait(first, WAIT_S_MAX)
    site.release("web", "1.1.0", hook("after-rollback", ["touch", str(mark)]))
    lock = lock_file(site.folder / "srv" / ".noodle" / "web" / "lock")
    try:
        refused = driven.submit(driven.plan("web@1.1.0"))
        assert driven.engine.wait(refused, WAIT_S_MAX)
    finally:
        lock.release()
    assert driven.state(refused) is State.ROLLED_BACK
    assert begun(driven.events(refused)) == []
    assert not mark.exists()


def test_an_abort_that_races_with_the_end_is_acted_on_or_refused(driven: Driven) -> None:
    """N6: it never happens that it is recorded and nobody undoes."""
    site = driven.site
    gate = site.gate("gate")

    def abort(upgrade: str, start: threading.Barrier, refused: list[BaseException]) -> None:
        start.wait()
        try:
            driven.engine.abort(upgrade, actor="test")
        except (MessageRefused, UpgradeUnknown) as failure:
            refused.append(failure)

    def end(start: threading.Barrier) -> None:
        start.wait()
        gate.open()

    for number in range(ROUNDS):
        name = f"app{number}"
        site.release(name, "1.0.0", hook("after-swap", gate.command))
        upgrade = driven.submit(driven.plan(f"{name}@1.0.0"))
        gate.wait()
        start = threading.Barrier(2, timeout=WAIT_S_MAX)
        refused: list[BaseException] = []
        run_all(partial(abort, upgrade, start, refused), partial(end, start))

        assert driven.engine.wait(upgrade, WAIT_S_MAX)
        assert upgrade not in driven.engine.world.upgrades
        assert driven.state(upgrade) is (State.COMMITTED if refused else State.ROLLED_BACK)
        assert site.has(name, "1.0.0" if refused else None)
        # Where the command was stopped before it read, its word is still in the pipe.
        gate.drain()


def test_a_resume_that_races_with_leaving_is_acted_on(driven: Driven) -> None:
    """N6: whoever resumed while the thread was ending finds it driven to its end."""

    def leave_and_resume(upgrade: str, start: threading.Barrier) -> None:
        start.wait()
        driven.engine.leave(upgrade)
        with suppress(UpgradeUnknown):  # it had ended
            driven.engine.resume(upgrade, actor="test")

    for number in range(ROUNDS):
        name = f"app{number}"
        driven.site.release(name, "1.0.0")
        upgrade = driven.submit(driven.plan(f"{name}@1.0.0"))
        start = threading.Barrier(2, timeout=WAIT_S_MAX)
        run_all(partial(leave_and_resume, upgrade, start), start.wait)

        assert driven.engine.wait(upgrade, WAIT_S_MAX)
        assert driven.state(upgrade) is State.COMMITTED


@pytest.mark.parametrize("release", [Release.RETRY, Release.BACK])
def test_a_release_between_the_hold_and_the_end_of_its_thread_is_acted_on(
    driven: Driven, release: Release
) -> None:
    """N6: the hold is durable, its thread has looked for the last time and is there still."""
    site = driven.site
    gate = site.gate("gate")
    mended = site.folder / "mended"
    site.release(
        "web",
        "1.0.0",
        hook("before-swap", ["true"], reversible=False)
        + hook("after-swap", gate.then(f"test -e {mended}")),
    )
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    held = driven.heard(is_move(Message.HOLD))
    with driven.engine.alone():  # nobody else can end now
        gate.open()
        assert held.wait(WAIT_S_MAX)
        mended.touch()
        driven.engine.resume(upgrade, actor="test", release=release)
        assert driven.engine.running == (upgrade,)
    if release is Release.RETRY:
        gate.wait()
        gate.open()

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    wanted = State.COMMITTED if release is Release.RETRY else State.ROLLED_BACK
    assert driven.state(upgrade) is wanted
    assert site.has("web", "1.0.0" if release is Release.RETRY else None)


@pytest.mark.parametrize("aborts", [True, False])
def test_what_is_said_between_the_last_step_and_the_end_of_a_leaving_thread_is_acted_on(
    driven: Driven, aborts: bool
) -> None:
    """N6: its result is durable, it leaves, and its thread is there still."""
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("after-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    driven.engine.leave(upgrade)
    done = driven.heard(lambda one: isinstance(one.entry.event, StepDone))
    with driven.engine.alone():
        gate.open()
        assert done.wait(WAIT_S_MAX)
        if aborts:
            driven.engine.abort(upgrade, actor="test")
        else:
            driven.engine.resume(upgrade, actor="test")
        assert driven.engine.running == (upgrade,)

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is (State.ROLLED_BACK if aborts else State.COMMITTED)
    assert site.has("web", None if aborts else "1.0.0")


def test_an_abort_between_the_hold_and_the_end_of_its_thread_is_acted_on(driven: Driven) -> None:
    """N6: the way back begins at once, without another resume."""
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    site.target("web").write_text("a stranger's")
    held = driven.heard(is_move(Message.HOLD))
    with driven.engine.alone():
        gate.open()
        assert held.wait(WAIT_S_MAX)
        driven.engine.abort(upgrade, actor="test")

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert [one.step for one in driven.events(upgrade) if isinstance(one, StepIntent) and one.undo]
    assert site.target("web").read_text() == "a stranger's"


def test_an_abort_of_one_that_is_leaving_is_acted_on(driven: Driven) -> None:
    """N6: its thread would end after the step that runs; it takes it back first."""
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("after-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    driven.engine.leave(upgrade)

    driven.engine.abort(upgrade, actor="test")

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.ROLLED_BACK


def test_an_upgrade_has_at_most_one_thread(driven: Driven) -> None:
    """N5: resumes from many threads at once start none beside the one that runs."""
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    driven.engine.leave()  # what is asked for now is only recorded
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    driven.close()
    second = Driven.open(site)
    try:
        start = threading.Barrier(4, timeout=WAIT_S_MAX)

        def resume() -> None:
            start.wait()
            second.engine.resume(upgrade, actor="test")

        run_all(resume, resume, resume, resume)
        gate.wait()
        names = [one.name for one in threading.enumerate()]
        assert names.count(f"upgrade-{upgrade}") == 1
        assert second.engine.running == (upgrade,)
        gate.open()
        assert second.engine.wait(upgrade, WAIT_S_MAX)
        assert begun(second.events(upgrade)).count("before-swap:web:0") == 1
    finally:
        second.close()


# -- leaving --------------------------------------------------------------------


def test_leave_stops_after_the_running_step_and_begins_no_other(driven: Driven) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    driven.engine.leave(upgrade)
    gate.open()

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert begun(driven.events(upgrade))[-1] == "before-swap:web:0"
    assert isinstance(driven.events(upgrade)[-1], StepDone)
    assert site.has("web", None)

    driven.engine.resume(upgrade, actor="test")
    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.COMMITTED
    assert begun(driven.events(upgrade)).count("before-swap:web:0") == 1


def test_an_interrupt_is_seen_by_the_thread_itself(driven: Driven) -> None:
    """No step begins once the event is set, though nobody polls it."""
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    stop = threading.Event()
    with driven.engine.interrupted_by([upgrade], stop):
        stop.set()
        gate.open()
        assert driven.engine.wait(upgrade, WAIT_S_MAX)

    assert begun(driven.events(upgrade))[-1] == "before-swap:web:0"
    assert driven.open_one(upgrade).hold is None


def test_an_interrupt_counts_only_while_somebody_waits(driven: Driven) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    stop = threading.Event()
    with driven.engine.interrupted_by([upgrade], stop):
        pass
    stop.set()
    gate.open()

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.COMMITTED


def test_leaving_with_upgrades_in_the_queue_ends_all_threads_and_loses_none(
    driven: Driven,
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("app0", "1.0.0", hook("before-swap", gate.command))
    first = driven.submit(driven.plan("app0@1.0.0"), settings=ONE_AT_A_TIME)
    gate.wait()
    queued = []
    for name in ("app1", "app2"):
        site.release(name, "1.0.0")
        queued.append(driven.submit(driven.plan(f"{name}@1.0.0"), settings=ONE_AT_A_TIME))
    driven.engine.leave()
    for upgrade in queued:
        assert driven.engine.wait(upgrade, WAIT_S_MAX)
        assert begun(driven.events(upgrade)) == []
    gate.open()
    driven.close()
    second = Driven.open(site)
    try:
        assert set(second.engine.world.upgrades) == {first, *queued}
        for upgrade in (first, *queued):
            second.engine.resume(upgrade, actor="test")
        second.engine.drain()
        assert {second.state(one) for one in (first, *queued)} == {State.COMMITTED}
    finally:
        second.close()


# -- the queue ------------------------------------------------------------------


def test_no_more_run_than_the_settings_allow_and_all_come_to_their_turn(
    driven: Driven,
) -> None:
    site = driven.site
    gates = [site.gate(f"gate{number}") for number in range(3)]
    upgrades = []
    for number, gate in enumerate(gates):
        site.release(f"app{number}", "1.0.0", hook("before-swap", gate.command))
        plan = driven.plan(f"app{number}@1.0.0")
        upgrades.append(driven.submit(plan, settings=ONE_AT_A_TIME))
    running = 0
    left = dict(enumerate(gates))
    while left:
        turn = turn_of(left)
        running += 1
        # Whoever does not run has not begun a step.
        for number, gate in left.items():
            if number != turn:
                assert not gate.reached
                assert begun(driven.events(upgrades[number])) == []
        left.pop(turn).open()
        assert driven.engine.wait(upgrades[turn], WAIT_S_MAX)
    assert running == 3
    assert {driven.state(one) for one in upgrades} == {State.COMMITTED}


def turn_of(gates: dict[int, Gate]) -> int:
    """Which of the gates is reached first."""
    numbers = {gate.descriptor: number for number, gate in gates.items()}
    ready, _, _ = select.select(list(numbers), [], [], WAIT_S_MAX)
    assert len(ready) == 1, "one runs"
    return numbers[ready[0]]


def test_going_back_never_queues(driven: Driven) -> None:
    """A rollback, and an abort of what queues, run while the only place is taken."""
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    site.release("slow", "1.0.0", hook("before-swap", gate.command))
    site.release("late", "1.0.0")
    driven.apply("web@1.0.0")
    driven.apply("web@1.1.0")
    slow = driven.submit(driven.plan("slow@1.0.0"), settings=ONE_AT_A_TIME)
    gate.wait()
    late = driven.submit(driven.plan("late@1.0.0"), settings=ONE_AT_A_TIME)
    assert not driven.engine.wait(late, 0)

    plan = driven.planner().back("web").plan
    assert plan is not None
    assert plan.direction is Direction.BACK
    back = driven.submit(plan, settings=ONE_AT_A_TIME)
    assert driven.engine.wait(back, WAIT_S_MAX)
    assert driven.state(back) is State.COMMITTED
    assert site.has("web", "1.0.0")

    driven.engine.abort(late, actor="test")
    assert driven.engine.wait(late, WAIT_S_MAX)
    assert driven.state(late) is State.ROLLED_BACK

    gate.open()
    assert driven.engine.wait(slow, WAIT_S_MAX)
    assert driven.state(slow) is State.COMMITTED


# -- deadlines ------------------------------------------------------------------


def test_a_total_limit_that_passes_turns_the_upgrade_back(timed: Driven, clock: Clock) -> None:
    site = timed.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("after-swap", gate.command))
    upgrade = timed.submit(timed.plan("web@1.0.0"), settings={LIMIT: 60})
    gate.wait()
    (due,) = timers(timed.events(upgrade), TOTAL_TIMER)
    assert due == timed.open_one(upgrade).requested_ms + 60_000
    clock.pass_ms(60_000)
    wake_timers(timed)

    assert timed.engine.wait(upgrade, WAIT_S_MAX)  # its command was stopped, not waited for
    (turned,) = moves(timed.events(upgrade), Message.TURN_BACK)
    assert turned.reason is Reason.TIMED_OUT
    assert timed.state(upgrade) is State.ROLLED_BACK
    assert site.has("web", None)


def test_a_total_limit_that_passed_while_nobody_ran_is_told_when_it_is_taken_up(
    site: Site, clock: Clock
) -> None:
    first_gate, never_opened = site.gate("first"), site.gate("never")
    site.release(
        "web",
        "1.0.0",
        hook("before-swap", first_gate.command) + hook("after-swap", never_opened.command),
    )
    first = Driven.open(site, clock)
    upgrade = first.submit(first.plan("web@1.0.0"), settings={LIMIT: 60})
    first_gate.wait()
    first.engine.leave()
    first_gate.open()
    first.close()
    clock.pass_ms(61_000)
    second = Driven.open(site, clock)
    try:
        second.engine.resume(upgrade, actor="test")

        assert second.engine.wait(upgrade, WAIT_S_MAX)
        (turned,) = moves(second.events(upgrade), Message.TURN_BACK)
        assert turned.reason is Reason.TIMED_OUT
        assert second.state(upgrade) is State.ROLLED_BACK
        assert len(timers(second.events(upgrade), TOTAL_TIMER)) == 1, "a crash gives no new time"
    finally:
        second.close()


def test_a_way_back_that_is_late_holds_and_a_resume_gives_it_new_time(
    timed: Driven, clock: Clock
) -> None:
    site = timed.site
    there, back = site.gate("there"), site.gate("back")
    site.release("web", "1.0.0", hook("after-swap", there.command, undo=back.command))
    upgrade = timed.submit(
        timed.plan("web@1.0.0"), settings={"deployment.coordination.rollback_timeout": 90}
    )
    there.wait()
    timed.engine.abort(upgrade, actor="test")
    back.wait()
    (due,) = timers(timed.events(upgrade), BACK_TIMER)
    assert due == clock.read().wall_ms + 90_000
    late = timed.heard(is_move(Message.HOLD))
    clock.pass_ms(90_000)
    wake_timers(timed)
    assert late.wait(WAIT_S_MAX)
    back.open()  # the step that runs is not cut short
    assert timed.engine.wait(upgrade, WAIT_S_MAX)
    hold = timed.open_one(upgrade).hold
    assert hold is not None
    assert hold.reason is HoldReason.BACK_OVERDUE
    alerts = [one.name for one in timed.events(upgrade) if isinstance(one, Alert)]
    assert alerts == ["back.overdue"]
    clock.pass_ms(1_000)

    timed.engine.resume(upgrade, actor="test")

    assert timed.engine.wait(upgrade, WAIT_S_MAX)
    assert timed.state(upgrade) is State.ROLLED_BACK
    assert site.has("web", None)
    assert timers(timed.events(upgrade), BACK_TIMER)[-1] == clock.read().wall_ms + 90_000


def test_a_deadline_reaches_an_upgrade_that_queues(timed: Driven, clock: Clock) -> None:
    site = timed.site
    gate = site.gate("gate")
    site.release("slow", "1.0.0", hook("before-swap", gate.command))
    site.release("late", "1.0.0")
    slow = timed.submit(timed.plan("slow@1.0.0"), settings=ONE_AT_A_TIME)
    gate.wait()
    late = timed.submit(
        timed.plan("late@1.0.0"),
        settings={**ONE_AT_A_TIME, LIMIT: 60},
    )
    clock.pass_ms(60_000)
    wake_timers(timed)

    assert timed.engine.wait(late, WAIT_S_MAX)
    assert timed.state(late) is State.ROLLED_BACK
    assert begun(timed.events(late)) == []  # nothing was done to it: nothing is cleaned up
    gate.open()
    assert timed.engine.wait(slow, WAIT_S_MAX)
    assert timed.state(slow) is State.COMMITTED


# -- abort in each step ---------------------------------------------------------


@pytest.mark.parametrize(
    "last",
    [
        "check:web",
        "snapshot:web",
        "stage:web",
        "before-swap:web:0",
        "swap:web",
        "after-swap:web:1",
        "recheck:web",
    ],
)
def test_an_abort_takes_back_whatever_was_done(driven: Driven, last: str) -> None:
    """Wherever an upgrade stopped before its commit, an abort restores the old."""
    site = driven.site
    site.release("web", "1.0.0")
    driven.apply("web@1.0.0")
    site.release("web", "1.1.0", hook("before-swap", ["true"]) + hook("after-swap", ["true"]))
    stop = threading.Event()

    def interrupt(heard: Heard) -> None:
        event = heard.entry.event
        if isinstance(event, StepIntent) and event.step == last:
            stop.set()

    driven.engine.listen(interrupt)
    with driven.engine.alone():  # its thread ends or begins nothing meanwhile
        upgrade = driven.submit(driven.plan("web@1.1.0"), settings=ONE_AT_A_TIME)
        interrupted = driven.engine.interrupted_by([upgrade], stop)
        interrupted.__enter__()
    driven.engine.wait(upgrade, WAIT_S_MAX)
    interrupted.__exit__(None, None, None)
    assert begun(driven.events(upgrade))[-1] == last

    driven.engine.abort(upgrade, actor="test")

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.ROLLED_BACK
    assert site.has("web", "1.0.0")


def test_a_second_abort_is_refused_and_changes_nothing(driven: Driven) -> None:
    site = driven.site
    there, back = site.gate("there"), site.gate("back")
    site.release("web", "1.0.0", hook("after-swap", there.command, undo=back.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    there.wait()
    driven.engine.abort(upgrade, actor="test")
    back.wait()
    world = driven.engine.world

    with pytest.raises(MessageRefused):
        driven.engine.abort(upgrade, actor="test")

    assert driven.engine.world == world
    back.open()
    assert driven.engine.wait(upgrade, WAIT_S_MAX)


# -- holds and how they end -----------------------------------------------------


def held_on_irreversible(driven: Driven, on_crash: OnCrash = OnCrash.FORWARD) -> str:
    """An upgrade that failed past a hook that cannot be taken back."""
    site = driven.site
    mended = site.folder / "mended"
    site.release(
        "web",
        "1.0.0",
        hook("before-swap", ["true"], reversible=False)
        + hook("before-swap", ["test", "-e", str(mended)]),
    )
    upgrade = driven.submit(driven.plan("web@1.0.0"), on_crash=on_crash)
    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    hold = driven.open_one(upgrade).hold
    assert hold is not None
    assert hold.reason is HoldReason.IRREVERSIBLE
    return upgrade


def test_past_a_hook_that_cannot_be_undone_a_failure_holds(driven: Driven) -> None:
    upgrade = held_on_irreversible(driven)
    size = driven.engine.journal.size

    driven.engine.resume(upgrade, actor="test")  # without a word of a person it stays
    assert driven.engine.wait(upgrade, WAIT_S_MAX)

    assert driven.engine.journal.size == size
    assert driven.site.has("web", None)


@pytest.mark.parametrize("on_crash", OnCrash)
def test_retry_does_the_failed_step_again_whatever_on_crash_says(
    driven: Driven, on_crash: OnCrash
) -> None:
    """A hold is no crash: who releases it by retry wants it to go on."""
    upgrade = held_on_irreversible(driven, on_crash)
    (driven.site.folder / "mended").touch()

    driven.engine.resume(upgrade, actor="test", release=Release.RETRY)

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.COMMITTED
    attempts = [
        one.attempt
        for one in driven.events(upgrade)
        if isinstance(one, StepIntent) and one.step == "before-swap:web:1"
    ]
    assert attempts == [1, 2]
    assert begun(driven.events(upgrade)).count("before-swap:web:0") == 1
    assert len(timers(driven.events(upgrade), TOTAL_TIMER)) == 2, "a person gives new time"


def test_promote_takes_the_failed_step_as_done(driven: Driven) -> None:
    upgrade = held_on_irreversible(driven)

    driven.engine.resume(upgrade, actor="test", release=Release.PROMOTE)

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.COMMITTED
    assert driven.site.has("web", "1.0.0")


def test_back_goes_back_past_what_cannot_be_undone(driven: Driven) -> None:
    upgrade = held_on_irreversible(driven)

    driven.engine.resume(upgrade, actor="test", release=Release.BACK)

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.ROLLED_BACK
    assert driven.site.has("web", None)
    assert len(timers(driven.events(upgrade), BACK_TIMER)) == 1


@pytest.mark.parametrize("release", [Release.ADOPT, Release.RESTORE])
def test_a_release_that_does_not_fit_the_hold_is_refused_and_changes_nothing(
    driven: Driven, release: Release
) -> None:
    upgrade = held_on_irreversible(driven)
    world, size = driven.engine.world, driven.engine.journal.size

    with pytest.raises(MessageRefused):
        driven.engine.resume(upgrade, actor="test", release=release)

    assert (driven.engine.world, driven.engine.journal.size) == (world, size)
    assert driven.engine.running == ()


def test_a_release_without_a_hold_is_refused(driven: Driven) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()

    with pytest.raises(MessageRefused):
        driven.engine.resume(upgrade, actor="test", release=Release.RETRY)

    gate.open()
    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.COMMITTED


@pytest.mark.parametrize("release", [Release.ADOPT, Release.RESTORE])
def test_a_foreign_target_holds_until_a_person_adopts_or_restores(
    driven: Driven, release: Release
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0")
    driven.apply("web@1.0.0")
    site.release("web", "1.1.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.1.0"))
    gate.wait()
    site.target("web").unlink()
    site.target("web").write_text("a stranger's")
    gate.open()
    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    hold = driven.open_one(upgrade).hold
    assert hold is not None
    assert hold.reason is HoldReason.FOREIGN
    assert site.target("web").read_text() == "a stranger's"

    driven.engine.resume(upgrade, actor="test", release=release)

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.ROLLED_BACK
    if release is Release.ADOPT:
        assert site.target("web").read_text() == "a stranger's"
    else:
        assert site.has("web", "1.0.0")


def test_after_five_resumes_that_ended_no_step_a_person_is_asked(driven: Driven) -> None:
    driven.engine.leave()
    driven.site.release("web", "1.0.0")
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    # Five processes that took it up, and died before they ended a step.
    taken_up = [Noted(code="resumed", text="taken up again")] * 4
    driven.engine.append(taken_up, actor="test", upgrade=upgrade)
    driven.close()
    second = Driven.open(driven.site)
    try:
        second.engine.resume(upgrade, actor="test")
        assert second.engine.wait(upgrade, WAIT_S_MAX)
        hold = second.open_one(upgrade).hold
        assert hold is not None
        assert hold.reason is HoldReason.FAILURE_KEPT
        second.engine.resume(upgrade, actor="test", release=Release.RETRY)
        assert second.engine.wait(upgrade, WAIT_S_MAX)
        assert second.state(upgrade) is State.COMMITTED
    finally:
        second.close()


# -- what is said is decided on what the records say at that moment ------------


def test_what_is_said_cuts_the_running_forward_step_short(driven: Driven) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("after-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()

    driven.engine.say(upgrade, TurnBack(Reason.CANCELLED), actor="test")

    assert driven.engine.wait(upgrade, WAIT_S_MAX)  # the gate was never opened
    assert driven.state(upgrade) is State.ROLLED_BACK
