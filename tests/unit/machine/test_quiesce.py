"""Who writes a target stands still while it is exchanged, whatever happens in between.

The law is held against a world of one bit: whether the writers run. A crash, which
may be a machine that is started again, lets them run.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from noodle_engine.machine.decide import Do, Probe, ProbeAnswer, Probed, ReleaseHold, TurnBack
from noodle_engine.machine.failures import MessageRefused
from noodle_engine.machine.plan import ABSENT, Hook, HookPoint, StepName
from noodle_engine.machine.records import Observation
from noodle_engine.machine.states import TERMINAL, HoldReason, OnCrash, Reason, Release, State
from noodle_engine.machine.upgrade import RESUMES_WITHOUT_PROGRESS_MAX
from tests.unit.machine.drive import HEALTH, RESTART, Driven, component, plan_of

AROUND = (
    Hook(HookPoint.QUIESCE, ("stop",), undo=("start",)),
    Hook(HookPoint.UNQUIESCE, ("start",), undo=("stop",)),
)
PLAN = plan_of(
    component("web", hooks=(RESTART, *AROUND)), component("api", hooks=AROUND, health=(HEALTH,))
)
STEPS_MAX = 400


class World:
    """The upgrade, and of each component whether its writers run and its target is new."""

    def __init__(self, on_crash: OnCrash) -> None:
        self.driven = Driven.of(PLAN, on_crash)
        self.running = {"web": True, "api": True}
        self.new = {"web": False, "api": False}
        self.driven.begin()

    def perform(self, *, fails: bool) -> None:
        """Do the step under way; one that fails may have had its effect."""
        self._effect()
        self.driven.done(error="it failed" if fails else None)

    def _effect(self) -> None:
        action = self.driven.action
        assert isinstance(action, Do)
        component = action.step.component
        match action.step.name, action.undo:
            case (StepName.QUIESCE, False) | (StepName.UNQUIESCE, True):
                self.running[component] = False
            case (StepName.UNQUIESCE, False) | (StepName.QUIESCE, True):
                self.running[component] = True
            case StepName.SWAP, undo:
                assert not self.running[component], f"{action.step.id} while they write"
                self.new[component] = not undo

    def crash(self, *, performed: bool) -> None:
        """The process dies, its step done or not, and another takes it up."""
        if performed and isinstance(self.driven.action, Do):
            self._effect()
        self.running = dict.fromkeys(self.running, True)
        self.driven.resume()
        self.probe()

    def probe(self) -> None:
        """Say how far what is in doubt came."""
        while isinstance(self.driven.action, Probe):
            step = self.driven.action.step
            if step.name is StepName.SWAP and self.new[step.component]:
                there = Observation(f"new {step.component}")
                self.driven.say(Probed(step.id, ProbeAnswer.DONE, there))
            else:
                self.driven.say(Probed(step.id, ProbeAnswer.NOT_DONE))

    def release(self) -> None:
        """A person, who may have started them, lets it be tried once more."""
        self.running = dict.fromkeys(self.running, True)
        self.driven.say(ReleaseHold(Release.RETRY))
        self.probe()


def test_the_order_of_both_ways() -> None:
    driven = Driven.of(PLAN)
    driven.until_step("health:api:0")
    driven.done(error="sick")
    driven.to_rest()
    steps = driven.done_steps
    around = steps[steps.index("quiesce:web:1") : steps.index("after-swap:web:0") + 1]
    assert around == ["quiesce:web:1", "swap:web", "unquiesce:web:2", "after-swap:web:0"]
    back = steps[steps.index("unquiesce:api:1") + 1 :]
    assert back[:7] == [
        "undo unquiesce:api:1",
        "undo swap:api",
        "undo quiesce:api:0",
        "undo unquiesce:web:2",
        "undo swap:web",
        "undo quiesce:web:1",
        "undo stage:api",
    ]


def test_writers_that_stood_still_before_a_crash_are_stopped_anew() -> None:
    driven = Driven.of(PLAN)
    driven.until_step("swap:web")
    driven.resume()
    driven.say(Probed("swap:web", ProbeAnswer.NOT_DONE))
    assert driven.step == "quiesce:web:1"


def test_a_command_that_does_not_stop_them_turns_back_and_starts_them() -> None:
    driven = Driven.of(PLAN)
    driven.until_step("quiesce:web:1")
    driven.done(error="no such service")
    assert driven.going_back
    assert driven.step == "undo quiesce:web:1".removeprefix("undo ")
    driven.to_rest()
    assert driven.upgrade.state is State.ROLLED_BACK
    assert "swap:web" not in driven.done_steps


def test_a_stranger_who_is_found_before_they_are_stopped_holds_while_they_run() -> None:
    """And may be set aside for the old, for which they are stopped then."""
    world = World(OnCrash.FORWARD)
    world.driven.until_step("quiesce:web:1")
    world.driven.done(foreign="a stranger's")
    assert world.driven.hold is HoldReason.FOREIGN
    assert world.running["web"]
    world.driven.say(ReleaseHold(Release.RESTORE))
    back = []
    while isinstance(world.driven.action, Do):
        back.append(world.driven.action.step.id)
        world.perform(fails=False)
    assert back[:3] == ["unquiesce:web:2", "swap:web", "quiesce:web:1"]
    assert world.driven.upgrade.state is State.ROLLED_BACK
    assert world.running["web"]


def test_a_person_may_say_that_they_stand_still() -> None:
    """Where the command cannot: it may lie in the very tree that is gone."""
    driven = Driven.of(PLAN)
    driven.until_step("health:api:0")
    driven.done(error="sick")
    assert driven.step == "unquiesce:api:1"
    driven.done(error="no such file")
    assert driven.hold is HoldReason.OLD_BROKEN
    driven.say(ReleaseHold(Release.RETRY))
    driven.done(error="no such file")
    driven.say(ReleaseHold(Release.PROMOTE))
    assert driven.step == "swap:api"
    driven.to_rest()
    assert driven.upgrade.state is State.ROLLED_BACK


def test_stopping_them_anew_at_each_resume_is_no_progress() -> None:
    """A process that is killed in each exchange is on hold after so many resumes."""
    driven = Driven.of(PLAN)
    driven.until_step("swap:web")
    for _ in range(RESUMES_WITHOUT_PROGRESS_MAX):
        assert driven.hold is None
        driven.resume()
        if driven.hold is None:
            driven.say(Probed("swap:web", ProbeAnswer.NOT_DONE))
            driven.until_step("swap:web")
    assert driven.hold is HoldReason.FAILURE_KEPT


@settings(max_examples=400)
@given(
    st.sampled_from(OnCrash),
    st.lists(
        st.sampled_from(["done"] * 12 + ["fails", "crash", "crash performed", "abort"]),
        max_size=80,
    ),
)
def test_nothing_is_exchanged_while_they_write_and_they_run_at_the_end(
    on_crash: OnCrash, events: list[str]
) -> None:
    world = World(on_crash)
    for event in [*events, *["done"] * STEPS_MAX]:
        if world.driven.hold is not None:
            world.release()
        if world.driven.action is None:
            break
        match event:
            case "done" | "fails":
                world.perform(fails=event == "fails")
            case "abort":
                try:
                    world.driven.say(TurnBack(Reason.CANCELLED))
                except MessageRefused:
                    continue
            case _:
                world.crash(performed=event == "crash performed")
    assert world.driven.upgrade.state in TERMINAL
    assert world.running == {"web": True, "api": True}
    assert set(world.new.values()) == {world.driven.upgrade.state is State.COMMITTED}


def test_who_was_stopped_is_named_from_the_stop_to_the_start_both_ways() -> None:
    """And while nobody knows whether a stop has had its effect, on the way back only."""
    driven = Driven.of(PLAN)
    for step, stopped in (
        ("quiesce:web:1", ()),
        ("swap:web", ("web",)),
        ("unquiesce:web:2", ("web",)),
        ("quiesce:api:0", ()),
        ("swap:api", ("api",)),
        ("health:api:0", ()),
    ):
        driven.until_step(step)
        assert driven.upgrade.writers_stopped == stopped, step
    driven.done(error="sick")
    for step, stopped in (
        ("unquiesce:api:1", ()),
        ("swap:api", ("api",)),
        ("quiesce:api:0", ("api",)),
        ("unquiesce:web:2", ()),
        ("swap:web", ("web",)),
        ("quiesce:web:1", ("web",)),
        ("after-swap:web:0", ()),
    ):
        driven.until_step(step, undo=True)
        assert driven.upgrade.writers_stopped == stopped, step
    driven.to_rest()
    assert driven.upgrade.writers_stopped == ()


def test_of_what_is_removed_nobody_waits_for_more_than_the_exchange() -> None:
    driven = Driven.of(plan_of(component("web", hooks=AROUND[:1], new=ABSENT)))
    driven.until_step("swap:web")
    assert driven.upgrade.writers_stopped == ("web",)
    driven.until_step("recheck:web")
    assert not driven.upgrade.writers_stopped


def test_who_was_being_stopped_when_it_is_turned_back_is_started() -> None:
    driven = Driven.of(PLAN)
    driven.until_step("quiesce:web:1")
    driven.done(error="it failed")
    assert driven.step == "quiesce:web:1"
    assert driven.upgrade.writers_stopped == ("web",)
    driven.to_rest()
    assert not driven.upgrade.writers_stopped
