"""Starting files of a settings folder: what four kinds of environment begin with.

Pure. JSON has no comments: what each value does stands in `settings.md` beside the files,
made from the model like everything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from noodle_policies.settings.migrating import VERSION
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.reading.files import FILES, KNOWN_VARIABLES
from noodle_policies.settings.reading.texts import read_variables
from noodle_policies.settings.resolving import ENVIRONMENTS
from noodle_policies.settings.values import nested, value_text

__all__ = ["NOTES_FILE", "PRESETS", "file_of", "starting_files"]

NOTES_FILE: Final = "settings.md"
_COMPONENTS: Final = "component_sections.json"
_OWN_FILES: Final = {
    "runtime_upgrade": "runtime_upgrade_config.json",
    "self_improvement": "self_improvement_upgrade_config.json",
    "runtime": "runtime_upgrade_integration_config.json",
    "compiler": "compiler_upgrade_integration_config.json",
    "ai_agents": "ai_agents_upgrade_integration_config.json",
    "deployment": "deployment_upgrade_integration_config.json",
    "noodle": "noodle.json",
}

_EVERYWHERE: Final = {
    "NOODLE_RUNTIME_UPGRADE_ENABLED": "1",
    "NOODLE_HOT_SWAP_ENABLED": "1",
    "NOODLE_ROLLBACK_ENABLED": "1",
    "NOODLE_SELF_IMPROVEMENT_UPGRADE_INTEGRATION": "1",
    "NOODLE_RUNTIME_UPGRADE_TRIGGERS": "1",
    "NOODLE_RUNTIME_UPGRADE_INTEGRATION": "1",
    "NOODLE_RUNTIME_UPGRADE_SYNC": "1",
    "NOODLE_COMPILER_UPGRADE_INTEGRATION": "1",
    "NOODLE_COMPILER_VERSION_AWARE": "1",
    "NOODLE_COMPILER_AUTO_RECOMPILE": "1",
    "NOODLE_AI_UPGRADE_INTEGRATION_ENABLED": "1",
    "NOODLE_AI_UPGRADE_DECISION_THRESHOLD": "0.8",
    "NOODLE_AI_ROLLBACK_TRIGGER_THRESHOLD": "0.7",
    "NOODLE_DEPLOYMENT_UPGRADE_SYNC_INTERVAL": "60",
    "NOODLE_UPGRADE_DEPLOYMENT_TIMEOUT": "1800",
    "NOODLE_DEPLOYMENT_UPGRADE_HISTORY_DAYS": "30",
}
PRESETS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "development": {
            **_EVERYWHERE,
            "NOODLE_UPGRADE_VALIDATION_LEVEL": "normal",
            "NOODLE_DEBUG": "1",
            "NOODLE_RUNTIME_UPGRADE_DEBUG": "1",
            "NOODLE_LOG_LEVEL": "DEBUG",
            "NOODLE_RUNTIME_UPGRADE_TIMEOUT": "60",
        },
        "staging": {
            **_EVERYWHERE,
            "NOODLE_UPGRADE_VALIDATION_LEVEL": "strict",
            "NOODLE_AUTO_UPGRADE_APPROVAL": "0",
            "NOODLE_RUNTIME_UPGRADE_TRIGGERS": "0",
            "NOODLE_RUNTIME_UPGRADE_TIMEOUT": "120",
            "NOODLE_COMPILER_PAUSE_ON_UPGRADE": "1",
            "NOODLE_AI_UPGRADE_DECISION_THRESHOLD": "0.9",
            "NOODLE_AI_ROLLBACK_TRIGGER_THRESHOLD": "0.8",
            "NOODLE_DEPLOYMENT_UPGRADE_SYNC_INTERVAL": "120",
            "NOODLE_UPGRADE_DEPLOYMENT_TIMEOUT": "3600",
            "NOODLE_DEPLOYMENT_UPGRADE_HISTORY_DAYS": "60",
        },
        "production": {
            **_EVERYWHERE,
            "NOODLE_UPGRADE_VALIDATION_LEVEL": "strict",
            "NOODLE_AUTO_UPGRADE_APPROVAL": "0",
            "NOODLE_CRITICAL_COMPONENTS": "memory_manager,jit_compiler,vm_engine",
            "NOODLE_RUNTIME_UPGRADE_TIMEOUT": "30",
            "NOODLE_RUNTIME_PERFORMANCE_MONITORING": "1",
            "NOODLE_COMPILER_AUTO_RECOMPILE": "0",
            "NOODLE_COMPILER_PAUSE_ON_UPGRADE": "0",
            "NOODLE_DEBUG": "0",
            "NOODLE_LOG_LEVEL": "INFO",
        },
        "minimal": {
            "NOODLE_RUNTIME_UPGRADE_ENABLED": "1",
            "NOODLE_HOT_SWAP_ENABLED": "0",
            "NOODLE_ROLLBACK_ENABLED": "0",
            "NOODLE_UPGRADE_VALIDATION_LEVEL": "permissive",
            "NOODLE_SELF_IMPROVEMENT_UPGRADE_INTEGRATION": "0",
            "NOODLE_RUNTIME_UPGRADE_INTEGRATION": "0",
            "NOODLE_COMPILER_UPGRADE_INTEGRATION": "0",
            "NOODLE_AI_UPGRADE_INTEGRATION_ENABLED": "0",
            "NOODLE_DEPLOYMENT_UPGRADE_SYNC_INTERVAL": "300",
            "NOODLE_DEBUG": "0",
            "NOODLE_LOG_LEVEL": "WARNING",
        },
    }
)
"""What each kind of environment begins with, by the variables that set it."""


def file_of(key: str) -> str:
    """The file in which a key stands by custom. It may stand in any of them."""
    return _OWN_FILES.get(key.partition(".")[0], _COMPONENTS)


def starting_files(environment: str) -> dict[str, str]:
    """The files that an environment of PRESETS begins with, by name; NOTES_FILE is the last.

    Raises KeyError for another environment.
    """
    given, problems = read_variables(PRESETS[environment])
    assert not problems, problems
    values = {one.key: one.value for one in given}
    files: dict[str, dict[str, Any]] = {}
    for key in catalogue().keys:
        if key in values:
            files.setdefault(file_of(key), {})[key] = values[key]
    texts: dict[str, str] = {
        str(name): json.dumps({"version": VERSION, **nested(files[name])}, indent=2) + "\n"
        for name in FILES
        if name in files
    }
    return {**texts, NOTES_FILE: "\n".join(_notes(environment, files)) + "\n"}


def _notes(environment: str, files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield f"# Settings to begin with: {environment}"
    yield ""
    yield "JSON has no comments, so what the values in these files do stands here. Everything that"
    yield "is not in a file is at its default: `noodle config show` lists all settings, `noodle"
    yield "config explain KEY` tells of each what it does and what may be written, `noodle config"
    yield "validate` checks the files."
    if environment in ENVIRONMENTS:
        yield ""
        yield f"Set `NOODLE_ENVIRONMENT={environment}` where these are used: then the rules for it"
        yield f"hold, and files in a folder `{environment}` here count more than these."
    for variable in PRESETS[environment].keys() & KNOWN_VARIABLES.keys():
        yield ""
        yield f"No file can set `{variable}={PRESETS[environment][variable]}`; set it where Noodle"
        yield f"runs. {KNOWN_VARIABLES[variable]}."
    for name, values in files.items():
        yield ""
        yield f"## {name}"
        for key, value in values.items():
            found = catalogue().keys[key]
            yield ""
            default = "" if value == found.default else f" (default `{value_text(found.default)}`)"
            yield f"`{key}` = `{value_text(value)}`{default}  "
            unit = f" ({found.facts.unit})" if found.facts.unit else ""
            yield f"{found.facts.says}. Legal: {found.bounds}{unit}."
