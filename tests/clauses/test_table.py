"""The table of clauses: its tests exist, speak of their keys, and those without one get fewer."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from noodle_policies.settings.model.catalogue import catalogue
from tests.clauses.areas import AREAS, area_of
from tests.clauses.mutate import HOOK, ROOT
from tests.clauses.table import CLAUSES, NO_MORE_THAN_TWINS, UNTESTED, only_values

LEFT = Path(__file__).with_name("left.txt")


def test_each_row_is_a_key_or_a_variable_and_names_a_test_that_speaks_of_it() -> None:
    for name, node in CLAUSES.items():
        assert name in catalogue().keys or name.startswith("NOODLE_"), name
        path, _, test = node.partition("::")
        text = (ROOT / path).read_text()
        function, _, parameter = test.partition("[")
        defined = {one.name for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)}
        assert function in defined, node
        assert name in text or parameter == f"{name}]", node


def test_each_variable_has_a_row() -> None:
    assert set(catalogue().variables) <= set(CLAUSES)


def test_each_key_belongs_to_one_area() -> None:
    for key in catalogue().keys:
        assert area_of(key) in AREAS
    rows = [row for rows in AREAS.values() for row in rows.split()]
    assert len(set(rows)) == len(rows)
    begins = [row.rstrip("*") for row in rows]
    known = tuple(catalogue().keys)
    assert [one for one in begins if not any(key.startswith(one) for key in known)] == []


def test_what_has_a_test_is_obeyed() -> None:
    """By the module that the model names. Of a key with one value nothing is to be obeyed."""
    known = catalogue()
    obeyed = {name for name, key in known.keys.items() if known.reader_of(key) is not None}
    only = {*(key.name for key in only_values()), *NO_MORE_THAN_TWINS}
    assert {name for name in CLAUSES if name in known.keys} - only - obeyed == set()


def test_the_keys_without_a_test_get_fewer() -> None:
    """`left.txt` has their number. Who names a test lowers it; nobody raises it."""
    left = int(LEFT.read_text())
    assert len(UNTESTED) <= left, "a key lost its test"
    assert len(UNTESTED) == left, f"write {len(UNTESTED)} into {LEFT.name}"


ASKED = """
import json
from noodle_policies.settings.reading.files import Inputs, FileRead
from noodle_policies.settings.resolving import resolve
raw = b'{"debug": {"log_level": "ERROR", "enabled": true}}'
inputs = Inputs(("a",), (FileRead("a/noodle.json", "a", raw),), {})
found = resolve(inputs)
values = found.in_force()
keys = ("debug.log_level", "debug.enabled")
print(json.dumps([[found.values[key] for key in keys], [values.by_key[key] for key in keys]]))
"""
DEBUG_LEVEL, DEBUG_ON = "debug.log_level", "debug.enabled"


@pytest.mark.parametrize(
    ("mutated", "seen"),
    [
        ("", ["ERROR", True]),
        (DEBUG_LEVEL, [catalogue().defaults[DEBUG_LEVEL], True]),
        (DEBUG_ON, ["ERROR", catalogue().defaults[DEBUG_ON]]),
    ],
)
def test_what_is_taken_out_has_its_default_in_every_process(
    mutated: str, seen: list[object], tmp_path: Path
) -> None:
    script = tmp_path / "asked.py"
    script.write_text(ASKED)
    ran = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(HOOK), "CLAUSES_MUTATED": mutated},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout) == [seen, seen]
