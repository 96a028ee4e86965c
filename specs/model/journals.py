"""A journal and a record as the models see them: states, and sets of steps as masks."""

from __future__ import annotations

from dataclasses import dataclass

from noodle_engine.machine.states import HoldReason, Message, Outcome, Reason, Release, State

__all__ = ["SPIN_HOLDS", "Journal", "NoRun", "Taken"]

STATES = tuple(State)
SPIN_HOLDS = (None, HoldReason.FOREIGN, HoldReason.BACK_OVERDUE)
"""What the models' numbers of a hold stand for."""


class NoRun(Exception):
    """Records that are no run of the model: which one, and why."""


@dataclass(frozen=True, slots=True)
class Journal:
    """What the records of an upgrade say, as in the models; sets of steps are masks.

    `doubtful` are steps that were in doubt when somebody took it up: a probe answers for
    them. `due`: what has to be the next record. `reopening`: the stops that the next records
    have to take back. `said`: a person has just spoken.
    """

    state: State = State.PENDING
    undoing: bool = False
    hold: HoldReason | None = None
    begun: int = 0
    done: int = 0
    failed: int = 0
    undo_begun: int = 0
    undone: int = 0
    undo_failed: int = 0
    paused: bool = False
    adopted: int = 0
    restore: bool = False
    resumes: int = 0
    doubtful: int = 0
    due: frozenset[str] = frozenset()
    reopening: int = 0
    said: Release | None = None

    @property
    def doubt(self) -> int:
        """The steps that were begun and of which nobody knows how far they came."""
        return self.begun & ~self.done & ~self.failed

    @property
    def projected(self) -> tuple[int, ...]:
        """The eight values that the models know."""
        hold = 0 if self.hold is None else 2 if self.hold is HoldReason.BACK_OVERDUE else 1
        return (
            STATES.index(self.state),
            int(self.undoing),
            hold,
            self.begun,
            self.done,
            self.failed,
            self.undo_begun,
            self.undone,
        )

    @classmethod
    def of(cls, values: tuple[int, ...]) -> Journal:
        """The journal of eight values that Spin found."""
        state, undoing, hold, begun, done, failed, undo_begun, undone = values
        return cls(
            state=STATES[state],
            undoing=bool(undoing),
            hold=SPIN_HOLDS[hold],
            begun=begun,
            done=done,
            failed=failed,
            undo_begun=undo_begun,
            undone=undone,
            undo_failed=undo_begun & ~undone if hold == 1 else 0,
            doubtful=begun & ~done & ~failed,
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """One record as the relation sees it.

    `step` is a bit; of a move, `to` is its target; `again`: who was stopped before is
    stopped anew, which is no progress.
    """

    kind: str
    step: int = 0
    undo: bool = False
    outcome: Outcome | None = None
    message: Message | None = None
    to: State | None = None
    hold: HoldReason | None = None
    how: Release | None = None
    component: str | None = None
    reason: Reason | None = None
    again: bool = False
