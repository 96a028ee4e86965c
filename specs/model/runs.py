"""Whether the records of a real journal are a run of the models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from journals import Journal, NoRun, Taken
from relation import Relation

from noodle_engine.machine.plan import StepName
from noodle_engine.machine.records import Entry, Noted, Requested, StepDone, StepIntent, Transition
from noodle_engine.machine.states import HoldReason, Message

__all__ = ["check_run", "check_runs"]


def taken_of(relation: Relation, entry: Entry) -> Taken | None:
    """A record as the relation sees it, or None for one that says nothing of the machine."""
    match entry.event:
        case StepIntent() as event:
            return Taken("intent", step=_bit(relation, event.step), undo=event.undo)
        case StepDone() as event:
            return Taken(
                "done", step=_bit(relation, event.step), undo=event.undo, outcome=event.outcome
            )
        case Transition() as event:
            kind = {
                Message.TURN_BACK: "turn",
                Message.HOLD: "hold",
                Message.RELEASE: "release",
                Message.PAUSE: "pause",
                Message.UNPAUSE: "unpause",
            }.get(event.message, "move")
            if kind != "move" and event.source is not event.target:
                raise NoRun(f"{event.message.value} leads from {event.source} to {event.target}")
            return Taken(
                kind,
                message=event.message,
                to=event.target,
                hold=event.hold or (HoldReason.FAILURE_KEPT if kind == "hold" else None),
                how=event.how,
                component=event.component,
                reason=event.reason,
            )
        case Noted(code="resumed"):
            return Taken("resumed")
        case _:
            return None


def _bit(relation: Relation, step: str) -> int:
    if step not in relation.bits:
        raise NoRun(f"{step} is no step of the plan")
    return relation.bits[step]


def check_run(entries: Iterable[Entry]) -> Journal:
    """The journal that the records of one upgrade lead to, from its request on.

    Raises NoRun, naming the record, if they are no run of the model.
    """
    relation: Relation | None = None
    at = Journal()
    attempts: dict[tuple[int, bool], int] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry.event, Requested):
            if relation is not None:
                raise NoRun(f"record {number}: a second request")
            relation = Relation.of_plan(entry.event.plan)
            continue
        if relation is None:
            raise NoRun(f"record {number}: before its request")
        try:
            at = _next(relation, at, entry, attempts)
        except NoRun as why:
            raise NoRun(f"record {number}, {entry.event}: {why}; after {at}") from why
    return at


def _next(
    relation: Relation, at: Journal, entry: Entry, attempts: dict[tuple[int, bool], int]
) -> Journal:
    event = entry.event
    taken = taken_of(relation, entry)
    if taken is None:
        return at
    if isinstance(event, Transition):
        undoing = at.undoing or taken.kind == "turn"
        if event.source is not at.state or event.undoing is not undoing:
            raise NoRun(f"from {event.source} (undoing {event.undoing}), and it is not there")
    if isinstance(event, (StepIntent, StepDone)):
        of = (taken.step, taken.undo)
        attempts[of] = attempts.get(of, 0) + isinstance(event, StepIntent)
        if event.attempt != attempts[of]:
            raise NoRun(f"attempt {event.attempt}, and it is the {attempts[of]}.")
        quiesce = relation.named[StepName.QUIESCE] & taken.step
        taken = replace(taken, again=bool(quiesce) and attempts.get((taken.step, False), 0) > 1)
        if event.key != f"{entry.upgrade}:{event.step}{':undo' if event.undo else ''}":
            raise NoRun(f"another step's key: {event.key}")
    return relation.follow(at, taken)


def check_runs(entries: Iterable[Entry]) -> dict[str, Journal]:
    """The same for a whole journal: of each upgrade, where its records lead to."""
    runs: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.upgrade is not None:
            runs.setdefault(entry.upgrade, []).append(entry)
    return {upgrade: check_run(run) for upgrade, run in runs.items()}
