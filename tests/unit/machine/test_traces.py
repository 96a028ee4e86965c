"""What the machine writes is a run of the model in specs/, and what it never writes is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from noodle_engine.machine.decide import (
    Decision,
    Do,
    Pause,
    Probe,
    ProbeAnswer,
    Probed,
    ReleaseHold,
    Said,
    TimerDue,
    TurnBack,
    Unpause,
    after,
    note,
)
from noodle_engine.machine.plan import Hook, HookPoint, Plan, StepName, plan_hash
from noodle_engine.machine.records import (
    BACK_TIMER,
    TOTAL_TIMER,
    Alert,
    Entry,
    Event,
    Noted,
    Requested,
    StepDone,
    StepIntent,
    TimerSet,
    Transition,
)
from noodle_engine.machine.states import HoldReason, Message, Outcome, Reason, Release, State
from tests.traces import NoRun, check_run
from tests.unit.machine.drive import HEALTH, ID, TWO, Driven, component, plan_of

STOP = Hook(HookPoint.QUIESCE, ("stop",), undo=("start",))
START = Hook(HookPoint.UNQUIESCE, ("start",), undo=("stop",))
PREPARE = Hook(HookPoint.BEFORE_SWAP, ("prepare",), undo=("forget",))
FOR_GOOD = Hook(HookPoint.AFTER_SWAP, ("migrate",), reversible=False)
WRITTEN = plan_of(component("db", hooks=(PREPARE, STOP, START), health=(HEALTH,)))
ONE_WAY = plan_of(component("db", hooks=(FOR_GOOD,), health=(HEALTH,)))


def records(driven: Driven, events: list[Event] | None = None) -> list[Entry]:
    """The records of an upgrade, its request first."""
    plan = driven.upgrade.plan
    asked = Requested(plan=plan, plan_hash=plan_hash(plan), settings_hash="")
    return [Entry(event, "test", 0, ID) for event in (asked, *(events or driven.events))]


def rest(driven: Driven) -> Driven:
    """On until there is nothing more to do."""
    settle_doubt(driven)
    driven.to_rest()
    return driven


def overhear(driven: Driven, said: Said, now_ms: int = 0) -> None:
    """Somebody else's word, while a step runs."""
    noted = note(driven.upgrade, said, now_ms)
    driven.take(Decision(noted, driven.action, after(driven.upgrade, noted, now_ms)), now_ms)


def settle_doubt(driven: Driven) -> None:
    """A probe finds that nothing was done."""
    while isinstance(driven.action, Probe):
        driven.say(Probed(driven.action.step.id, ProbeAnswer.NOT_DONE))


def committed(plan: Plan = TWO) -> Driven:
    driven = Driven.of(plan)
    driven.begin()
    return rest(driven)


def sick(plan: Plan = TWO) -> Driven:
    driven = Driven.of(plan)
    driven.until(lambda one: one.step.name is StepName.HEALTH)
    driven.done(error="not well")
    return rest(driven)


def crashed(plan: Plan = TWO) -> Driven:
    """Killed before an exchange, and once more before it is done again."""
    driven = Driven.of(plan)
    driven.until(lambda one: one.step.name is StepName.SWAP)
    driven.resume()
    settle_doubt(driven)
    driven.until(lambda one: one.step.name is StepName.SWAP)
    driven.resume()
    return rest(driven)


def stopped_anew() -> Driven:
    """Killed on the way back, with the writers stopped."""
    driven = Driven.of(WRITTEN)
    driven.until(lambda one: one.step.name is StepName.HEALTH)
    driven.done(error="not well")
    driven.until(lambda one: isinstance(one, Do) and one.undo and one.step.name is StepName.SWAP)
    driven.resume()
    return rest(driven)


