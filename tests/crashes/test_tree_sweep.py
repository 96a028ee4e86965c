"""The real engine struck at its calls while it upgrades a directory, in both layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.breadth import BREADTH, Breadth, sampled
from tests.crashes.harness.run import Bench
from tests.crashes.harness.sweep import Sample, Sweep
from tests.crashes.test_engine_sweep import STRIKES
from tests.crashes.tree_repair import repairs
from tests.crashes.tree_scenarios import tree_scenarios

Report = Callable[[object], None]

POINTS: Final[Mapping[str, Mapping[str, int]]] = {
    "tree: upgrade": {"kill": 12, "EIO": 7, "torn": 3, "disk full": 3},
    "link: upgrade": {"kill": 12, "EIO": 7, "disk full": 3},
    "tree: upgrade by hard links": {"kill": 4},
    "tree: first install": {"kill": 3},
    "link: first install": {"kill": 3},
    "tree: unhealthy upgrade": {"kill": 4},
    "link: unhealthy upgrade": {"kill": 4},
    "tree: removal": {"kill": 3},
    "link: removal": {"kill": 3},
    "tree: rollback": {"kill": 4, "EIO": 3},
    "link: rollback": {"kill": 4},
    "tree: repair": {"kill": 6, "EIO": 4, "disk full": 3},
    "link: repair": {"kill": 6, "EIO": 4},
    "tree: gc": {"kill": 3},
    "link: gc": {"kill": 3},
    "tree: resume": {"kill": 3},
    "link: resume": {"kill": 3},
    "adopt tree to tree": {"kill": 7},
    "adopt tree to link": {"kill": 8, "EIO": 6, "disk full": 3},
    "adopt link to link": {"kill": 4},
    "tree: upgrade, data inside": {"kill": 24, "EIO": 8, "disk full": 6},
    "link: upgrade, data inside": {"kill": 12, "EIO": 4},
    "tree: unhealthy upgrade, data inside": {"kill": 24, "EIO": 8},
    "link: unhealthy upgrade, data inside": {"kill": 12},
    "tree: rollback, data inside": {"kill": 24, "EIO": 8, "disk full": 6},
    "link: rollback, data inside": {"kill": 12, "EIO": 4},
    "tree: resume, data inside": {"kill": 12},
}
"""How many points of each scenario a wide run strikes with each strike; see `sampled`."""
NOT_SMALL: Final = frozenset(
    {
        "link: upgrade, data inside",
        "link: unhealthy upgrade, data inside",
        "link: rollback, data inside",
        "tree: resume, data inside",
        "tree: repair",
        "link: repair",
    }
)
"""What a small run leaves out: the same steps as its like, in another layout or a repair."""


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize(
    "scenario", [one for one in POINTS if BREADTH is not Breadth.SMALL or one not in NOT_SMALL]
)
def test_a_strike_anywhere_leaves_one_tree_whole_and_is_resumed(
    scenario: str, bench: Bench, work: Path, report_counts: Report
) -> None:
    with (
        (tree_scenarios(bench) | repairs(bench))[scenario] as made,
        Sweep(made, bench=bench, folder=work) as prepared,
    ):
        for seed, (strike, wide) in enumerate(POINTS[scenario].items()):
            points = sampled(wide)
            counts = prepared.strike(STRIKES[strike], Sample(points, seed=seed, every_pair=False))
            report_counts(counts)
            assert counts.landed == counts.chosen >= points
            assert counts.missed == 0
