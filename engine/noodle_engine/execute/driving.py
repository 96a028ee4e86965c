"""Driving one upgrade: intent, do, done, until it ends or waits.

Owns the loop body. `begin` takes the target locks and decides the first
action, `perform` does it, `record` makes its result and the next intent
durable. A process may die between any two of them, and inside each.

Laws
D6. `perform` is only ever called with an action whose intent is durable.
D7. Children of an earlier process are ended before a target is locked.
D8. Before the intent of a step that an anchor must precede, all that is durable is anchored,
    or the settings let it go on without.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from noodle_engine.execute.actions import Performer
from noodle_engine.execute.anchoring.gates import is_gated
from noodle_engine.execute.commands.processes import Identity, end_orphan
from noodle_engine.execute.recording import StepProgress
from noodle_engine.machine.decide import (
    Action,
    Decision,
    Do,
    Probe,
    Resumed,
    Said,
    StepResult,
    TurnBack,
    advance,
    after,
    decide,
    note,
)
from noodle_engine.machine.plan import PlanComponent
from noodle_engine.machine.records import Noted
from noodle_engine.machine.states import TERMINAL, Reason
from noodle_engine.machine.upgrade import Upgrade
from noodle_engine.targets.base import Source, TargetLock
from noodle_engine.targets.load import load_target
from noodle_engine.targets.place import local_path
from noodle_journal.errors import NoodleError
from noodle_journal.failures import JournalFull

if TYPE_CHECKING:
    from noodle_engine.execute.engine import Engine

__all__ = ["Control", "Driving", "Telling"]

ORPHAN_WAIT_MS_MAX = 10_000
TOLD_A_SECOND_MAX = 5
"""How often it is told how far a step has come."""


@dataclass(slots=True)
class Control:
    """How others speak to a driven upgrade.

    `mutex` orders its records. `leaving` ends it after the running step, as
    each of `interrupts` does once it is set, but never while somebody who writes
    a target stands still; `stop` ends a running forward
    step, `hurry` only a wait between checks; `wakes` are called
    with them. `idle`: it has looked for the last time, and has nothing more to do.
    """

    mutex: threading.RLock = field(default_factory=threading.RLock)
    stop: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    interrupts: list[threading.Event] = field(default_factory=list)
    left: bool = False
    idle: bool = False
    wakes: list[Callable[[], None]] = field(default_factory=list)

    @property
    def leaving(self) -> bool:
        """Whether it stops after the step that runs."""
        return self.left or any(one.is_set() for one in tuple(self.interrupts))

    def leave(self) -> None:
        """Stop after the step that runs."""
        self.left = True
        self.hurry.set()
        self._wake()

    def turn_back(self) -> None:
        """Cut the forward step that runs short."""
        self.stop.set()
        self.hurry.set()
        self._wake()

    def _wake(self) -> None:
        for wake in tuple(self.wakes):
            wake()


class Telling:
    """Tells how far a step has come: at its end, and until then TOLD_A_SECOND_MAX times a second.

    `now_s` is a clock that never goes back.
    """

    __slots__ = ("_last_s", "_now_s", "_tell", "_upgrade")

    def __init__(
        self,
        tell: Callable[[StepProgress], None],
        upgrade: str,
        now_s: Callable[[], float],
    ) -> None:
        self._tell = tell
        self._upgrade = upgrade
        self._now_s = now_s
        self._last_s: float | None = None

    def __call__(self, step: str, done_bytes: int, total_bytes: int) -> None:
        """So many bytes of so many are done."""
        now = self._now_s()
        soon = self._last_s is not None and now - self._last_s < 1 / TOLD_A_SECOND_MAX
        if soon and done_bytes < total_bytes:
            return
        self._last_s = now
        self._tell(StepProgress(self._upgrade, step, done_bytes, total_bytes))


class Driving:
    """One upgrade being driven by this process."""

    def __init__(self, engine: Engine, upgrade: str, actor: str, control: Control) -> None:
        self._engine = engine
        self._upgrade = upgrade
        self._actor = actor
        self._control = control
        self._environment = dict(os.environ)
        self._locks: list[TargetLock] = []
        self._gated = False

    def begin(self, *, resumed: bool, take_over: bool = False) -> Action | None:
        """Lock the targets and decide the first action; its intent is durable."""
        upgrade = self._engine.open_upgrade(self._upgrade)
        for child in upgrade.children.values():
            end_orphan(Identity.parse(child), wait_ms_max=ORPHAN_WAIT_MS_MAX)
        refused = self._lock_targets(upgrade, take_over=take_over)
        with self._control.mutex:
            upgrade = self._engine.open_upgrade(self._upgrade)
            now = self._engine.clock.now_ms()
            said: Said | None = Resumed() if resumed else None
            if refused is not None and not upgrade.undoing and upgrade.hold is None:
                why = f"{refused.problem} ({refused.cause}); {refused.remedy}"
                said = TurnBack(Reason.REFUSED, why)
            try:
                decision = advance(upgrade, now) if said is None else decide(upgrade, said, now)
                action = self._go_on(upgrade, said, decision)
            except JournalFull:
                action = self._turn_back_on_full_disk(upgrade, None)
            if not self._gated:
                self._control.idle = action is None
                return action
        return self._pass_gate()

    def perform(self, action: Action) -> Said:
        """Do an action. Every failure of its step is in the result."""
        upgrade = self._engine.open_upgrade(self._upgrade)
        performer = self._performer()
        ends = isinstance(action, Do) and (action.undo or upgrade.state in TERMINAL)
        if ends:
            # What turned it back must not cut the way back short.
            performer = replace(performer, stop=threading.Event(), hurry=threading.Event())
        if isinstance(action, Probe):
            return performer.probe(upgrade, action)
        return performer.do(upgrade, action)

    def record(self, said: Said) -> Action | None:
        """Make a result durable; unless we are leaving, with the next intent."""
        with self._control.mutex:
            action = self._record(said)
            if not self._gated:
                self._control.idle = action is None
                return action
        return self._pass_gate()

    def _go_on(self, upgrade: Upgrade, said: Said | None, decision: Decision) -> Action | None:
        """Make a decision durable; where an anchor comes first, only what was said (law D8)."""
        anchoring = self._engine.anchoring
        if anchoring is None or not is_gated(anchoring.options, decision):
            return self._commit(upgrade, decision)
        if said is not None:
            self._engine.record(
                upgrade, note(upgrade, said, self._engine.clock.now_ms()), self._actor
            )
        self._gated = True
        return None

    def _pass_gate(self) -> Action | None:
        """Have all that is durable anchored, then go on; or back, where the settings refuse it.

        Nobody is held up meanwhile: whoever turns the upgrade back ends the waiting.
        """
        self._gated = False
        anchoring, control = self._engine.anchoring, self._control
        why = None
        if anchoring is not None:
            control.wakes.append(anchoring.wake)
            try:
                why = anchoring.require(lambda: control.stop.is_set() or control.leaving)
            finally:
                control.wakes.remove(anchoring.wake)
        with control.mutex:
            action = self._after_gate(why)
            control.idle = action is None
            return action

    def _after_gate(self, why: str | None) -> Action | None:
        upgrade = self._engine.open_upgrade(self._upgrade)
        if self._control.leaving and (upgrade.hold is not None or not upgrade.writers_stopped):
            return None
        now = self._engine.clock.now_ms()
        stays = upgrade.undoing or upgrade.hold is not None or upgrade.paused
        try:
            if why is None or stays or upgrade.state in TERMINAL:
                return self._commit(upgrade, advance(upgrade, now))
            refused = TurnBack(Reason.REFUSED, why)
            return self._commit(upgrade, decide(upgrade, refused, now))
        except JournalFull:
            return self._turn_back_on_full_disk(upgrade, None)

    def _record(self, said: Said) -> Action | None:
        with self._control.mutex:
            upgrade = self._engine.open_upgrade(self._upgrade)
            now = self._engine.clock.now_ms()
            if self._control.leaving and not self._is_no_place_to_leave(upgrade, said):
                if not (isinstance(said, StepResult) and said.stopped):
                    self._engine.record(upgrade, note(upgrade, said, now), self._actor)
                return None
            try:
                return self._go_on(upgrade, said, decide(upgrade, said, now))
            except JournalFull:
                return self._turn_back_on_full_disk(upgrade, said)

    def _is_no_place_to_leave(self, upgrade: Upgrade, said: Said) -> bool:
        """Whether somebody stands still for the exchange that is under way."""
        now = self._engine.clock.now_ms()
        then = after(upgrade, note(upgrade, said, now), now)
        return then.hold is None and bool(then.writers_stopped)

    def close(self) -> None:
        """Give the target locks up."""
        while self._locks:
            self._locks.pop().release()

    def _commit(
        self, upgrade: Upgrade, decision: Decision, *, going_back: bool = False
    ) -> Action | None:
        self._engine.record(upgrade, decision.events, self._actor, going_back=going_back)
        return decision.action

    def _turn_back_on_full_disk(self, upgrade: Upgrade, said: Said | None) -> Action | None:
        """The journal's disk is full: record what happened from the reserve, and undo it."""
        now = self._engine.clock.now_ms()
        if said is not None:
            noted = note(upgrade, said, now)
            self._engine.record(upgrade, noted, self._actor, going_back=True)
        current = self._engine.world.upgrades.get(self._upgrade)
        if current is None:
            return None
        if current.undoing or current.state in TERMINAL or current.hold is not None:
            return self._commit(current, advance(current, now), going_back=True)
        full = TurnBack(Reason.STEP_FAILED, "the disk that holds the journal is full")
        return self._commit(current, decide(current, full, now), going_back=True)

    def _lock_targets(self, upgrade: Upgrade, *, take_over: bool) -> NoodleError | None:
        """Lock every target, in the order of their paths; a failure is returned.

        Before anything was staged it is a refusal; later it is raised, for
        then somebody else holds a target that is ours.
        """
        begun = any(state.attempt for state in upgrade.steps.values())
        log_id = self._engine.journal.log_id
        for component in sorted(upgrade.plan.components, key=lambda one: one.target):
            target = load_target(component.kind)
            path = local_path(component.target)
            try:
                lock = target.lock(path, log_id, take_over=take_over, claim=begun)
            except NoodleError as failure:
                self.close()
                if begun:
                    raise
                return failure
            self._locks.append(lock)
        return None

    def _performer(self) -> Performer:
        return Performer(
            log_id=self._engine.journal.log_id,
            now_ms=self._engine.clock.now_ms,
            child_started=self._child_started,
            restore_source=self._restore_source,
            command_locks=self._command_locks,
            environment=self._environment,
            stop=self._control.stop,
            hurry=self._control.hurry,
            progress=Telling(self._engine.tell, self._upgrade, time.monotonic),
            failed=lambda step, failure: self._engine.failed(self._upgrade, step, failure),
        )

    @contextlib.contextmanager
    def _command_locks(self) -> Iterator[Sequence[int]]:
        """The descriptors that a command inherits; freed once its end is known."""
        with contextlib.ExitStack() as held:
            locks = []
            for target in self._locks:
                lock = target.for_command()
                held.callback(lock.release)
                locks.append(lock)
            yield [lock.descriptor for lock in locks]
            for lock in locks:
                lock.free()

    def _child_started(self, step: str, child: Identity) -> None:
        data = {"step": step, "child": child.text}
        started = Noted("child.started", f"{step} runs as process {child.pid}", data)
        with self._control.mutex:
            upgrade = self._engine.open_upgrade(self._upgrade)
            self._engine.record(upgrade, (started,), self._actor)

    def _restore_source(self, component: PlanComponent) -> Source | None:
        """The registry's payload of a component's old version, if it is whole."""
        if component.from_version is None:
            return None
        try:
            release = self._engine.releases.get(component.name, component.from_version)
        except NoodleError:
            return None
        return Source(release.payload, release.content)
