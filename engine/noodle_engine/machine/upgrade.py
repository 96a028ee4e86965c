"""What the records say: one upgrade, and everything that is alive.

Owns the fold. `Fold` is all the engine remembers; it is a function of the
records and of nothing else, it is what a `state` record stores, and folding
the journal again gives the same value (law F1).

Laws
F1. fold(records) equals the live fold, always; and fold(state + later records)
    equals fold(all records), for what is alive.
F2. A terminal state never changes.
F3. A step's result is only taken for a step that has an intent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from noodle_engine.machine.codec import decode
from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.machine.plan import ABSENT, Plan, PlanComponent, Step, StepName, state_of
from noodle_engine.machine.records import (
    AT_ONCE_POLICY,
    Anchored,
    Decided,
    Entry,
    Noted,
    Observation,
    Requested,
    StepDone,
    StepIntent,
    TimerSet,
    Transition,
)
from noodle_engine.machine.states import (
    TERMINAL,
    Direction,
    HoldReason,
    Message,
    OnCrash,
    Outcome,
    Reason,
    Release,
    State,
)

__all__ = [
    "RESUMES_WITHOUT_PROGRESS_MAX",
    "AnchorMark",
    "Fold",
    "Hold",
    "Installed",
    "Point",
    "StepState",
    "Upgrade",
    "fold",
    "fold_state",
    "fold_upgrade",
    "requested",
]


@dataclass(frozen=True, slots=True)
class StepState:
    """What the records say of one step.

    `attempt` counts intents to do it, `undo_attempt` intents to take it back.
    A step is in doubt when its last intent has no result.
    """

    attempt: int = 0
    outcome: Outcome | None = None
    undo_attempt: int = 0
    undo_outcome: Outcome | None = None
    observed: Observation | None = None
    error: str | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether it was begun and nobody knows how far it came."""
        return self.attempt > 0 and self.outcome is None

    @property
    def taken_back(self) -> bool:
        """Whether its undo is done."""
        return self.undo_outcome is Outcome.DONE


