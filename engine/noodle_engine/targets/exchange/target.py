"""The door of a kind that is exchanged whole.

Owns which step does what. Every step reads the disk anew and believes no
earlier step, so each may be done twice and half done.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.machine.plan import ABSENT, StepName
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import (
    Cost,
    ProbeFound,
    StepContext,
    TargetLock,
    TargetPlan,
    TargetRequest,
    Verified,
)
from noodle_engine.targets.exchange import flip, keep, rescue, staging
from noodle_engine.targets.exchange.objects import Exchange, Found, Look, Objects
from noodle_engine.targets.exchange.rescue import Find
from noodle_engine.targets.failures import TargetMoved
from noodle_engine.targets.place import Place, claim_target, lock_target, place_of

__all__ = ["ExchangeTarget", "as_planned"]

_Step = Callable[[Exchange], Observation]

_DO: Final[Mapping[StepName, _Step]] = {
    StepName.SNAPSHOT: staging.snapshot,
    StepName.STAGE: staging.stage,
    StepName.SWAP: flip.swap,
    StepName.RECHECK: keep.recheck,
    StepName.POINT: keep.point,
    StepName.CLEAN_COMMITTED: keep.clean_committed,
    StepName.CLEAN_ROLLED_BACK: keep.clean_rolled_back,
}
_STOPPABLE: Final = frozenset({StepName.SNAPSHOT, StepName.STAGE})
"""Steps that may take long and have changed nothing that is in use."""
_UNDO: Final[Mapping[StepName, _Step]] = {
    StepName.STAGE: staging.unstage,
    StepName.SWAP: flip.unswap,
}


class ExchangeTarget(ABC):
    """A kind whose target is one object, exchanged whole.

    See `noodle_engine.targets.base.Target` for the promises; a kind adds what its
    objects are, what it looks at before anything is changed, and how an old
    version is dropped.
    """

    kind: ClassVar[str]

    @abstractmethod
    def objects(self, context: StepContext, place: Place) -> Objects:
        """The objects of one step."""

    @abstractmethod
    def look(self, place: Place, expected: Sequence[str], options: Mapping[str, str]) -> Found:
        """What is at the target, outside of any upgrade; see `Target.observe`."""

    @abstractmethod
    def check(self, context: StepContext, place: Place) -> Observation:
        """Step check."""

    @abstractmethod
    def plan_at(self, request: TargetRequest, place: Place) -> TargetPlan:
        """`Target.plan` at a place."""

    @abstractmethod
    def cost(self, location: Path) -> Cost | None:
        """See `Target.cost`."""

    @abstractmethod
    def users(self, location: Path) -> tuple[str, ...]:
        """See `Target.users`."""

    @abstractmethod
    def drop(self, location: Path) -> int:
        """See `Target.drop`."""

    @abstractmethod
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
        """See `Target.verify`."""

    def lock(self, path: Path, home_log: str, *, take_over: bool, claim: bool = True) -> TargetLock:
        """Lock the target, and with `claim` mark it as the home's."""
        return lock_target(path, home_log, take_over=take_over, claim=claim)

    def observe(
        self, path: Path, *, expected: Sequence[str] = (), options: Mapping[str, str] | None = None
    ) -> Observation:
        """What is at the target now."""
        return self.look(place_of(path), expected, options or {}).observation

    def plan(self, request: TargetRequest) -> TargetPlan:
        """What an upgrade would do."""
        return self.plan_at(request, place_of(request.path))

    def do(self, step: StepName, context: StepContext) -> Observation:
        """Do a step."""
        if step is StepName.CHECK:
            return self.check(context, as_planned(context))
        if step is StepName.STAGE:
            claim_target(as_planned(context), context.home_log)
        if step not in _STOPPABLE:
            context = replace(context, stop=threading.Event())
        return _of(_DO, step)(self._exchange(context))

    def undo(self, step: StepName, context: StepContext) -> Observation:
        """Take back swap or stage. It is not stopped half way."""
        context = replace(context, stop=threading.Event())
        return _of(_UNDO, step)(self._exchange(context))

    def probe(self, step: StepName, context: StepContext) -> ProbeFound:
        """Say how far a step came; what is done is made durable before it is said.

        Only stage and swap can have come somewhere. All others are done again
        at no cost: they answer not_done.
        """
        exchange = self._exchange(context)
        if step is StepName.SWAP:
            answer, found = flip.probe_swap(exchange)
            return ProbeFound(answer, found.observation)
        if step is StepName.STAGE:
            return _probe_stage(exchange)
        if step is not StepName.CHECK:
            _of(_DO, step)
        found = exchange.objects.find(exchange.place.path, Look.STAMPS)
        return ProbeFound(ProbeAnswer.NOT_DONE, found.observation)

    def rescue(self, path: Path) -> tuple[Observation, ...]:
        """The candidates beside the target."""
        place = place_of(path)
        return rescue.candidates(place, self._find_by_hand(place))

    def exchange_by_hand(self, path: Path, location: Path) -> Observation:
        """Put a candidate in the target's place."""
        place = place_of(path)
        return rescue.exchange_with(place, location, self._find_by_hand(place))

    @abstractmethod
    def find_by_hand(self, place: Place, path: Path) -> Found:
        """What `path` is, wholly read, without a journal that could say what to expect."""

    def _find_by_hand(self, place: Place) -> Find:
        return lambda path: self.find_by_hand(place, path)

    def _exchange(self, context: StepContext) -> Exchange:
        place = as_planned(context)
        return Exchange(context, place, self.objects(context, place))


def as_planned(context: StepContext) -> Place:
    """The target's place, if its path leads where it led when the plan was made.

    A plan has the resolved path. A link that came into it since leads to another
    folder, and half of an upgrade would be done there.
    """
    place = place_of(context.path)
    if place.path != context.path:
        raise TargetMoved(path=context.path, leads_to=place.path)
    return place


def _probe_stage(exchange: Exchange) -> ProbeFound:
    """Whether the new stands beside, whole. `observed` is the new: it is what stage answers."""
    target = exchange.objects.find(exchange.place.path, Look.STAMPS)
    if target.root != exchange.old:
        return ProbeFound(ProbeAnswer.FOREIGN, target.observation)
    if exchange.context.source is None:
        return ProbeFound(ProbeAnswer.DONE, Observation(ABSENT))
    found = staging.staged(exchange)
    if found is None:
        return ProbeFound(ProbeAnswer.NOT_DONE, target.observation)
    point = exchange.context.source.point
    observed = exchange.objects.noted(found, exchange.beside) if point else found.observation
    return ProbeFound(ProbeAnswer.DONE, observed)


def _of(steps: Mapping[StepName, _Step], step: StepName) -> _Step:
    try:
        return steps[step]
    except KeyError:
        raise InvariantBroken(law="G1", found=f"a target was asked for step {step}") from None
