"""What every test may use: the door to system packages, and the profiles of Hypothesis.

A test that needs a program or a device says so with `require_system`. Where it
is missing the test is skipped, counted, and the line that installs it is shown
at the end; under STRICT=1 (as in CI, which installs everything) it fails.

Hypothesis draws the same examples in every run and keeps no database, so that a
red run is red again. `pytest --hypothesis-profile=explore` draws new ones.
The suite's own variables are not called NOODLE_*: the product refuses those that
it does not know.

Hundreds of tests start processes of ours. What the first one compiles is kept for
the others in .pytest_cache, also where Python may not write beside the sources.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests.second_opinion import Opinions, homes_in, is_looked_after

# What the person who runs the suite has set for a home of theirs is not for the tests.
for variable in [name for name in os.environ if name.startswith("NOODLE_")]:
    del os.environ[variable]

BYTECODE: Final = Path(__file__).parents[1] / ".pytest_cache" / "bytecode"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(BYTECODE))
sys.dont_write_bytecode = False
sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]

settings.register_profile("suite", deadline=None, database=None, derandomize=True)
settings.register_profile("explore", deadline=None, database=None, print_blob=True)
settings.load_profile("suite")

MISSING: Final = "missing system package"
"""How the reason of such a skip begins; the summary finds them by it."""

Proof = str | Path | Callable[[], bool]


def strict() -> bool:
    """Say whether a missing system package is a failure."""
    return os.environ.get("STRICT", "") not in {"", "0"}


def present(proof: Proof) -> bool:
    """Look for a program by name, a file by path, or ask a function."""
    if isinstance(proof, str):
        return shutil.which(proof, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
    if isinstance(proof, Path):
        return proof.exists()
    return proof()


def require_system(package: str, proof: Proof, *, install: str | None = None) -> None:
    """Go on only where `proof` is present, which the system `package` provides.

    `proof` is the name of a program, the path of a file, or a function that
    says yes. `install` is the line that helps, where it is not apt-get's (root,
    a kernel that can mount). Call it first in a test or a fixture.

    Raises: Skipped, or Failed under STRICT=1.
    """
    if present(proof):
        return
    help_line = install if install is not None else f"apt-get install {package}"
    reason = f"{MISSING}: {package}: {help_line}"
    if strict():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the tests that a missing system package skipped, one line for each package."""
    counted: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _, found, rest = reason.partition(f"{MISSING}: ")
        if found:
            counted[rest] += 1
    if counted:
        terminalreporter.section("skipped for want of a system package")
        for need, tests in sorted(counted.items()):
            package, _, help_line = need.partition(": ")
            terminalreporter.line(
                f"{tests} skipped, {package} is missing; to run them: {help_line}"
            )


OPINIONS: Final = Opinions()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """After a test that passed, the second verifier looks at the journals it has made."""
    yield
    if isinstance(item, pytest.Function) and is_looked_after(item.nodeid):
        for home, key in homes_in(item.funcargs):
            said = OPINIONS.differing(home, key)
            assert said is None, f"{home}: {said}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Say how many journals were looked at, where somebody asks."""
    if os.environ.get("TEST_OPINIONS") and OPINIONS.checked:
        with open(os.environ["TEST_OPINIONS"], "a") as out:
            out.write(f"{OPINIONS.checked}\n")
    OPINIONS.close()


def pytest_collection_finish() -> None:
    """What is collected stays to the end: no collection of garbage walks it again."""
    gc.collect()
    gc.freeze()
