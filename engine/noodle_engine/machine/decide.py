"""decide(upgrade, message, now) -> records and what to do next.

Owns every decision about an upgrade. It does nothing itself: the driver makes
the records durable, then performs the action, and tells its result as the next
message. Time is handed in; the same inputs give the same records.

Laws
D1. Every action that has an effect comes with the record of its intent.
D2. A step is only undone if it was begun; the way back undoes all that were. An
    exchange begins with the look before its writers are stopped.
D3. Before the first flip a step in doubt is settled by a probe, then by
    `on_crash`; after it by the probe alone, forward.
D4. Nothing here gates the way back.
D5. A step that failed, or stands foreign, never lets the upgrade go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from noodle_engine.machine.failures import InvariantBroken, MessageRefused
from noodle_engine.machine.moves import take
from noodle_engine.machine.plan import Hook, HookPoint, PlanComponent, Step, StepName
from noodle_engine.machine.records import (
    BACK_TIMER,
    TOTAL_TIMER,
    Alert,
    Entry,
    Event,
    Noted,
    Observation,
    StepDone,
    StepIntent,
    Transition,
)
from noodle_engine.machine.states import (
    TERMINAL,
    HoldReason,
    Message,
    OnCrash,
    Outcome,
    Reason,
    Release,
    State,
)
from noodle_engine.machine.table import Effect, Move, Refusal, answer, forward_message
from noodle_engine.machine.upgrade import RESUMES_WITHOUT_PROGRESS_MAX, Upgrade, fold_upgrade

__all__ = [
    "Action",
    "Decision",
    "Do",
    "Pause",
    "Probe",
    "ProbeAnswer",
    "Probed",
    "ReleaseHold",
    "Resumed",
    "Said",
    "StepResult",
    "TimerDue",
    "TurnBack",
    "Unpause",
    "advance",
    "after",
    "decide",
    "note",
    "undo_order",
]


class ProbeAnswer(StrEnum):
    """What a probe of a target says of a step in doubt."""

    NOT_DONE = "not_done"
    DONE = "done"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Do:
    """Do a step, or take it back. Its intent is among the records."""

    step: Step
    key: str
    attempt: int
    undo: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """Look how far a step in doubt came."""

    step: Step


Action = Do | Probe


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step ended. `foreign` names the root found where it was neither old nor new."""

    step: str
    key: str
    attempt: int
    outcome: Outcome
    undo: bool = False
    observed: Observation | None = None
    duration_ms: int = 0
    error: str | None = None
    output: str | None = None
    foreign: str | None = None
    hold: HoldReason | None = None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found."""

    step: str
    answer: ProbeAnswer
    observed: Observation | None = None


@dataclass(frozen=True, slots=True)
class TurnBack:
    """Take it back, for a reason."""

    reason: Reason
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    """A person ends a hold."""

    how: Release


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop going on after the step that runs, or once who was stopped for it writes again."""


@dataclass(frozen=True, slots=True)
class Unpause:
    """Go on."""


@dataclass(frozen=True, slots=True)
class TimerDue:
    """A deadline has passed."""

    id: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """A process took the upgrade up again."""


Said = StepResult | Probed | TurnBack | ReleaseHold | Pause | Unpause | TimerDue | Resumed


@dataclass(frozen=True, slots=True)
class Decision:
    """Records to make durable, in order, before the action (None: wait or ended)."""

    events: tuple[Event, ...]
    action: Action | None
    upgrade: Upgrade


def decide(upgrade: Upgrade, said: Said, now_ms: int) -> Decision:
    """Take `said`, then go as far as records alone can go.

    Raises MessageRefused, and decides nothing, if the table refuses it.
    """
    noted = note(upgrade, said, now_ms)
    then = after(upgrade, noted, now_ms)
    onward = advance(then, now_ms)
    return Decision((*noted, *onward.events), onward.action, onward.upgrade)