@dataclass(frozen=True, slots=True)
class Hold:
    """Why an upgrade stands still."""

    reason: HoldReason
    component: str | None = None
    expected: str | None = None
    found: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One upgrade, as its records say."""

    id: str
    plan: Plan
    plan_hash: str
    settings_hash: str
    actor: str
    requested_ms: int
    on_crash: OnCrash
    state: State = State.PENDING
    undoing: bool = False
    reason: Reason | None = None
    detail: str | None = None
    hold: Hold | None = None
    paused: bool = False
    restore: bool = False
    adopted: dict[str, str] = field(default_factory=dict)
    steps: dict[str, StepState] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)
    children: dict[str, str] = field(default_factory=dict)
    resumes_without_progress: int = 0
    changed_ms: int = 0
    request_key: str | None = None
    retry_of: str | None = None
    waits_for: str | None = None
    """The setting for whose limit it queues; None once anything has happened to it."""

    def step(self, step_id: str) -> StepState:
        """The state of a step; that of one never begun if there is no record."""
        return self.steps.get(step_id, _UNTOUCHED)

    def observed(self, name: StepName, component: str) -> Observation | None:
        """What a step of a component observed, if it is done."""
        return self.step(f"{name.value}:{component}").observed

    def expected_old(self, component: PlanComponent) -> str:
        """The root that the component's target has while it is old."""
        seen = self.observed(StepName.SNAPSHOT, component.name)
        return component.root_from if seen is None else seen.root

    def expected_new(self, component: PlanComponent) -> str | None:
        """The root that the component's target has once it is new, if staged."""
        if component.root == ABSENT:
            return ABSENT
        seen = self.observed(StepName.STAGE, component.name)
        return None if seen is None else seen.root

    @property
    def flipped(self) -> bool:
        """Whether a swap was begun, so that a target may be new already."""
        return any(
            self.step(step.id).attempt > 0 for step in self.plan.steps if step.name is StepName.SWAP
        )

    def is_exchanging(self, component: str) -> bool:
        """Whether a component's exchange was begun: with the look before its writers stop."""
        begins = (StepName.QUIESCE, StepName.SWAP)
        return any(
            self.step(step.id).attempt > 0
            for step in self.plan.steps
            if step.component == component and step.name in begins
        )

    @property
    def writers_stopped(self) -> tuple[str, ...]:
        """The components whose target's writers were stopped and not started again.

        No place to stop at: whoever waits for them waits as long.
        """
        return tuple(
            step.component
            for step in self.plan.steps
            if step.name is StepName.QUIESCE
            and self.state not in TERMINAL
            and self._stands_still(step)
        )

    def _stands_still(self, stopping: Step) -> bool:
        stop = self.step(stopping.id)
        after = [step for step in self.plan.steps if step.component == stopping.component]
        # Of what is removed nobody is started: then they need not wait for more than the exchange.
        ends = [step for step in after if step.name is StepName.UNQUIESCE] or [
            step for step in after if step.name is StepName.SWAP
        ]
        started = all(self.step(step.id).outcome is Outcome.DONE for step in ends)
        if not self.undoing:
            return stop.outcome is Outcome.DONE and not started
        stopped = any(self.step(step.id).taken_back for step in ends)
        return not stop.taken_back and stop.attempt > 0 and (stopped or not started)

    @property
    def steps_left(self) -> tuple[Step, ...]:
        """The steps of the state it is in that are not done yet, in order.

        After a way back a component that nothing was done to has none: nothing is
        to be cleaned up there, and who was refused does not hold its lock.
        """
        return tuple(
            step
            for step in self.plan.steps
            if state_of(step.name) is self.state
            and self.step(step.id).outcome is not Outcome.DONE
            and not (self.state in TERMINAL and self.step(step.id).outcome is Outcome.FAILED)
            and (self.state is not State.ROLLED_BACK or self._is_touched(step.component))
        )

    def _is_touched(self, component: str) -> bool:
        """Whether a step was begun that may have changed something for a component."""
        return any(
            step.component == component
            and step.name in _TOUCHING
            and self.step(step.id).attempt > 0
            for step in self.plan.steps
        )

    @property
    def finished(self) -> bool:
        """Whether it has ended and its clean-up too.

        A clean-up that failed is tried again at a resume, so often; then what it
        left stays where it is, for one bad file must not bar all later upgrades.
        """
        if self.state not in TERMINAL or self.steps_left:
            return False
        given_up = self.resumes_without_progress >= RESUMES_WITHOUT_PROGRESS_MAX
        return given_up or not list(self.failed_clean_up)

    @property
    def failed_clean_up(self) -> Iterator[Step]:
        """The failed steps of the end it came to that a resume does again; no hook is."""
        for step in self.plan.steps:
            here = self.state in TERMINAL and state_of(step.name) is self.state
            failed = self.step(step.id).outcome is Outcome.FAILED
            if here and failed and step.name in _CLEAN_UP:
                yield step


_TOUCHING = frozenset(
    {
        StepName.STAGE,
        StepName.BEFORE_SWAP,
        StepName.QUIESCE,
        StepName.SWAP,
        StepName.UNQUIESCE,
        StepName.AFTER_SWAP,
    }
)
_STOPPING = f"{StepName.QUIESCE.value}:"
_CLEAN_UP = frozenset({StepName.POINT, StepName.CLEAN_COMMITTED, StepName.CLEAN_ROLLED_BACK})
RESUMES_WITHOUT_PROGRESS_MAX = 5
"""How many resumes may end no step before a person is asked, or a clean-up is given up."""

_UNTOUCHED = StepState()


