"""The contract of a target kind, as a Hypothesis state machine.

Owns the choice of what happens next: steps, the same step again, kills by a schedule,
ways back, strangers, ways back to what is kept. `site` does it and holds it to the laws.

    class Greeting(TargetContract):
        kind = "greeting"
        versions = Files()

    TestGreeting = Greeting.TestCase
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from noodle_engine.machine.plan import StepName
from noodle_engine.targets.base import Target
from noodle_engine.targets.load import load_target
from noodle_engine.testing.site import FORWARD, Site
from noodle_engine.testing.strategies import crash_schedules
from noodle_engine.testing.sweep import Told, sweep, walk
from noodle_engine.testing.versions import Files, Versions

__all__ = ["TargetContract", "scratch_folder"]

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
_ROOM_BYTES_MIN: Final = 256 * 1024**2
_SETTINGS: Final = settings(
    max_examples=20,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TargetContract(RuleBasedStateMachine):
    """What every target kind must keep. Subclass it, and say which kind and what a version is.

    `kind` is loaded as an upgrade loads it; `target` is one that is there already. `folder`
    is where the tests make folders of their own; by default in memory where that is, else
    where temporary files go. The subclass's `TestCase` is a unittest.TestCase, which pytest
    runs as well. A law that does not hold raises ContractBroken.
    """

    kind: ClassVar[str] = ""
    target: ClassVar[Target | None] = None
    versions: ClassVar[Versions] = Files()
    folder: ClassVar[Path | None] = None
    settings = _SETTINGS

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.TestCase.settings = _SETTINGS

    def __init__(self) -> None:
        super().__init__()
        self.site = self.new_site()

    @classmethod
    def new_site(cls) -> Site:
        """A site of this kind in a new folder. Raises what loading the kind raises."""
        target = cls.loaded()
        made = Path(tempfile.mkdtemp(prefix="noodle-testing-", dir=scratch_folder(cls.folder)))
        return Site(target, cls.versions, made)

    @classmethod
    def loaded(cls) -> Target:
        """The kind that is tested. Raises what loading it raises."""
        return cls.target if cls.target is not None else load_target(cls.kind)

    @classmethod
    def walk(cls) -> None:
        """Every law once, without chance and without kills: seconds. Raises ContractBroken."""
        site = cls.new_site()
        try:
            walk(site)
        finally:
            site.close()

    @classmethod
    def prove(cls, *, every: int = 1, told: Told = lambda _name, _kills: None) -> int:
        """Every law once, then a kill at each (so-manieth) point; how many. Minutes.

        What chance may miss in a few histories is passed here for sure. Raises ContractBroken.
        """
        cls.walk()
        site = cls.new_site()
        try:
            return sweep(site, every=every, told=told)
        finally:
            site.close()

    # -- rules --------------------------------------------------------------

    @initialize(data=st.data())
    def deploy(self, data: st.DataObject) -> None:
        """Something, or nothing, is at the target."""
        self.site.deploy(data.draw(st.one_of(st.none(), self.versions.versions())))

    def idle(self) -> bool:
        """Whether no upgrade is open."""
        return self.site.context is None or self.site.step is None

    def open_before_point(self) -> bool:
        """Whether there is a way back."""
        return not self.idle() and StepName.POINT not in self.site.begun

    @precondition(idle)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """An upgrade, a first install, or a removal."""
        site = self.site
        wanted = self.versions.versions()
        versions = wanted.filter(lambda one: site.shown(one) != site.shown(site.installed))
        new = data.draw(versions if site.installed is None else st.one_of(versions, st.none()))
        site.begin(new)

    @precondition(lambda self: self.idle() and self.site.location is not None)
    @rule()
    def begin_back(self) -> None:
        """An upgrade back to the old that is kept."""
        site = self.site
        if site.shown(site.kept) != site.shown(site.installed):
            site.begin(None, from_point=True)

    @precondition(lambda self: not self.idle())
    @rule(schedule=crash_schedules())
    def forward(self, schedule: tuple[int, ...]) -> None:
        """The next step, killed by the schedule first."""
        self.site.forward(schedule)

    @precondition(lambda self: not self.idle())
    @rule(steps=st.integers(2, len(FORWARD)))
    def stride(self, steps: int) -> None:
        """Some steps without a kill, so that the last ones are reached."""
        for _ in range(steps):
            if self.site.step is not None:
                self.site.forward()

    @precondition(lambda self: bool(self.site.done))
    @rule()
    def again(self) -> None:
        """The step that was done last, done once more."""
        if self.site.context is not None:
            self.site.again()

    @precondition(open_before_point)
    @rule(
        step=st.sampled_from((StepName.STAGE, StepName.SWAP, StepName.RECHECK)),
        die_at=st.one_of(st.integers(0, 12), st.integers(0, 60)),
        schedule=crash_schedules(kills_max=2),
    )
    def interrupt(self, step: StepName, die_at: int, schedule: tuple[int, ...]) -> None:
        """A step is killed, and then all is taken back, with kills."""
        self._go_on_to(step)
        if self.site.step is not StepName.POINT:
            self.site.interrupt(die_at)
        self.site.back(schedule)

    @precondition(open_before_point)
    @rule(
        step=st.sampled_from((StepName.SWAP, StepName.RECHECK)),
        schedule=crash_schedules(kills_max=1),
    )
    def stranger(self, step: StepName, schedule: tuple[int, ...]) -> None:
        """Somebody else puts something at the target, before the swap or after it."""
        self._go_on_to(step)
        if self.site.step in (StepName.SWAP, StepName.RECHECK):
            self.site.stranger(schedule)

    def _go_on_to(self, step: StepName) -> None:
        """Do what comes before a step, as far as it is not done."""
        while len(self.site.done) < FORWARD.index(step):
            self.site.forward()

    @precondition(lambda self: self.idle() and self.site.location is not None)
    @rule()
    def drop(self) -> None:
        """The old that is kept is dropped."""
        self.site.drop()

    @precondition(idle)
    @rule()
    def look(self) -> None:
        """Looking changes nothing."""
        self.site.observed()

    def teardown(self) -> None:
        """The folder goes."""
        self.site.close()


def scratch_folder(asked: Path | None) -> Path | None:
    """Where folders for tests are made: as asked, in memory, or None for the default place."""
    if asked is not None:
        return asked
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES_MIN:
        return _MEMORY
    return None
