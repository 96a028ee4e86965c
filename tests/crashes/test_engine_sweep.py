"""The real engine struck at its calls: old or new, explained, and resumed to an end.

Each test strikes at least its number of points, and each call x file class of
its run at least once; the numbers are printed at the end of the whole run.
`TEST_SWEEP=full` takes every point.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import require_system
from tests.crashes.engine_scenarios import Initialising, scenarios
from tests.crashes.harness.run import Bench
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
from tests.crashes.harness.snapshot import Snapshot
from tests.crashes.harness.sweep import Sample, SweepCounts, sweep
from tests.crashes.harness.trace import both_counts

Report = Callable[[object], None]

STRIKES: Final = {
    "kill": KILL,
    "kill after": KILL_AFTER,
    "torn": TORN,
    "short": SHORT,
    "EIO": EIO,
    "ENOSPC": ENOSPC,
    "disk full": DISK_FULL,
}
POINTS: Final = {
    ("upgrade", "kill"): 60,
    ("upgrade", "kill after"): 40,
    ("upgrade", "torn"): 12,
    ("upgrade", "short"): 8,
    ("upgrade", "EIO"): 40,
    ("upgrade", "ENOSPC"): 26,
    ("upgrade", "disk full"): 26,
    ("first install", "kill"): 40,
    ("unhealthy upgrade", "kill"): 40,
    ("unhealthy upgrade", "EIO"): 40,
    ("unhealthy upgrade with hooks", "kill"): 40,
    ("upgrade with hooks", "EIO"): 40,
    ("resume of an abort", "kill"): 20,
    ("removal", "kill"): 24,
    ("rollback", "kill"): 24,
    ("rollback", "disk full"): 16,
    ("resume", "kill"): 24,
    ("resume", "EIO"): 24,
    ("abort", "kill"): 20,
    ("abort", "disk full"): 12,
    ("gc", "kill"): 16,
    ("gc", "EIO"): 16,
    ("init", "kill"): 24,
    ("init", "EIO"): 24,
}
"""How many points are struck, of each scenario with each strike; more where pairs are more."""
POINTS_MIN: Final = 200


def _judge(counts: SweepCounts, points: int) -> None:
    assert counts.landed == counts.chosen >= min(points, counts.applicable)
    assert counts.missed == 0
    assert counts.pairs_landed == counts.pairs_recorded


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize(
    ("scenario", "strike"), POINTS, ids=[f"{one}-{strike}" for one, strike in POINTS]
)
def test_a_strike_anywhere_leaves_old_or_new_and_is_resumed(
    scenario: str, strike: str, bench: Bench, work: Path, report_counts: Report
) -> None:
    points = POINTS[scenario, strike]
    chosen: Strike = STRIKES[strike]
    if scenario == "init":
        counts = sweep(Initialising(bench), chosen, Sample(points), bench=bench, folder=work)
    else:
        with scenarios(bench)[scenario] as made:
            counts = sweep(made, chosen, Sample(points), bench=bench, folder=work)
    report_counts(counts)
    _judge(counts, points)


def test_the_sample_is_large_enough() -> None:
    assert sum(POINTS.values()) >= POINTS_MIN


def test_strace_counts_what_the_shim_counts_in_a_real_upgrade(
    bench: Bench, work: Path, report_counts: Report
) -> None:
    require_system("strace", "strace")
    work.mkdir()
    with scenarios(bench)["upgrade"] as scenario:
        command = scenario.prepare(work)
        counts = both_counts(command, Snapshot.take(work), bench)
    assert counts.by_shim == counts.by_strace
    report_counts(f"upgrade: {counts.by_shim.total()} calls by the shim, as many by strace")
