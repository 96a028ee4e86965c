"""A plan: what an upgrade will do, wholly by value.

Owns the plan's types, the order of its steps and its hash. A plan names the
versions and digests it expects, so that whoever resumes it needs neither the
release files' manifests nor today's settings, and the hash is what approvals
bind to. It reads nothing: `execute.planning` looks at the world and builds one.

Laws
P1. plan_hash is the SHA-256 of the canonical JSON of the plan without its
    creation time, so that the same request in the same world has one hash.
P2. steps are in the order they are done; the way back is computed from what
    was begun: all exchanges in reverse, each between the stopping and the starting
    of who writes its target, then of each component its hooks and stage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from noodle_engine.machine.codec import JsonValue, encode
from noodle_engine.machine.states import Direction, State

__all__ = [
    "ABSENT",
    "COMPONENTS_MAX",
    "HEALTH_MS_MAX",
    "PLAN_FORMAT",
    "Diff",
    "HealthCheck",
    "Hook",
    "HookPoint",
    "Needs",
    "Plan",
    "PlanComponent",
    "Step",
    "StepName",
    "World",
    "plan_hash",
    "state_of",
    "steps_for",
]

PLAN_FORMAT = 1
COMPONENTS_MAX = 256
ABSENT = "absent"
"""The root of a target that is not there."""


class StepName(StrEnum):
    """What a step does. Stored for ever."""

    CHECK = "check"
    SNAPSHOT = "snapshot"
    STAGE = "stage"
    BEFORE_SWAP = "before-swap"
    QUIESCE = "quiesce"
    SWAP = "swap"
    UNQUIESCE = "unquiesce"
    AFTER_SWAP = "after-swap"
    HEALTH = "health"
    RECHECK = "recheck"
    POINT = "point"
    AFTER_COMMIT = "after-commit"
    AFTER_ROLLBACK = "after-rollback"
    CLEAN_COMMITTED = "clean-committed"
    CLEAN_ROLLED_BACK = "clean-rolled-back"


class HookPoint(StrEnum):
    """When a hook runs.

    The two around the exchange itself are a kind's own, not a manifest's: one
    stops who writes the target, the other starts it again, and each is the
    other's undo.
    """

    BEFORE_SWAP = "before-swap"
    QUIESCE = "quiesce"
    UNQUIESCE = "unquiesce"
    AFTER_SWAP = "after-swap"
    AFTER_COMMIT = "after-commit"
    AFTER_ROLLBACK = "after-rollback"


_STATE_OF: dict[StepName, State] = {
    StepName.CHECK: State.PENDING,
    StepName.SNAPSHOT: State.VALIDATED,
    StepName.STAGE: State.VALIDATED,
    StepName.BEFORE_SWAP: State.SWAPPING,
    StepName.QUIESCE: State.SWAPPING,
    StepName.SWAP: State.SWAPPING,
    StepName.UNQUIESCE: State.SWAPPING,
    StepName.AFTER_SWAP: State.SWAPPING,
    StepName.HEALTH: State.SWAPPING,
    StepName.RECHECK: State.VERIFIED,
    StepName.POINT: State.COMMITTED,
    StepName.AFTER_COMMIT: State.COMMITTED,
    StepName.CLEAN_COMMITTED: State.COMMITTED,
    StepName.AFTER_ROLLBACK: State.ROLLED_BACK,
    StepName.CLEAN_ROLLED_BACK: State.ROLLED_BACK,
}


def state_of(name: StepName) -> State:
    """The state in which a step is done."""
    return _STATE_OF[name]


HEALTH_MS_MAX: Final = 300_000
"""How long a health check has of which neither manifest nor settings say it."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check that must pass `passes` times in a row within `limit_ms`.

    Exactly one of http, command, tcp and file is set. `within_ms` is None where a
    manifest says nothing; in a plan it is a number.
    """

    http: str | None = None
    command: tuple[str, ...] | None = None
    tcp: str | None = None
    file: str | None = None
    status: int = 200
    contains: str | None = None
    passes: int = 3
    interval_ms: int = 1000
    timeout_ms: int = 5000
    within_ms: int | None = None

    @property
    def limit_ms(self) -> int:
        """How long it has."""
        return HEALTH_MS_MAX if self.within_ms is None else self.within_ms


@dataclass(frozen=True, slots=True)
class Hook:
    """A user's command at a point of the upgrade. An argv, never a shell."""

    at: HookPoint
    command: tuple[str, ...]
    undo: tuple[str, ...] | None = None
    reversible: bool = True
    timeout_ms: int = 30_000
    pass_env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanComponent:
    """One component of a plan.

    `root_from` and `root_to` are what its target kind calls the identity of
    the old and the new (`absent` for none); `source` is where the new comes
    from (a path as text); `point` names the upgrade whose kept old is taken
    back; `options` are the kind's own.
    """

    name: str
    kind: str
    target: str
    root_from: str
    root: str
    from_version: str | None = field(default=None, metadata={"name": "from"})
    to_version: str | None = field(default=None, metadata={"name": "to"})
    source: str | None = None
    point: str | None = None
    strategy: str = "immediate"
    critical: bool = False
    health: tuple[HealthCheck, ...] = ()
    hooks: tuple[Hook, ...] = ()
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `id` is unique in its plan, `index` the hook's or check's."""

    id: str
    name: StepName
    component: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Diff:
    """What changes, in files and bytes."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    bytes_copied: int = 0
    bytes_shared: int = 0


