"""Performing one action: the only place where a decision becomes an effect.

Owns the way from an action to its result. It catches every failure of a step
and turns it into a result; it neither decides nor writes the journal, save
through the two callbacks it is given (a child's identity, progress).

Laws
A1. Every action ends in exactly one result, whatever the step raised.
A2. A child runs its command only after its identity is in the journal.
A3. A command gets its step's idempotency key, the same on each attempt.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from noodle_engine.execute.commands.children import Ended, environment_for, run_child
from noodle_engine.execute.commands.health import Attempt, attempt_once, named, watch
from noodle_engine.execute.commands.processes import ChildStays, Identity
from noodle_engine.execute.failures import TargetUnreadable
from noodle_engine.machine.decide import Do, Probe, ProbeAnswer, Probed, StepResult
from noodle_engine.machine.plan import Hook, HookPoint, PlanComponent, Step, StepName
from noodle_engine.machine.records import OUTPUT_BYTES_MAX, Observation
from noodle_engine.machine.states import HoldReason, Outcome
from noodle_engine.machine.text import some
from noodle_engine.machine.upgrade import Upgrade
from noodle_engine.targets.base import Source, StepContext
from noodle_engine.targets.failures import ForeignFound
from noodle_engine.targets.load import load_target
from noodle_engine.targets.place import local_path
from noodle_journal.errors import NoodleError
from noodle_journal.failures import JournalError, JournalFull

__all__ = ["Performer"]

LEFT_NAMED_MAX = 3
"""How many processes that a hook left running are named."""

_HOOKS = frozenset(point.value for point in HookPoint)


class RecordingFailed(Exception):
    """The journal failed in the middle of a step: not the step's failure, but ours."""

    def __init__(self, failure: JournalError) -> None:
        super().__init__(failure.problem)
        self.cause_of_it = failure


