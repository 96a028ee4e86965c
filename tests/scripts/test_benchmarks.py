"""Each measurement runs, in small: `benchmarks/run.py --quick` answers every question.

No time is asserted: what is measured in small says nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.command import MEASUREMENTS, RESULTS
from benchmarks.report import NOT_MEASURED
from tests.conftest import require_system

ROOT = Path(__file__).resolve().parents[2]
QUICK_S_MAX = 120


def quick(name: str, folder: Path) -> dict[str, str]:
    """Run one measurement in small; its rows by their keys."""
    before = RESULTS.read_bytes()
    ran = subprocess.run(
        [sys.executable, "benchmarks/run.py", "--quick", "--only", name, "--folder", str(folder)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "NOODLE" not in name},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=QUICK_S_MAX,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert RESULTS.read_bytes() == before  # only a whole, full run is worth keeping
    assert list(folder.iterdir()) == []
    lines = [line for line in ran.stdout.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line for line in lines}


@pytest.mark.parametrize("name", [one.name for one in MEASUREMENTS])
def test_each_measurement_answers_its_questions(name: str, tmp_path: Path) -> None:
    """Those beside DBOS are left to the next test, which says why it skips."""
    if name == "syncs":
        require_system("strace", "strace")
    rows = quick(name, tmp_path)
    asked = next(one.questions for one in MEASUREMENTS if one.name == name)
    assert list(rows) == [question.key for question in asked]
    left_out = {key for key, line in rows.items() if NOT_MEASURED in line}
    if find_spec("dbos") is not None:
        assert left_out == set()
    assert {key for key in left_out if "dbos" not in key} == set()


def test_a_workflow_beside_it_is_as_durable_as_an_upgrade(tmp_path: Path) -> None:
    """DBOS is asked through its own live connections."""
    if find_spec("dbos") is None:
        pytest.skip("DBOS is not installed: `make bench` installs it")
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.sides", "dbos-wal", str(tmp_path / "dbos")],
        cwd=ROOT,
        input="run 1\n",
        capture_output=True,
        text=True,
        timeout=QUICK_S_MAX,
        check=True,
    ).stdout.splitlines()
    assert '"journal_mode": "wal", "synchronous": 2' in said[0]
    assert len(said) == 2
