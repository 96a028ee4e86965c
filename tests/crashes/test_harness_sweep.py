"""The harness proved on the stand-in: right orders always pass, each mistake is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from tests.crashes.harness.run import Bench, Command
from tests.crashes.harness.shim import (
    DISK_FULL,
    EIO,
    ENOSPC,
    KILL,
    KILL_AFTER,
    SHORT,
    TORN,
    Strike,
)
from tests.crashes.harness.sweep import Sample, SweepFailed, sweep
from tests.crashes.standin_scenario import Upgrading

Report = Callable[[object], None]


@pytest.mark.parametrize(
    "strike",
    [KILL, KILL_AFTER, TORN, SHORT, EIO, ENOSPC, DISK_FULL],
    ids=["kill", "kill after", "torn", "short", "EIO", "ENOSPC", "disk full"],
)
def test_the_right_order_survives_every_strike(
    strike: Strike, bench: Bench, work: Path, report_counts: Report
) -> None:
    counts = sweep(Upgrading(bench), strike, Sample(points=15), bench=bench, folder=work)
    report_counts(counts)
    assert counts.landed == counts.chosen >= 8
    assert (counts.missed, counts.moved) == (0, 0)
    assert counts.pairs_landed == counts.pairs_recorded


@pytest.mark.parametrize(
    ("order", "strike", "words"),
    [
        ("in_place", KILL, "mixed"),
        ("remove_first", KILL, "missing"),
        ("early_done", KILL, "recorded as done, and old"),
        ("one_write", SHORT, "mixed"),
        ("ignores_errors", EIO, "mixed"),
        ("ignores_errors", ENOSPC, "mixed"),
    ],
)
def test_each_mistake_is_caught(
    order: str, strike: Strike, words: str, bench: Bench, work: Path
) -> None:
    scenario = Upgrading(bench, order=order)
    with pytest.raises(SweepFailed, match=words):
        sweep(scenario, strike, Sample(200), bench=bench, folder=work, failures_max=1)


def test_a_failure_names_scenario_strike_seed_and_point(bench: Bench, work: Path) -> None:
    with pytest.raises(SweepFailed) as caught:
        sweep(
            Upgrading(bench, "remove_first"),
            KILL,
            Sample(seed=7),
            bench=bench,
            folder=work,
            failures_max=1,
        )
    for part in ("stand-in remove_first", "kill", "seed 7", "#", "staged+target"):
        assert part in str(caught.value)


def test_two_workers_strike_as_many_points_as_one(bench: Bench, work: Path) -> None:
    sample = Sample(points=13)
    one = sweep(Upgrading(bench), KILL, sample, bench=bench, folder=work / "1")
    two = sweep(Upgrading(bench), KILL, sample, bench=bench, folder=work / "2", workers=2)
    assert one == two


def test_a_point_that_is_never_reached_counts_as_missed(bench: Bench, work: Path) -> None:
    marker = work.with_name("first run is over")

    class Shrinking(Upgrading):
        """Has nothing left to do after the recording: its points are gone."""

        @override
        def check(self, folder: Path) -> None:
            marker.touch()

        @override
        def prepare(self, folder: Path) -> Command:
            command = super().prepare(folder)
            return replace(command, environment=(("STANDIN_MARKER", str(marker)),))

    counts = sweep(Shrinking(bench, "stops_at_marker"), KILL, Sample(4), bench=bench, folder=work)
    assert (counts.landed, counts.missed) == (0, counts.chosen)
