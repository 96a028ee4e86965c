"""Take each setting and variable of the table out, one at a time: its test must fail then.

    python -m tests.clauses.mutate [--seconds-max N] [NAME ...]

A test that passes while nobody can set its key proves nothing of that key. First each
test is run as it is: one that fails by itself proves nothing either.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from noodle_policies.settings.model.catalogue import catalogue
from tests.clauses.table import CLAUSES

ROOT: Final = Path(__file__).resolve().parents[2]
HOOK: Final = Path(__file__).with_name("hook")
PASSED, FAILED = 0, 1
TEST_S_MAX: Final = 300


def run(nodes: Sequence[str], mutated: str = "") -> tuple[int, str]:
    """Run tests, with a key or a variable taken out; pytest's exit code and its last line."""
    paths = [str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "CLAUSES_MUTATED": mutated,
    }
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *nodes],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TEST_S_MAX * len(nodes),
        check=False,
    )
    lines = ran.stdout.strip().splitlines()
    return ran.returncode, lines[-1] if lines else ""


def can_be_taken_out(name: str) -> bool:
    """Whether it is read as a setting. One variable is for its logger alone, and sets no key."""
    return not name.startswith("NOODLE_") or name in catalogue().variables


def main(words: Sequence[str] | None = None) -> int:
    """Run it; 1 if a test passed without its key, or fails by itself."""
    parser = argparse.ArgumentParser(prog="make clauses-mutate", description=__doc__)
    parser.add_argument("--seconds-max", type=float, help="begin no further row after so long")
    parser.add_argument("names", nargs="*", help="only these keys and variables")
    options = parser.parse_args(words)
    rows = {name: CLAUSES[name] for name in options.names or CLAUSES if can_be_taken_out(name)}
    began = time.monotonic()
    code, last = run(list(dict.fromkeys(rows.values())))
    if code != PASSED:
        print(f"the tests fail as they are: {last}")
        return 1
    survived: list[str] = []
    for number, (name, node) in enumerate(rows.items()):
        if options.seconds_max is not None and time.monotonic() - began > options.seconds_max:
            print(f"{len(rows) - number} rows are left: the time is over")
            break
        code, last = run([node], name)
        if code != FAILED:
            survived.append(name)
        print(f"{'fails as it must' if code == FAILED else 'PASSES'}: {name}: {last}", flush=True)
    for name in survived:
        print(f"without {name} its test does not fail: {rows[name]}")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
