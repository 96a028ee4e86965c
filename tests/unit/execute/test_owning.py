"""Whose a target is: two homes, and what a refusal, a takeover and a rescue leave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from noodle_engine import Noodle
from noodle_engine.machine.states import State
from noodle_engine.targets.failures import TargetOwned


def release(folder: Path, version: str, hooks: str = "") -> Path:
    made = folder / "releases" / version
    made.mkdir(parents=True)
    (made / "payload").write_text(f"web {version}")
    (made / "noodle.toml").write_text(
        f'format = 1\n[component]\nname = "web"\nversion = "{version}"\nkind = "file"\n'
        f'[payload]\npath = "payload"\n[target]\npath = "{folder / "srv" / "web"}"\n{hooks}'
    )
    return made


def home(folder: Path, name: str, *releases: Path) -> Path:
    Noodle.init(folder / name)
    with Noodle.open(folder / name) as noodle:
        for one in releases:
            noodle.add(one)
    return folder / name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "srv").mkdir()
    return tmp_path


def mark(folder: Path) -> str:
    return (folder / "srv" / ".noodle" / "web" / "owner").read_text()


def test_a_takeover_that_is_refused_takes_nothing(folder: Path) -> None:
    old = release(folder, "1.0.0")
    first = home(folder, "first", old)
    with Noodle.open(first) as noodle:
        noodle.apply(["web@1.0.0"])
    owner = mark(folder)
    second = home(folder, "second", release(folder, "2.0.0"))
    with Noodle.open(second) as noodle:
        plan = noodle.plan(["web@2.0.0"], take_over=True).plan
        assert plan is not None
        payload = second / "runtime_components" / "web" / "2.0.0" / "payload"
        payload.chmod(0o644)
        payload.write_text("changed since it was registered")
        view = noodle.apply(plan, take_over=True)
    assert view is not None
    assert view.state is State.ROLLED_BACK
    assert mark(folder) == owner
    with Noodle.open(first) as noodle:
        noodle.verify()
        noodle.apply(["web@1.0.0"])


def test_an_upgrade_whose_target_was_taken_over_can_still_be_ended(folder: Path) -> None:
    killing = f'[[hooks]]\nat = "after-swap"\ncommand = ["{folder / "kill"}"]\n'
    (folder / "kill").write_text(
        f"#!/bin/sh\n[ -e {folder}/pid ] && kill -9 $(cat {folder}/pid)\nexit 0\n"
    )
    (folder / "kill").chmod(0o755)
    first = home(folder, "first", release(folder, "1.0.0"), release(folder, "1.1.0", killing))
    with Noodle.open(first) as noodle:
        noodle.apply(["web@1.0.0"])
    words = ["-m", "noodle_engine.cli", "--home", str(first), "apply", "web@1.1.0", "--yes"]
    killed = subprocess.run(
        ["sh", "-c", 'echo $$ > "$0"; exec "$@"', f"{folder}/pid", sys.executable, *words],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9, killed
    (folder / "pid").unlink()
    second = home(folder, "second", release(folder, "2.0.0"))
    with Noodle.open(second) as noodle:
        view = noodle.apply(["web@2.0.0"], take_over=True)
        assert view is not None
        assert view.state is State.COMMITTED

    with Noodle.open(first) as noodle:
        (opened,) = noodle.status().open
        with pytest.raises(TargetOwned):
            noodle.resume(opened.upgrade)
        (held,) = noodle.resume(opened.upgrade, take_over=True)
        assert held.hold is not None  # what is there is the other home's
        assert (folder / "srv" / "web").read_text() == "web 2.0.0"


def test_a_rescue_marks_nothing_and_makes_nothing_for_no_candidate(folder: Path) -> None:
    (folder / "srv" / "web").write_text("by hand")
    words = [sys.executable, "-m", "noodle_engine.cli", "rescue", str(folder / "srv" / "web")]
    refused = subprocess.run(
        [*words, "--with", str(folder / "nothing"), "--yes"],
        capture_output=True,
        check=False,
    )
    assert refused.returncode == 3, refused
    assert [path.name for path in (folder / "srv").iterdir()] == ["web"]
