"""The way back of a plan of several components, where a hook's undo fails;
and back to what somebody changed right before it was kept."""

from __future__ import annotations

from pathlib import Path

from noodle_engine import Noodle
from noodle_engine.execute.driving import Control, Driving
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.machine.plan import StepName
from noodle_engine.machine.states import OnCrash
from tests.unit.execute.site import Driven, Site


def release(folder: Path, name: str, version: str, more: str = "") -> Path:
    made = folder / "releases" / f"{name}-{version}"
    made.mkdir(parents=True)
    (made / "payload").write_text(f"{name} {version}")
    (made / "noodle.toml").write_text(
        f'format = 1\n[component]\nname = "{name}"\nversion = "{version}"\nkind = "file"\n'
        f'[payload]\npath = "payload"\n[target]\npath = "{folder / "srv" / name}"\n{more}'
    )
    return made


def test_a_hook_whose_undo_fails_leaves_no_component_new(tmp_path: Path) -> None:
    """Decision 0005: every exchange is taken back before any hook's undo."""
    (tmp_path / "srv").mkdir()
    stubborn = '[[hooks]]\nat = "after-swap"\ncommand = ["true"]\nundo = ["false"]\n'
    sick = f'[[health]]\nfile = "{tmp_path}/never"\npasses = 1\ninterval = 0.01\nwithin = 0.02\n'
    Noodle.init(tmp_path / "home")
    with Noodle.open(tmp_path / "home") as noodle:
        for name in ("api", "web"):
            noodle.add(release(tmp_path, name, "1.0.0"))
        noodle.add(release(tmp_path, "api", "2.0.0"))
        noodle.add(release(tmp_path, "web", "2.0.0", stubborn + sick))
        noodle.apply(["api@1.0.0", "web@1.0.0"])
        view = noodle.apply(["api@2.0.0", "web@2.0.0"])
    assert view is not None
    assert view.hold is not None
    assert view.step is not None
    assert "after-swap:web" in view.step.id
    for name in ("api", "web"):
        assert (tmp_path / "srv" / name).read_text() == f"{name} 1.0.0"


def test_what_was_changed_right_before_it_was_kept_is_told_before_it_comes_back(
    site: Site,
) -> None:
    """After the last look at it: it is kept as it is, and is not what the version was."""
    for version in ("1.0.0", "2.0.0"):
        site.release("web", version)
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    driven = Driven.open(site)
    engine = driven.engine
    upgrade = new_upgrade_id(1, bytes(16))
    engine.request(
        driven.plan("web@2.0.0"),
        upgrade=upgrade,
        actor="test",
        settings={},
        settings_hash="",
        on_crash=OnCrash.FORWARD,
    )
    driving = Driving(engine, upgrade, "test", Control())
    action = driving.begin(resumed=False)
    while action is not None:
        if action.step.name is StepName.POINT:
            (site.folder / "srv" / f".web.next-{upgrade}").write_text("a stranger's")
        action = driving.record(driving.perform(action))
    driving.close()
    plan = driven.planner().back("web").plan
    assert plan is not None
    assert any("somebody changed it" in notice for notice in plan.notices)
    engine.close()
    with site.open() as noodle:
        noodle.rollback("web")
    assert site.target("web").read_text() == "a stranger's"