def note(upgrade: Upgrade, said: Said, now_ms: int) -> tuple[Event, ...]:
    """The records of taking `said`, without going on."""
    match said:
        case StepResult():
            return _note_result(upgrade, said)
        case Probed():
            return _note_probe(upgrade, said)
        case TurnBack():
            _ask(upgrade, Message.TURN_BACK)
            return (_turn_or_hold(upgrade, said.reason, said.detail),)
        case ReleaseHold():
            return _note_release(upgrade, said)
        case Pause():
            _ask(upgrade, Message.PAUSE)
            return () if upgrade.paused else (_stay(upgrade, Message.PAUSE),)
        case Unpause():
            _ask(upgrade, Message.UNPAUSE)
            return (_stay(upgrade, Message.UNPAUSE),)
        case TimerDue():
            return _note_timer(upgrade, said, now_ms)
        case Resumed():
            return _note_resumed(upgrade)


def advance(upgrade: Upgrade, now_ms: int) -> Decision:
    """Go on from where the records stand: moves, then the next intent."""
    events: list[Event] = []
    for _ in range(2 * len(State) + 1):
        following = _following(upgrade)
        if following is None:
            return Decision(tuple(events), None, upgrade)
        if isinstance(following, Probe):
            return Decision(tuple(events), following, upgrade)
        if isinstance(following, Do):
            intent = _intent(upgrade, following)
            events.append(intent)
            return Decision(tuple(events), following, after(upgrade, (intent,), now_ms))
        events.append(following)
        upgrade = after(upgrade, (following,), now_ms)
    raise InvariantBroken(law="D1", found="the table of moves does not end")


def undo_order(upgrade: Upgrade) -> tuple[Step, ...]:
    """The steps the way back has yet to undo, in the order it undoes them.

    All exchanges first, components in reverse, each with who writes its target
    stopped before and started after it; then of each component, in reverse too, its
    hooks in reverse and what was staged. A hook's undo finds the old in place, of
    all components, and one that fails leaves no other component new.
    """
    components = [component.name for component in upgrade.plan.components]
    ranked = [
        (
            step.name not in _EXCHANGE,
            -components.index(step.component),
            _UNDO_RANK[step.name],
            -position,
            step,
        )
        for position, step in enumerate(upgrade.plan.steps)
        if _needs_undo(upgrade, step)
    ]
    return tuple(step for *_, step in sorted(ranked, key=lambda row: row[:4]))


_WRITERS = frozenset({StepName.QUIESCE, StepName.UNQUIESCE})
"""The steps that stop and start who writes a target."""
_EXCHANGE = _WRITERS | {StepName.SWAP}
_UNDO_RANK: dict[StepName, int] = {
    StepName.QUIESCE: 0,
    StepName.SWAP: 0,
    StepName.UNQUIESCE: 0,
    StepName.AFTER_SWAP: 1,
    StepName.BEFORE_SWAP: 1,
    StepName.STAGE: 2,
}


def _needs_undo(upgrade: Upgrade, step: Step) -> bool:
    if step.name not in _UNDO_RANK:
        return False
    if step.name is StepName.SWAP and step.component in upgrade.adopted:
        return False  # a person chose to keep what is there; all else of it is taken back
    state = upgrade.step(step.id)
    if step.name is StepName.UNQUIESCE:
        # Its undo stops the writers: before the exchange back, whether they were started
        # again or not, for nobody knows what started them since.
        swap = _swap_of(upgrade, step.component)
        return _needs_undo(upgrade, swap) and not state.taken_back
    if state.taken_back:
        return False
    if step.name is StepName.SWAP and upgrade.restore and upgrade.is_exchanging(step.component):
        return True  # a stranger was found before it, and a person wants the old put back
    if state.attempt == 0:
        return False
    if step.name is StepName.STAGE and state.undo_outcome is Outcome.FAILED:
        return False  # its target is old already: the clean-up tries to remove it again
    hook = _hook(upgrade, step)
    return hook is None or hook.undo is not None