@dataclass(frozen=True, slots=True)
class Installed:
    """The version of a component that is in its target. `options` are its kind's own."""

    name: str
    kind: str
    target: str
    root: str
    at_ms: int
    upgrade: str
    version: str | None = None
    content: str | None = None
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """A kept old: what `rollback` goes back to.

    `changed`: between the last look at it and its keeping somebody changed it. It is
    what they left, and not what the version was.
    """

    component: str
    kind: str
    target: str
    root: str
    upgrade: str
    at_ms: int
    location: str
    version: str | None = None
    content: str | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class AnchorMark:
    """What is known of one sink of anchors: the last head that it kept, and when.

    Both are 0 where it has kept none. `failing` says why the last try failed, `since_ms`
    since when; None where it did not.
    """

    size: int
    at_ms: int
    failing: str | None = None
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """Everything alive: what a `state` record holds.

    `dropping` are kept old versions whose end is recorded and perhaps half done:
    nothing goes back to them. `anchors` are the sinks that heads were sent to, by name.
    """

    components: dict[str, Installed] = field(default_factory=dict)
    upgrades: dict[str, Upgrade] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    dropping: tuple[Point, ...] = ()
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    request_keys: dict[str, str] = field(default_factory=dict)
    at_ms: int = 0
    anchors: dict[str, AnchorMark] | None = None


def fold(world: Fold, entry: Entry) -> Fold:
    """The world after one more record. Pure."""
    world = replace(world, at_ms=max(world.at_ms, entry.at_ms))
    event = entry.event
    if isinstance(event, Requested):
        return _requested(world, entry, event)
    if isinstance(event, Anchored):
        return _anchored(world, event, entry.at_ms)
    if entry.upgrade is None:
        return _noted(world, event) if isinstance(event, Noted) else world
    upgrade = world.upgrades.get(entry.upgrade)
    if upgrade is None:
        return world  # a late word about one that has ended; the record stays
    changed = fold_upgrade(upgrade, entry)
    if isinstance(event, Transition) and changed.state is not upgrade.state:
        world = _ended(world, changed, entry.at_ms)
    if isinstance(event, StepDone):
        world = _kept(world, changed, event, entry.at_ms)
    return _with_upgrade(world, changed)


def _anchored(world: Fold, event: Anchored, at_ms: int) -> Fold:
    known = world.anchors or {}
    if event.outcome == "kept":
        mark = AnchorMark(event.size, at_ms)
    else:
        before = known.get(event.sink, AnchorMark(0, 0))
        since = at_ms if before.since_ms is None else before.since_ms
        mark = replace(before, failing=event.problem or event.outcome, since_ms=since)
    return replace(world, anchors={**known, event.sink: mark})


def requested(entry: Entry) -> Upgrade:
    """The upgrade that a request's record begins."""
    event = entry.event
    if entry.upgrade is None or not isinstance(event, Requested):
        raise InvariantBroken(law="F1", found="a request without an id of its own")
    return Upgrade(
        id=entry.upgrade,
        plan=event.plan,
        plan_hash=event.plan_hash,
        settings_hash=event.settings_hash,
        actor=entry.actor,
        requested_ms=entry.at_ms,
        changed_ms=entry.at_ms,
        on_crash=event.on_crash,
        request_key=event.request_key,
        retry_of=event.retry_of,
    )


def _requested(world: Fold, entry: Entry, event: Requested) -> Fold:
    if entry.upgrade in world.upgrades:
        raise InvariantBroken(law="F1", found="two requests with one id")
    upgrade = requested(entry)
    settings = dict(world.settings)
    if event.settings is not None:
        settings[event.settings_hash] = dict(event.settings)
    # Here, and not where an upgrade ends: who requests has looked whether its settings
    # are known, and what ends meanwhile must not take them away.
    used = {event.settings_hash, *(one.settings_hash for one in world.upgrades.values())}
    keys = dict(world.request_keys)
    if event.request_key is not None:
        keys[event.request_key] = upgrade.id
    return replace(
        world,
        upgrades={**world.upgrades, upgrade.id: upgrade},
        settings={key: value for key, value in settings.items() if key in used},
        request_keys=keys,
    )


