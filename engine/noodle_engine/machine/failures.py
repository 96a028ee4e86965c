"""What the machine refuses, as failures with code, problem, cause and remedy."""

from __future__ import annotations

from typing import ClassVar

from noodle_journal.errors import NoodleError

__all__ = ["InvariantBroken", "MessageRefused", "RecordUnreadable"]


class InvariantBroken(NoodleError):
    """A law of Noodle's own does not hold: a bug, never the user's doing."""

    code: ClassVar[str] = "invariant_broken"
    exit_code: ClassVar[int] = 1

    def __init__(self, *, law: str, found: str) -> None:
        super().__init__(
            problem=f"law {law} does not hold: {found}",
            cause="this is a bug in Noodle",
            remedy="stop, keep the home as it is, run `noodle audit verify` and report it",
            data={"law": law, "found": found},
        )


class MessageRefused(NoodleError):
    """The machine does not take a message in the state an upgrade is in."""

    code: ClassVar[str] = "message_refused"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, upgrade: str, state: str, message: str, refusal: str) -> None:
        self.refusal = refusal
        super().__init__(
            problem=f"upgrade {upgrade} does not take {message} while it is {state}",
            cause=_CAUSES.get(refusal, refusal),
            remedy=f"run `noodle status {upgrade}`: it lists the commands that are allowed now",
            data={"upgrade": upgrade, "state": state, "message": message, "refusal": refusal},
        )


_CAUSES = {
    "out_of_order": "the table of moves has no such move here",
    "finished": "the upgrade has ended, and an end is final",
    "already_undoing": "the upgrade is being taken back already",
    "on_hold": "the upgrade is on hold and waits for a person",
    "paused": "the upgrade is paused",
    "not_on_hold": "the upgrade is not on hold",
    "not_paused": "the upgrade is not paused",
}


class RecordUnreadable(NoodleError):
    """A record's fields do not fit its kind."""

    code: ClassVar[str] = "record_unreadable"
    exit_code: ClassVar[int] = 6

    def __init__(self, *, kind: str, found: str) -> None:
        super().__init__(
            problem=f"a {kind} record cannot be read: {found}",
            cause="it was written by another version of Noodle, or by a faulty one",
            remedy="run `noodle audit verify`, then read it with the version that wrote it",
            data={"kind": kind, "found": found},
        )