@dataclass(slots=True)
class Performer:
    """Performs the actions of one upgrade.

    `child_started` journals a child's identity and returns once it is durable.
    `restore_source` finds the payload of a component's old version, if any is
    kept. `command_locks` gives the target locks that a command inherits, and frees
    them once its end is known. `stop` ends a forward step; `hurry` only ends
    waiting between health checks. `failed` is told of each exception that a step
    ended with.
    """

    log_id: str
    now_ms: Callable[[], int]
    child_started: Callable[[str, Identity], None]
    restore_source: Callable[[PlanComponent], Source | None]
    command_locks: Callable[[], AbstractContextManager[Sequence[int]]] = lambda: nullcontext(())
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stop: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    progress: Callable[[str, int, int], None] = lambda _step, _done, _total: None
    failed: Callable[[str, BaseException], None] = lambda _step, _failure: None

    def probe(self, upgrade: Upgrade, action: Probe) -> Probed:
        """Look how far a step in doubt came. A hook cannot be probed: it runs again.

        Raises TargetUnreadable, or what the target says; the step stays in doubt.
        """
        step = action.step
        if step.name.value in _HOOKS or step.name is StepName.HEALTH:
            return Probed(step.id, ProbeAnswer.NOT_DONE)
        component = upgrade.plan.component(step.component)
        context = self._context(upgrade, step, f"{upgrade.id}:{step.id}")
        try:
            found = load_target(component.kind).probe(step.name, context)
        except OSError as failure:
            why = f"{failure.strerror or failure}: {failure.filename or context.path}"
            raise TargetUnreadable(str(context.path), why) from failure
        return Probed(step.id, found.answer, found.observed)

    def do(self, upgrade: Upgrade, action: Do) -> StepResult:
        """Do a step, or take it back (law A1)."""
        began = self.now_ms()
        observed: Observation | None = None
        error: str | None = None
        output: str | None = None
        foreign: str | None = None
        hold: HoldReason | None = None
        raised: Exception | None = None
        try:
            if action.step.name.value in _HOOKS:
                error, output, hold = self._hook(upgrade, action)
            elif action.step.name is StepName.HEALTH:
                error, output = self._health(upgrade, action)
            else:
                observed = self._target_step(upgrade, action)
        except RecordingFailed as failure:
            raise failure.cause_of_it from failure
        except ChildStays as failure:
            raised = failure
            error, hold = f"{failure.problem}; {failure.remedy}", HoldReason.FAILURE_KEPT
        except ForeignFound as found:
            raised = found
            error, foreign = str(found), found.found
        except NoodleError as failure:
            raised = failure
            error = f"{failure.problem} ({failure.cause}); {failure.remedy}"
        except OSError as failure:
            raised = failure
            error = f"{failure.strerror or failure}: {failure.filename or action.step.component}"
        except Exception as failure:  # noqa: BLE001 - a kind of a third party may raise anything
            raised = failure
            error = f"{action.step.id} failed with {failure!r}"
        if raised is not None:
            self.failed(action.step.id, raised)
        return StepResult(
            step=action.step.id,
            key=action.key,
            attempt=action.attempt,
            undo=action.undo,
            outcome=Outcome.DONE if error is None else Outcome.FAILED,
            observed=observed,
            duration_ms=max(0, self.now_ms() - began),
            error=error,
            output=output,
            foreign=foreign,
            hold=hold,
            stopped=action.step.name is StepName.HEALTH and self.hurry.is_set(),
        )

    def _target_step(self, upgrade: Upgrade, action: Do) -> Observation:
        component = upgrade.plan.component(action.step.component)
        target = load_target(component.kind)
        context = self._context(upgrade, action.step, action.key)
        if action.undo:
            return target.undo(action.step.name, context)
        return target.do(action.step.name, context)

    def _context(self, upgrade: Upgrade, step: Step, key: str) -> StepContext:
        component = upgrade.plan.component(step.component)
        source = None
        if component.source is not None:
            source = Source(
                local_path(component.source), component.root, point=component.point is not None
            )
        return StepContext(
            upgrade=upgrade.id,
            key=key,
            component=component,
            path=local_path(component.target),
            home_log=self.log_id,
            source=source,
            expected_old=upgrade.expected_old(component),
            expected_new=upgrade.expected_new(component),
            snapshot=upgrade.observed(StepName.SNAPSHOT, component.name),
            from_version=component.from_version,
            staged=upgrade.observed(StepName.STAGE, component.name),
            checked=upgrade.observed(StepName.CHECK, component.name),
            restore=upgrade.restore,
            restore_source=self.restore_source(component) if upgrade.restore else None,
            stop=self.stop,
            cut_short=self.stop,
            progress=lambda done, total: self.progress(step.id, done, total),
        )

    def _hook(
        self, upgrade: Upgrade, action: Do
    ) -> tuple[str | None, str | None, HoldReason | None]:
        component = upgrade.plan.component(action.step.component)
        hook = component.hooks[action.step.index]
        command = hook.undo if action.undo else hook.command
        if command is None:
            if hook.reversible:
                return None, None, None
            return "its hook cannot be taken back", None, HoldReason.IRREVERSIBLE
        if action.step.name is StepName.QUIESCE and not action.undo:
            self._look_before(upgrade, action.step)
        ended = self._run(upgrade, action, hook, command, hook.timeout_ms)
        error = None if ended.succeeded else f"{command[0]} {ended.how}"
        return error, _output_of(ended) or None, None

    def _look_before(self, upgrade: Upgrade, step: Step) -> None:
        """Raise ForeignFound while its writers still run: a person may take days to answer."""
        component = upgrade.plan.component(step.component)
        context = self._context(upgrade, step, f"{upgrade.id}:{step.id}")
        seen = load_target(component.kind).probe(StepName.SWAP, context)
        if seen.answer is ProbeAnswer.FOREIGN:
            raise ForeignFound(
                path=context.path,
                expected=context.expected_old,
                found=seen.observed.root,
                where=context.path,
                found_there=seen.observed.root,
            )

    def _run(
        self,
        upgrade: Upgrade,
        action: Do,
        hook: Hook | None,
        command: Sequence[str],
        timeout_ms: int,
    ) -> Ended:
        component = upgrade.plan.component(action.step.component)
        environment = environment_for(
            hook,
            upgrade=upgrade.id,
            key=action.key,
            from_version=component.from_version,
            to_version=component.to_version,
            base=self.environment,
        )
        with self.command_locks() as descriptors:
            return run_child(
                command,
                environment=environment,
                folder=local_path(component.target).parent,
                timeout_ms=timeout_ms,
                stop=self.stop,
                inherit=descriptors,
                started=lambda child: self._started(action.step.id, child),
            )

    def _started(self, step: str, child: Identity) -> None:
        """Journal a child. A full disk fails the step; what leaves the journal unknown ends us."""
        try:
            self.child_started(step, child)
        except JournalFull:
            raise
        except JournalError as failure:
            raise RecordingFailed(failure) from failure

    def _health(self, upgrade: Upgrade, action: Do) -> tuple[str | None, str | None]:
        component = upgrade.plan.component(action.step.component)
        check = component.health[action.step.index]

        def run(command: Sequence[str], timeout_ms: int) -> Ended:
            return self._run(upgrade, action, None, command, timeout_ms)

        def attempt() -> Attempt:
            return attempt_once(check, run=run)

        verdict = watch(
            check,
            attempt,
            now_ms=self.now_ms,
            wait=self.hurry.wait,
            deadline_ms=self.now_ms() + check.limit_ms,
        )
        if verdict.passed:
            return None, verdict.detail
        return f"{named(check)}: {verdict.detail}", None


def _output_of(ended: Ended) -> str:
    """What a hook printed, and a last line on what was ended with it; still bounded."""
    if not ended.left:
        return ended.output
    left = some(ended.left, LEFT_NAMED_MAX)
    notice = f"[ended with the command, which left it running: {left}]"
    room = OUTPUT_BYTES_MAX - len(notice.encode()) - 1
    kept = ended.output.encode()[-room:].decode("utf-8", "ignore")
    return f"{kept}\n{notice}" if kept and not kept.endswith("\n") else f"{kept}{notice}"
