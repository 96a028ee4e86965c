"""The real engine struck at its calls: old or new, explained, and resumed to an end.

Each test strikes at least its number of points, those of EACH_PAIR every call x
file class of their run; TEST_SWEEP=full takes all points of every scenario. The
numbers are printed at the end of the whole run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import require_system
from tests.crashes.engine_scenarios import Engine, scenarios
from tests.crashes.harness.run import Bench
from tests.crashes.harness.shim import (
    DISK_FULL,
    EIO,
    ENOSPC,
    KILL,
    KILL_AFTER,
    SHORT,
    TORN,
)
from tests.crashes.harness.snapshot import Snapshot
from tests.crashes.harness.sweep import Sample, sweep
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
EACH_PAIR: Final = 0
"""As many points as the run has pairs of call and file class, each pair once."""
POINTS: Final = {
    ("upgrade", "kill"): 40,
    ("upgrade", "kill after"): 16,
    ("upgrade", "torn"): 12,
    ("upgrade", "short"): 8,
    ("upgrade", "EIO"): EACH_PAIR,
    ("upgrade", "ENOSPC"): 12,
    ("upgrade", "disk full"): 24,
    ("first install", "kill"): EACH_PAIR,
    ("first install", "EIO"): 12,
    ("first install", "disk full"): 8,
    ("unhealthy upgrade", "kill"): 24,
    ("unhealthy upgrade", "EIO"): 12,
    ("unhealthy upgrade", "disk full"): 8,
    ("unhealthy upgrade with hooks", "kill"): 24,
    ("unhealthy upgrade with hooks", "EIO"): 12,
    ("removal", "kill"): 24,
    ("removal", "EIO"): 12,
    ("removal", "disk full"): 8,
    ("rollback", "kill"): EACH_PAIR,
    ("rollback", "EIO"): 12,
    ("rollback", "disk full"): 8,
    ("resume", "kill"): 24,
    ("resume", "EIO"): 12,
    ("resume", "disk full"): 8,
    ("abort", "kill"): 24,
    ("abort", "EIO"): 12,
    ("abort", "disk full"): 8,
    ("resume of an abort", "kill"): 24,
    ("resume of an abort", "EIO"): 12,
    ("upgrade whose resume is killed", "kill"): 16,
    ("unhealthy upgrade whose resume is killed", "kill"): 16,
    ("gc", "kill"): 16,
    ("gc", "EIO"): 8,
    ("init", "kill"): 24,
    ("init", "torn"): 6,
    ("init", "EIO"): 24,
    ("init", "disk full"): 8,
    ("component add", "kill"): 16,
    ("component add", "EIO"): 8,
    ("component add of a tree", "kill"): 24,
    ("component add of a tree", "kill after"): 12,
    ("component add of a tree", "short"): 6,
    ("component add of a tree", "EIO"): 12,
    ("component add of a tree", "disk full"): 12,
}
"""How many points are struck, of each scenario with each strike."""
POINTS_MIN: Final = 200


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize(
    ("scenario", "strike"), POINTS, ids=[f"{one}-{strike}" for one, strike in POINTS]
)
def test_a_strike_anywhere_leaves_old_or_new_and_is_resumed(
    scenario: str, strike: str, bench: Bench, work: Path, report_counts: Report
) -> None:
    points = POINTS[scenario, strike]
    pairs = points == EACH_PAIR or (scenario, strike) == ("upgrade", "kill")
    sample = Sample(points, seed=list(POINTS).index((scenario, strike)), every_pair=pairs)
    with scenarios(bench)[scenario] as made:
        counts = sweep(made, STRIKES[strike], sample, bench=bench, folder=work)
    report_counts(counts)
    assert counts.landed == counts.chosen >= points
    assert counts.missed == 0
    if pairs:
        assert counts.pairs_landed == counts.pairs_recorded
    if isinstance(made, Engine) and made.again is not None:
        assert made.struck_again > counts.landed / 2


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
