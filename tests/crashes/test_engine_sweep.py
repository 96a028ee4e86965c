"""The real engine struck at its calls: old or new, explained, and resumed to an end.

A small run strikes an eighth of the points below; TEST_SWEEP=wide strikes them all,
TEST_SWEEP=full every point of every scenario. The numbers are printed at the end of
the whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.breadth import BREADTH, Breadth, sampled
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
from tests.crashes.harness.sweep import Sample, Sweep
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
PAIRS_MANY: Final = 32
"""About as many pairs as a run has; a small run takes its part of them."""
POINTS: Final[Mapping[str, Mapping[str, int]]] = {
    "upgrade": {
        "kill": 40,
        "kill after": 16,
        "torn": 12,
        "short": 8,
        "EIO": EACH_PAIR,
        "ENOSPC": 12,
        "disk full": 24,
    },
    "first install": {"kill": EACH_PAIR, "EIO": 12, "disk full": 8},
    "unhealthy upgrade": {"kill": 24, "EIO": 12, "disk full": 8},
    "unhealthy upgrade with hooks": {"kill": 24, "EIO": 12},
    "removal": {"kill": 24, "EIO": 12, "disk full": 8},
    "rollback": {"kill": EACH_PAIR, "EIO": 12, "disk full": 8},
    "resume": {"kill": 24, "EIO": 12, "disk full": 8},
    "abort": {"kill": 24, "EIO": 12, "disk full": 8},
    "resume of an abort": {"kill": 24, "EIO": 12},
    "upgrade whose resume is killed": {"kill": 16},
    "unhealthy upgrade whose resume is killed": {"kill": 16},
    "gc": {"kill": 16, "EIO": 8},
    "init": {"kill": 24, "torn": 6, "EIO": 24, "disk full": 8},
    "component add": {"kill": 16, "EIO": 8},
    "gc that shreds": {"kill": EACH_PAIR, "EIO": 12, "disk full": 8},
    "journal compact": {"kill": 16, "EIO": 8, "disk full": 8},
    "key rewrap": {"kill": EACH_PAIR, "torn": 6, "EIO": EACH_PAIR, "disk full": 8},
    "key rotate": {"kill": EACH_PAIR, "EIO": 12, "disk full": 8},
    "component add of a tree": {
        "kill": 24,
        "kill after": 12,
        "short": 6,
        "EIO": 12,
        "disk full": 12,
    },
}
"""How many points of each scenario a wide run strikes with each strike."""
"""Where each pair is struck in small runs too."""
POINTS_MIN: Final = 500


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("scenario", POINTS)
def test_a_strike_anywhere_leaves_old_or_new_and_is_resumed(
    scenario: str, bench: Bench, work: Path, report_counts: Report
) -> None:
    with (
        scenarios(bench)[scenario] as made,
        Sweep(made, bench=bench, folder=work) as prepared,
    ):
        for seed, (strike, wide) in enumerate(POINTS[scenario].items()):
            pairs = wide == EACH_PAIR and BREADTH is not Breadth.SMALL
            points = wide if pairs else sampled(wide or PAIRS_MANY)
            before = made.struck_again if isinstance(made, Engine) else 0
            counts = prepared.strike(STRIKES[strike], Sample(points, seed=seed, every_pair=pairs))
            report_counts(counts)
            assert counts.landed == counts.chosen >= points
            assert counts.missed == 0
            if pairs:
                assert counts.pairs_landed == counts.pairs_recorded
            if isinstance(made, Engine) and made.again is not None:
                assert made.struck_again - before >= counts.landed / 2


def test_a_wide_sample_is_large_enough() -> None:
    assert sum(sum(strikes.values()) for strikes in POINTS.values()) >= POINTS_MIN


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
