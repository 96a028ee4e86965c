"""The machine driven in memory: what a target and a disk would answer is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from noodle_engine.machine.decide import (
    Action,
    Decision,
    Do,
    Probe,
    Resumed,
    Said,
    StepResult,
    advance,
    decide,
)
from noodle_engine.machine.plan import (
    ABSENT,
    HealthCheck,
    Hook,
    HookPoint,
    Plan,
    PlanComponent,
    StepName,
    World,
    steps_for,
)
from noodle_engine.machine.records import Entry, Event, Observation, StepDone
from noodle_engine.machine.states import Direction, HoldReason, OnCrash, Outcome
from noodle_engine.machine.upgrade import Upgrade, fold_upgrade

ID = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
HEALTH = HealthCheck(file="/ready", passes=1)
RESTART = Hook(HookPoint.AFTER_SWAP, ("restart",), undo=("restart",))
STEPS_MAX = 200


def component(
    name: str,
    *,
    hooks: tuple[Hook, ...] = (),
    health: tuple[HealthCheck, ...] = (),
    new: str = "new",
) -> PlanComponent:
    return PlanComponent(
        name=name,
        kind="file",
        target=f"/{name}",
        root_from=f"old {name}",
        root=new if new == ABSENT else f"{new} {name}",
        from_version="1.0.0",
        to_version=None if new == ABSENT else "2.0.0",
        hooks=hooks,
        health=health,
    )


def plan_of(*components: PlanComponent) -> Plan:
    return Plan(
        home="log",
        direction=Direction.FORWARD,
        components=components,
        steps=steps_for(components),
        world=World({}, {}, ""),
    )


TWO = plan_of(component("web", hooks=(RESTART,)), component("api", health=(HEALTH,)))


@dataclass
class Driven:
    """One upgrade and all its events; `result` says how a step ends."""

    upgrade: Upgrade
    events: list[Event] = field(default_factory=list)
    action: Action | None = None

    @classmethod
    def of(cls, plan: Plan = TWO, on_crash: OnCrash = OnCrash.FORWARD) -> Driven:
        made = Upgrade(
            id=ID,
            plan=plan,
            plan_hash="",
            settings_hash="",
            actor="test",
            requested_ms=0,
            on_crash=on_crash,
        )
        return cls(made)

    def take(self, decision: Decision, now_ms: int = 0) -> None:
        """Fold the records, as the engine does once they are durable."""
        for event in decision.events:
            entry = Entry(event, "test", now_ms, ID)
            self.upgrade = fold_upgrade(self.upgrade, entry)
        assert self.upgrade == decision.upgrade
        self.events += decision.events
        self.action = decision.action

    def say(self, said: Said, now_ms: int = 0) -> None:
        self.take(decide(self.upgrade, said, now_ms), now_ms)

    def begin(self) -> None:
        self.take(advance(self.upgrade, 0))

    def resume(self) -> None:
        self.say(Resumed())

    def done(self, *, error: str | None = None, foreign: str | None = None) -> None:
        """The action under way ends: done, or with an error."""
        assert isinstance(self.action, Do)
        failed = error is not None or foreign is not None
        self.say(
            StepResult(
                step=self.action.step.id,
                key=self.action.key,
                attempt=self.action.attempt,
                outcome=Outcome.FAILED if failed else Outcome.DONE,
                undo=self.action.undo,
                observed=None if failed else Observation(self._root()),
                error=error,
                foreign=foreign,
            )
        )

    def _root(self) -> str:
        assert isinstance(self.action, Do)
        step = self.action.step
        made = self.upgrade.plan.component(step.component)
        old_again = self.action.undo and step.name is StepName.SWAP
        if old_again or step.name in (StepName.CHECK, StepName.SNAPSHOT):
            return made.root_from
        return made.root

    def until(self, wanted: Callable[[Action], bool]) -> None:
        """On to an action, all before it being done."""
        if self.action is None:
            self.begin()
        for _ in range(STEPS_MAX):
            assert self.action is not None, "it came to rest before"
            if wanted(self.action):
                return
            self.done()
        raise AssertionError("no such action")

    def until_step(self, step: str, *, undo: bool = False) -> None:
        self.until(lambda one: isinstance(one, Do) and (one.step.id, one.undo) == (step, undo))

    def to_rest(self) -> None:
        """On until nothing is left to do."""
        if self.action is None:
            self.begin()
        for _ in range(STEPS_MAX):
            if self.action is None:
                return
            assert not isinstance(self.action, Probe)
            self.done()
        raise AssertionError("it does not come to rest")

    @property
    def hold(self) -> HoldReason | None:
        """Why it stands still."""
        return self.upgrade.hold.reason if self.upgrade.hold else None

    @property
    def step(self) -> str | None:
        """The step that is being done."""
        return self.action.step.id if isinstance(self.action, Do) else None

    @property
    def going_back(self) -> bool:
        """Whether it is being taken back."""
        return self.upgrade.undoing

    @property
    def done_steps(self) -> list[str]:
        """What was done and undone, in order."""
        return [
            f"undo {event.step}" if event.undo else event.step
            for event in self.events
            if isinstance(event, StepDone) and event.outcome is Outcome.DONE
        ]
