"""X1, X2: what is explained is what is in force, and one word counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from noodle_policies.settings.explaining import Explanation, Listing, explain, names_with
from noodle_policies.settings.failures import SettingUnknown
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.reading.files import KNOWN_VARIABLES, read_inputs
from noodle_policies.settings.resolving import Resolution, examine
from noodle_policies.settings.showing import differences, settings_view
from noodle_policies.settings.values import nested
from tests.unit.policies.settings.sources import nested as one_key
from tests.unit.policies.settings.sources import resolved, write

POINTS = "runtime_upgrade.rollback.max_rollback_points"
POINTS_TWIN = "rollback_manager.max_rollback_points"
TIMEOUT = "runtime_upgrade_manager.default_timeout"
TIMEOUT_TWIN = "self_improvement.runtime_upgrade_integration.upgrade_timeout"
IMMEDIATE = "runtime_upgrade.strategies.strategy_configs.immediate.timeout"
RULES = "upgrade_validator.custom_validators.validation_rules"


def key(name: str, found: Resolution) -> Explanation:
    told = explain(name, found)
    assert isinstance(told, Explanation)
    return told


def layers(told: Explanation) -> list[tuple[str, object, bool]]:
    return [(one.layer, one.value, one.counts) for one in told.said]


@pytest.fixture
def everywhere(tmp_path: Path) -> Resolution:
    """Keys said by every layer, by twins and by a general key; a mapping in two folders."""
    home = write(tmp_path / "a", "noodle.json", one_key(POINTS_TWIN, 3))
    write(home, "component_sections.json", one_key(TIMEOUT, 20))
    rules = one_key(RULES, {"a": {}}) | one_key("debug.log_level", "ERROR")
    rules["upgrade_validator"]["custom_validators"]["enabled"] = True  # type: ignore[index]
    write(home, "runtime_upgrade_config.json", rules)
    folder = write(tmp_path / "b", "noodle.json", one_key(RULES, {"b": {}}))
    write(folder, "component_sections.json", one_key(IMMEDIATE, 30))
    variables = {"NOODLE_UPGRADE_TIMEOUT": "40", f"NOODLE_{POINTS}": "6"}
    return resolved([home, folder], variables, [("runtime_upgrade.rollback.enabled", "0")])


def test_every_key_is_explained_as_it_is_shown(everywhere: Resolution) -> None:
    view = settings_view(everywhere)
    shown = {**view.settings, **view.own}
    for name in everywhere.values:
        told = key(name, everywhere)
        found: object = shown
        for part in name.split("."):
            assert isinstance(found, dict)
            found = found[part]
        assert told.value == found == everywhere.values[name], name
        assert (told.inert is None) == (name not in view.inert), name
        counting = [one for one in told.said if one.counts]
        assert len(counting) == 1 or told.kind == "mapping", name
        assert told.said[-1].layer == "default"
        if told.kind != "mapping":
            # A twin's whole number is 30.0 for a number, and equal to it.
            assert counting[0].value == told.value, name


def test_each_layer_is_named_with_its_place_and_the_rule_that_decided(
    everywhere: Resolution, tmp_path: Path
) -> None:
    told = key(POINTS, everywhere)
    assert layers(told) == [("variable", 6, True), ("file", 3, False), ("default", 10, False)]
    assert told.said[1].key == POINTS_TWIN
    assert told.said[1].place == f"{tmp_path}/a/noodle.json:1:23"
    assert told.inert == "runtime_upgrade.rollback.enabled"
    assert "--set" in str(told.inert_why)
    general = key(IMMEDIATE, everywhere)
    assert layers(general) == [
        ("variable", 40, True),
        ("file", 30, False),
        ("file", 20, False),
        ("default", 60, False),
    ]
    assert general.said[0].key == TIMEOUT
    assert "general" in general.why


def test_who_is_beaten_is_told_by_what(everywhere: Resolution, tmp_path: Path) -> None:
    assert key(TIMEOUT, everywhere).said[1].why == "a variable counts more"
    beaten = key(TIMEOUT, resolved([], {"NOODLE_UPGRADE_TIMEOUT": "4"}, [(TIMEOUT, "5")])).said
    assert [one.why for one in beaten][1] == "an option counts more"
    home, folder = (write(tmp_path / one, "noodle.json", one_key(TIMEOUT, 5)) for one in "cd")
    later, earlier, _ = key(TIMEOUT, resolved([home, folder])).said
    assert (later.place, later.counts) == (f"{folder}/noodle.json:1:30", True)
    assert earlier.why == "a later folder counts more"


def test_of_a_general_and_a_specific_key_in_one_layer_it_is_told_which_counts(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path, "noodle.json", one_key(IMMEDIATE, 30))
    write(folder, "component_sections.json", one_key(TIMEOUT, 20))
    told = key(IMMEDIATE, resolved([folder]))
    assert {(one.key, one.counts) for one in told.said[:2]} == {(IMMEDIATE, True), (TIMEOUT, False)}
    assert any("itself counts" in one.why for one in told.said)


def test_every_folder_counts_for_a_mapping(everywhere: Resolution) -> None:
    told = key(RULES, everywhere)
    assert set(told.value) == {"a", "b"}
    assert [one.counts for one in told.said] == [True, True, False]


def test_a_switch_tells_what_rests_on_it_and_a_key_what_it_rests_on() -> None:
    switch = key("runtime_upgrade.rollback.enabled", resolved())
    assert POINTS in switch.rest_on_it
    assert any(POINTS in one for one in switch.changes)
    assert key(POINTS, resolved()).rests_on == ("runtime_upgrade.rollback.enabled",)
    # Also what rests on its twins, and on what rests on them.
    assert {POINTS_TWIN, "rollback_manager.cleanup.cleanup_interval"} <= set(switch.rest_on_it)


def test_two_things_said_in_one_layer_are_not_called_the_same() -> None:
    variables = {"NOODLE_LOG_LEVEL": "DEBUG", "NOODLE_debug.log_level": "INFO"}
    inputs = read_inputs([], variables, user=os.geteuid(), group=os.getegid())
    told = explain("debug.log_level", *examine(inputs))
    assert isinstance(told, Explanation)
    assert told.said[1].why == "says something else in the same layer"


def test_where_no_file_speaks_of_a_key_one_is_named(tmp_path: Path) -> None:
    way = key("debug.log_level", resolved([tmp_path])).ways[-1]
    assert way.startswith(f"in a file, such as {tmp_path}/component_sections.json: ")


def test_a_change_that_a_higher_layer_would_hide_is_told(everywhere: Resolution) -> None:
    by_file = key(TIMEOUT, everywhere).ways[-1]
    assert "NOODLE_UPGRADE_TIMEOUT counts more" in by_file
    assert "counts more" not in key("debug.enabled", everywhere).ways[-1]


def test_a_way_to_set_a_key_that_is_shown_can_be_taken(tmp_path: Path) -> None:
    """What `explain` says to put into a file, loads; other keys may still object to a value."""
    for name, one in catalogue().keys.items():
        text = key(name, resolved()).ways[-1].partition(": ")[2]
        folder = write(tmp_path, "noodle.json", text)
        inputs = read_inputs([folder], {}, user=os.geteuid(), group=os.getegid())
        assert {problem.kind.value for problem in examine(inputs)[1]} <= {
            "consistency",
            "dependency",
        }, (one.name, text)


def test_settings_that_cannot_be_used_are_explained_with_what_is_wrong(tmp_path: Path) -> None:
    folder = write(tmp_path, "noodle.json", one_key(POINTS, 0) | one_key("debug.enabled", True))
    write(folder, "component_sections.json", "{")
    inputs = read_inputs([folder], {}, user=os.geteuid(), group=os.getegid())
    found, problems = examine(inputs)
    for name in (POINTS, POINTS_TWIN):
        told = explain(name, found, problems)
        assert isinstance(told, Explanation)
        assert (told.value, len(told.problems), told.problems_in_all) == (10, 1, 2)
    told = explain("debug.enabled", found, problems)
    assert isinstance(told, Explanation)
    assert (told.value, told.problems) == (True, ())


def test_a_private_key_in_a_file_is_shown_nowhere(tmp_path: Path) -> None:
    folder = write(
        tmp_path, "noodle.json", one_key("debug.log_file", "-----BEGIN PRIVATE KEY-----MII")
    )
    inputs = read_inputs([folder], {}, user=os.geteuid(), group=os.getegid())
    assert "MII" not in repr(explain("debug.log_file", *examine(inputs)))


def test_sections_variables_and_entries_are_explained() -> None:
    found = resolved()
    section = explain("runtime_upgrade.rollback", found)
    assert isinstance(section, Listing)
    assert (len(section.keys), section.says) == (
        6,
        "Old versions that are kept, and going back to them.",
    )
    both = explain("NOODLE_UPGRADE_TIMEOUT", found)
    assert isinstance(both, Listing)
    assert {one.key for one in both.keys} == {TIMEOUT, TIMEOUT_TWIN}
    assert key("NOODLE_LOG_LEVEL", found).key == "debug.log_level"
    assert key(f"NOODLE_{POINTS}", found).key == POINTS
    for variable in KNOWN_VARIABLES:
        told = explain(variable, found)
        assert isinstance(told, Listing)
        assert told.says.endswith("It sets no key. It is not set.")
    variables = {"NOODLE_ENVIRONMENT": "prod", "NOODLE_TOKEN": "hunter2"}
    inputs = read_inputs([], variables, user=os.geteuid(), group=os.getegid())
    wrong, secret = (explain(name, *examine(inputs)) for name in variables)
    assert isinstance(wrong, Listing)
    assert 'It is set to "prod". Wrong: there is no environment' in wrong.says
    assert isinstance(secret, Listing)
    assert "It is set." in secret.says
    qa = key("deployment.policies.qa.auto_trigger", found)
    assert isinstance(explain("version", found), Listing)
    assert (qa.value, qa.why.startswith("there is no deployment.policies.qa;")) == (False, True)
    entry = explain("deployment.policies.qa", found)
    assert isinstance(entry, Listing)
    assert "`noodle config explain deployment.policies`" in entry.says


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("runtime_upgrade.rollback.max_points", POINTS),
        ("rollback_managr", "rollback_manager"),
        ("NOODLE_UPGRADE_TIMEOUTS", "NOODLE_UPGRADE_TIMEOUT"),
        ("DEBUG.LOG_LEVEL", "debug.log_level"),
        ("log_level", "security.audit_logging.log_level or debug.log_level"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(SettingUnknown) as unknown:
        explain(name, resolved())
    assert near in unknown.value.nearest


@pytest.mark.parametrize("name", ["debug.bogus", "debug.pasword", "NOODLE_BOGUS", "nothing"])
def test_what_has_only_the_section_in_common_is_not_near(name: str) -> None:
    with pytest.raises(SettingUnknown) as unknown:
        explain(name, resolved())
    assert unknown.value.nearest == ""


def test_what_is_shown_as_changed_is_exactly_that(everywhere: Resolution) -> None:
    view = settings_view(everywhere, only_changed=True)
    assert set(view.changed) == {
        name for name, value in everywhere.values.items() if value != catalogue().defaults[name]
    }
    assert {**view.settings, **view.own} == nested(
        {name: everywhere.values[name] for name in view.changed}
    )
    assert {POINTS, POINTS_TWIN, TIMEOUT, TIMEOUT_TWIN, IMMEDIATE} <= set(view.changed)


def test_what_is_shown_is_a_file_that_makes_the_same(
    everywhere: Resolution, tmp_path: Path
) -> None:
    """The nested form is that of a file: it loads, and nothing differs."""
    view = settings_view(resolved([], {"NOODLE_LOG_LEVEL": "ERROR"}))
    folder = write(tmp_path / "again", "noodle.json", {**view.settings, **view.own})
    again = resolved([folder])
    assert again.in_force().hash == view.hash
    rows = differences(again, resolved())
    assert [(row.key, row.one, row.other) for row in rows] == [("debug.log_level", "ERROR", "INFO")]


def test_names_are_completed_section_by_section() -> None:
    assert names_with("runtime_upgrade.r") == ["runtime_upgrade.rollback."]
    assert "runtime_upgrade." in names_with("")
    assert names_with("runtime_upgrade.rollback.max") == [POINTS]
    assert names_with("NOODLE_HO") == ["NOODLE_HOT_SWAP_ENABLED", "NOODLE_HOME"]
    assert names_with("x") == []
    assert isinstance(explain("runtime_upgrade.rollback.", resolved()), Listing)
