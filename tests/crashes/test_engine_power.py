"""The power cut under the real engine: a disk that loses what was not flushed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.breadth import BREADTH, Breadth
from tests.crashes.engine_scenarios import scenarios
from tests.crashes.harness.power import FileSystem, power_sweep
from tests.crashes.harness.run import Bench
from tests.crashes.harness.sweep import Sample
from tests.crashes.test_harness_power import need

WIDE: Final = {
    ("upgrade", FileSystem.EXT4): 3,
    ("upgrade", FileSystem.EXT4_WITHOUT_JOURNAL): 5,
    ("upgrade", FileSystem.XFS): 2,
    ("upgrade", FileSystem.BTRFS): 2,
    ("first install", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
    ("removal", FileSystem.EXT4): 3,
    ("rollback", FileSystem.EXT4_WITHOUT_JOURNAL): 4,
    ("abort", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
    ("init", FileSystem.EXT4_WITHOUT_JOURNAL): 4,
    ("component add of a tree", FileSystem.EXT4_WITHOUT_JOURNAL): 8,
    ("component add of a tree", FileSystem.EXT4): 3,
}
"""At how many points the power is cut. It loses most on ext4 without a journal."""
SMALL: Final = {
    ("upgrade", FileSystem.EXT4): 2,
    ("upgrade", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
    ("rollback", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
    ("component add of a tree", FileSystem.EXT4_WITHOUT_JOURNAL): 3,
}
"""What `make test` has time for."""


def cuts() -> dict[tuple[str, FileSystem], int]:
    """What is cut in this run: under TEST_SWEEP=full every scenario on every file system."""
    if BREADTH is Breadth.SMALL:
        return SMALL
    if BREADTH is Breadth.WIDE:
        return WIDE
    every = scenarios(Bench(Path(), Path()))
    once = [name for name, made in every.items() if getattr(made, "again", None) is None]
    return {(name, kind): 0 for name in once for kind in FileSystem}


CUTS: Final = cuts()


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize(
    ("scenario", "file_system"), CUTS, ids=[f"{one}-{kind}" for one, kind in CUTS]
)
def test_a_power_cut_anywhere_leaves_old_or_new_and_is_resumed(
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
    with scenarios(bench)[scenario] as made:
        counts = power_sweep(made, file_system, sample, bench=bench, folder=work)
    report_counts(counts)
    assert counts.missed == 0
    assert counts.cuts > points
    assert counts.booted == 3 * counts.cuts
