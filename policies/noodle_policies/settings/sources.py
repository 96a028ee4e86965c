"""Where settings come from: a variable over a file over the default.

Owns the reading of the home's settings files and of the variables. Files are
JSON objects nested by the dots of the keys. All problems of all sources are
reported at once. It writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noodle_policies.settings.failures import SettingsInvalid, nearest
from noodle_policies.settings.model import Key, Settings, keys

__all__ = ["FILES", "FILE_BYTES_MAX", "KNOWN_VARIABLES", "Loaded", "load_settings"]

FILE_BYTES_MAX = 1 << 20
FILES = (
    "runtime_upgrade_config.json",
    "self_improvement_upgrade_config.json",
    "runtime_upgrade_integration_config.json",
    "compiler_upgrade_integration_config.json",
    "ai_agents_upgrade_integration_config.json",
    "deployment_upgrade_integration_config.json",
    "component_sections.json",
    "noodle.json",
)
KNOWN_VARIABLES = frozenset(
    {
        "NOODLE_HOME",
        "NOODLE_CONFIG_DIR",
        "NOODLE_JOURNAL_KEY",
        # Hooks get these four; a `noodle` that a hook starts must not mind them.
        "NOODLE_UPGRADE_ID",
        "NOODLE_STEP_KEY",
        "NOODLE_FROM",
        "NOODLE_TO",
    }
)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, by the model and by their keys."""

    settings: Settings
    by_key: dict[str, Any]


def load_settings(folders: Sequence[Path], environment: Mapping[str, str]) -> Loaded:
    """The settings of some folders, each over the one before, under these variables.

    Raises SettingsInvalid naming every bad place; an absent folder or file is
    no problem.
    """
    known = {key.name: key for key in keys()}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for folder in folders:
        for name in FILES:
            _read_file(folder / name, known, values, problems)
    _read_variables(environment, known, values, problems)
    if problems:
        raise SettingsInvalid(problems)
    chosen = {key.attribute: values[name] for name, key in known.items() if name in values}
    settings = Settings(**chosen)
    return Loaded(settings, {key.name: getattr(settings, key.attribute) for key in keys()})


def _read_file(
    path: Path, known: Mapping[str, Key], values: dict[str, Any], problems: list[str]
) -> None:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(f"{path.name}: {error.strerror}")
        return
    if len(raw) > FILE_BYTES_MAX:
        problems.append(f"{path.name}: larger than {FILE_BYTES_MAX} bytes")
        return
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        problems.append(f"{path.name}: {error}")
        return
    if not isinstance(content, dict):
        problems.append(f"{path.name}: not an object")
        return
    content.pop("version", None)
    for name, value in _leaves(content, ""):
        key = known.get(name)
        if key is None:
            problems.append(f"{path.name}: unknown key {name}{nearest(name, known)}")
            continue
        _take(f"{path.name}: {name}", key, value, values, problems)


def _leaves(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _read_variables(
    environment: Mapping[str, str],
    known: Mapping[str, Key],
    values: dict[str, Any],
    problems: list[str],
) -> None:
    by_variable = {key.variable: key for key in known.values() if key.variable}
    for variable, text in sorted(environment.items()):
        if not variable.startswith("NOODLE_") or variable in KNOWN_VARIABLES:
            continue
        key = by_variable.get(variable) or known.get(variable.removeprefix("NOODLE_"))
        if key is None:
            problems.append(
                f"unknown variable {variable}" + nearest(variable, (*by_variable, *KNOWN_VARIABLES))
            )
            continue
        try:
            _take(variable, key, _parsed(key, text), values, problems)
        except ValueError as error:
            problems.append(f"{variable}: {error}")


def _parsed(key: Key, text: str) -> Any:
    trimmed = text.strip()
    if not trimmed:
        raise ValueError("is empty")
    if key.kind is bool:
        if trimmed.lower() in _TRUE:
            return True
        if trimmed.lower() in _FALSE:
            return False
        raise ValueError(f"{trimmed!r} is not a boolean")
    if key.kind is int:
        return int(trimmed)
    return trimmed


def _take(where: str, key: Key, value: Any, values: dict[str, Any], problems: list[str]) -> None:
    if type(value) is not key.kind:
        problems.append(f"{where}: {value!r} is not {_KIND_NAMES[key.kind]}")
    elif key.choices and value not in key.choices:
        problems.append(f"{where}: {value!r} is none of {', '.join(key.choices)}")
    elif key.low is not None and isinstance(value, int) and value < key.low:
        problems.append(f"{where}: {value} is below {key.low:g}")
    elif key.high is not None and isinstance(value, int) and value > key.high:
        problems.append(f"{where}: {value} is above {key.high:g}")
    else:
        values[key.name] = value


_KIND_NAMES: dict[type, str] = {bool: "a boolean", int: "a whole number", str: "a text"}