@dataclass(frozen=True, slots=True)
class Needs:
    """What the upgrade needs while it runs."""

    disk_bytes: int = 0
    inodes: int = 0
    memory_bytes: int = 0
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """What the plan was computed against; `apply` of a plan file compares."""

    versions: dict[str, str | None]
    targets: dict[str, str]
    settings_hash: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an upgrade does, in order. See the module."""

    home: str
    direction: Direction
    components: tuple[PlanComponent, ...]
    steps: tuple[Step, ...]
    world: World
    created_ms: int = 0
    format: int = PLAN_FORMAT
    diff: Diff = Diff()
    needs: Needs = Needs()
    gates: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def component(self, name: str) -> PlanComponent:
        """The component called `name`; KeyError if the plan has none."""
        for component in self.components:
            if component.name == name:
                return component
        raise KeyError(name)


def plan_hash(plan: Plan) -> str:
    """The hash of a plan (law P1), 64 hexadecimal digits."""
    found: dict[str, JsonValue] = encode(plan)
    del found["created_ms"]
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def steps_for(components: Sequence[PlanComponent]) -> tuple[Step, ...]:
    """The steps of a plan over `components`, in order."""
    return tuple(_steps(components))


def _steps(components: Sequence[PlanComponent]) -> Iterator[Step]:
    for component in components:
        yield _step(StepName.CHECK, component)
    for component in components:
        yield _step(StepName.SNAPSHOT, component)
        yield _step(StepName.STAGE, component)
    for component in components:
        yield from _hooks(HookPoint.BEFORE_SWAP, component)
        yield from _hooks(HookPoint.QUIESCE, component)
        yield _step(StepName.SWAP, component)
        yield from _hooks(HookPoint.UNQUIESCE, component)
        yield from _hooks(HookPoint.AFTER_SWAP, component)
    for component in components:
        if component.root == ABSENT:
            continue  # what was removed has no health
        for index, _ in enumerate(component.health):
            yield _step(StepName.HEALTH, component, index)
    for component in components:
        yield _step(StepName.RECHECK, component)
    for component in components:
        yield _step(StepName.POINT, component)
        yield from _hooks(HookPoint.AFTER_COMMIT, component)
        yield _step(StepName.CLEAN_COMMITTED, component)
    for component in reversed(components):
        yield from _hooks(HookPoint.AFTER_ROLLBACK, component)
        yield _step(StepName.CLEAN_ROLLED_BACK, component)


def _hooks(at: HookPoint, component: PlanComponent) -> Iterator[Step]:
    for index, hook in enumerate(component.hooks):
        if hook.at is at:
            yield _step(StepName(at.value), component, index)


def _step(name: StepName, component: PlanComponent, index: int | None = None) -> Step:
    suffix = "" if index is None else f":{index}"
    return Step(f"{name.value}:{component.name}{suffix}", name, component.name, index or 0)
