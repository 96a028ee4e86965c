"""From a failed upgrade to why it failed, where that was seen before, and what helped then.

Owns what counts as the same failure, and how remedies are ranked. Pure: it gets the records
of upgrades, oldest first.

Laws
Y1. What the error itself says to do is always among the remedies, whatever worked before.
Y2. A remedy counts as one that worked only if the upgrade that it led to was committed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from noodle_engine.machine.records import Entry, Requested, StepDone, Transition
from noodle_engine.machine.states import Direction, Message, Outcome, State

__all__ = ["Analysis", "Cause", "Like", "Remedy", "Run", "analysed"]

LIKE_MAX: Final = 20
_VARIABLE: Final = re.compile(r"[0-9A-Z]{26}|[0-9a-f]{8,}|\d+|(?:/[\w.@+-]+)+")
"""What differs between two failures that are one: ids, digests, numbers, paths."""
_SAID: Final = re.compile(r"\); (?P<remedy>[^;]+)\Z")
_HOOKS: Final = frozenset(
    {"before-swap", "after-swap", "after-commit", "after-rollback", "quiesce", "unquiesce"}
)


@dataclass(frozen=True, slots=True)
class Run:
    """One upgrade's records: sequence numbers and entries, oldest first."""

    upgrade: str
    records: tuple[tuple[int, Entry], ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """One link of the chain: the record, what it is, and its words."""

    seq: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Like:
    """The same failure before: the upgrade, its record, and how that upgrade ended."""

    upgrade: str
    seq: int
    ended: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something to do. worked of tried: how often, after the same failure before."""

    do: str
    source: str
    worked: int = 0
    tried: int = 0


@dataclass(frozen=True, slots=True)
class Analysis:
    """Why an upgrade failed, and what may help; remedies best first."""

    upgrade: str
    step: str | None
    reason: str | None
    chain: tuple[Cause, ...]
    like: tuple[Like, ...]
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class _Failure:
    seq: int
    step: str | None
    reason: str | None
    error: str

    @property
    def shape(self) -> tuple[str, str, str]:
        """What two failures have in common that are one."""
        name = (self.step or "").partition(":")[0]
        return name, self.reason or "", _VARIABLE.sub("*", self.error)


def analysed(run: Run, others: Sequence[Run], *, ranked: bool) -> Analysis | None:
    """The analysis of a failed upgrade, None for one that has not failed.

    `others` are upgrades before and after it, oldest first. Without `ranked` only the
    error's own remedy is there.
    """
    failure = _failure(run)
    if failure is None:
        return None
    like = [
        (other, found)
        for other in others
        if other.upgrade != run.upgrade
        and (found := _failure(other)) is not None
        and found.seq < failure.seq
        and found.shape == failure.shape
    ]
    own = Remedy(_own_remedy(run, failure), "the error")
    remedies = tuple(_ranked(like, others, own)) if ranked else (own,)
    return Analysis(
        upgrade=run.upgrade,
        step=failure.step,
        reason=failure.reason,
        chain=tuple(_chain(run)),
        like=tuple(Like(o.upgrade, f.seq, _end(o)) for o, f in like[-LIKE_MAX:]),
        remedies=remedies,
    )


def _failure(run: Run) -> _Failure | None:
    """What made an upgrade fail: the first step that did, or why it was turned back or held."""
    step: tuple[int, StepDone] | None = None
    for seq, entry in run.records:
        match entry.event:
            case StepDone(outcome=Outcome.FAILED) as event:
                step = step or (seq, event)
            case Transition(message=Message.TURN_BACK | Message.HOLD) as event:
                reason = event.reason or event.hold
                if step is not None:
                    first = step[1]
                    return _Failure(step[0], first.step, _value(reason), first.error or "")
                return _Failure(seq, None, _value(reason), event.detail or "")
    return None


def _value(reason: object) -> str | None:
    return None if reason is None else str(reason)


def _chain(run: Run) -> Iterator[Cause]:
    """From what failed first to how it stands."""
    for seq, entry in run.records:
        match entry.event:
            case StepDone(outcome=Outcome.FAILED) as event:
                doing = "taking back " if event.undo else ""
                text = f"{doing}{event.step} failed: {event.error or 'no word why'}"
                yield Cause(seq, "step", text)
            case Transition(message=Message.TURN_BACK) as event:
                why = f": {event.detail}" if event.detail else ""
                yield Cause(seq, "turned back", f"{_value(event.reason)}{why}")
            case Transition(message=Message.HOLD) as event:
                why = f": {event.detail}" if event.detail else ""
                yield Cause(seq, "on hold", f"{_value(event.hold)}{why}")
            case Transition(message=Message.RELEASE) as event:
                yield Cause(seq, "released", f"by {entry.actor}: {_value(event.how)}")
            case Transition(target=State.ROLLED_BACK | State.COMMITTED) as event:
                if event.source is not event.target:
                    yield Cause(seq, "ended", event.target.value)


def _end(run: Run) -> str:
    """How an upgrade ended: a final state's name, or `open`."""
    for _, entry in reversed(run.records):
        if isinstance(entry.event, Transition):
            state = entry.event.target
            if state in (State.COMMITTED, State.ROLLED_BACK):
                return state.value
    return "open"


def _own_remedy(run: Run, failure: _Failure) -> str:
    """What the error itself says to do (law Y1)."""
    said = _SAID.search(failure.error)
    if said is not None:
        return said["remedy"]
    name = (failure.step or "").partition(":")[0]
    if name in _HOOKS or name == "health":
        return f"see what the command printed: `noodle steps {run.upgrade} --output`"
    return f"look at its records: `noodle audit show {run.upgrade}`"


def _ranked(
    like: Iterable[tuple[Run, _Failure]], others: Sequence[Run], own: Remedy
) -> list[Remedy]:
    """The error's own remedy, and what was done after the same failure; best first.

    A remedy's rank is the chance that it works by what was seen, begun with one for and one
    against it: what worked once of one time is no better than what worked nine of ten.
    """
    worked: defaultdict[str, int] = defaultdict(int)
    tried: defaultdict[str, int] = defaultdict(int)
    for run, failure in like:
        for remedy, success in _done_after(run, failure, others):
            tried[remedy] += 1
            worked[remedy] += success
    found = [Remedy(do, "what was done before", worked[do], tried[do]) for do in tried]
    found.sort(key=lambda one: (-(one.worked + 1) / (one.tried + 2), -one.worked, one.do))
    good = [one for one in found if 2 * (one.worked + 1) > one.tried + 2]
    return [*good, own, *(one for one in found if one not in good)]


def _done_after(run: Run, failure: _Failure, others: Sequence[Run]) -> Iterator[tuple[str, bool]]:
    """What was done after a failure, and whether it ended well (law Y2)."""
    committed = _end(run) == State.COMMITTED.value
    for seq, entry in run.records:
        event = entry.event
        if seq > failure.seq and isinstance(event, Transition) and event.how is not None:
            yield f"`noodle resume ID --{event.how.value}`", committed
    asked = _request(run)
    if committed or asked is None:
        return  # what came later was no answer to it
    names = {one.name for one in asked.plan.components}
    for other in others:
        later = _request(other)
        if later is None or other.records[0][0] <= failure.seq:
            continue
        same = [one for one in later.plan.components if one.name in names]
        if not same:
            continue
        success = _end(other) == State.COMMITTED.value
        if later.plan.direction is Direction.BACK:
            yield "go back: `noodle rollback NAME`", success
        elif {(one.name, one.to_version) for one in same} <= {
            (one.name, one.to_version) for one in asked.plan.components
        }:
            yield "the same version again: `noodle apply NAME@VERSION`", success
        else:
            yield "another version: `noodle apply NAME@OTHER`", success
        return


def _request(run: Run) -> Requested | None:
    event = run.records[0][1].event if run.records else None
    return event if isinstance(event, Requested) else None