def _swap_of(upgrade: Upgrade, component: str) -> Step:
    return _step(upgrade, f"{StepName.SWAP.value}:{component}")


def _hook(upgrade: Upgrade, step: Step) -> Hook | None:
    if step.name.value not in set(HookPoint):
        return None
    return upgrade.plan.component(step.component).hooks[step.index]


def _following(upgrade: Upgrade) -> Action | Transition | None:
    if upgrade.hold is not None:
        return None
    if upgrade.state in TERMINAL:
        left = upgrade.steps_left
        return _do(upgrade, left[0]) if left else None
    if upgrade.undoing:
        order = undo_order(upgrade)
        if order:
            return _do(upgrade, order[0], undo=True)
        return _move(upgrade, Message.UNDONE)
    doubtful = [step for step in upgrade.plan.steps if upgrade.step(step.id).in_doubt]
    if doubtful:
        return Probe(doubtful[0])
    if upgrade.paused and not upgrade.writers_stopped:
        return None
    left = upgrade.steps_left
    if left:
        return _do(upgrade, left[0])
    message = forward_message(upgrade.state)
    if message is None:
        raise InvariantBroken(law="T3", found=f"no way on from {upgrade.state}")
    return _move(upgrade, message)


def _do(upgrade: Upgrade, step: Step, *, undo: bool = False) -> Do:
    state = upgrade.step(step.id)
    attempt = (state.undo_attempt if undo else state.attempt) + 1
    return Do(step=step, key=_key(upgrade, step, undo=undo), attempt=attempt, undo=undo)


def _key(upgrade: Upgrade, step: Step, *, undo: bool) -> str:
    """The idempotency key of a step, or of its undo: the same on each attempt."""
    return f"{upgrade.id}:{step.id}" + (":undo" if undo else "")


def _intent(upgrade: Upgrade, action: Do) -> StepIntent:
    component = upgrade.plan.component(action.step.component)
    exchanging = action.step.name is StepName.SWAP
    return StepIntent(
        step=action.step.id,
        key=action.key,
        attempt=action.attempt,
        undo=action.undo,
        expected_old=upgrade.expected_old(component) if exchanging else None,
        expected_new=upgrade.expected_new(component) if exchanging else None,
    )


def after(upgrade: Upgrade, events: tuple[Event, ...], now_ms: int) -> Upgrade:
    """The upgrade as the fold will have it once the events are recorded."""
    for event in events:
        upgrade = fold_upgrade(upgrade, Entry(event, "", now_ms, upgrade.id))
    return upgrade


def _ask(upgrade: Upgrade, message: Message) -> Move | Effect:
    """The table's answer, or its refusal as a failure."""
    hold = upgrade.hold
    found = answer(
        upgrade.state,
        message,
        undoing=upgrade.undoing,
        held=hold is not None,
        held_about_back=hold is not None and upgrade.undoing,
        paused=upgrade.paused,
    )
    if isinstance(found, Refusal):
        raise MessageRefused(
            upgrade=upgrade.id,
            state=upgrade.state.value,
            message=message.value,
            refusal=found.value,
        )
    return found


def _move(upgrade: Upgrade, message: Message) -> Transition:
    found = _ask(upgrade, message)
    if not isinstance(found, Move):
        raise InvariantBroken(law="T1", found=f"{message} is no move")
    target = take(found)
    return Transition(
        source=upgrade.state,
        target=target,
        message=message,
        undoing=upgrade.undoing,
        reason=upgrade.reason if target is State.ROLLED_BACK else None,
    )


def _stay(upgrade: Upgrade, message: Message) -> Transition:
    return Transition(
        source=upgrade.state, target=upgrade.state, message=message, undoing=upgrade.undoing
    )


