"""What every crash test uses: the bench with its compiled shim, and the counts at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import require_system
from tests.crashes.harness.run import Bench
from tests.crashes.harness.shim import build
from tests.crashes.harness.sweep import SweepCounts
from tests.memory import room

COUNTS: Final = "crash sweep"
"""The property under which a test's counts travel to the summary, from any worker."""

STRUCK: Final = "points struck"
"""The property with the number of a sweep's points."""


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A bench whose shim is compiled once for the session."""
    require_system("gcc libc6-dev", "cc")
    return Bench(
        shim=build(tmp_path_factory.getbasetemp()),
        scratch=tmp_path_factory.mktemp("crash-runs"),
    )


@pytest.fixture
def report_counts(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """Show a sweep's counts in the summary of the whole run."""

    def report(counts: object) -> None:
        record_property(COUNTS, str(counts))
        if isinstance(counts, SweepCounts):
            record_property(STRUCK, counts.landed)

    return report


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder that does not exist yet, for one sweep; in memory where there is room."""
    with room("noodle-crash-") as folder:
        yield folder / "work"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts of every sweep, failed ones too."""
    properties = [
        (name, value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in getattr(report, "user_properties", [])
    ]
    lines = [str(value) for name, value in properties if name == COUNTS]
    if lines:
        terminalreporter.section("crash sweeps")
        for line in lines:
            terminalreporter.line(line)
        struck = sum(value for name, value in properties if name == STRUCK)
        terminalreporter.line(f"{struck} points struck in all")
