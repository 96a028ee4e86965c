"""What a target kind is: the door through which every kind comes in.

Owns the contract between the driver and a kind of target, built-in or a third
party's (entry points, group `noodle.targets`). A kind knows how to look, to
stage, to flip, to take back and to tell how far an interrupted step came. It
never writes the journal, never decides, and never renames or syncs except
through `noodle_engine.disk`.

Laws
G1. Each step is safe to run twice and half done; so is each undo.
G2. `probe` only reads, and answers not_done, done or foreign.
G3. A flip that finds something else than it expects puts it back and raises
    ForeignFound: a stranger's object is never overwritten or deleted.
G4. When `stage` returns, the new is durable and has been read back.
G5. When `swap` returns, the flip is durable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import Diff, Hook, Needs, PlanComponent, StepName
from noodle_engine.machine.records import Observation

__all__ = [
    "ENTRY_POINT_GROUP",
    "REPAIR_OPTION",
    "CommandLock",
    "Cost",
    "ProbeFound",
    "Source",
    "StepContext",
    "Target",
    "TargetChange",
    "TargetLock",
    "TargetPlan",
    "TargetRequest",
    "Verified",
]

ENTRY_POINT_GROUP = "noodle.targets"
REPAIR_OPTION = "repair"
"""The option of a component whose installed version is put back: what stands there is a
stranger's, and is kept as NAME.foreign-ID. It has what is known of the old object, as JSON."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the new version comes from.

    `path` is the payload (a registry's file or folder, or a rollback point),
    `content` the identity its manifest or point states for it. `point` tells
    that the payload is a kept old, which is moved back into place and not copied.
    """

    path: Path
    content: str
    point: bool = False


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """What planning asks of a kind.

    `new` is None for a removal. `installed_root` and `installed_content` are
    what the journal says is there (None: nothing is installed by this home), and
    `installed_options` the options that it was installed with. With `adopt` what is at
    the target becomes the installed version; `new` is None. With `repair` the installed
    version is put back, whatever stands there; `installed_attributes` is what was
    observed of it when it was staged (empty: not known any more). `repairable` says
    that this can be asked for: a release has the installed version.
    """

    component: str
    path: Path
    home_log: str
    new: Source | None
    installed_root: str | None = None
    installed_content: str | None = None
    installed_options: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    take_over: bool = False
    adopt: bool = False
    repair: bool = False
    installed_attributes: Mapping[str, str] = field(default_factory=dict)
    repairable: bool = False


@dataclass(frozen=True, slots=True)
class TargetChange:
    """One difference that an upgrade makes: `change` is added, removed, changed or attributes.

    `path` is as `path_text` gives it, within the target (empty: the target itself).
    """

    change: str
    path: str
    size: int | None = None
    what: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What a kind found at planning. Nothing was changed.

    `options` are those that the steps will have: the request's, and what the
    kind settled by looking. `changes` are single differences, for who asks to
    see them; they are no part of a plan. `hooks` are commands that the exchange needs
    besides those of the release.
    """

    root_from: str
    root_to: str
    diff: Diff
    needs: Needs
    notices: tuple[str, ...] = ()
    options: Mapping[str, str] | None = None
    changes: tuple[TargetChange, ...] = ()
    hooks: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step is done with.

    `source` is None for a removal. `expected_old` and `expected_new` are roots
    from the journal (`absent` for none; expected_new is None until staged).
    `checked`, `snapshot` and `staged` are what those steps observed. `restore` allows an undo to
    move a foreign object aside (it is kept as NAME.foreign-ID). `stop` is set
    when the step should end early, `cut_short` when somebody wants it all back: what is
    not stopped half way may end then as long as it has changed nothing. `progress` takes
    bytes done and in all.
    """

    upgrade: str
    key: str
    component: PlanComponent
    path: Path
    home_log: str
    source: Source | None
    expected_old: str
    expected_new: str | None
    snapshot: Observation | None
    from_version: str | None
    staged: Observation | None = None
    checked: Observation | None = None
    restore: bool = False
    restore_source: Source | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    cut_short: threading.Event = field(default_factory=threading.Event)
    progress: Callable[[int, int], None] = lambda _done, _total: None


@dataclass(frozen=True, slots=True)
class ProbeFound:
    """A probe's answer and what is at the target now."""

    answer: ProbeAnswer
    observed: Observation


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of a kept old version: its own, freed when it goes, and shared with what stays."""

    own: int
    shared: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What is at a target, held against what is installed there.

    `changes` lead from what is installed to what is there (REMOVED: missing);
    empty where a kind cannot tell more than that the root differs. `extras` are
    there besides, and no harm. `bytes_read` is how much was read to say so.
    """

    found: str
    whole: bool
    changes: tuple[TargetChange, ...] = ()
    extras: tuple[str, ...] = ()
    files: int = 0
    files_read: int = 0
    bytes_read: int = 0


@runtime_checkable
class CommandLock(Protocol):
    """Says that a command may be acting on a target. The command inherits it.

    While the command or anything that it started lives, nobody else can lock
    the target, also after the engine's death. A command that has ended, and
    whose end is known, holds nobody up any more: `free`.
    """

    @property
    def descriptor(self) -> int:
        """The locked file descriptor, to be inherited."""

    def free(self) -> None:
        """Free it for all that inherited it."""

    def release(self) -> None:
        """Close it here; who inherited it holds it on."""


@runtime_checkable
class TargetLock(Protocol):
    """A held lock of one target. No child inherits it."""

    def for_command(self) -> CommandLock:
        """The lock for a command that is about to start. Raises TargetBusy."""

    def release(self) -> None:
        """Give the target up. Twice is once."""


@runtime_checkable
class Target(Protocol):
    """A kind of target. Instances hold no state; all is in the context."""

    kind: ClassVar[str]

    def lock(self, path: Path, home_log: str, *, take_over: bool, claim: bool = True) -> TargetLock:
        """Lock the target for this home.

        Makes the target's lock file if absent, and with `claim` the owner mark;
        without, step stage makes that, the first that does anything. Raises
        TargetBusy (somebody holds it), TargetOwned (another log's mark and
        not `take_over`), or another NoodleError; then nothing is held.
        """

    def observe(
        self, path: Path, *, expected: Sequence[str] = (), options: Mapping[str, str] | None = None
    ) -> Observation:
        """What is at the target now. Reads only.

        `expected` are roots that may be there, the likeliest first: with them a
        kind can tell what is there from what is there besides. `options` are the
        component's.
        """

    def verify(
        self,
        path: Path,
        root: str,
        *,
        options: Mapping[str, str],
        full: bool,
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Verified:
        """Hold what is at the target against the `root` that is installed. Reads only.

        Unless `full` a kind may believe that a file which looks as it did when it
        was read last is as it was.
        """

    def plan(self, request: TargetRequest) -> TargetPlan:
        """Look at target and payload and say what an upgrade would do. Reads only.

        Raises a NoodleError naming why it cannot be done: a target of another
        type, outside its root, on a file system without exchange, another
        owner's, too little space, changed since it was installed.
        """

    def do(self, step: StepName, context: StepContext) -> Observation:
        """Do one of check, snapshot, stage, swap, recheck, point, clean-*."""

    def undo(self, step: StepName, context: StepContext) -> Observation:
        """Take back swap or stage, however far it came. Raises ForeignFound."""

    def cost(self, location: Path) -> Cost | None:
        """What a kept old version takes on the disk; None if it is gone. Reads only."""

    def users(self, location: Path) -> tuple[str, ...]:
        """Who works in a kept old version still, as a person reads it. Reads only."""

    def drop(self, location: Path) -> int:
        """Remove a kept old version for good, durably; how many bytes it had.

        The caller has the target locked. One that is gone already is no failure.
        """

    def probe(self, step: StepName, context: StepContext) -> ProbeFound:
        """Say how far an interrupted step came."""

    def rescue(self, path: Path) -> tuple[Observation, ...]:
        """The candidates beside the target, for a journal that cannot be trusted.

        Each observation's attributes hold `location`, `role` and digests.
        """

    def exchange_by_hand(self, path: Path, location: Path) -> Observation:
        """Put a candidate of `rescue` in the target's place, keeping what was there."""