def _with_upgrade(world: Fold, upgrade: Upgrade) -> Fold:
    upgrades = dict(world.upgrades)
    if not upgrade.finished:
        upgrades[upgrade.id] = upgrade
        return replace(world, upgrades=upgrades)
    del upgrades[upgrade.id]
    return replace(
        world,
        upgrades=upgrades,
        request_keys={k: v for k, v in world.request_keys.items() if v != upgrade.id},
    )


def _noted(world: Fold, event: Noted) -> Fold:
    """What a note of no upgrade changes: most change nothing."""
    name = event.data.get("component", "")
    match event.code:
        case "component.forgotten":
            return replace(
                world,
                components={k: v for k, v in world.components.items() if k != name},
                points=tuple(point for point in world.points if point.component != name),
            )
        case "points.dropping" | "points.dropped":
            gone = set(event.data.get("upgrades", "").split())
            going = event.code == "points.dropping"

            def is_meant(point: Point) -> bool:
                return point.component == name and point.upgrade in gone

            meant = tuple(point for point in world.points if is_meant(point))
            others = tuple(point for point in world.dropping if not is_meant(point))
            return replace(
                world,
                points=tuple(point for point in world.points if not is_meant(point)),
                dropping=(*others, *meant) if going else others,
            )
        case _:
            return world


def fold_upgrade(upgrade: Upgrade, entry: Entry) -> Upgrade:
    """One upgrade after one more of its records. Pure."""
    event = entry.event
    if isinstance(event, Decided) and event.policy == AT_ONCE_POLICY:
        return replace(upgrade, waits_for=event.inputs.get("key"))
    changed = _folded(upgrade, entry)
    if changed is not upgrade and changed.waits_for is not None:
        changed = replace(changed, waits_for=None)
    return changed


def _folded(upgrade: Upgrade, entry: Entry) -> Upgrade:
    match entry.event:
        case Transition() as event:
            return _moved(upgrade, event, entry.at_ms)
        case StepIntent() as event:
            return _begun(upgrade, event)
        case StepDone() as event:
            return _result(upgrade, event)
        case TimerSet() as event:
            return replace(upgrade, timers={**upgrade.timers, event.id: event.due_ms})
        case Noted(code="resumed"):
            again = {
                step.id: replace(upgrade.step(step.id), outcome=None)
                for step in upgrade.failed_clean_up
            }
            return replace(
                upgrade,
                resumes_without_progress=upgrade.resumes_without_progress + 1,
                steps={**upgrade.steps, **again},
            )
        case Noted(code="child.started", data=data):
            return replace(upgrade, children={**upgrade.children, data["step"]: data["child"]})
        case _:
            return upgrade


def _moved(upgrade: Upgrade, event: Transition, at_ms: int) -> Upgrade:
    if event.source is not upgrade.state:
        raise InvariantBroken(law="F1", found=f"a move from {event.source} in {upgrade.state}")
    upgrade = replace(upgrade, state=event.target, undoing=event.undoing, changed_ms=at_ms)
    match event.message:
        case Message.TURN_BACK:
            return replace(
                upgrade, reason=event.reason, detail=event.detail, hold=None, paused=False
            )
        case Message.HOLD:
            reason = event.hold or HoldReason.FAILURE_KEPT
            hold = Hold(reason, event.component, event.expected, event.found, event.detail)
            return replace(upgrade, hold=hold)
        case Message.RELEASE:
            return _released(upgrade, event)
        case Message.PAUSE:
            return replace(upgrade, paused=True)
        case Message.UNPAUSE:
            return replace(upgrade, paused=False)
        case _:
            return upgrade


