"""Exit codes of answers. Pure: a view in, a number out.

Source: the table in docs/guide/exit-codes.md. A failure carries its own code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import UpgradeView

__all__ = [
    "ALL",
    "DONE",
    "NEEDS_PERSON",
    "NOT_TRUSTED",
    "PENDING",
    "REFUSED",
    "RESTORED",
    "TIMED_OUT",
    "USAGE",
    "of_upgrade",
    "worst",
]

DONE = 0
USAGE = 2
REFUSED = 3
RESTORED = 4
NEEDS_PERSON = 5
NOT_TRUSTED = 6
TIMED_OUT = 8
PENDING = 10

_BY_A_PERSON = frozenset({"cancelled", "operator"})

ALL: dict[int, str] = {
    0: "done; or there was nothing to do; or an upgrade was aborted as asked",
    1: "a bug in Noodle, or its answer could not be written",
    2: "a malformed option, setting, release or plan",
    3: "refused: the target is as it was before",
    4: "the upgrade failed and the old was restored",
    5: "a person is needed: an upgrade is on hold, its clean-up, a disk or a check failed",
    6: "a key, a signature, the journal or a target failed verification",
    7: "not authorised",
    8: "`--wait` ended first; the upgrade goes on",
    9: "another process holds the home or a target, or does not answer",
    10: "`plan --detailed-exitcode`: there are changes to apply",
    130: "interrupted; an upgrade that was under way can be resumed",
}
"""Every exit code and what it means, as the docs print it."""


def of_upgrade(view: UpgradeView, *, asked_back: bool = False, waited: bool = True) -> int:
    """The exit code for an upgrade as it stands.

    `asked_back`: the command takes back, or ends what a person took back; for
    any other command an upgrade that somebody aborted has failed. `waited`: the
    command waited for the end of the upgrade, so that an open one means that
    the time for waiting is over.
    """
    if view.hold is not None:
        return NEEDS_PERSON
    if view.state == "committed":
        return DONE if view.finished or not waited else NEEDS_PERSON
    if view.state == "rolled_back":
        if asked_back and view.reason in _BY_A_PERSON:
            return DONE
        return REFUSED if view.reason == "refused" else RESTORED
    return TIMED_OUT if waited else DONE


def worst(codes: Iterable[int]) -> int:
    """The code of several upgrades: the one that most needs a look."""
    found = set(codes)
    order = (NEEDS_PERSON, RESTORED, REFUSED, TIMED_OUT)
    return next((code for code in order if code in found), DONE)
