"""The shim's count against strace's, which shares no code with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require_system
from tests.crashes.harness.run import Bench, Command, record
from tests.crashes.harness.snapshot import Snapshot
from tests.crashes.harness.trace import count_calls, trace
from tests.crashes.standin_scenario import Upgrading
from tests.crashes.test_harness_shim import EVERY_CALL, script


@pytest.fixture(autouse=True)
def _strace() -> None:
    require_system("strace", "strace")


def both_counts(command: Command, folder: Path, bench: Bench) -> tuple[Counter[str], Counter[str]]:
    """The shim's and strace's counts of one command run twice from one state."""
    before = Snapshot.take(folder)
    by_shim = Counter(point.call for point in record(command, bench).log.recorded)
    before.restore()
    written = trace(command, bench)
    before.restore()
    return by_shim, count_calls(written, command)


def test_strace_counts_what_the_shim_counts_in_an_upgrade(
    bench: Bench, tmp_path: Path, report_counts: Callable[[object], None]
) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    by_shim, by_strace = both_counts(Upgrading(bench).prepare(folder), folder, bench)
    assert by_shim == by_strace
    assert by_shim.total() == 30
    report_counts(f"stand-in right: {by_shim.total()} calls by the shim, as many by strace")


def test_strace_counts_what_the_shim_counts_of_every_call(bench: Bench, tmp_path: Path) -> None:
    command = script(EVERY_CALL, tmp_path / "root", str(tmp_path / "outside"))
    by_shim, by_strace = both_counts(command, tmp_path / "root", bench)
    assert by_shim == by_strace


def test_a_write_that_bypasses_the_shim_is_found_by_the_comparison(
    bench: Bench, tmp_path: Path
) -> None:
    text = """
import ctypes, sys
# by the library's own handle, not by the process': the preload is not asked
library = ctypes.CDLL("libc.so.6")
open(sys.argv[1] + "/a", "w").close()
library.rename((sys.argv[1] + "/a").encode(), (sys.argv[1] + "/b").encode())
"""
    by_shim, by_strace = both_counts(script(text, tmp_path / "root"), tmp_path / "root", bench)
    assert by_strace - by_shim == Counter(rename=1)