def late() -> Driven:
    """Its deadline, then that of the way back, then a resume."""
    driven = Driven.of(TWO)
    driven.until(lambda one: one.step.name is StepName.SWAP)
    timers = (TimerSet(TOTAL_TIMER, 1, "timer_due"), TimerSet(BACK_TIMER, 2, "timer_due"))
    driven.take(Decision(timers, driven.action, after(driven.upgrade, timers, 0)))
    overhear(driven, TimerDue(TOTAL_TIMER), 5)
    overhear(driven, TimerDue(BACK_TIMER), 5)
    driven.resume()
    return rest(driven)


def strange(release: Release) -> Driven:
    driven = Driven.of(TWO)
    driven.until(lambda one: one.step.name is StepName.SWAP)
    driven.done(foreign="theirs")
    driven.say(ReleaseHold(release))
    return rest(driven)


def accepted() -> Driven:
    driven = Driven.of(ONE_WAY)
    driven.until(lambda one: one.step.name is StepName.HEALTH)
    driven.done(error="not well")
    driven.say(ReleaseHold(Release.PROMOTE))
    return rest(driven)


def paused() -> Driven:
    driven = Driven.of(TWO)
    driven.until(lambda one: one.step.name is StepName.STAGE)
    overhear(driven, Pause())
    driven.done()
    assert driven.action is None
    driven.say(Unpause())
    return rest(driven)


HISTORIES: dict[str, Callable[[], Driven]] = {
    "committed": committed,
    "writers stopped": lambda: committed(WRITTEN),
    "rolled back": sick,
    "rolled back, writers stopped": lambda: sick(WRITTEN),
    "crashed": crashed,
    "crashed, writers stopped": lambda: crashed(WRITTEN),
    "stopped anew on the way back": stopped_anew,
    "late both ways": late,
    "a stranger, retried": lambda: strange(Release.RETRY),
    "a stranger, restored": lambda: strange(Release.RESTORE),
    "a stranger, adopted": lambda: strange(Release.ADOPT),
    "promoted past what cannot be undone": accepted,
    "paused": paused,
}


DAMAGED = (
    "rolled back, writers stopped",
    "crashed",
    "late both ways",
    "a stranger, restored",
    "promoted past what cannot be undone",
)


@pytest.mark.parametrize("history", HISTORIES)
def test_what_the_machine_writes_is_a_run_of_the_model(history: str) -> None:
    driven = HISTORIES[history]()

    ended = check_run(records(driven))

    assert ended.state is driven.upgrade.state
    assert ended.undoing is driven.upgrade.undoing
    assert ended.hold is (driven.upgrade.hold.reason if driven.upgrade.hold else None)


@pytest.mark.parametrize("history", DAMAGED)
def test_a_run_with_a_record_left_out_doubled_or_moved_is_none(history: str) -> None:
    """But for words from outside, which may come at another moment or not at all."""
    driven = HISTORIES[history]()
    events: list[Event] = [one for one in driven.events if not isinstance(one, TimerSet)]
    wrong: dict[str, list[Event]] = {}
    for at, event in enumerate(events):
        if not comes_from_outside(event):
            wrong[f"doubled: {event}"] = [*events[: at + 1], *events[at:]]
        following = events[at + 1 : at + 2]
        if not following or any(map(comes_from_outside, (event, *following))):
            continue
        wrong[f"swapped: {event}"] = [*events[:at], *following, event, *events[at + 2 :]]
        wrong[f"without: {event}"] = events[:at] + events[at + 1 :]
    assert [name for name, trace in wrong.items() if is_run(driven, trace)] == []
    assert len(wrong) > 2 * len(events)


def comes_from_outside(event: Event) -> bool:
    """A process that takes it up, or what a person or a clock may say at any time."""
    match event:
        case Transition(message=Message.PAUSE | Message.UNPAUSE):
            return True
        case Transition(message=Message.TURN_BACK, reason=reason):
            return reason is Reason.TIMED_OUT
        case Transition(message=Message.HOLD, hold=hold):
            # past what cannot be undone an abort is held too
            return hold in (HoldReason.BACK_OVERDUE, HoldReason.IRREVERSIBLE)
        case _:
            return isinstance(event, (Alert, Noted))