def _turn(upgrade: Upgrade, reason: Reason, detail: str | None) -> Transition:
    return Transition(
        source=upgrade.state,
        target=upgrade.state,
        message=Message.TURN_BACK,
        undoing=True,
        reason=reason,
        detail=detail,
    )


def _turn_or_hold(upgrade: Upgrade, reason: Reason, detail: str | None) -> Transition:
    """Turn back; but past a step that cannot be undone a person decides."""
    for step in upgrade.plan.steps:
        hook = _hook(upgrade, step)
        if hook is not None and not hook.reversible and upgrade.step(step.id).attempt > 0:
            why = f"{reason.value}: {detail}" if detail else reason.value
            return _held(
                upgrade,
                HoldReason.IRREVERSIBLE,
                component=step.component,
                detail=f"{step.id} cannot be undone ({why})",
            )
    return _turn(upgrade, reason, detail)


def _held(
    upgrade: Upgrade,
    reason: HoldReason,
    *,
    component: str | None = None,
    expected: str | None = None,
    found: str | None = None,
    detail: str | None = None,
) -> Transition:
    return replace(
        _stay(upgrade, Message.HOLD),
        hold=reason,
        component=component,
        expected=expected,
        found=found,
        detail=detail,
    )


def _note_result(upgrade: Upgrade, said: StepResult) -> tuple[Event, ...]:
    _ask(upgrade, Message.STEP_RESULT)
    said = _proved(upgrade, said)
    done = StepDone(
        step=said.step,
        key=said.key,
        attempt=said.attempt,
        outcome=said.outcome,
        undo=said.undo,
        observed=said.observed,
        duration_ms=said.duration_ms,
        error=said.error,
        output=said.output,
    )
    return (done, *_consequences(upgrade, said))


def _proved(upgrade: Upgrade, said: StepResult) -> StepResult:
    """An exchange counts as done only with its target seen to be what it should be."""
    step = _step(upgrade, said.step)
    if step.name is not StepName.SWAP or said.outcome is not Outcome.DONE:
        return said
    component = upgrade.plan.component(step.component)
    old, new = upgrade.expected_old(component), upgrade.expected_new(component)
    wanted = old if said.undo else new
    found = said.observed.root if said.observed is not None else None
    if found == wanted:
        return said
    error = f"after the exchange the target is {found}, and should be {wanted}"
    return replace(said, outcome=Outcome.FAILED, error=error, foreign=found or "unknown")


def _consequences(upgrade: Upgrade, said: StepResult) -> Iterator[Event]:
    """What a failed result leads to; nothing for one that is done."""
    if said.outcome is Outcome.DONE:
        return
    step = _step(upgrade, said.step)
    if upgrade.state in TERMINAL:
        yield Alert(name=f"{step.name.value}.failed", verdict="failed", value=said.error)
        return
    if said.foreign is not None:
        component = upgrade.plan.component(step.component)
        yield _held(
            upgrade,
            HoldReason.FOREIGN,
            component=step.component,
            expected=_expected(upgrade, component, undo=said.undo),
            found=said.foreign,
            detail=said.error,
        )
        return
    if said.undo and step.name is StepName.STAGE and said.hold is None:
        return  # see _needs_undo
    if said.hold is not None or said.undo:
        reason = said.hold or HoldReason.OLD_BROKEN
        yield _held(upgrade, reason, component=step.component, detail=said.error)
        return
    if upgrade.undoing:
        return  # the way back undoes this step too, however far it came
    yield _turn_or_hold(upgrade, _reason_for(step.name), said.error)


def _expected(upgrade: Upgrade, component: PlanComponent, *, undo: bool) -> str:
    old = upgrade.expected_old(component)
    new = upgrade.expected_new(component)
    flipped = upgrade.step(f"{StepName.SWAP.value}:{component.name}").outcome is Outcome.DONE
    return new if new is not None and (flipped or undo) else old


