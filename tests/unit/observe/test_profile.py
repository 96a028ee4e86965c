"""F1: where an upgrade's time went, for who asked for it."""

from __future__ import annotations

import threading
from pathlib import Path

from noodle_engine.observe.diagnosis.profile import (
    PROFILES_MAX,
    STACKS_MAX,
    Samples,
    keep_newest,
    profiled,
)
from tests.unit.execute.site import Site, hook
from tests.unit.observe.reading import settings, upgrade


def test_an_upgrade_leaves_a_profile_where_it_is_wanted(site: Site) -> None:
    """debug.performance_profiling"""
    done, path = "", site.path
    for version, wanted in (("1.0.0", False), ("1.1.0", True)):
        site.release("web", version, hook("after-swap", ["sleep", "0.1"]))
        settings(site, {"debug.performance_profiling": wanted})
        done = upgrade(site, f"web@{version}")
        path = site.path / "diagnostics" / f"profile-{done}.txt"
        assert path.exists() is wanted
    text = path.read_text()
    assert f"upgrade {done}" in text
    assert "Performer.do (actions.py)" in text  # what it was in
    assert "run_child (children.py)" in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_calling_thread_is_what_is_looked_at(tmp_path: Path) -> None:
    def waits_here(gate: threading.Event) -> None:
        gate.wait(0.1)

    with profiled("one", tmp_path) as samples:
        waits_here(threading.Event())
    assert samples.count > 2
    assert all(
        "waits_here" in " ".join(stack) or count < 3 for stack, count in samples.stacks.items()
    )


def test_a_profile_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    with profiled("one", tmp_path / "absent"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_old_profiles_go(tmp_path: Path) -> None:
    for number in range(PROFILES_MAX + 3):
        (tmp_path / f"profile-{number:04d}.txt").touch()
    (tmp_path / "other.txt").touch()
    keep_newest(tmp_path, "profile-*.txt", PROFILES_MAX)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == PROFILES_MAX + 1
    assert left[:2] == ["other.txt", "profile-0003.txt"]


def test_stacks_without_end_are_bounded() -> None:
    samples = Samples()
    samples.stacks.update({(str(number),): 1 for number in range(STACKS_MAX)})
    samples.add(None)
    assert samples.count == 1
    assert len(samples.stacks) == STACKS_MAX