def is_run(driven: Driven, events: list[Event]) -> bool:
    try:
        check_run(records(driven, events))
    except NoRun:
        return False
    return True


def at_step(driven: Driven, step: str, kind: type[StepIntent | StepDone], *, undo: bool) -> int:
    return next(
        at
        for at, event in enumerate(driven.events)
        if isinstance(event, kind) and event.step == step and event.undo is undo
    )


def no_intent() -> list[Event]:
    driven = committed()
    del driven.events[at_step(driven, "swap:web", StepIntent, undo=False)]
    return driven.events


def undo_out_of_order() -> list[Event]:
    """The exchanges of a way back change places."""
    events = sick().events
    first = {"swap:web": "swap:api", "swap:api": "swap:web"}
    return [
        replace(event, step=first[event.step], key=event.key.replace(event.step, first[event.step]))
        if isinstance(event, (StepIntent, StepDone)) and event.undo and event.step in first
        else event
        for event in events
    ]


def commit_after_the_turn() -> list[Event]:
    driven = Driven.of(TWO)
    driven.until(lambda one: one.step.name is StepName.RECHECK)
    driven.say(TurnBack(Reason.CANCELLED))
    commit = Transition(State.VERIFIED, State.COMMITTED, Message.COMMIT)
    return [*driven.events[:-1], commit]


def end_left() -> list[Event]:
    events = committed().events
    return [*events, Transition(State.COMMITTED, State.COMMITTED, Message.TURN_BACK, undoing=True)]


def failure_ignored() -> list[Event]:
    driven = committed()
    at = at_step(driven, "health:api:0", StepDone, undo=False)
    failed = driven.events[at]
    assert isinstance(failed, StepDone)
    driven.events[at] = replace(failed, outcome=Outcome.FAILED)
    return driven.events


def state_skipped() -> list[Event]:
    return [
        replace(event, target=State.VERIFIED)
        if isinstance(event, Transition) and event.target is State.SWAPPING
        else event
        for event in committed().events
    ]


def attempt_not_counted() -> list[Event]:
    return [
        replace(event, attempt=1) if isinstance(event, (StepIntent, StepDone)) else event
        for event in crashed().events
    ]


def key_of_another() -> list[Event]:
    return [
        replace(event, key=f"{ID}:swap:web") if isinstance(event, StepIntent) else event
        for event in committed().events
    ]


def not_stopped_anew() -> list[Event]:
    return [
        event
        for event in stopped_anew().events
        if not (isinstance(event, StepDone) and event.outcome is Outcome.FAILED and event.undo)
    ]


def half_undone() -> list[Event]:
    """It ends with one exchange not taken back."""
    return [
        event
        for event in sick().events
        if not (isinstance(event, (StepIntent, StepDone)) and event.undo and "web" in event.step)
    ]


PLANTED: dict[str, tuple[Plan, Callable[[], list[Event]]]] = {
    "an effect without its intent": (TWO, no_intent),
    "an undo out of order": (TWO, undo_out_of_order),
    "a commit after it was turned back": (TWO, commit_after_the_turn),
    "an end that is left": (TWO, end_left),
    "a failure that is ignored": (TWO, failure_ignored),
    "a state that is skipped": (TWO, state_skipped),
    "attempts that are not counted": (TWO, attempt_not_counted),
    "the key of another step": (TWO, key_of_another),
    "writers that are not stopped anew": (WRITTEN, not_stopped_anew),
    "an end with an exchange left": (TWO, half_undone),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_wrong_trace_is_refused(planted: str) -> None:
    plan, wrong = PLANTED[planted]
    with pytest.raises(NoRun):
        check_run(records(Driven.of(plan), wrong()))
