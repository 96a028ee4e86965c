"""Settings for programs that know the reference's classes: a loader, and five faces.

Thin: everything is the model's. A face shows values in force by the names that the
reference gives them; where it had a class for each integration, here is one section.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from noodle_policies.settings.failures import nearest
from noodle_policies.settings.reading.files import Inputs, config_folder, read_inputs, read_one
from noodle_policies.settings.resolving import resolve
from noodle_policies.settings.values import nested

__all__ = [
    "AIIntegrationConfig",
    "CompilerIntegrationConfig",
    "ConfigurationLoader",
    "DeploymentIntegrationConfig",
    "Part",
    "RuntimeIntegrationConfig",
    "SelfImprovementConfig",
]


class ConfigurationLoader:
    """Loads settings from one file or from a folder of settings files, under variables.

    config: what is in force, nested as in a file; nothing before the first load. A load is
    all or nothing: after a failure `config` is what it was. Not for several threads.
    """

    def __init__(self, config_file: Path | str, variables: Mapping[str, str] | None = None) -> None:
        self.config_file = Path(config_file)
        self.config: dict[str, Any] = {}
        self._variables = variables
        self._digest: str | None = None

    def load_config(self) -> dict[str, Any]:
        """Read, check and return every setting, those at their default included.

        Raises SettingsInvalid with everything that is wrong.
        """
        return self._load(self._inputs())

    def reload_config(self) -> bool:
        """Load again if file or variables changed since; whether they did.

        What they hold decides, not their times. Raises SettingsInvalid; the settings of
        before stay then, and the next call looks again.
        """
        inputs = self._inputs()
        if inputs.digest == self._digest:
            return False
        self._load(inputs)
        return True

    def _inputs(self) -> Inputs:
        variables = os.environ if self._variables is None else self._variables
        user, group = os.geteuid(), os.getegid()
        if self.config_file.is_dir():
            return read_inputs([self.config_file], variables, user=user, group=group)
        return read_one(self.config_file, variables, user=user, group=group)

    def _load(self, inputs: Inputs) -> dict[str, Any]:
        # Whoever asked may change what they got: it is theirs, and shared with nobody.
        self.config = copy.deepcopy(nested(resolve(inputs).values))
        self._digest = inputs.digest
        return self.config


class Part:
    """Settings of one section as attributes. Nothing can be set."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getattr__(self, name: str) -> Any:
        values: dict[str, Any] = object.__getattribute__(self, "_values")
        if name not in values:
            raise AttributeError(f"there is no setting {name} here{nearest(name, values)}")
        return values[name]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be set here: settings come from files and variables")

    def __dir__(self) -> list[str]:
        return list(self._values)

    def __repr__(self) -> str:
        return f"Part({self._values!r})"


class _Face:
    """A face: one section, and keys from elsewhere that the reference shows with it."""

    _SECTION: ClassVar[str]
    _BESIDE: ClassVar[Mapping[str, str]] = {}

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        in_force = _in_force() if values is None else values
        prefix = f"{self._SECTION}."
        shown = {
            key.removeprefix(prefix): value
            for key, value in in_force.items()
            if key.startswith(prefix)
        }
        shown |= {name: in_force[key] for name, key in self._BESIDE.items()}
        self._part: Final = Part(shown)


class SelfImprovementConfig(_Face):
    """How the engine files upgrades by itself: section self_improvement.

    values: settings in force by key; without them, those of the variables and of the
    settings folder of the working folder. Raises SettingsInvalid.
    """

    _SECTION = "self_improvement.runtime_upgrade_integration"

    @property
    def runtime_upgrade_integration(self) -> Part:
        """Its keys, as attributes."""
        return self._part


class RuntimeIntegrationConfig(_Face):
    """How upgrades and the running system know of each other: section runtime."""

    _SECTION = "runtime.upgrade_integration"

    @property
    def runtime_upgrade_integration(self) -> Part:
        """Its keys, as attributes."""
        return self._part


class CompilerIntegrationConfig(_Face):
    """How stages of the compiler are upgraded: section compiler."""

    _SECTION = "compiler.upgrade_integration"

    @property
    def compiler_upgrade_integration(self) -> Part:
        """Its keys, as attributes."""
        return self._part


class AIIntegrationConfig(_Face):
    """How agents vote on upgrades: section ai_agents."""

    _SECTION = "ai_agents.upgrade_integration"

    @property
    def ai_upgrade_integration(self) -> Part:
        """Its keys, as attributes."""
        return self._part


class DeploymentIntegrationConfig(_Face):
    """How upgrades and deployments know of each other: section deployment."""

    _SECTION = "deployment.upgrade_integration"
    _BESIDE: ClassVar[Mapping[str, str]] = {
        "max_concurrent_upgrades": "deployment.coordination.max_concurrent_upgrades"
    }

    @property
    def deployment_upgrade_integration(self) -> Part:
        """Its keys, and max_concurrent_upgrades of section coordination, as attributes."""
        return self._part


def _in_force() -> Mapping[str, Any]:
    folder = config_folder(os.environ, Path.cwd())
    folders = [] if folder is None else [folder]
    return resolve(read_inputs(folders, os.environ, user=os.geteuid(), group=os.getegid())).values
