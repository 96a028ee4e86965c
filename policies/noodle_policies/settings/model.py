"""The settings that are obeyed so far, with their names, defaults and bounds.

Owns one field for each key; its metadata is the only list of keys there is.
A key that nothing obeys yet is not here, and is refused by name when a file
or a variable sets it: a setting that does nothing would be a lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["Key", "Settings", "keys", "settings_hash"]


def _key(
    name: str,
    *,
    default: bool | int | str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    variable: str | None = None,
) -> Any:
    facts = {"key": name, "low": low, "high": high, "choices": choices, "variable": variable}
    return field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True)
class Settings:
    """The values in force. Times are in the unit that the key has: seconds."""

    enabled: bool = _key(
        "runtime_upgrade.enabled", default=True, variable="NOODLE_RUNTIME_UPGRADE_ENABLED"
    )
    rollback_enabled: bool = _key(
        "runtime_upgrade.rollback.enabled", default=True, variable="NOODLE_ROLLBACK_ENABLED"
    )
    max_rollback_points: int = _key(
        "runtime_upgrade.rollback.max_rollback_points", default=10, low=1
    )
    rollback_retention_days: int = _key(
        "runtime_upgrade.rollback.rollback_retention_days", default=30, low=1
    )
    max_concurrent_upgrades: int = _key(
        "runtime_upgrade_manager.max_concurrent_upgrades",
        default=3,
        low=1,
        high=64,
        variable="NOODLE_MAX_CONCURRENT_UPGRADES",
    )
    default_timeout: int = _key(
        "runtime_upgrade_manager.default_timeout",
        default=300,
        low=1,
        variable="NOODLE_UPGRADE_TIMEOUT",
    )
    max_upgrade_history: int = _key(
        "runtime_upgrade_manager.max_upgrade_history", default=1000, low=1
    )
    rollback_timeout: int = _key("deployment.coordination.rollback_timeout", default=600, low=1)
    key_source: str = _key(
        "encryption.key_source", default="environment", choices=("environment", "file")
    )
    key_rotation_interval: int = _key("encryption.key_rotation_interval", default=86400, low=1)


@dataclass(frozen=True, slots=True)
class Key:
    """The facts of one key."""

    attribute: str
    name: str
    kind: type
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    variable: str | None


def keys() -> Iterator[Key]:
    """Every key, in the order of the model."""
    for one in fields(Settings):
        facts = one.metadata
        yield Key(
            attribute=one.name,
            name=facts["key"],
            kind=type(one.default),
            default=one.default,
            low=facts["low"],
            high=facts["high"],
            choices=facts["choices"],
            variable=facts["variable"],
        )


def settings_hash(values: dict[str, Any]) -> str:
    """The SHA-256 of settings by key, as canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
