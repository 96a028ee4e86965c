"""The power cut under a directory's upgrade: a disk that loses what was not flushed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.breadth import BREADTH, Breadth
from tests.crashes.harness.power import FileSystem, power_sweep
from tests.crashes.harness.run import Bench
from tests.crashes.harness.sweep import Sample
from tests.crashes.test_harness_power import need
from tests.crashes.tree_scenarios import tree_scenarios

WIDE: Final = {
    ("tree: upgrade", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
    ("link: upgrade", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
    ("link: upgrade", FileSystem.BTRFS): 2,
    ("tree: first install", FileSystem.XFS): 2,
    ("tree: rollback", FileSystem.EXT4): 2,
    ("adopt tree to link", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
    ("tree: upgrade, data inside", FileSystem.EXT4_WITHOUT_JOURNAL): 6,
    ("tree: rollback, data inside", FileSystem.EXT4_WITHOUT_JOURNAL): 6,
    ("link: rollback, data inside", FileSystem.XFS): 3,
}
"""At how many points the power is cut. It loses most on ext4 without a journal."""
SMALL: Final = {
    ("tree: upgrade", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
    ("link: upgrade", FileSystem.BTRFS): 2,
    ("adopt tree to link", FileSystem.EXT4_WITHOUT_JOURNAL): 2,
}
"""What `make test` has time for."""


def cuts() -> dict[tuple[str, FileSystem], int]:
    """What is cut in this run: under TEST_SWEEP=full every scenario on every file system."""
    if BREADTH is Breadth.SMALL:
        return SMALL
    if BREADTH is Breadth.WIDE:
        return WIDE
    every = tree_scenarios(Bench(Path(), Path()))
    return {(name, kind): 0 for name in every for kind in FileSystem}


CUTS: Final = cuts()


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize(
    ("scenario", "file_system"), CUTS, ids=[f"{one}-{kind}" for one, kind in CUTS]
)
def test_a_power_cut_anywhere_leaves_one_tree_whole_and_is_resumed(
    scenario: str,
    file_system: FileSystem,
    bench: Bench,
    work: Path,
    report_counts: Callable[[object], None],
) -> None:
    need(file_system)
    points = CUTS[scenario, file_system]
    seed = list(CUTS).index((scenario, file_system))
    sample = Sample(points, seed=seed, every_pair=False)
    with tree_scenarios(bench)[scenario] as made:
        counts = power_sweep(made, file_system, sample, bench=bench, folder=work)
    report_counts(counts)
    assert counts.missed == 0
    assert counts.cuts > points
    assert counts.booted == 3 * counts.cuts
