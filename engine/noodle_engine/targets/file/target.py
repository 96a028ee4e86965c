"""Kind `file`: one plain file, exchanged whole.

Owns the door; the rooms are planning (look), staging (write and prove), flip
(exchange and back), keep (the old afterwards) and rescue. Every step reads the
disk anew and believes no earlier step, so each may be done twice and half done.

What the new version gets: content from the release; owner, mode and extended
attributes (ACLs and capabilities among them) from the old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Final

from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.machine.plan import StepName
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import (
    ProbeFound,
    StepContext,
    TargetLock,
    TargetPlan,
    TargetRequest,
)
from noodle_engine.targets.file import flip, keep, planning, rescue, staging
from noodle_engine.targets.file.objects import find
from noodle_engine.targets.place import Place, lock_target, place_of

__all__ = ["FileTarget"]

_Step = Callable[[StepContext, Place], Observation]

_DO: Final[Mapping[StepName, _Step]] = {
    StepName.CHECK: planning.check,
    StepName.SNAPSHOT: staging.snapshot,
    StepName.STAGE: staging.stage,
    StepName.SWAP: flip.swap,
    StepName.RECHECK: keep.recheck,
    StepName.POINT: keep.point,
    StepName.CLEAN_COMMITTED: keep.clean_committed,
    StepName.CLEAN_ROLLED_BACK: keep.clean_rolled_back,
}
_UNDO: Final[Mapping[StepName, _Step]] = {
    StepName.STAGE: staging.unstage,
    StepName.SWAP: flip.unswap,
}


class FileTarget:
    """One plain file. See `noodle_engine.targets.base.Target` for the promises."""

    kind: ClassVar[str] = "file"

    def lock(self, path: Path, home_log: str, *, take_over: bool) -> TargetLock:
        """Lock the target and mark it as the home's."""
        return lock_target(path, home_log, take_over=take_over)

    def observe(self, path: Path) -> Observation:
        """What is at the target now."""
        return find(place_of(path).path).observation

    def plan(self, request: TargetRequest) -> TargetPlan:
        """What an upgrade would do."""
        return planning.plan_file(request, place_of(request.path))

    def do(self, step: StepName, context: StepContext) -> Observation:
        """Do a step."""
        return _of(_DO, step)(context, place_of(context.path))

    def undo(self, step: StepName, context: StepContext) -> Observation:
        """Take back swap or stage."""
        return _of(_UNDO, step)(context, place_of(context.path))

    def probe(self, step: StepName, context: StepContext) -> ProbeFound:
        """Say how far a step came; what is done is made durable before it is said.

        Only stage and swap can have come somewhere. All others are done again
        at no cost: they answer not_done.
        """
        _of(_DO, step)
        place = place_of(context.path)
        if step is StepName.SWAP:
            answer, found = flip.probe_swap(context, place)
            return ProbeFound(answer, found.observation)
        if step is StepName.STAGE:
            return _probe_stage(context, place)
        return ProbeFound(ProbeAnswer.NOT_DONE, find(place.path).observation)

    def drop(self, location: Path) -> int:
        """Remove a kept old version for good."""
        return keep.drop(location)

    def rescue(self, path: Path) -> tuple[Observation, ...]:
        """The candidates beside the target."""
        return rescue.candidates(place_of(path))

    def exchange_by_hand(self, path: Path, location: Path) -> Observation:
        """Put a candidate in the target's place."""
        return rescue.exchange_with(place_of(path), location)


def _probe_stage(context: StepContext, place: Place) -> ProbeFound:
    """Whether the new stands beside, whole. `observed` is the new: it is what stage answers."""
    target = find(place.path)
    if target.root != context.expected_old:
        return ProbeFound(ProbeAnswer.FOREIGN, target.observation)
    if context.source is None:
        return ProbeFound(ProbeAnswer.DONE, Observation("absent"))
    found = staging.staged(context, place)
    if found is None:
        return ProbeFound(ProbeAnswer.NOT_DONE, target.observation)
    return ProbeFound(ProbeAnswer.DONE, found.observation)


def _of(steps: Mapping[StepName, _Step], step: StepName) -> _Step:
    try:
        return steps[step]
    except KeyError:
        raise InvariantBroken(law="G1", found=f"a target was asked for step {step}") from None