def _reason_for(name: StepName) -> Reason:
    match name:
        case StepName.CHECK:
            return Reason.REFUSED
        case StepName.RECHECK:
            return Reason.VALIDATION_FAILED
        case StepName.HEALTH:
            return Reason.HEALTH_FAILED
        case _:
            return Reason.STEP_FAILED


def _note_probe(upgrade: Upgrade, said: Probed) -> tuple[Event, ...]:
    step = _step(upgrade, said.step)
    state = upgrade.step(said.step)
    key = f"{upgrade.id}:{step.id}"
    if said.answer is ProbeAnswer.FOREIGN:
        component = upgrade.plan.component(step.component)
        return (
            _held(
                upgrade,
                HoldReason.FOREIGN,
                component=step.component,
                expected=_expected(upgrade, component, undo=False),
                found=said.observed.root if said.observed else None,
                detail=f"{step.id} was interrupted, and its target is neither old nor new",
            ),
        )
    done = said.answer is ProbeAnswer.DONE
    settled = StepDone(
        step=step.id,
        key=key,
        attempt=state.attempt,
        outcome=Outcome.DONE if done else Outcome.FAILED,
        observed=said.observed if done else None,
        error=None if done else "interrupted before its effect",
    )
    flipped = _any_flip(upgrade, but=step.id) or (done and step.name is StepName.SWAP)
    if upgrade.on_crash is OnCrash.BACK and not upgrade.undoing and not flipped:
        return (settled, _turn_or_hold(upgrade, Reason.CRASH, f"{step.id} was interrupted"))
    return (settled,)


def _any_flip(upgrade: Upgrade, *, but: str) -> bool:
    return any(
        upgrade.step(step.id).outcome is Outcome.DONE
        for step in upgrade.plan.steps
        if step.name is StepName.SWAP and step.id != but
    )


def _note_release(upgrade: Upgrade, said: ReleaseHold) -> tuple[Event, ...]:
    _ask(upgrade, Message.RELEASE)
    hold = upgrade.hold
    if hold is None:
        raise InvariantBroken(law="T1", found="a release without a hold")
    needs_foreign = said.how in (Release.ADOPT, Release.RESTORE)
    if needs_foreign and hold.reason is not HoldReason.FOREIGN:
        raise MessageRefused(
            upgrade=upgrade.id,
            state=upgrade.state.value,
            message=f"release({said.how.value})",
            refusal="the hold is not about a foreign target",
        )
    release = replace(
        _stay(upgrade, Message.RELEASE),
        how=said.how,
        component=hold.component,
        found=hold.found,
    )
    if said.how is Release.PROMOTE:
        return (release, *_accepted(upgrade))
    again = tuple(_reopened(upgrade))
    goes_back = said.how in (Release.BACK, Release.ADOPT, Release.RESTORE)
    if goes_back and not upgrade.undoing:
        turn = _turn(upgrade, Reason.OPERATOR, f"released by {said.how.value}")
        return (release, *again, turn)
    return (release, *again)


_ACCEPTABLE = frozenset(
    {
        StepName.HEALTH,
        StepName.BEFORE_SWAP,
        StepName.QUIESCE,
        StepName.UNQUIESCE,
        StepName.AFTER_SWAP,
    }
)


def _accepted(upgrade: Upgrade) -> Iterator[StepDone]:
    """The failed checks and hooks of the state it is in, taken as done by a person.

    On the way back only who could not be stopped or started: a person has seen to it.
    """
    steps = undo_order(upgrade) if upgrade.undoing else upgrade.steps_left
    undo = upgrade.undoing
    for step in steps:
        state = upgrade.step(step.id)
        outcome = state.undo_outcome if undo else state.outcome
        acceptable = _WRITERS if undo else _ACCEPTABLE
        if step.name in acceptable and outcome is Outcome.FAILED:
            yield _settled(upgrade, step, Outcome.DONE, "accepted by a person")


