"""The models' steps from one journal to the next, and whether records are a run of them.

Owns the same relation that `decide.pml` has, said once more over records: which record
may follow on which journal. The table of moves, the steps of a plan, the state each is
done in, the order of the way back and what of an end is tried again are read from the code
by `generate`, as for Promela. `specs/run` holds it against every step that Spin found
(`explains`), and the tests hold real journals against it (`runs`).

Beyond the models it knows what real journals have: a pause, a hook that cannot be undone,
what a person says of a stranger's object or a failed check, the fifth resume.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

from generate import all_begun, touching, tried_again
from journals import SPIN_HOLDS, Journal, NoRun, Taken

from noodle_engine.machine.decide import undo_order
from noodle_engine.machine.plan import ABSENT, HookPoint, Plan, Step, StepName, state_of
from noodle_engine.machine.states import (
    TERMINAL,
    HoldReason,
    Outcome,
    Reason,
    Release,
    State,
)
from noodle_engine.machine.table import FORWARD, MOVES
from noodle_engine.machine.upgrade import RESUMES_WITHOUT_PROGRESS_MAX

__all__ = ["Relation"]

PATH_RECORDS_MAX = 16
OF_A_STEP = {Reason.REFUSED, Reason.HEALTH_FAILED, Reason.VALIDATION_FAILED}
"""Why only a step that failed turns it back; but it is refused, too, before anything began."""
ANY_TIME = {None, Reason.STEP_FAILED}
"""A step that failed, or the journal's disk that is full. Spin knows no reasons."""


