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
    ("tree: upgrade", "kill"): 20,
    ("link: upgrade", "kill"): 20,
    ("tree: upgrade", "EIO"): 12,
    ("link: upgrade", "EIO"): 12,
    ("tree: upgrade", "torn"): 4,
    ("tree: upgrade", "disk full"): 6,
    ("link: upgrade", "disk full"): 6,
    ("tree: upgrade by hard links", "kill"): 8,
    ("tree: first install", "kill"): 6,
    ("link: first install", "kill"): 6,
    ("tree: unhealthy upgrade", "kill"): 8,
    ("link: unhealthy upgrade", "kill"): 8,
    ("tree: removal", "kill"): 5,
    ("link: removal", "kill"): 5,
    ("tree: rollback", "kill"): 8,
    ("link: rollback", "kill"): 8,
    ("tree: rollback", "EIO"): 6,
    ("tree: gc", "kill"): 6,
    ("link: gc", "kill"): 6,
    ("tree: resume", "kill"): 6,
    ("link: resume", "kill"): 6,
    ("adopt tree to tree", "kill"): 12,
    ("adopt tree to link", "kill"): 14,
    ("adopt link to link", "kill"): 8,
    ("adopt tree to link", "EIO"): 10,
    ("adopt tree to link", "disk full"): 6,
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
