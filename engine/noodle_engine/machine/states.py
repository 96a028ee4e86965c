"""The words of the machine: states, messages, reasons, statuses.

Owns every closed set of names that the journal stores. Stored names are for
ever: a test pins their literals. It decides nothing; `table` does.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "TERMINAL",
    "Direction",
    "HoldReason",
    "Message",
    "OnCrash",
    "Outcome",
    "Reason",
    "Release",
    "State",
    "Status",
]


class State(StrEnum):
    """Where an upgrade is. Seven, and never more."""

    PENDING = "pending"
    VALIDATED = "validated"
    SNAPSHOTTED = "snapshotted"
    SWAPPING = "swapping"
    VERIFIED = "verified"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"


TERMINAL: frozenset[State] = frozenset({State.COMMITTED, State.ROLLED_BACK})


class Message(StrEnum):
    """What can be said to an upgrade."""

    CHECKS_PASSED = "checks_passed"
    SNAPSHOT_TAKEN = "snapshot_taken"
    SWAP_BEGUN = "swap_begun"
    VERIFICATION_PASSED = "verification_passed"
    COMMIT = "commit"
    TURN_BACK = "turn_back"
    UNDONE = "undone"
    HOLD = "hold"
    PAUSE = "pause"
    RELEASE = "release"
    UNPAUSE = "unpause"
    STEP_RESULT = "step_result"
    TIMER_DUE = "timer_due"
    GATE = "gate"
    APPROVAL = "approval"
    HEALTH = "health"
    SAMPLE = "sample"
    RESUMED = "resumed"


class Direction(StrEnum):
    """Which way a plan goes: to another version, or back to a kept point."""

    FORWARD = "forward"
    BACK = "back"


class Reason(StrEnum):
    """Why an upgrade was turned back."""

    REFUSED = "refused"
    VALIDATION_FAILED = "validation_failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    HEALTH_FAILED = "health_failed"
    JUDGED_BAD = "judged_bad"
    STEP_FAILED = "step_failed"
    CRASH = "crash"
    OPERATOR = "operator"


class HoldReason(StrEnum):
    """Why an upgrade stands still until a person speaks."""

    FOREIGN = "foreign"
    IRREVERSIBLE = "irreversible"
    FAILURE_KEPT = "failure_kept"
    OLD_BROKEN = "old_broken"
    NEWER_DATA = "newer_data"
    BACK_OVERDUE = "back_overdue"


class Release(StrEnum):
    """How a person ends a hold."""

    RETRY = "retry"
    PROMOTE = "promote"
    BACK = "back"
    ADOPT = "adopt"
    RESTORE = "restore"


class Outcome(StrEnum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"


class OnCrash(StrEnum):
    """What a resume does before the first flip."""

    FORWARD = "forward"
    BACK = "back"


class Status(StrEnum):
    """The coarser name of a state that users of other tools know."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"


def status_of(state: State, reason: Reason | None) -> Status:
    """Map a state, and the reason it was turned back for, to a status."""
    match state:
        case State.PENDING:
            return Status.PENDING
        case State.COMMITTED:
            return Status.COMPLETED
        case State.ROLLED_BACK:
            if reason is Reason.CANCELLED:
                return Status.CANCELLED
            if reason is Reason.OPERATOR:
                return Status.ROLLED_BACK
            return Status.FAILED
        case _:
            return Status.IN_PROGRESS
