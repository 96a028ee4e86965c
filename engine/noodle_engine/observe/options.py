"""Which settings the logs obey, as plain values.

Owns the way from settings and one variable to options. It opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.observe.levels import Level
from noodle_policies.settings.sizes import size_bytes
from noodle_policies.settings.values import Values

__all__ = [
    "FALLBACK_NAME",
    "LOG_FILE_DEFAULT",
    "UPGRADE_DEBUG_VARIABLE",
    "AuditOptions",
    "LogOptions",
    "audit_options",
    "log_options",
]

UPGRADE_DEBUG_VARIABLE: Final = "NOODLE_RUNTIME_UPGRADE_DEBUG"
"""Sets no key: DEBUG for the loggers of upgrades alone."""
LOG_FILE_DEFAULT: Final = "/var/log/noodlecore/runtime_upgrade.log"
FALLBACK_NAME: Final = Path(LOG_FILE_DEFAULT).name
"""The log's name in the home, where the default cannot be written."""
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How the log is written.

    level, upgrade_level: from which level on (see Level). by_hand: whether
    somebody chose the file. traces: whether tracebacks of failures stand in it.
    """

    level: int
    upgrade_level: int
    path: Path
    by_hand: bool
    bytes_max: int
    rotate: bool
    traces: bool


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How the audit log is written. plain: whether names, paths and reasons stand in it."""

    enabled: bool
    level: int
    text: bool
    plain: bool
    days: int


def log_options(values: Values, environment: Mapping[str, str]) -> LogOptions:
    """The options of the log."""
    everything = values.switch("debug.enabled")
    level = Level.DEBUG if everything else _number(values.text("debug.log_level"))
    upgrades = environment.get(UPGRADE_DEBUG_VARIABLE, "").strip().lower() in _TRUE
    path = values.text("debug.log_file")
    return LogOptions(
        level=level,
        upgrade_level=Level.DEBUG if upgrades else level,
        path=Path(path),
        by_hand=path != LOG_FILE_DEFAULT,
        bytes_max=size_bytes(values.text("debug.max_log_size")),
        rotate=values.switch("debug.log_rotation"),
        traces=values.switch("debug.stack_traces"),
    )


def audit_options(values: Values) -> AuditOptions:
    """The options of the audit log."""
    return AuditOptions(
        enabled=values.switch("security.audit_logging.enabled"),
        level=_number(values.text("security.audit_logging.log_level")),
        text=values.text("security.audit_logging.log_format") == "text",
        plain=values.switch("security.audit_logging.include_sensitive_data"),
        days=values.whole("security.audit_logging.log_retention_days"),
    )


def _number(level: str) -> int:
    return Level[level]