class Relation:
    """Which record may follow on which journal, for the upgrades of one plan."""

    _known: ClassVar[dict[Hashable, Relation]] = {}

    @classmethod
    def of_plan(cls, plan: Plan) -> Relation:
        """The relation of a plan; the same one for plans with the same steps and hooks."""
        parts = tuple((one.name, one.root == ABSENT, one.hooks) for one in plan.components)
        return cls._known.setdefault((plan.steps, parts), cls(plan))

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.bits = {step.id: 1 << number for number, step in enumerate(plan.steps)}

    def mask(self, steps: Iterable[Step]) -> int:
        """The set of steps."""
        return sum(self.bits[step.id] for step in steps)

    @cached_property
    def named(self) -> dict[StepName, int]:
        """The steps of each name."""
        steps = self.plan.steps
        return {name: self.mask(s for s in steps if s.name is name) for name in StepName}

    @cached_property
    def of(self) -> dict[str, int]:
        """The steps of each component."""
        return {
            one.name: self.mask(s for s in self.plan.steps if s.component == one.name)
            for one in self.plan.components
        }

    @cached_property
    def of_state(self) -> dict[State, int]:
        """The steps that are done in each state."""
        steps = self.plan.steps
        return {state: self.mask(s for s in steps if state_of(s.name) is state) for state in State}

    @cached_property
    def back(self) -> tuple[int, ...]:
        """The way back, as bits in its order."""
        return tuple(self.bits[step.id] for step in undo_order(all_begun(self.plan)))

    @cached_property
    def touching(self) -> int:
        """The steps after which a component is cleaned up on the way back."""
        return sum(self.bits[one] for one in touching(self.plan))

    @cached_property
    def clean_up(self) -> int:
        """The steps of an end that a resume does again."""
        return sum(self.bits[one] for one in tried_again(self.plan))

    @cached_property
    def irreversible(self) -> int:
        """The hooks after which a person decides whether it goes back."""
        points = {point.value for point in HookPoint}
        return self.mask(
            step
            for step in self.plan.steps
            if step.name.value in points
            and not self.plan.component(step.component).hooks[step.index].reversible
        )

    # -- what is left ------------------------------------------------------

    def left(self, at: Journal) -> int:
        """The steps of the state it is in that are to be done."""
        left = self.of_state[at.state] & ~at.done
        if at.state not in TERMINAL:
            return left
        left &= ~at.failed
        if at.state is State.ROLLED_BACK:
            left &= sum(of for of in self.of.values() if of & self.touching & at.begun)
        return left

    def swaps_to_undo(self, at: Journal) -> int:
        """The exchanges that the way back has yet to take back."""
        swaps = self.named[StepName.SWAP] & ~at.undone & ~at.adopted
        begun = at.begun
        if at.restore:
            begins = self.named[StepName.QUIESCE] | self.named[StepName.SWAP]
            begun |= sum(of for of in self.of.values() if of & begins & at.begun)
        return swaps & begun

    def stops(self, swaps: int) -> int:
        """The stops that go before exchanges back."""
        return self.named[StepName.UNQUIESCE] & sum(of for of in self.of.values() if of & swaps)

    def to_undo(self, at: Journal) -> list[int]:
        """The steps to take back, in order."""
        swaps = self.swaps_to_undo(at)
        others = ~(self.named[StepName.SWAP] | self.named[StepName.UNQUIESCE])
        wanted = (at.begun & ~at.undone & others) | swaps | (self.stops(swaps) & ~at.undone)
        return [bit for bit in self.back if bit & wanted]

    def to_reopen(self, at: Journal) -> int:
        """The stops that no longer count once somebody takes it up: those stopped may run."""
        if at.state in TERMINAL:
            return 0
        if at.undoing:
            return self.stops(self.swaps_to_undo(at)) & at.undone
        quiesced = self.named[StepName.QUIESCE] & at.done
        swapped = self.named[StepName.SWAP] & at.done
        return quiesced & ~sum(of for of in self.of.values() if of & swapped)

    def stands_still(self, at: Journal) -> bool:
        """Whether somebody who writes is stopped, so that a pause waits."""
        for of in self.of.values():
            quiesce = self.named[StepName.QUIESCE] & of
            ends = self.named[StepName.UNQUIESCE] & of or self.named[StepName.SWAP] & of
            if quiesce & at.done and ends & ~at.done:
                return True
        return False

    def finished(self, at: Journal) -> bool:
        """Whether it has ended, and its clean-up too."""
        if at.state not in TERMINAL or self.left(at):
            return False
        return (
            not self.of_state[at.state] & at.failed & self.clean_up
            or at.resumes >= RESUMES_WITHOUT_PROGRESS_MAX
        )

    # -- what follows ------------------------------------------------------

    def follow(self, at: Journal, taken: Taken) -> Journal:
        """The journal after one more record. Raises NoRun if it may not follow."""
        if self.finished(at):
            raise NoRun("it has ended")
        settles = taken.kind == "done" and taken.step & at.reopening
        if at.reopening and not settles:
            raise NoRun("who was stopped has to be stopped anew first")
        if at.due and taken.kind not in at.due and not settles:
            raise NoRun(f"has to be followed by {' or '.join(sorted(at.due))}")
        then = {
            "intent": self._intent,
            "done": self._done,
            "move": self._move,
            "turn": self._turn,
            "hold": self._hold,
            "release": self._release,
            "pause": self._pause,
            "unpause": self._pause,
            "resumed": self._resumed,
        }[taken.kind](at, taken)
        keeps = taken.kind in ("release", "resumed") or (taken.kind == "done" and at.said)
        return then if keeps else replace(then, said=None)

    def _intent(self, at: Journal, taken: Taken) -> Journal:
        if at.hold is not None:
            raise NoRun("an intent while it is on hold")
        if at.state not in TERMINAL and at.undoing:
            order = self.to_undo(at)
            if not taken.undo or order[:1] != [taken.step]:
                raise NoRun("not the next step of the way back")
            return replace(
                at,
                undo_begun=at.undo_begun | taken.step,
                undone=at.undone & ~taken.step,
                undo_failed=at.undo_failed & ~taken.step,
            )
        if at.state not in TERMINAL and at.doubt:
            raise NoRun("an intent while a step is in doubt")
        if at.paused and not self.stands_still(at):
            raise NoRun("an intent while it is paused")
        left = self.left(at)
        if taken.undo or not left or taken.step != left & -left:
            raise NoRun("not the next step")
        return replace(
            at,
            begun=at.begun | taken.step,
            done=at.done & ~taken.step,
            failed=at.failed & ~taken.step,
            doubtful=at.doubtful & ~taken.step,
        )

    def _done(self, at: Journal, taken: Taken) -> Journal:
        if taken.step & at.reopening:
            if taken.outcome is not Outcome.FAILED or taken.undo != at.undoing:
                raise NoRun("who was stopped may run again: a failed stop")
            at = replace(at, reopening=at.reopening & ~taken.step)
            if taken.undo:
                return replace(
                    at, undone=at.undone & ~taken.step, undo_failed=at.undo_failed | taken.step
                )
            return replace(at, done=at.done & ~taken.step, failed=at.failed | taken.step)
        if taken.outcome is Outcome.DONE:
            at = replace(at, resumes=at.resumes if taken.again else 0)
        return self._undone(at, taken) if taken.undo else self._result(at, taken)

    def _undone(self, at: Journal, taken: Taken) -> Journal:
        accepted = at.said is Release.PROMOTE and taken.step & at.undo_failed
        open_ = at.undo_begun & ~at.undone & ~at.undo_failed
        if not (taken.step & open_ or accepted):
            raise NoRun("taken back without an intent")
        if taken.outcome is Outcome.DONE:
            return replace(
                at, undone=at.undone | taken.step, undo_failed=at.undo_failed & ~taken.step
            )
        if accepted:
            raise NoRun("a person accepts what is done")
        if taken.step & self.named[StepName.STAGE]:
            # given up, or foreign: the clean-up tries again
            return replace(at, undone=at.undone | taken.step)
        return replace(at, undo_failed=at.undo_failed | taken.step, due=frozenset({"hold"}))

    def _result(self, at: Journal, taken: Taken) -> Journal:
        accepted = at.said is Release.PROMOTE and taken.step & at.failed
        if not (taken.step & at.doubt or accepted):
            raise NoRun("a result without an intent")
        if taken.outcome is Outcome.DONE:
            return replace(at, done=at.done | taken.step, failed=at.failed & ~taken.step)
        if accepted:
            raise NoRun("a person accepts what is done")
        probed = taken.step & at.doubtful
        at = replace(at, failed=at.failed | taken.step)
        if probed or at.undoing or at.state in TERMINAL:
            return at
        return replace(at, due=frozenset({"turn", "hold"}))

    def _move(self, at: Journal, taken: Taken) -> Journal:
        row = any(
            (row.source, row.event, row.target) == (at.state, taken.message, taken.to)
            for row in MOVES
        )
        if not row or at.hold is not None:
            raise NoRun("no move of the table")
        if taken.message in FORWARD:
            if at.undoing or at.paused or at.doubt or self.left(at):
                raise NoRun("a move on with something left, in doubt or turned back")
        elif not at.undoing or self.to_undo(at):
            raise NoRun("an end with something left to take back")
        return replace(at, state=taken.to or at.state)

    def _turn(self, at: Journal, taken: Taken) -> Journal:
        if at.state in TERMINAL or at.undoing:
            raise NoRun("it cannot be turned back")
        if self.irreversible & at.begun and at.said is None:
            raise NoRun("past what cannot be undone a person decides")
        of_a_step = taken.reason in OF_A_STEP
        refused = taken.reason is Reason.REFUSED and not at.begun
        if taken.reason is Reason.OPERATOR and "turn" not in at.due:
            raise NoRun("an operator turns it back by a release")
        if taken.reason not in ANY_TIME and of_a_step is not ("hold" in at.due) and not refused:
            raise NoRun(f"turned back for {taken.reason}, which is not why")
        return replace(at, undoing=True, hold=None, paused=False, due=frozenset())

    def _hold(self, at: Journal, taken: Taken) -> Journal:
        if at.state in TERMINAL:
            raise NoRun("an end is not held")
        allowed = {
            # of a step that ended so, or that a probe found so
            HoldReason.FOREIGN: bool(
                at.due or at.doubt & at.doubtful or at.undo_begun or (at.undoing and at.failed)
            ),
            HoldReason.IRREVERSIBLE: bool(self.irreversible & at.begun or at.due),
            HoldReason.FAILURE_KEPT: bool(
                at.due or at.resumes >= RESUMES_WITHOUT_PROGRESS_MAX or (at.undoing and at.failed)
            ),
            HoldReason.OLD_BROKEN: bool(at.undo_failed),
            HoldReason.BACK_OVERDUE: at.undoing and at.hold is None,
        }
        if taken.hold is None or not allowed.get(taken.hold, True):
            raise NoRun("held for no reason")
        return replace(at, hold=taken.hold, due=frozenset())

    def _release(self, at: Journal, taken: Taken) -> Journal:
        if at.hold is None:
            raise NoRun("a release without a hold")
        goes_back = taken.how in (Release.BACK, Release.ADOPT, Release.RESTORE)
        adopted = self.of[taken.component] if taken.how is Release.ADOPT and taken.component else 0
        return replace(
            at,
            hold=None,
            adopted=at.adopted | adopted,
            restore=taken.how is Release.RESTORE,
            resumes=0,
            doubtful=at.doubt,
            reopening=0 if taken.how is Release.PROMOTE else self.to_reopen(at),
            due=frozenset({"turn"}) if goes_back and not at.undoing else frozenset(),
            said=taken.how,
        )

    def _pause(self, at: Journal, taken: Taken) -> Journal:
        if at.state in TERMINAL or at.paused == (taken.kind == "pause"):
            raise NoRun("it cannot be paused or taken on")
        return replace(at, paused=taken.kind == "pause")

    def _resumed(self, at: Journal, _taken: Taken) -> Journal:
        at = replace(at, resumes=at.resumes + 1, doubtful=at.doubt)
        if at.state in TERMINAL:
            return replace(at, failed=at.failed & ~(self.of_state[at.state] & self.clean_up))
        if at.hold is HoldReason.BACK_OVERDUE:
            return replace(at, due=frozenset({"release"}))
        if at.hold is not None:
            raise NoRun("a resume does not end a hold")
        return replace(at, reopening=self.to_reopen(at))

    # -- against Spin -------------------------------------------------------

    def explains(self, source: tuple[int, ...], target: tuple[int, ...]) -> bool:
        """Whether records lead from one journal that Spin found to the next it found."""
        if source == target:
            return True  # a resume of what has ended, or is held
        begin = Journal.of(source)
        starts = [begin, replace(begin, doubtful=0)]
        seen: set[Journal] = set()
        for _ in range(PATH_RECORDS_MAX):
            found = []
            for at in starts:
                for taken in self._candidates(at):
                    try:
                        then = self.follow(at, taken)
                    except NoRun:
                        continue
                    if then.projected == target and not then.due and not then.reopening:
                        return True
                    if then not in seen:
                        seen.add(then)
                        found.append(then)
            starts = found
        return False

    def _candidates(self, at: Journal) -> Iterator[Taken]:
        for row in MOVES:
            if row.source is at.state:
                yield Taken("move", message=row.event, to=row.target)
        yield Taken("turn")
        yield Taken("resumed")
        for how in (Release.RETRY, Release.BACK):
            yield Taken("release", how=how)
        for reason in SPIN_HOLDS[1:]:
            yield Taken("hold", hold=reason)
        yield Taken("hold", hold=HoldReason.OLD_BROKEN)
        open_back = at.undo_begun & ~at.undone & ~at.undo_failed
        for undo, open_ in ((False, at.doubt), (True, open_back)):
            for bit in self.bits.values():
                if bit & (open_ | at.reopening):
                    for outcome in Outcome:
                        yield Taken("done", step=bit, outcome=outcome, undo=undo)
        left, back = self.left(at), self.to_undo(at)
        yield Taken("intent", step=left & -left)
        yield from (Taken("intent", step=bit, undo=True) for bit in back[:1])
