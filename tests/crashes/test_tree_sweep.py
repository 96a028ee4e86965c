"""The real engine struck at its calls while it upgrades a directory, in both layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.crashes.harness.run import Bench
from tests.crashes.harness.sweep import Sample, sweep
from tests.crashes.test_engine_sweep import EACH_PAIR, STRIKES
from tests.crashes.tree_scenarios import tree_scenarios

Report = Callable[[object], None]

POINTS: Final = {
    ("tree: upgrade", "kill"): 30,
    ("link: upgrade", "kill"): 30,
    ("tree: upgrade", "EIO"): 20,
    ("link: upgrade", "EIO"): 20,
    ("tree: upgrade", "torn"): 6,
    ("tree: upgrade", "disk full"): 12,
    ("link: upgrade", "disk full"): 12,
    ("tree: upgrade by hard links", "kill"): 16,
    ("tree: first install", "kill"): 12,
    ("link: first install", "kill"): 12,
    ("tree: unhealthy upgrade", "kill"): 12,
    ("link: unhealthy upgrade", "kill"): 12,
    ("tree: removal", "kill"): 8,
    ("link: removal", "kill"): 8,
    ("tree: rollback", "kill"): 12,
    ("link: rollback", "kill"): 12,
    ("tree: rollback", "EIO"): 8,
    ("tree: gc", "kill"): 12,
    ("link: gc", "kill"): 12,
    ("tree: resume", "kill"): 8,
    ("link: resume", "kill"): 8,
    ("adopt tree to tree", "kill"): 24,
    ("adopt tree to link", "kill"): 24,
    ("adopt link to link", "kill"): 16,
    ("adopt tree to link", "EIO"): 16,
    ("adopt tree to link", "disk full"): 8,
}
"""How many points are struck, of each scenario with each strike."""


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize(
    ("scenario", "strike"), POINTS, ids=[f"{one}-{strike}" for one, strike in POINTS]
)
def test_a_strike_anywhere_leaves_one_tree_whole_and_is_resumed(
    scenario: str, strike: str, bench: Bench, work: Path, report_counts: Report
) -> None:
    points = POINTS[scenario, strike]
    seed = list(POINTS).index((scenario, strike))
    sample = Sample(points, seed=seed, every_pair=points == EACH_PAIR)
    with tree_scenarios(bench)[scenario] as made:
        counts = sweep(made, STRIKES[strike], sample, bench=bench, folder=work)
    report_counts(counts)
    assert counts.landed == counts.chosen >= points
    assert counts.missed == 0