def _released(upgrade: Upgrade, event: Transition) -> Upgrade:
    adopted = upgrade.adopted
    if event.how is Release.ADOPT and event.component is not None:
        adopted = {**adopted, event.component: event.found or ABSENT}
    return replace(
        upgrade,
        hold=None,
        adopted=adopted,
        restore=event.how is Release.RESTORE,
        resumes_without_progress=0,
    )


def _begun(upgrade: Upgrade, event: StepIntent) -> Upgrade:
    step = upgrade.step(event.step)
    if event.undo:
        step = replace(step, undo_attempt=event.attempt, undo_outcome=None)
    else:
        step = replace(step, attempt=event.attempt, outcome=None, error=None)
    return replace(upgrade, steps={**upgrade.steps, event.step: step})


def _result(upgrade: Upgrade, event: StepDone) -> Upgrade:
    step = upgrade.step(event.step)
    if event.undo:
        if step.undo_attempt == 0:
            raise InvariantBroken(law="F3", found=f"{event.step} was undone without an intent")
        step = replace(step, undo_outcome=event.outcome, error=event.error)
    else:
        if step.attempt == 0:
            raise InvariantBroken(law="F3", found=f"{event.step} was done without an intent")
        observed = event.observed if event.outcome is Outcome.DONE else step.observed
        step = replace(step, outcome=event.outcome, observed=observed, error=event.error)
    # Who is stopped anew at each resume is no progress.
    again = step.attempt > 1 and event.step.startswith(_STOPPING)
    done = event.outcome is Outcome.DONE and not again
    progress = 0 if done else upgrade.resumes_without_progress
    return replace(
        upgrade,
        children={name: child for name, child in upgrade.children.items() if name != event.step},
        steps={**upgrade.steps, event.step: step},
        resumes_without_progress=progress,
    )


def _ended(world: Fold, upgrade: Upgrade, at_ms: int) -> Fold:
    """Versions change at the one record that commits (or at an adopted end)."""
    components = dict(world.components)
    points = world.points
    if upgrade.state is State.COMMITTED:
        for component in upgrade.plan.components:
            root = upgrade.expected_new(component) or component.root
            if root == ABSENT:
                components.pop(component.name, None)
            else:
                components[component.name] = _installed(upgrade, component, root, at_ms)
            if upgrade.plan.direction is Direction.BACK:
                points = tuple(
                    point
                    for point in points
                    if (point.component, point.upgrade) != (component.name, component.point)
                )
    elif upgrade.state is State.ROLLED_BACK:
        for name, root in upgrade.adopted.items():
            if root == ABSENT:
                components.pop(name, None)
            elif name in components:
                components[name] = replace(components[name], root=root, content=None, at_ms=at_ms)
    return replace(world, components=components, points=points)


def _installed(upgrade: Upgrade, component: PlanComponent, root: str, at_ms: int) -> Installed:
    return Installed(
        name=component.name,
        kind=component.kind,
        target=component.target,
        root=root,
        at_ms=at_ms,
        upgrade=upgrade.id,
        version=component.to_version,
        content=component.root,
        options=component.options,
    )


def _kept(world: Fold, upgrade: Upgrade, event: StepDone, at_ms: int) -> Fold:
    """A `point` step done in a committed upgrade leaves a rollback point."""
    if event.undo or event.outcome is not Outcome.DONE or event.observed is None:
        return world
    for step in upgrade.plan.steps:
        if step.id == event.step and step.name is StepName.POINT:
            location = event.observed.attributes.get("location")
            if location is None:
                return world
            component = upgrade.plan.component(step.component)
            point = Point(
                component=component.name,
                kind=component.kind,
                target=component.target,
                root=upgrade.expected_old(component),
                upgrade=upgrade.id,
                at_ms=at_ms,
                location=location,
                version=component.from_version,
                content=event.observed.attributes.get("content"),
                changed="written" in event.observed.attributes,
            )
            return replace(world, points=(*world.points, point))
    return world


def fold_state(body: Mapping[str, Any]) -> Fold:
    """The world that a `state` record holds."""
    return decode(Fold, body)
