"""What a short command may import. Modules are counted, not time: that is the same anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

HEAVY: Final = frozenset({"pydantic", "transitions", "sqlite_utils", "rich", "asyncio"})
NOT_FOR_STATUS: Final = HEAVY | {
    "noodle_engine.disk.trees.build",
    "noodle_engine.machine.decide",
    "noodle_engine.registry.store",
    "noodle_journal.draft",
    "tomllib",
}
NOT_FOR_HELP: Final = HEAVY | {
    "blake3",
    "cryptography",
    "email",
    "http",
    "importlib.metadata",
    "noodle_engine.api",
    "noodle_engine.execute",
    "noodle_engine.machine",
    "noodle_journal.keys",
    "orjson",
    "pysqlite3",
    "semver",
    "sqlite3",
    "ssl",
    "subprocess",
    "tomllib",
}
SHOW: Final = (
    "import sys, json; from noodle_engine.cli.main import main; code = main(sys.argv[1:]); "
    "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)"
)


def imported(folder: Path, *words: str) -> set[str]:
    """The modules that are there once `noodle WORDS` has been run, in a pipe."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", SHOW, *words],
        env={**os.environ, "NOODLE_HOME": str(folder / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, modules = json.loads(ran.stderr)
    assert code == 0, ran.stdout
    return set(modules)


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["apply", "--help"], ["config", "init", "--help"], []]
)
def test_help_imports_only_click(words: list[str], tmp_path: Path) -> None:
    assert imported(tmp_path, *words) & NOT_FOR_HELP == set()


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["history"]])
def test_status_in_a_pipe_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    imported(tmp_path, "init")
    assert imported(tmp_path, *words) & NOT_FOR_STATUS == set()


def test_completion_needs_neither_home_nor_key_nor_engine(tmp_path: Path) -> None:
    assert "noodle_engine.api" not in imported(tmp_path, "completion", "bash")


def test_the_deny_list_can_fail(tmp_path: Path) -> None:
    assert "noodle_engine.api" in imported(tmp_path, "init")
