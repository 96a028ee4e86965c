"""How far a step has come: told to who waits, here and over the socket, and never too often."""

from __future__ import annotations

from pathlib import Path

import pytest

from noodle_engine import Noodle
from noodle_engine.api import Waiting
from noodle_engine.cli.show.pace import Pace
from noodle_engine.execute.driving import TOLD_A_SECOND_MAX, Telling
from noodle_engine.execute.recording import StepProgress

SIZE, SMALLER = 48 << 20, 4 << 20


@pytest.fixture
def home(tmp_path: Path) -> Path:
    release = tmp_path / "release"
    release.mkdir()
    (release / "payload").write_bytes(b"x" * SIZE)
    (release / "noodle.toml").write_text(
        f'format = 1\n[component]\nname = "web"\nversion = "1.0.0"\nkind = "file"\n'
        f'[payload]\npath = "payload"\n[target]\npath = "{tmp_path / "live"}"\n'
    )
    Noodle.init(tmp_path / "home")
    with Noodle.open(tmp_path / "home") as noodle:
        noodle.add(release)
    return tmp_path / "home"


def check(seen: list[StepProgress], upgrade: str, size: int = SIZE) -> None:
    assert {(one.upgrade, one.step) for one in seen} == {(upgrade, "stage:web")}
    done = [one.done_bytes for one in seen]
    assert done == sorted(done)
    assert all(0 < one.done_bytes <= one.total_bytes for one in seen)
    assert seen[-1].done_bytes == seen[-1].total_bytes >= size


def test_progress_reaches_who_waits_here(home: Path) -> None:
    seen: list[StepProgress] = []
    with Noodle.open(home) as noodle:
        view = noodle.apply(["web@1.0.0"], waiting=Waiting(progress=seen.append))
    assert view is not None
    check(seen, view.upgrade)


def test_progress_reaches_who_asks_by_the_socket(home: Path) -> None:
    seen: list[StepProgress] = []
    with Noodle.open(home) as holder, Noodle.open(home) as client:
        assert holder._hold() is not None
        view = client.apply(["web@1.0.0"], waiting=Waiting(progress=seen.append))
    assert view is not None
    check(seen, view.upgrade)


@pytest.mark.parametrize("layout", ["", "tree", "link"])
def test_going_back_tells_how_far_it_has_read_what_it_goes_back_to(
    tmp_path: Path, layout: str
) -> None:
    """What was kept is read wholly before it is put in place; that is what lasts."""
    with Noodle.open(_with_two_versions(tmp_path, layout)) as noodle:
        seen: list[StepProgress] = []
        view = noodle.rollback("web", waiting=Waiting(progress=seen.append))
    assert view.state.value == "committed"
    check(seen, view.upgrade, SMALLER)


def _with_two_versions(folder: Path, layout: str) -> Path:
    """A home that has gone from a large version to a small one; no layout: of a file."""
    Noodle.init(folder / "home")
    with Noodle.open(folder / "home") as noodle:
        for version, size in (("1.0.0", SMALLER), ("2.0.0", 10)):
            payload = folder / version / "payload"
            (payload if layout else payload.parent).mkdir(parents=True)
            (payload / "large" if layout else payload).write_bytes(b"x" * size)
            (folder / version / "noodle.toml").write_text(
                f'format = 1\n[component]\nname = "web"\nversion = "{version}"\n'
                f'kind = "{"directory" if layout else "file"}"\n[payload]\npath = "payload"\n'
                f'[target]\npath = "{folder / "live"}"\n'
                + (f'layout = "{layout}"\n' if layout else "")
            )
            noodle.add(folder / version)
            noodle.apply([f"web@{version}"])
    return folder / "home"


def test_a_listener_that_fails_or_is_none_is_no_matter_to_who_asked_for_nothing(home: Path) -> None:
    with Noodle.open(home) as holder, Noodle.open(home) as client:
        assert holder._hold() is not None
        view = client.apply(["web@1.0.0"])
    assert view is not None
    assert view.state.value == "committed"


def test_it_is_told_a_few_times_a_second_and_at_the_end() -> None:
    told: list[StepProgress] = []
    clock = iter(number / 100 for number in range(1_000))
    telling = Telling(told.append, "01U", lambda: next(clock))
    for done in range(1, 1_000):
        telling("stage:web", done, 1_000)
    assert len(told) == pytest.approx(10 * TOLD_A_SECOND_MAX, abs=3)
    telling("stage:web", 1_000, 1_000)
    assert told[-1] == StepProgress("01U", "stage:web", 1_000, 1_000)


def test_pace_and_rest_are_of_the_last_seconds() -> None:
    now = 0.0

    def clock() -> float:
        return now

    pace = Pace(clock)
    assert pace.words("stage", 0, 100 << 20) == "0 bytes of 100.0 MiB"
    words = ""
    for second in range(1, 11):
        now = float(second)
        words = pace.words("stage", second << 20, 100 << 20)
    assert words == "10.0 MiB of 100.0 MiB, 1.0 MiB/s, 1 min 30 s left"
    for second in range(11, 21):  # ten times as fast from now on
        now = float(second)
        words = pace.words("stage", (10 + (second - 10) * 9) << 20, 100 << 20)
    assert words == "100.0 MiB of 100.0 MiB, 9.0 MiB/s, 1 s left"
    now = 30.0
    assert pace.words("other", 1, 2) == "1 bytes of 2 bytes"
