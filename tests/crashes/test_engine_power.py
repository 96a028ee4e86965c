"""The power cut under the real engine: a disk that loses what was not flushed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.crashes.engine_scenarios import scenarios
from tests.crashes.harness.power import FileSystem, power_sweep
from tests.crashes.harness.run import Bench
from tests.crashes.harness.sweep import Sample
from tests.crashes.test_harness_power import need

CUTS: Final = {
    ("upgrade", FileSystem.EXT4): 8,
    ("upgrade", FileSystem.EXT4_WITHOUT_JOURNAL): 8,
    ("upgrade", FileSystem.XFS): 4,
    ("upgrade", FileSystem.BTRFS): 4,
    ("rollback", FileSystem.EXT4): 4,
}
"""How many points the power is cut at; TEST_SWEEP=full cuts it at every one."""


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
    with scenarios(bench)[scenario] as made:
        counts = power_sweep(
            made, file_system, Sample(points, every_pair=False), bench=bench, folder=work
        )
    report_counts(counts)
    assert counts.missed == 0
    assert counts.cuts > points
    assert counts.booted == 3 * counts.cuts
