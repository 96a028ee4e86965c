"""The door to system packages: skips are counted and explained, and STRICT forbids them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
CONFTEST: Final = ROOT / "tests" / "conftest.py"
RUN_SECONDS_MAX: Final = 60
ABSENT: Final = """
from conftest import require_system

def test_first():
    require_system("absent-package", "no-such-program-anywhere")

def test_second():
    require_system("absent-package", "no-such-program-anywhere")

def test_present():
    require_system("base-files", "sh")
"""


def run_suite(folder: Path, *, strict: str, workers: int) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_needs.py").write_text(ABSENT)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers)],
        cwd=folder,
        # The conftest that is tried uses the other helpers of the suite.
        env={**os.environ, "STRICT": strict, "PYTEST_ADDOPTS": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_missing_package_is_skipped_counted_and_its_install_line_shown(
    tmp_path: Path, workers: int
) -> None:
    shown = run_suite(tmp_path, strict="", workers=workers)
    assert shown.returncode == pytest.ExitCode.OK
    lines = [line for line in shown.stdout.splitlines() if "absent-package is missing" in line]
    assert [(line.split()[0], "apt-get install absent-package" in line) for line in lines] == [
        ("2", True)
    ]
    assert "1 passed, 2 skipped" in shown.stdout.splitlines()[-1]


def test_under_strict_a_missing_package_fails(tmp_path: Path) -> None:
    shown = run_suite(tmp_path, strict="1", workers=0)
    assert shown.returncode == pytest.ExitCode.TESTS_FAILED
    assert "2 failed, 1 passed" in shown.stdout.splitlines()[-1]
    assert "apt-get install absent-package" in shown.stdout
