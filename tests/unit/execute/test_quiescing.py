"""Who writes a tree is stopped for its exchange: as late as can be, and for no longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noodle_engine.execute.answers.reading import upgrade_view
from noodle_engine.execute.driving import Control, Driving
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.machine.decide import Action, Do
from noodle_engine.machine.plan import StepName
from noodle_engine.machine.states import HoldReason, OnCrash
from tests.unit.execute.site import Driven, Site

UPGRADE = new_upgrade_id(1, bytes(16))


class Written(Driven):
    """An upgrade of a tree with data inside, whose writers run while `writing` is there."""

    @property
    def writing(self) -> Path:
        return self.site.folder / "writing"

    def begin(self) -> Driving:
        """From 1.0.0, installed, to 2.0.0."""
        for version in ("1.0.0", "2.0.0"):
            folder = self.site.folder / "releases" / version
            (folder / "tree").mkdir(parents=True)
            (folder / "tree" / "app").write_text(version)
            (folder / "noodle.toml").write_text(
                f'format = 1\n[component]\nname = "web"\nversion = "{version}"\n'
                'kind = "directory"\n'
                f'[payload]\npath = "tree"\n[target]\npath = "{self.site.target("web")}"\n'
                f'layout = "tree"\nmutable = ["data/"]\nquiesce = ["rm", "{self.writing}"]\n'
                f'unquiesce = ["touch", "{self.writing}"]\n'
            )
            self.engine.releases.add(folder)
        self.go(self._driving("web@1.0.0", new_upgrade_id(0, bytes(16))))
        self.writing.touch()
        return self._driving("web@2.0.0", UPGRADE)

    def _driving(self, wanted: str, upgrade: str) -> Driving:
        self.engine.request(
            self.plan(wanted),
            upgrade=upgrade,
            actor="test",
            settings={},
            settings_hash="",
            on_crash=OnCrash.FORWARD,
        )
        return Driving(self.engine, upgrade, "test", Control())

    def go(self, driving: Driving, to: StepName | None = None) -> Action | None:
        """Drive it, until such a step is about to be done."""
        action = driving.begin(resumed=False)
        while action is not None and action.step.name is not to:
            action = driving.record(driving.perform(action))
        if to is None:
            driving.close()
        return action


@pytest.fixture
def written(site: Site) -> Iterator[Written]:
    driven = Written.open(site)
    assert isinstance(driven, Written)
    yield driven
    driven.engine.close()


def test_a_stranger_is_found_while_they_write(written: Written) -> None:
    driving = written.begin()
    action = written.go(driving, StepName.QUIESCE)
    assert action is not None
    (written.site.target("web") / "app").write_text("a stranger's")
    driving.record(driving.perform(action))
    driving.close()
    hold = written.engine.open_upgrade(UPGRADE).hold
    assert hold is not None
    assert hold.reason is HoldReason.FOREIGN
    assert written.writing.exists()


def test_nobody_leaves_while_they_stand_still(written: Written) -> None:
    """Ctrl-C while they are stopped ends it once they write again; it can be resumed."""
    driving = written.begin()
    action = written.go(driving, StepName.QUIESCE)
    driving._control.leave()
    done = []
    while action is not None:
        assert isinstance(action, Do)
        done.append(action.step.name)
        action = driving.record(driving.perform(action))
    driving.close()
    assert done == [StepName.QUIESCE, StepName.SWAP, StepName.UNQUIESCE]
    assert written.writing.exists()


def test_while_they_stand_still_its_answer_says_so(written: Written) -> None:
    driving = written.begin()
    action = written.go(driving, StepName.SWAP)
    engine = written.engine
    assert upgrade_view(engine.journal, engine.open_upgrade(UPGRADE)).writers_stopped == ("web",)
    while action is not None and action.step.name is not StepName.RECHECK:
        action = driving.record(driving.perform(action))
    assert upgrade_view(engine.journal, engine.open_upgrade(UPGRADE)).writers_stopped == ()
    driving.close()
