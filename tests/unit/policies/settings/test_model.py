"""The model is the list that was given: names, types, defaults, bounds and variables."""

from __future__ import annotations

import csv
import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from noodle_policies.settings.failures import ProblemKind, SettingsInvalid
from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.model.root import Settings
from noodle_policies.settings.reading.files import KNOWN_VARIABLES
from tests.unit.policies.settings.sources import nested, problems_of, reference, resolved, write

NO_SETTINGS = {
    "noodle.key_services",
    "noodle.target_contracts",
    "noodle.toml",
    "noodle.targets",
    "security.selinux",
    "security.ima",
    "security.evm",
}
"""Texts of the code that look like a setting: a file, an entry point, kinds of attributes."""


def rows(name: str) -> list[dict[str, str]]:
    with reference(name).open() as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def given_keys() -> list[Key]:
    return [key for key in catalogue().keys.values() if not key.own]


def test_there_are_358_keys_and_40_variables() -> None:
    assert len(given_keys()) == 358
    assert len(catalogue().variables) + len({"NOODLE_RUNTIME_UPGRADE_DEBUG"}) == 40


def test_every_key_has_the_given_type_default_and_variables() -> None:
    given = {row["key"]: row for row in rows("settings.tsv")}
    assert set(given) == {key.name for key in given_keys()}
    for key in given_keys():
        row = given[key.name]
        default = list(key.default) if isinstance(key.default, tuple) else key.default
        assert (key.kind, default) == (row["type"], json.loads(row["default"])), key.name
        assert type(default) is type(json.loads(row["default"])), key.name
        assert set(key.facts.variables) == set((row["environment"] or "").split()), key.name


def test_every_variable_sets_what_was_given() -> None:
    for row in rows("environment.tsv"):
        if row["sets"].startswith("("):
            assert row["variable"] in KNOWN_VARIABLES
            continue
        keys = {name.strip() for name in row["sets"].split(";")}
        assert keys <= set(catalogue().variables[row["variable"]])


def test_every_stated_bound_holds_on_both_sides(tmp_path: Path) -> None:
    """A value on the bound is taken, and the next one beyond is refused by name."""
    for row in rows("settings.tsv"):
        for inside, outside in _edges(row["bounds"], row["type"]):
            key = row["key"]
            for value, legal in ((inside, True), (outside, False)):
                folder = write(tmp_path, "noodle.json", nested(key, value))
                if legal:
                    _only_rules_beside_it_refuse(folder, key, value)
                else:
                    assert [one.key for one in problems_of([folder])] == [key], (key, value)


def _edges(bounds: str, kind: str) -> list[tuple[object, object]]:
    """Pairs of a legal value and the illegal one beyond the bound, as the list states it."""
    step = 1 if kind == "integer" else 0.001
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", bounds):
        return [(int(found[1]), int(found[1]) - 1), (int(found[2]), int(found[2]) + 1)]
    if bounds.startswith("> 0"):
        return [(step, 0), (step, -step)]
    if found := re.match(r">= (\d+)", bounds):
        return [(int(found[1]), int(found[1]) - step)]
    if found := re.match(r"0 (<=?) x <= (\d+)", bounds):
        low = 0 if found[1] == "<=" else step
        return [(low, low - step), (int(found[2]), int(found[2]) + step)]
    if "|" in bounds and " " not in bounds:
        return [(word, f"{word}x") for word in bounds.split("|")]
    return []


def _only_rules_beside_it_refuse(folder: Path, key: str, value: object) -> None:
    """Taken, or refused only for what other keys are."""
    try:
        found = resolved([folder]).values[key]
    except SettingsInvalid as error:
        problems = error.problems
    else:
        assert found == value
        return
    assert {one.kind for one in problems} <= {ProblemKind.DEPENDENCY, ProblemKind.CONSISTENCY}


def test_every_key_says_in_a_sentence_what_it_does_and_what_is_legal() -> None:
    for key in catalogue().keys.values():
        assert key.facts.says[0].isupper(), key.name
        assert len(key.facts.says) > 20, key.name
        assert not key.facts.says.endswith("."), key.name
        assert key.bounds, key.name


def test_what_a_key_refers_to_exists() -> None:
    known = catalogue()
    for key in known.keys.values():
        for other in (*key.facts.rests_on, *key.facts.stricter, key.facts.general):
            assert other is None or other in known.keys, (key.name, other)
        for switch in key.facts.rests_on:
            assert known.keys[switch].kind == "boolean", (key.name, switch)
    assert all(len(members) > 1 for members in known.twins.values())


def test_twins_have_one_default() -> None:
    for members in catalogue().twins.values():
        assert len({catalogue().keys[name].default for name in members}) == 1, members


def test_the_module_that_obeys_a_key_names_it() -> None:
    """`reader` is true: the named module has the key's name in its text."""
    for key in catalogue().keys.values():
        if key.facts.reader is not None:
            module = import_module(key.facts.reader)
            assert f'"{key.name}"' in Path(str(module.__file__)).read_text(), key.name


def test_every_setting_that_the_code_asks_for_exists_and_is_said_to_be_read() -> None:
    """No text of the code names a setting that is none, and none is read unsaid."""
    root = Path(__file__).parents[4]
    sections = "|".join(Settings.model_fields)
    pattern = re.compile(rf'"((?:{sections})\.[a-z_]+(?:\.[a-z_]+)*)"')
    asked = {
        name
        for package in ("engine/noodle_engine", "journal/noodle_journal")
        for file in (root / package).rglob("*.py")
        for name in pattern.findall(file.read_text())
    }
    known = catalogue()
    assert asked, "no module asks for any setting"
    assert {name for name in asked if name not in known.keys} == NO_SETTINGS
    unsaid = {name for name in asked - NO_SETTINGS if known.reader_of(known.keys[name]) is None}
    assert unsaid == set()


@pytest.mark.parametrize("name", ["", "runtime", "runtime.", ".", "runtime_upgrade.enabled.x"])
def test_what_is_no_key_is_not_found(name: str) -> None:
    assert catalogue().find(name) is None


def test_a_key_below_an_entry_of_the_users_own_is_found() -> None:
    key = catalogue().find("deployment.policies.qa.timing_constraints.maintenance_windows")
    assert key is not None
    assert (key.kind, key.default) == ("list", ())
