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
    ("tree: upgrade", "kill"): 12,
    ("link: upgrade", "kill"): 12,
    ("tree: upgrade", "EIO"): 7,
    ("link: upgrade", "EIO"): 7,
    ("tree: upgrade", "torn"): 3,
    ("tree: upgrade", "disk full"): 3,
    ("link: upgrade", "disk full"): 3,
    ("tree: upgrade by hard links", "kill"): 4,
    ("tree: first install", "kill"): 3,
    ("link: first install", "kill"): 3,
    ("tree: unhealthy upgrade", "kill"): 4,
    ("link: unhealthy upgrade", "kill"): 4,
    ("tree: removal", "kill"): 3,
    ("link: removal", "kill"): 3,
    ("tree: rollback", "kill"): 4,
    ("link: rollback", "kill"): 4,
    ("tree: rollback", "EIO"): 3,
    ("tree: gc", "kill"): 3,
    ("link: gc", "kill"): 3,
    ("tree: resume", "kill"): 3,
    ("link: resume", "kill"): 3,
    ("adopt tree to tree", "kill"): 7,
    ("adopt tree to link", "kill"): 8,
    ("adopt link to link", "kill"): 4,
    ("adopt tree to link", "EIO"): 6,
    ("adopt tree to link", "disk full"): 3,
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
