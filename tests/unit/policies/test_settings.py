"""Settings: defaults, layers, bounds, and every problem named at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from noodle_policies.settings import Settings, load_settings, settings_hash
from noodle_policies.settings.failures import SettingsInvalid
from noodle_policies.settings.model import keys

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "settings.tsv"


def write(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)
    return folder


def problems_of(folders: list[Path], environment: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(folders, environment)
    return caught.value.problems


def test_every_default_and_bound_is_the_references() -> None:
    """The keys obeyed so far have the names, types and defaults that were given."""
    if not REFERENCE.exists():
        pytest.skip("the reference list of settings is not beside this checkout")
    with REFERENCE.open() as lines:
        given = {
            row["key"]: row for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        }
    for key in keys():
        row = given[key.name]
        assert json.loads(row["default"]) == key.default, key.name
        assert (row["environment"] or None) == key.variable, key.name
        if row["bounds"] and ".." in row["bounds"]:
            low, high = row["bounds"].split("..")
            assert (key.low, key.high) == (float(low), float(high)), key.name


def test_no_file_and_no_variable_gives_the_defaults(tmp_path: Path) -> None:
    assert load_settings([tmp_path / "absent"], {}).settings == Settings()


def test_a_variable_beats_a_file_and_a_later_folder_an_earlier(tmp_path: Path) -> None:
    key = {"runtime_upgrade_manager": {"default_timeout": 11}}
    first = write(tmp_path / "a", "runtime_upgrade_config.json", key)
    key["runtime_upgrade_manager"]["default_timeout"] = 22
    second = write(tmp_path / "b", "runtime_upgrade_config.json", key)
    assert load_settings([first, second], {}).settings.default_timeout == 22
    environment = {"NOODLE_UPGRADE_TIMEOUT": "33"}
    assert load_settings([first, second], environment).settings.default_timeout == 33


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", False), ("1", True), ("False", False), ("YES", True), ("off", False), (" on ", True)],
)
def test_a_boolean_variable_is_read_as_written_in_any_case(text: str, *, value: bool) -> None:
    loaded = load_settings([], {"NOODLE_ROLLBACK_ENABLED": text})
    assert loaded.settings.rollback_enabled is value


@pytest.mark.parametrize("text", ["", " ", "maybe", "2"])
def test_a_boolean_variable_that_is_none_is_refused(text: str) -> None:
    assert "NOODLE_ROLLBACK_ENABLED" in problems_of([], {"NOODLE_ROLLBACK_ENABLED": text})[0]


def test_one_is_not_a_boolean_for_an_integer_key_nor_true_an_integer(tmp_path: Path) -> None:
    assert load_settings([], {"NOODLE_MAX_CONCURRENT_UPGRADES": "1"}).settings == Settings(
        max_concurrent_upgrades=1
    )
    content = {"runtime_upgrade_manager": {"max_concurrent_upgrades": True}}
    folder = write(tmp_path, "runtime_upgrade_config.json", content)
    assert "not a whole number" in problems_of([folder], {})[0]


@pytest.mark.parametrize("value", [0, 65, -1, 1.0, "3", None, []])
def test_a_value_outside_type_or_bounds_is_refused(tmp_path: Path, value: Any) -> None:
    content = {"runtime_upgrade_manager": {"max_concurrent_upgrades": value}}
    folder = write(tmp_path, "runtime_upgrade_config.json", content)
    assert "max_concurrent_upgrades" in problems_of([folder], {})[0]


def test_all_problems_of_all_sources_are_named_at_once(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        "runtime_upgrade_config.json",
        {"runtime_upgrade": {"enabledd": True}, "encryption": {"key_source": "moon"}},
    )
    write(tmp_path, "noodle.json", "{ not json")
    found = problems_of([folder], {"NOODLE_UPGRADE_TIMEOUTS": "3"})
    assert len(found) == 4
    assert any("did you mean runtime_upgrade.enabled" in one for one in found)
    assert any("did you mean NOODLE_UPGRADE_TIMEOUT" in one for one in found)


@pytest.mark.parametrize("content", ["", "[]", "null", "\x00", "[" * 100_000])
def test_junk_in_a_file_is_a_named_problem(tmp_path: Path, content: str) -> None:
    folder = write(tmp_path, "noodle.json", content)
    assert problems_of([folder], {})[0].startswith("noodle.json")


def test_a_dotted_key_as_a_variable_sets_it() -> None:
    environment = {"NOODLE_runtime_upgrade.enabled": "no"}
    assert load_settings([], environment).settings.enabled is False


def test_the_variables_that_hooks_get_are_no_settings() -> None:
    names = ("NOODLE_UPGRADE_ID", "NOODLE_STEP_KEY", "NOODLE_FROM", "NOODLE_TO")
    assert load_settings([], dict.fromkeys(names, "x")).settings == Settings()


def test_equal_settings_have_one_hash_and_different_ones_another() -> None:
    one = load_settings([], {}).by_key
    other = load_settings([], {"NOODLE_UPGRADE_TIMEOUT": "7"}).by_key
    assert settings_hash(one) == settings_hash(dict(reversed(one.items())))
    assert settings_hash(one) != settings_hash(other)
