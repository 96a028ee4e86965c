"""The reference's classes show what is in force, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from noodle_policies.settings.faces import (
    AIIntegrationConfig,
    CompilerIntegrationConfig,
    ConfigurationLoader,
    DeploymentIntegrationConfig,
    Part,
    RuntimeIntegrationConfig,
    SelfImprovementConfig,
)
from noodle_policies.settings.failures import SettingsInvalid
from noodle_policies.settings.model.catalogue import catalogue
from tests.unit.policies.settings.sources import nested, resolved, write

TIMEOUT = "runtime_upgrade_manager.default_timeout"


def timeout(loader: ConfigurationLoader) -> object:
    return loader.config["runtime_upgrade_manager"]["default_timeout"]


def parts(values: object = None) -> dict[str, Part]:
    """Each face's part, by the section it is of."""
    given = catalogue().defaults if values is None else resolved([], dict(values)).values  # type: ignore[call-overload]
    return {
        "self_improvement.runtime_upgrade_integration": SelfImprovementConfig(
            given
        ).runtime_upgrade_integration,
        "runtime.upgrade_integration": RuntimeIntegrationConfig(given).runtime_upgrade_integration,
        "compiler.upgrade_integration": CompilerIntegrationConfig(
            given
        ).compiler_upgrade_integration,
        "ai_agents.upgrade_integration": AIIntegrationConfig(given).ai_upgrade_integration,
        "deployment.upgrade_integration": DeploymentIntegrationConfig(
            given
        ).deployment_upgrade_integration,
    }


def test_what_was_loaded_may_be_changed_and_changes_nothing_else(tmp_path: Path) -> None:
    first = ConfigurationLoader(write(tmp_path, "noodle.json", {}), {})
    validators = first.load_config()["upgrade_validator"]["custom_validators"]
    validators["validation_rules"]["mine"] = {}
    validators["enabled"] = True
    assert resolved().values == catalogue().defaults
    again = ConfigurationLoader(tmp_path, {}).load_config()
    assert again["upgrade_validator"]["custom_validators"]["validation_rules"] == {}


def test_a_face_has_exactly_the_keys_of_its_section() -> None:
    for section, part in parts().items():
        prefix = f"{section}."
        keys = {
            key.removeprefix(prefix): value
            for key, value in catalogue().defaults.items()
            if key.startswith(prefix)
        }
        shown = {name: getattr(part, name) for name in dir(part)}
        if section.startswith("deployment"):
            assert shown.pop("max_concurrent_upgrades") == 2
        assert shown == keys


def test_a_face_shows_what_a_variable_sets_and_a_twin_says() -> None:
    found = parts(
        {
            "NOODLE_MAX_CONCURRENT_UPGRADES": "5",
            "NOODLE_UPGRADE_TIMEOUT": "77",
            "NOODLE_AI_UPGRADE_DECISION_THRESHOLD": "0.9",
            "NOODLE_DEPLOYMENT_MAX_CONCURRENT_UPGRADES": "7",
        }
    )
    improving = found["self_improvement.runtime_upgrade_integration"]
    assert (improving.max_concurrent_upgrades, improving.upgrade_timeout) == (5, 77)
    threshold = found["ai_agents.upgrade_integration"].decision_threshold
    at_once = found["deployment.upgrade_integration"].max_concurrent_upgrades
    assert (threshold, at_once) == (0.9, 7)


def test_nothing_can_be_set_on_a_face_and_a_wrong_name_gets_the_nearest() -> None:
    part = parts()["compiler.upgrade_integration"]
    with pytest.raises(AttributeError):
        part.enabled = False
    with pytest.raises(AttributeError, match="did you mean upgrade_timeout"):
        _ = part.upgrade_timeouts
    assert part.enabled is True


def test_a_face_without_values_reads_what_counts_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("NOODLE_")]:
        monkeypatch.delenv(name)
    write(tmp_path, "noodle.json", nested(TIMEOUT, 33))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOODLE_RUNTIME_UPGRADE_SYNC", "0")
    assert SelfImprovementConfig().runtime_upgrade_integration.upgrade_timeout == 33
    assert RuntimeIntegrationConfig().runtime_upgrade_integration.auto_sync is False


@pytest.mark.parametrize("what", ["noodle.json", "my own.json", "."])
def test_a_loader_reads_a_file_or_a_folder_under_variables(tmp_path: Path, what: str) -> None:
    write(tmp_path, "noodle.json" if what == "." else what, nested(TIMEOUT, 5))
    variables = {"NOODLE_LOG_LEVEL": "ERROR"}
    loader = ConfigurationLoader(tmp_path / what, variables)
    assert loader.config == {}
    assert loader.load_config() is loader.config
    assert (timeout(loader), loader.config["debug"]["log_level"]) == (5, "ERROR")
    assert set(loader.config) == {name.partition(".")[0] for name in catalogue().keys}


def test_a_reload_takes_what_changed_or_nothing(tmp_path: Path) -> None:
    variables: dict[str, str] = {}
    file = write(tmp_path, "a.json", nested(TIMEOUT, 5)) / "a.json"
    loader = ConfigurationLoader(file, variables)
    assert loader.reload_config() is True
    assert loader.reload_config() is False
    stamp = file.stat()
    write(tmp_path, "a.json", nested(TIMEOUT, 6))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert loader.reload_config() is True
    assert timeout(loader) == 6
    file.write_text("{")
    for _ in range(2):
        with pytest.raises(SettingsInvalid):
            loader.reload_config()
        assert timeout(loader) == 6
    file.unlink()
    with pytest.raises(SettingsInvalid):
        loader.load_config()
    write(tmp_path, "a.json", nested(TIMEOUT, 6))
    assert loader.reload_config() is False
    variables["NOODLE_UPGRADE_TIMEOUT"] = "9"
    assert loader.reload_config() is True
    assert timeout(loader) == 9
