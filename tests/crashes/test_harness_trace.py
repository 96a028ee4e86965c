"""The shim's count against strace's, which shares no code with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require_system
from tests.crashes.harness.run import Bench
from tests.crashes.harness.snapshot import Snapshot
from tests.crashes.harness.trace import both_counts
from tests.crashes.standin_scenario import Upgrading
from tests.crashes.test_harness_shim import CALLS, EVERY_CALL, script


@pytest.fixture(autouse=True)
def _strace() -> None:
    require_system("strace", "strace")


def test_strace_counts_what_the_shim_counts_in_an_upgrade(
    bench: Bench, tmp_path: Path, report_counts: Callable[[object], None]
) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    command = Upgrading(bench).prepare(folder)
    counts = both_counts(command, Snapshot.take(folder), bench)
    assert counts.by_shim == counts.by_strace
    total = counts.by_shim.total()
    assert total == CALLS
    report_counts(f"stand-in right: {total} calls by the shim, as many by strace")


def test_strace_counts_what_the_shim_counts_of_every_call(bench: Bench, tmp_path: Path) -> None:
    command = script(EVERY_CALL, tmp_path / "root", str(tmp_path / "outside"))
    counts = both_counts(command, Snapshot.take(tmp_path / "root"), bench)
    assert counts.by_shim == counts.by_strace


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
    command = script(text, tmp_path / "root")
    counts = both_counts(command, Snapshot.take(tmp_path / "root"), bench)
    assert counts.by_strace - counts.by_shim == Counter(rename=1)
