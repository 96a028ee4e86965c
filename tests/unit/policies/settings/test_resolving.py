"""Which value counts: layers, twins, general and specific keys, and what is refused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from noodle_policies.settings.failures import ProblemKind
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.model.root import Settings
from noodle_policies.settings.reading.files import (
    FILE_BYTES_MAX,
    FILES,
    FOLDER_CUSTOM,
    config_folder,
    read_inputs,
)
from noodle_policies.settings.resolving import Layer, examine, located
from noodle_policies.settings.values import values_hash
from tests.unit.policies.settings.sources import (
    nested,
    problems_of,
    reference,
    resolved,
    write,
)

TIMEOUT = "runtime_upgrade_manager.default_timeout"
TWIN = "self_improvement.runtime_upgrade_integration.upgrade_timeout"
IMMEDIATE = "runtime_upgrade.strategies.strategy_configs.immediate.timeout"
POINTS = "runtime_upgrade.rollback.max_rollback_points"
RULES = "upgrade_validator.custom_validators.validation_rules"
ROLLBACK = "runtime_upgrade.rollback.enabled"


def test_nothing_said_gives_the_defaults(tmp_path: Path) -> None:
    assert resolved([tmp_path / "absent"]).values == catalogue().defaults


def test_a_higher_layer_beats_a_lower_one(tmp_path: Path) -> None:
    home = write(tmp_path / "a", "noodle.json", nested(TIMEOUT, 11))
    folder = write(tmp_path / "b", "noodle.json", nested(TIMEOUT, 22))
    write(folder / "staging", "noodle.json", nested(TIMEOUT, 33))
    staging = {"NOODLE_ENVIRONMENT": "staging"}
    variable = staging | {"NOODLE_UPGRADE_TIMEOUT": "44"}
    assert resolved([home]).values[TIMEOUT] == 11
    assert resolved([home, folder]).values[TIMEOUT] == 22
    assert resolved([home, folder], staging).values[TIMEOUT] == 33
    assert resolved([home, folder], variable).values[TIMEOUT] == 44
    options = [(TIMEOUT, "55")]
    assert resolved([home, folder], variable, options).values[TIMEOUT] == 55
    assert resolved([], variable, options).chosen[TIMEOUT].layer is Layer.OPTION


def test_a_twin_in_a_higher_layer_beats_its_twin_in_a_lower_one(tmp_path: Path) -> None:
    home = write(tmp_path / "a", "noodle.json", nested(TIMEOUT, 11))
    folder = write(tmp_path / "b", "noodle.json", nested(TWIN, 22))
    found = resolved([home, folder])
    assert (found.values[TIMEOUT], found.values[TWIN]) == (22, 22)
    assert located(found.chosen[TIMEOUT], TIMEOUT).startswith(f"{folder}/noodle.json:1:")


def test_unequal_twins_of_one_layer_are_refused_with_both_places(tmp_path: Path) -> None:
    write(tmp_path, "noodle.json", nested(TIMEOUT, 11))
    write(tmp_path, "self_improvement_upgrade_config.json", nested(TWIN, 22))
    (problem,) = problems_of([tmp_path])
    assert problem.kind is ProblemKind.CONSISTENCY
    assert {"noodle.json:1:", "self_improvement_upgrade_config.json:1:"} <= {
        name
        for name in ("noodle.json:1:", "self_improvement_upgrade_config.json:1:")
        if name in str(problem)
    }


def test_one_key_in_two_files_of_a_folder_must_be_equal(tmp_path: Path) -> None:
    write(tmp_path, "noodle.json", nested(TIMEOUT, 11))
    write(tmp_path, "component_sections.json", nested(TIMEOUT, 11))
    assert resolved([tmp_path]).values[TIMEOUT] == 11
    write(tmp_path, "component_sections.json", nested(TIMEOUT, 12))
    assert [one.kind for one in problems_of([tmp_path])] == [ProblemKind.CONSISTENCY]


def test_a_general_key_counts_only_from_a_higher_layer(tmp_path: Path) -> None:
    assert resolved().values[IMMEDIATE] == 60
    folder = write(tmp_path, "noodle.json", nested(IMMEDIATE, 50))
    assert resolved([folder], {"NOODLE_UPGRADE_TIMEOUT": "40"}).values[IMMEDIATE] == 40
    write(tmp_path, "component_sections.json", nested(TIMEOUT, 70))
    assert resolved([folder]).values[IMMEDIATE] == 50


def test_mappings_merge_and_lists_replace(tmp_path: Path) -> None:
    rules = "upgrade_validator.custom_validators.validation_rules"
    on = nested("upgrade_validator.custom_validators.enabled", True)
    critical = "self_improvement.runtime_upgrade_integration.critical_components"
    home = write(tmp_path / "a", "noodle.json", nested(RULES, {"a": {"timeout": 1}, "b": {}}))
    write(home, "component_sections.json", on)
    write(home, "runtime_upgrade_config.json", nested(critical, ["x", "y"]))
    folder = write(tmp_path / "b", "noodle.json", nested(RULES, {"b": {"severity": "warning"}}))
    write(folder, "runtime_upgrade_config.json", nested(critical, ["z"]))
    found = resolved([home, folder]).values
    assert {name: rule["severity"] for name, rule in found[rules].items()} == {
        "a": "error",
        "b": "warning",
    }
    assert found[critical] == ("z",)


def test_policies_and_windows_take_further_names(tmp_path: Path) -> None:
    policy = "deployment.policies.qa."
    policies: dict[str, dict[str, object]] = {
        "staging": {"deployment_environment": "development"},
        "development": {"deployment_environment": "staging"},
        "qa": {"deployment_environment": "production", "upgrade_strategy": "immediate"},
        "production": {"auto_trigger": False},
    }
    content = nested("deployment.policies", policies)
    problems = problems_of([write(tmp_path, "noodle.json", content)])
    assert [one.key for one in problems] == [f"{policy}deployment_environment"]
    del policies["qa"]
    found = resolved([write(tmp_path, "noodle.json", content)]).values
    assert found["deployment.policies.production.auto_trigger"] is False
    assert found["deployment.policies.production.upgrade_strategy"] == "gradual"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", False), ("1", True), ("False", False), ("YES", True), ("off", False), (" on ", True)],
)
def test_a_switch_is_read_in_any_case(text: str, *, value: bool) -> None:
    assert resolved([], {"NOODLE_ROLLBACK_ENABLED": text}).values[ROLLBACK] is value


@pytest.mark.parametrize("text", ["", " ", "maybe", "2", "\u0660"])
def test_a_switch_that_is_none_is_refused(text: str) -> None:
    found = problems_of([], {"NOODLE_ROLLBACK_ENABLED": text})
    assert {one.place for one in found} == {"NOODLE_ROLLBACK_ENABLED"}


def test_a_variable_is_read_by_the_kind_of_its_key() -> None:
    found = resolved(
        [],
        {
            "NOODLE_MAX_CONCURRENT_UPGRADES": "1",
            "NOODLE_RUNTIME_UPGRADE_TIMEOUT": "60",
            "NOODLE_CRITICAL_COMPONENTS": " a, b ,c",
            "NOODLE_runtime_upgrade.hot_swap.swap_timeout": "45",
            "NOODLE_deployment.policies.production.timing_constraints.blackout_periods": "[]",
        },
    ).values
    at_once = found["runtime_upgrade_manager.max_concurrent_upgrades"]
    assert (at_once, type(at_once)) == (1, int)
    step = found["runtime.coordination.upgrade_timeout"]
    assert (step, type(step)) == (60.0, float)
    critical = "self_improvement.runtime_upgrade_integration.critical_components"
    assert found[critical] == ("a", "b", "c")
    assert found["runtime_upgrade.hot_swap.swap_timeout"] == 45


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("NOODLE_MAX_CONCURRENT_UPGRADES", "3.0"),
        ("NOODLE_MAX_CONCURRENT_UPGRADES", "true"),
        ("NOODLE_MAX_CONCURRENT_UPGRADES", "65"),
        ("NOODLE_MAX_CONCURRENT_UPGRADES", "1_0"),
        ("NOODLE_RUNTIME_UPGRADE_TIMEOUT", "nan"),
        ("NOODLE_RUNTIME_UPGRADE_TIMEOUT", "1e99"),
        ("NOODLE_RUNTIME_UPGRADE_TIMEOUT", "9" * 4000),
        ("NOODLE_CRITICAL_COMPONENTS", "a,,b"),
        ("NOODLE_LOG_LEVEL", "info"),
        ("NOODLE_TIMEOUT", "1"),
        ("NOODLE_runtime_upgrade.enabledd", "1"),
        ("NOODLE_", "1"),
    ],
)
def test_a_bad_variable_is_named(variable: str, text: str) -> None:
    assert {one.place for one in problems_of([], {variable: text})} == {variable}


def test_one_bad_value_takes_no_other_with_it(tmp_path: Path) -> None:
    """What is wrong is left out and told; what stands beside it is still known."""
    folder = write(
        tmp_path,
        "noodle.json",
        {
            "runtime_upgrade_manager": {"default_timeout": "x", "max_concurrent_upgrades": 2.0},
            "deployment": {"policies": {"a b": {}, "staging": {"auto_trigger": False}}},
            "debug": 3,
        },
    )
    inputs = read_inputs([folder], {}, user=os.geteuid(), group=os.getegid())
    found, problems = examine(inputs)
    assert [one.key for one in problems] == [TIMEOUT, "deployment.policies.a b", "debug"]
    assert found.values[TIMEOUT] == catalogue().defaults[TIMEOUT]
    at_once = found.values["runtime_upgrade_manager.max_concurrent_upgrades"]
    assert (at_once, type(at_once)) == (2, int)
    assert found.values["deployment.policies.staging.auto_trigger"] is False


def test_a_whole_number_may_be_written_as_json_writes_numbers(tmp_path: Path) -> None:
    for text, value in (("30.0", 30), ("3e1", 30), ("30", 30)):
        content = json.dumps(nested(TIMEOUT, "here")).replace('"here"', text)
        found = resolved([write(tmp_path, "noodle.json", content)]).values[TIMEOUT]
        assert (found, type(found)) == (value, int)
    for number, kind in ((30.5, ProblemKind.TYPE), (1e15, ProblemKind.RANGE)):
        (problem,) = problems_of([write(tmp_path, "noodle.json", nested(TIMEOUT, number))])
        assert (problem.key, problem.kind) == (TIMEOUT, kind)


def test_an_unknown_name_comes_with_the_nearest_real_one(tmp_path: Path) -> None:
    folder = write(tmp_path, "noodle.json", nested("runtime_upgrade.enabledd", True))
    found = problems_of([folder], {"NOODLE_UPGRADE_TIMEOUTS": "3"})
    assert "did you mean runtime_upgrade.enabled?" in str(found[0])
    assert "did you mean NOODLE_UPGRADE_TIMEOUT?" in str(found[1])


def test_all_problems_of_all_sources_are_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, "noodle.json", "{ not json")
    write(tmp_path, "component_sections.json", nested("encryption.key_source", "moon"))
    write(tmp_path, "runtime_upgrade_config.json", nested("runtime_upgrade.enabled", 1))
    found = problems_of([tmp_path], {"NOODLE_DEBUG": "x"}, [("nope", "1")])
    assert [one.kind for one in found] == [
        ProblemKind.UNKNOWN,
        ProblemKind.RANGE,
        ProblemKind.SYNTAX,
        ProblemKind.TYPE,
        ProblemKind.TYPE,
    ]


def test_rules_between_keys_are_asked_beside_wrong_values(tmp_path: Path) -> None:
    """Nobody mends one thing to be told of the next; what is wrong itself is not asked about."""
    canary = "runtime_upgrade.strategies.strategy_configs.canary"
    content = {
        **nested(f"{canary}.initial_percentage", 90),
        "encryption": {"key_source": "moon", "data_in_transit_encryption": False},
        "secure_communication": {"tls_required": True},
    }
    found = problems_of([write(tmp_path, "noodle.json", content)])
    assert [(one.kind, one.key) for one in found] == [
        (ProblemKind.CONSISTENCY, f"{canary}.initial_percentage"),
        (ProblemKind.RANGE, "encryption.key_source"),
        (ProblemKind.CONSISTENCY, "secure_communication.tls_required"),
    ]
    content["runtime_upgrade"]["strategies"]["strategy_configs"]["canary"]["max_percentage"] = "x"  # type: ignore[index]
    found = problems_of([write(tmp_path, "noodle.json", content)])
    assert f"{canary}.initial_percentage" not in {one.key for one in found}


def test_a_problem_has_its_line_and_column(tmp_path: Path) -> None:
    folder = write(tmp_path, "noodle.json", '{\n "debug": {\n  "log_level": "LOUD"}}')
    (problem,) = problems_of([folder])
    assert problem.place == f"{folder}/noodle.json:3:3"


@pytest.mark.parametrize("value", [0, 65, -1, 1.5, "3", None, [], True, {}])
def test_a_value_of_another_kind_or_out_of_bounds_is_refused(tmp_path: Path, value: object) -> None:
    key = "runtime_upgrade_manager.max_concurrent_upgrades"
    (problem,) = problems_of([write(tmp_path, "noodle.json", nested(key, value))])
    assert (problem.kind, problem.key) == (
        ProblemKind.RANGE if value in (0, 65, -1) and value is not True else ProblemKind.TYPE,
        key,
    ) or value is True


def test_what_a_higher_layer_covers_must_be_right_as_well(tmp_path: Path) -> None:
    folder = write(tmp_path, "noodle.json", nested(TIMEOUT, 0))
    assert [one.key for one in problems_of([folder], {"NOODLE_UPGRADE_TIMEOUT": "5"})] == [TIMEOUT]


# -- dependency ---------------------------------------------------------------------------


def test_what_was_set_beside_a_switch_that_is_off_is_refused(tmp_path: Path) -> None:
    content = {"runtime_upgrade": {"rollback": {"enabled": False, "max_rollback_points": 3}}}
    found = problems_of([write(tmp_path, "noodle.json", content)])
    assert {one.kind for one in found} == {ProblemKind.DEPENDENCY}
    assert POINTS in {one.key for one in found}


def test_a_switch_that_a_higher_layer_turns_off_is_meant(tmp_path: Path) -> None:
    folder = write(tmp_path, "noodle.json", nested(POINTS, 3))
    found = resolved([folder], {"NOODLE_ROLLBACK_ENABLED": "0"})
    assert found.inert[POINTS]
    assert found.values[POINTS] == 3
    assert any(POINTS in warning for warning in found.warnings)


def test_defaults_beside_a_switch_that_is_off_are_only_without_effect(tmp_path: Path) -> None:
    found = resolved([write(tmp_path, "noodle.json", nested(ROLLBACK, False))])
    assert POINTS in found.inert
    assert "runtime_upgrade.rollback.automatic_rollback.trigger_threshold" in found.inert
    assert not found.in_force().acts("rollback_manager.cleanup.enabled")


# -- consistency and security --------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"runtime_upgrade.strategies.strategy_configs.canary.initial_percentage": 60},
        {"ai_agents.rollback.automatic_rollback_threshold": 0.8},
        {"rollback_manager.rollback_retention_days": 31},
        {"rollback_manager.cleanup.max_retention_days": 29},
        {
            "secure_communication.tls_required": True,
            "encryption.data_in_transit_encryption": False,
        },
        {
            "deployment.policies.production.upgrade_strategy": "canary",
            "deployment.policies.production.timing_constraints.maintenance_windows": [
                "02:00-02:10"
            ],
        },
        {
            "deployment.policies.staging.upgrade_strategy": "gradual",
            "deployment.maintenance_windows.staging.end": "06:02",
        },
        {"deployment.policies.staging.deployment_environment": "production"},
    ],
)
def test_values_that_contradict_each_other_are_refused(
    tmp_path: Path, values: dict[str, object]
) -> None:
    for index, (key, value) in enumerate(values.items()):
        write(tmp_path, FILES[index], nested(key, value))
    found = problems_of([tmp_path])
    assert [one.kind for one in found] == [ProblemKind.CONSISTENCY]
    assert found[0].place.startswith(str(tmp_path))


def test_a_policy_that_nobody_touched_binds_its_own_environment_only() -> None:
    """Five hours do not fit into the window of production; elsewhere nobody minds it."""
    variables = {"NOODLE_UPGRADE_TIMEOUT": str(5 * 3600)}
    for more in ({}, {"NOODLE_ENVIRONMENT": "development"}):
        assert resolved(variables={**variables, **more}).values[TIMEOUT] == 5 * 3600
    (problem,) = problems_of(variables={**variables, "NOODLE_ENVIRONMENT": "production"})
    assert problem.kind is ProblemKind.CONSISTENCY


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("debug.stack_traces", True),
        ("security.component_validation.signature_verification", False),
        ("security.component_validation.malware_scanning", False),
        ("secure_communication.certificate_validation", False),
    ],
)
def test_production_refuses_what_other_environments_allow(
    tmp_path: Path, key: str, value: object
) -> None:
    folder = write(tmp_path, "noodle.json", nested(key, value))
    (problem,) = problems_of([folder], {"NOODLE_ENVIRONMENT": "production"})
    assert (problem.kind, problem.key) == (ProblemKind.SECURITY, key)
    assert resolved([folder], {"NOODLE_ENVIRONMENT": "staging"}).values[key] == value


def test_an_environment_that_is_none_is_refused() -> None:
    (problem,) = problems_of([], {"NOODLE_ENVIRONMENT": "prodution"})
    assert "did you mean production?" in str(problem)


def test_secrets_have_no_place_in_a_file_and_are_never_shown(tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMII"
    arguments = {"x": {"args": {"a": [{"password": "hunter2"}]}}}
    validators = {"enabled": True, "validation_rules": arguments}
    said = nested("upgrade_validator.custom_validators", validators)
    write(tmp_path, "runtime_upgrade_config.json", said)
    write(tmp_path, "noodle.json", {"security": {"api_token": "hunter2"}})
    write(tmp_path, "component_sections.json", nested("debug.log_file", key))
    found = problems_of([tmp_path])
    assert [one.kind for one in found] == [ProblemKind.SECURITY] * 3
    assert not any("hunter2" in str(one) or "MII" in str(one) for one in found)


def test_a_file_that_others_may_write_is_not_taken(tmp_path: Path) -> None:
    folder = write(tmp_path, "noodle.json", nested(TIMEOUT, 5))
    (folder / "noodle.json").chmod(0o646)
    (problem,) = problems_of([folder])
    assert (problem.kind, "o+w" in problem.text) == (ProblemKind.SECURITY, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_taken(tmp_path: Path) -> None:
    folder = write(tmp_path, "noodle.json", nested(TIMEOUT, 5))
    os.chown(folder / "noodle.json", 4711, 4711)
    assert "4711" in str(problems_of([folder])[0])


@pytest.mark.parametrize("content", ["[]", "null", "3", '"x"'])
def test_a_file_that_holds_no_object_is_refused(tmp_path: Path, content: str) -> None:
    (problem,) = problems_of([write(tmp_path, "noodle.json", content)])
    assert problem.kind is ProblemKind.SYNTAX


def test_what_is_no_file_or_too_large_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "noodle.json").mkdir()
    os.mkfifo(tmp_path / "component_sections.json")
    with (tmp_path / FILES[0]).open("wb") as file:
        file.truncate(100 * FILE_BYTES_MAX)
    assert len(problems_of([tmp_path])) == 3


def test_all_names_that_stand_twice_are_told_and_what_ends_the_text_too(tmp_path: Path) -> None:
    text = '{"debug": {"enabled": true, "enabled": false},\n"debug": {},\n"debug": {},\n// no\n}'
    found = problems_of([write(tmp_path, "noodle.json", text)])
    places = [one.place.partition("noodle.json:")[2] for one in found]
    assert places == ["1:29", "2:1", "3:1", "4:1"]
    assert all("twice, the first time at 1:" in one.text for one in found[:3])


def test_a_link_to_nothing_does_not_mean_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "noodle.json").symlink_to("absent")
    (problem,) = problems_of([tmp_path])
    assert str(problem) == f"{tmp_path}/noodle.json: it is a link to nothing"
    assert config_folder({}, tmp_path) == tmp_path
    (tmp_path / FOLDER_CUSTOM).mkdir(parents=True)
    (tmp_path / FOLDER_CUSTOM / "noodle.json").mkdir()
    assert config_folder({}, tmp_path) == tmp_path / FOLDER_CUSTOM


def test_a_folder_of_an_environment_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "staging").write_text("{}")
    (problem,) = problems_of([tmp_path], {"NOODLE_ENVIRONMENT": "staging"})
    assert str(problem) == f"{tmp_path}/staging: it is no folder"


def test_a_closed_settings_folder_is_told_once_and_a_closed_working_folder_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path
    really_open, really_look = os.open, Path.lstat

    def is_within(path: object) -> bool:
        return str(path).startswith(f"{closed}/")

    def refuse(path: object) -> None:
        if is_within(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def opened(path: str, *more: int) -> int:
        refuse(path)
        return really_open(path, *more)

    def looked(path: Path) -> os.stat_result:
        refuse(path)
        return really_look(path)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(Path, "lstat", looked)
    assert config_folder({}, tmp_path) is None
    closed = tmp_path / FOLDER_CUSTOM
    closed.mkdir(parents=True)
    assert config_folder({}, tmp_path) == closed
    (problem,) = problems_of([closed])
    assert str(problem) == f"{closed}: it cannot be looked into: Permission denied"


@pytest.mark.parametrize("version", [0, 2, "1", True, 1.5])
def test_a_file_of_another_version_is_refused(tmp_path: Path, version: object) -> None:
    content = {"version": version} | nested(TIMEOUT, 5)
    found = problems_of([write(tmp_path, "noodle.json", content)])
    assert [one.key for one in found] == ["version"]


# -- the reference ---------------------------------------------------------------------


def test_the_reference_files_load_each_alone_and_all_together(tmp_path: Path) -> None:
    folder = reference("config")
    assert resolved([folder]).values == catalogue().defaults
    for file in sorted(folder.glob("*.json")):
        one = write(tmp_path / file.stem, file.name, file.read_bytes())
        # A component section may stand in any of the six.
        other = write(tmp_path / f"{file.stem}-moved", FILES[0], file.read_bytes())
        for alone in (one, other):
            found = resolved([alone]).values
            differing = {key for key in found if found[key] != catalogue().defaults[key]}
            # A general key that a file states beats the default of a specific one (S1).
            assert differing <= {key.name for key, _ in catalogue().specific}
            assert not differing or file.stem in {
                "component_sections",
                "self_improvement_upgrade_config",
            }


@pytest.mark.parametrize("name", ["development", "staging", "production", "minimal"])
def test_the_four_environments_load(name: str) -> None:
    text = reference(f"environments/{name}.env").read_text()
    variables = dict(line.split("=", 1) for line in text.split())
    found = resolved([reference("config")], variables)
    for variable, keys in catalogue().variables.items():
        if variable in variables:
            assert all(found.chosen[key].layer is Layer.VARIABLE for key in keys)


def test_what_is_in_force_is_what_the_model_makes_of_it() -> None:
    """The flat values and the typed model say the same."""
    made = Settings().model_dump(mode="json")
    for name, value in catalogue().defaults.items():
        found: object = made
        for part in name.split("."):
            assert isinstance(found, dict)
            found = found[part]
        assert json.loads(json.dumps(value)) == found, name


def test_the_config_folder_is_named_or_the_applications(tmp_path: Path) -> None:
    assert config_folder({}, tmp_path) is None
    write(tmp_path, "noodle.json", {})
    assert config_folder({}, tmp_path) == tmp_path
    core = write(tmp_path / "noodle-core" / "config", "noodle.json", {})
    assert config_folder({}, tmp_path) == core
    assert config_folder({"NOODLE_CONFIG_DIR": "x"}, tmp_path) == tmp_path / "x"


def test_a_folder_that_holds_files_of_the_environment_alone_is_found(tmp_path: Path) -> None:
    core = tmp_path / "noodle-core" / "config"
    write(core / "staging", "noodle.json", {})
    for environment, found in (
        ("staging", core),
        ("production", None),
        ("../config/staging", None),
    ):
        assert config_folder({"NOODLE_ENVIRONMENT": environment}, tmp_path) == found
    assert config_folder({}, tmp_path) is None


def test_equal_settings_have_one_hash_and_different_ones_another() -> None:
    one = resolved().in_force().stored()
    other = resolved([], {"NOODLE_UPGRADE_TIMEOUT": "7"}).in_force().stored()
    assert values_hash(one) == values_hash(dict(reversed(list(one.items()))))
    assert values_hash(one) != values_hash(other)


def test_entries_of_one_name_in_two_files_of_a_folder_must_be_equal(tmp_path: Path) -> None:
    def said(seconds: float) -> dict[str, object]:
        return nested(RULES, {"x": {"timeout": seconds}, f"y{seconds}": {}})

    switch = nested("upgrade_validator.custom_validators.enabled", value=True)
    write(tmp_path / "above", "noodle.json", switch)
    folders = [tmp_path, tmp_path / "above"]
    write(tmp_path, "noodle.json", said(1.0))
    write(tmp_path, "component_sections.json", said(1.0))
    assert set(resolved(folders).values[RULES]) == {"x", "y1.0"}
    write(tmp_path, "component_sections.json", said(2.0))
    (problem,) = problems_of(folders)
    assert (problem.kind, problem.key) == (ProblemKind.CONSISTENCY, RULES)
    assert all(name in str(problem) for name in ("noodle.json:1:", "component_sections.json:1:"))


@pytest.mark.parametrize(
    ("switch", "key", "value"),
    [
        ("upgrade_validator.enabled", "runtime_upgrade.validation.level", "permissive"),
        (
            "self_improvement.ai_decision.runtime_upgrade_decisions_enabled",
            "ai_agents.upgrade_integration.decision_threshold",
            0.4,
        ),
    ],
)
def test_what_acts_under_another_name_was_not_set_for_nothing(
    tmp_path: Path, switch: str, key: str, value: object
) -> None:
    write(tmp_path, "noodle.json", nested(switch, value=False))
    write(tmp_path, "component_sections.json", nested(key, value))
    found = resolved([tmp_path])
    (inert,) = found.inert.keys() & catalogue().twins_of(catalogue().keys[key])
    assert found.values[inert] == value


def test_half_a_second_of_a_general_limit_is_a_whole_one_of_a_specific_key(tmp_path: Path) -> None:
    write(tmp_path, "noodle.json", nested("hot_swap_engine.default_swap_timeout", 0.5))
    assert resolved([tmp_path]).values["runtime_upgrade.hot_swap.swap_timeout"] == 1
    assert isinstance(resolved([tmp_path]).values["runtime_upgrade.hot_swap.swap_timeout"], int)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("NOODLE_HOME", ""),
        ("NOODLE_JOURNAL_KEY", " "),
        ("NOODLE_RUNTIME_UPGRADE_DEBUG", ""),
        ("NOODLE_RUNTIME_UPGRADE_DEBUG", "maybe"),
    ],
)
def test_a_variable_that_sets_no_key_must_be_right_as_well(variable: str, text: str) -> None:
    (problem,) = problems_of(variables={variable: text})
    assert (problem.kind, problem.place) == (ProblemKind.TYPE, variable)
    right = {"NOODLE_RUNTIME_UPGRADE_DEBUG": " Yes ", "NOODLE_FROM": "", "NOODLE_HOME": "/x"}
    assert resolved(variables=right).values == catalogue().defaults


def test_a_problem_is_one_line_whatever_a_name_or_a_value_holds(tmp_path: Path) -> None:
    folder = write(tmp_path / "a\nb\udcff", "noodle.json", {"x\nwrong: y\x1b[2J": 1})
    write(folder, "component_sections.json", {"debug": {"log_level": "a\nb", "\x07": 1}})
    for problem in problems_of([folder], {"NOODLE_X\ny": "1"}):
        assert str(problem).isprintable()
        assert problem.without_value.isprintable()