def _settled(upgrade: Upgrade, step: Step, outcome: Outcome, why: str) -> StepDone:
    """A result that nobody did, in the direction in which the upgrade goes."""
    state, undo = upgrade.step(step.id), upgrade.undoing
    return StepDone(
        step=step.id,
        key=_key(upgrade, step, undo=undo),
        attempt=state.undo_attempt if undo else state.attempt,
        undo=undo,
        outcome=outcome,
        error=why,
    )


def _note_timer(upgrade: Upgrade, said: TimerDue, now_ms: int) -> tuple[Event, ...]:
    _ask(upgrade, Message.TIMER_DUE)
    due = upgrade.timers.get(said.id)
    if due is None or now_ms < due or upgrade.state in TERMINAL:
        return ()
    if said.id == TOTAL_TIMER and not upgrade.undoing and upgrade.hold is None:
        return (_turn_or_hold(upgrade, Reason.TIMED_OUT, "its total limit has passed"),)
    if said.id == BACK_TIMER and upgrade.undoing and upgrade.hold is None:
        return (
            Alert(name="back.overdue", verdict="late"),
            _held(upgrade, HoldReason.BACK_OVERDUE, detail="going back took longer than its limit"),
        )
    return ()


def _note_resumed(upgrade: Upgrade) -> tuple[Event, ...]:
    _ask(upgrade, Message.RESUMED)
    noted = Noted(code="resumed", text="taken up again")
    if upgrade.state in TERMINAL:
        return (noted,)
    if upgrade.hold is not None:
        if upgrade.hold.reason is HoldReason.BACK_OVERDUE:
            release = replace(_stay(upgrade, Message.RELEASE), how=Release.RETRY)
            return (noted, release, *_reopened(upgrade))
        return ()
    events: list[Event] = [noted, *_reopened(upgrade)]
    if upgrade.paused:
        events.append(_stay(upgrade, Message.UNPAUSE))
    if upgrade.resumes_without_progress + 1 >= RESUMES_WITHOUT_PROGRESS_MAX:
        detail = f"{RESUMES_WITHOUT_PROGRESS_MAX} resumes ended no step"
        events.append(_held(upgrade, HoldReason.FAILURE_KEPT, detail=detail))
    elif _stops_before_first_flip(upgrade):
        events.append(_turn_or_hold(upgrade, Reason.CRASH, "interrupted before the first flip"))
    return tuple(events)


def _reopened(upgrade: Upgrade) -> Iterator[StepDone]:
    """Whoever was stopped for an exchange that is to come may run again: stopped anew.

    After a crash the machine may have started them, during a hold somebody.
    """
    why = "what it stopped may run again by now"
    for step in upgrade.plan.steps:
        state = upgrade.step(step.id)
        if step.name not in _WRITERS:
            continue
        swap = _swap_of(upgrade, step.component)
        if upgrade.undoing:
            again = step.name is StepName.UNQUIESCE and state.taken_back
            again = again and _needs_undo(upgrade, swap)
        else:
            again = step.name is StepName.QUIESCE and state.outcome is Outcome.DONE
            again = again and upgrade.step(swap.id).outcome is not Outcome.DONE
        if again:
            yield _settled(upgrade, step, Outcome.FAILED, why)


def _stops_before_first_flip(upgrade: Upgrade) -> bool:
    """Whether `on_crash = back` ends it now; a step in doubt is probed first."""
    doubtful = any(upgrade.step(step.id).in_doubt for step in upgrade.plan.steps)
    return (
        upgrade.on_crash is OnCrash.BACK
        and not upgrade.undoing
        and not upgrade.flipped
        and not doubtful
    )


def _step(upgrade: Upgrade, step_id: str) -> Step:
    for step in upgrade.plan.steps:
        if step.id == step_id:
            return step
    raise InvariantBroken(law="F3", found=f"{step_id} is no step of upgrade {upgrade.id}")
