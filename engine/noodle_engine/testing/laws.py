"""The laws that a target kind is held to, each with its stable name and what it says.

Owns the words. `site` looks whether they hold.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["PROMISES", "Law"]


class Law(StrEnum):
    """The name of a law. Stored by nobody, matched by tests."""

    WORKS = "works"
    WHOLE = "whole"
    AGAIN = "again"
    BACK = "back"
    PROBE = "probe"
    STRANGER = "stranger"
    KEPT = "kept"
    STEADY = "steady"
    CLEAN = "clean"
    LEAKS = "leaks"
    DURABLE = "durable"
    READS = "reads"
    LOCKED = "locked"


PROMISES: Final = {
    Law.WORKS: "a step does what it is for, and a refusal explains itself (NoodleError)",
    Law.WHOLE: "whenever its process is killed, the target is wholly the old or wholly the new",
    Law.AGAIN: "a step that is done, or half done, can be done again, and the second time "
    "changes nothing",
    Law.BACK: "an undo brings the old back exactly, however far the step came and whoever did it",
    Law.PROBE: "probe says done where the new is, never where the old is, and foreign for "
    "what is neither",
    Law.STRANGER: "what somebody else put at the target is never overwritten and never lost",
    Law.KEPT: "after the commit the old is kept whole where `location` says, until it is dropped",
    Law.STEADY: "what a step answers depends on the versions, not on the clock or an inode",
    Law.CLEAN: "what was taken back leaves nothing behind but the target's room in .noodle",
    Law.LEAKS: "a step gives back every descriptor, thread and process",
    Law.DURABLE: "when stage and swap return, what they changed has been synced",
    Law.READS: "plan, observe, probe, cost and users change nothing",
    Law.LOCKED: "who has not the lock, or not the mark, is refused; a killed process holds neither",
}
"""What each law promises."""
