"""What is searched for: the models with their bounds, properties and planted faults.

Owns the lists. Each property has to hold; what must be reachable has to fail as
"never"; each fault has to be found by the property named beside it. A statement
that the sound models never reach is listed with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "BLOCKS",
    "EACH_STATE",
    "ENDS",
    "FAULTS_SAY",
    "FINAL",
    "LEFT_OUT",
    "MODELS",
    "NEVER_REACHED",
    "PROPERTIES",
    "Model",
]

BLOCKS: Final = "never_blocks"
"""Spin's own search for invalid end states: the search for `ends`, which assumes fairness,
does not see a process that blocks. Spin looks for them in a program without claims only,
which is compiled apart."""
ENDS: Final = "ends"
FINAL: Final = "final"
EACH_STATE: Final = "each_state"
"""All that hold in each state as one claim. If it fails, each is searched for alone."""

PROPERTIES: Final[dict[str, tuple[str, str]]] = {
    "whole": ("1", "no name leads to a torn object, nor would after a power cut"),
    "right_side": ("1", "committed: each target is the new one; rolled back: the old one"),
    "same_side": ("1", "at rest all targets of a plan are on one side"),
    "old_kept": ("1", "until the commit the old is in the target or beside it"),
    "foreign_kept": ("1", "what a stranger put there is in the target or beside it"),
    "in_order": ("1", "no second target is new while the first is old"),
    "nothing_left": ("1", "at rest nothing is left beside a target"),
    "runs_what_is_there": ("1", "at rest the program runs from what its target is"),
    "stopped": ("1", "who writes a target stands still while it is exchanged"),
    "started_again": ("1", "at rest who was stopped runs again"),
    "prepared_before": ("1", "what a hook prepares stands while the target is new"),
    "cleaned_again": ("1", "what of a clean-up failed, a resume has done"),
    "recorded_before_done": ("2", "no effect without its intent on disk"),
    "durable_before_recorded": ("2", "no step is done on disk before its effect is"),
    "acknowledged": ("3", "what callers were told is on disk"),
    "one_writes": ("6", "no commit of a worker that has lost its turn"),
    "one_acts": ("6", "no two processes act on a target at once"),
    "abort_is_kept": ("7", "what was turned back never commits"),
    "holds_for_a_reason": (
        "7",
        "it waits for a person only after a stranger, a failure, a deadline",
    ),
    FINAL: ("", "an end is never left"),
    BLOCKS: ("", "no process waits for ever"),
    ENDS: ("", "each upgrade ends, or waits for a person (under weak fairness)"),
}
"""Each property: its promise in the README, and what it says."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model: what is searched, within which bounds, for what.

    `bounds` are those of the sound model, `ends_bounds` what differs in the search for
    `ends`, which takes ten times as long, and `fault_bounds` those that suffice to find a fault.
    """

    name: str
    file: str
    about: str
    bounds: dict[str, int]
    ends_bounds: dict[str, int]
    fault_bounds: dict[str, int]
    in_each_state: tuple[str, ...]
    reachable: tuple[str, ...]
    faults: dict[str, str]
    edges: bool = False
    over_time: tuple[str, ...] = field(default=(BLOCKS, FINAL, ENDS))

    def bounds_for(self, name: str, *, fault: bool = False) -> dict[str, int]:
        """The bounds within which a property is searched for."""
        bounds = {**self.bounds, **(self.fault_bounds if fault else {})}
        return {**bounds, **self.ends_bounds} if name == ENDS and not fault else bounds


ALWAYS: Final = (
    "whole",
    "right_side",
    "old_kept",
    "foreign_kept",
    "nothing_left",
    "recorded_before_done",
    "durable_before_recorded",
    "acknowledged",
    "abort_is_kept",
    "holds_for_a_reason",
)

MODELS: Final = (
    Model(
        name="pair",
        file="engine.pml",
        about="two components, a restart after each exchange and a health check",
        bounds={
            "CRASHES": 2,
            "ABORTS": 1,
            "DEADLINES": 0,
            "FAILURES": 1,
            "STRANGERS": 1,
            "RELEASES": 1,
            "RESUMES": 0,
        },
        ends_bounds={},
        fault_bounds={"CRASHES": 1},
        in_each_state=(*ALWAYS, "same_side", "in_order", "runs_what_is_there"),
        reachable=(
            "never_crashes_twice",
            "never_commits_after_a_crash",
            "never_goes_back_after_both_flips",
            "never_goes_back_on_crash",
            "never_holds",
            "never_half",
        ),
        faults={
            "FLIP_BEFORE_INTENT": "recorded_before_done",
            "NO_FLUSH_BEFORE_DONE": "durable_before_recorded",
            "PROBE_WITHOUT_FLUSH": "durable_before_recorded",
            "STAGE_NOT_FLUSHED": "whole",
            "ACKNOWLEDGE_BEFORE_COMMIT": "acknowledged",
            "INTENT_DROPPED": "recorded_before_done",
            "INTENT_TAKEN_FOR_DONE": "right_side",
            "UNDO_TRUSTS_DONE": "holds_for_a_reason",
            "ONE_NOT_UNDONE": "same_side",
            "COMPONENTS_FORWARD": "in_order",
            "HOOKS_FIRST": "runs_what_is_there",
            "STAGE_UNDONE_OR_LEFT": "nothing_left",
            "FOREIGN_OVERWRITTEN": "foreign_kept",
            "OLD_DROPPED_EARLY": "old_kept",
            "FORWARD_WHILE_UNDOING": "abort_is_kept",
            "ABORT_ON_AN_OLD_LOOK": "abort_is_kept",
            "PROBE_NEVER_COMES": BLOCKS,
            "FAILED_STEP_DONE_AGAIN": ENDS,
            "END_IS_LEFT": FINAL,
        },
        edges=True,
    ),
    Model(
        name="writers",
        file="engine.pml",
        about="one component whose writers are stopped for the exchange, a hook before it, "
        "deadlines both ways, and a clean-up that a person has tried again",
        bounds={
            "CRASHES": 2,
            "ABORTS": 1,
            "DEADLINES": 1,
            "FAILURES": 1,
            "STRANGERS": 1,
            "RELEASES": 1,
            "RESUMES": 1,
        },
        ends_bounds={"CRASHES": 1},
        fault_bounds={"CRASHES": 1},
        in_each_state=(
            *ALWAYS,
            "runs_what_is_there",
            "stopped",
            "started_again",
            "prepared_before",
            "cleaned_again",
        ),
        reachable=(
            "never_commits_after_a_crash",
            "never_goes_back_after_the_flip",
            "never_stops_anew",
            "never_is_late_both_ways",
            "never_commits_though_aborted",
            "never_cleans_again",
        ),
        faults={
            "STOPPED_ONCE": "stopped",
            "WRITERS_RUN_ON_THE_WAY_BACK": "stopped",
            "WRITERS_LEFT_STOPPED": "started_again",
            "HOOKS_FIRST": "prepared_before",
            "CLEAN_UP_TRIED_ONCE": "cleaned_again",
            "DEADLINE_ENDS_A_WAY_BACK": "right_side",
            "DEADLINE_ON_AN_OLD_LOOK": "abort_is_kept",
        },
        edges=True,
    ),
    Model(
        name="leases",
        file="leases.pml",
        about="one component, two workers that take each other for dead, a command that "
        "outlives its worker",
        bounds={"CRASHES": 1, "LOSSES": 2, "MISHAPS": 1},
        ends_bounds={"LOSSES": 1},
        fault_bounds={"LOSSES": 1},
        in_each_state=(*ALWAYS, "one_writes", "one_acts"),
        reachable=(
            "never_loses_twice",
            "never_loses_in_the_exchange",
            "never_commits_after_a_loss",
            "never_goes_back_after_a_loss",
            "never_orphaned",
            "never_refused",
        ),
        faults={
            "FENCE_IGNORED": "one_writes",
            "FENCE_NOT_RAISED": "acknowledged",
            "FENCE_RAISED_UNSEEN": "acknowledged",
            "COMMIT_AFTER_LEASE_LOSS": "one_writes",
            "TARGET_NOT_LOCKED": "one_acts",
            "ORPHANS_ACT_ON": "one_acts",
        },
    ),
)

FAULTS_SAY: Final = {
    "ABORT_ON_AN_OLD_LOOK": "an abort is decided on what the records said before others wrote",
    "ACKNOWLEDGE_BEFORE_COMMIT": "callers hear of a record before it is durable",
    "CLEAN_UP_TRIED_ONCE": "a resume leaves what of a clean-up failed",
    "COMMIT_AFTER_LEASE_LOSS": "the fence is looked at before the transaction, not in it",
    "COMPONENTS_FORWARD": "undo out of order: the first component goes back first",
    "DEADLINE_ENDS_A_WAY_BACK": "a late way back is called ended",
    "DEADLINE_ON_AN_OLD_LOOK": "a deadline is decided on what the records said before others wrote",
    "END_IS_LEFT": "an abort is taken after the commit",
    "FAILED_STEP_DONE_AGAIN": "a step that failed is done again, for ever",
    "FENCE_IGNORED": "a commit does not look at the fence",
    "FENCE_NOT_RAISED": "who opens the journal does not raise the fence",
    "FENCE_RAISED_UNSEEN": "the fence is raised over records that were not read",
    "FLIP_BEFORE_INTENT": "the exchange comes before its intent is durable",
    "FOREIGN_OVERWRITTEN": "an exchange and a clean-up do not look whose object it is",
    "FORWARD_WHILE_UNDOING": "a verified upgrade that was turned back goes on",
    "HOOKS_FIRST": "undo out of order: hooks are undone before the exchange",
    "INTENT_DROPPED": "a stage has no intent",
    "INTENT_TAKEN_FOR_DONE": "a probe takes the intent of an exchange for its effect",
    "NO_FLUSH_BEFORE_DONE": "flip before sync: an exchange is done before its folder is synced",
    "OLD_DROPPED_EARLY": "the old is removed before the commit",
    "ONE_NOT_UNDONE": "the way back forgets a component",
    "ORPHANS_ACT_ON": "a command holds no lock and is not ended at a resume",
    "PROBE_NEVER_COMES": "a step in doubt is waited for",
    "PROBE_WITHOUT_FLUSH": "a probe that finds the exchange done does not sync it",
    "STAGE_NOT_FLUSHED": "what is staged is not synced",
    "STAGE_UNDONE_OR_LEFT": "a stage whose undo failed is left for good",
    "STOPPED_ONCE": "a resume does not stop the writers anew",
    "TARGET_NOT_LOCKED": "a worker acts without the target's lock",
    "UNDO_TRUSTS_DONE": "the way back undoes only what is recorded as done",
    "WRITERS_LEFT_STOPPED": "the way back does not start the writers",
    "WRITERS_RUN_ON_THE_WAY_BACK": "the way back exchanges under the writers",
}
"""What each planted fault breaks."""

LEFT_OUT: Final = (
    "Several upgrades at once, more than two components, and a plan that removes one.",
    (
        "Adopting or restoring what a stranger left, promoting a failed check, a pause, a hook "
        "that cannot be undone: but real journals with them are held against the relation."
    ),
    "The fifth resume without progress, after which a person is asked.",
    "Time: a deadline may pass at any moment, and once.",
    "The bytes of the journal, keys, heads and anchors: the journal is the fold of its records.",
    "Which sectors of a file a power cut leaves: an unflushed new file is torn or whole.",
    (
        "A target's lock that the kernel forgets, as some network file systems do, or whose file "
        "somebody removes."
    ),
    "A command that takes its effect more than once: it has its step's key for that.",
)
"""What no model says anything of. All but the bytes has laws and crash sweeps on the real code."""

NEVER_REACHED: Final = {
    "engine.pml": {
        "kept_target[0] = 3": "a power cut tears a only if its stage was not flushed",
        "kept_target[1] = 3": "a power cut tears b only if its stage was not flushed",
        "(0)": "the engine waits for nothing only if a probe is forgotten",
        "(!(up))": "the crash of an engine that waits for nothing",
    },
    "leases.pml": {
        "kept_target[0] = 3": "a power cut tears a only if its stage was not flushed",
        "child[0] = 0": "no command outlives its worker in a power cut",
        "child[1] = 0": "no command outlives its worker in a power cut",
        "outcome = 4": "of a quiesce, which this plan has not",
        "D_STEP": "an exchange back meets a stranger: two mishaps, and there is one",
        "(dead[_pid])": "the kill of a worker that is at one of these",
    },
}
"""The statements that no sound model of a file reaches, and why. Spin names a statement as
it compiled it; those inside a d_step it does not count."""
