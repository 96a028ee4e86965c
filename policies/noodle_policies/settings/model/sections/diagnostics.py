"""Sections `debug` and `diagnostics`: logs, and finding out what is wrong."""

from __future__ import annotations

from typing import Final

from noodle_policies.settings.model.kinds import AbsolutePath, LogLevel, Size
from noodle_policies.settings.model.section import (
    Section,
    choice,
    seconds,
    section,
    switch,
    text,
)

__all__ = ["Debug", "Diagnostics"]

_LOGS: Final = "noodle_engine.observe.options"
_OBSERVER: Final = "noodle_engine.execute.observing.observer"
_BUNDLING: Final = "noodle_engine.execute.observing.bundling"
_EXAMINING: Final = "noodle_engine.execute.observing.examining"
_DIAGNOSTICS: Final = "diagnostics.enabled"
_HEALTH: Final = "diagnostics.health_checks.enabled"
_SYSTEM: Final = "diagnostics.system_info.enabled"
_TROUBLE: Final = "diagnostics.troubleshooting.enabled"


class Debug(Section):
    """The log."""

    enabled: bool = switch(
        False,
        "Whether everything is logged at DEBUG, whatever debug.log_level says",
        live=True,
        reader=_LOGS,
        variables="NOODLE_DEBUG",
    )
    log_level: LogLevel = choice(
        "INFO",
        "From which level on lines are logged",
        live=True,
        reader=_LOGS,
        variables="NOODLE_LOG_LEVEL",
    )
    log_file: AbsolutePath = text(
        "/var/log/noodlecore/runtime_upgrade.log",
        "The file of the log. One set by hand that cannot be written is an error; for the default "
        "the log goes to the home's logs folder, which is said once",
        bounds="an absolute path",
        live=True,
        reader=_LOGS,
    )
    max_log_size: Size = text(
        "100MB",
        "How large the log may become before it is rotated (MB is 10^6 bytes)",
        bounds="a whole number with KB, MB or GB",
        live=True,
        reader=_LOGS,
    )
    log_rotation: bool = switch(
        True,
        "Whether a full log is put aside and a new one begun. Off: it stops at its size, with a "
        "warning",
        live=True,
        reader=_LOGS,
    )
    stack_traces: bool = switch(
        False,
        "Whether the log holds tracebacks of failures; an error in production",
        live=True,
        reader=_LOGS,
    )
    performance_profiling: bool = switch(
        False,
        "Whether each upgrade leaves a profile in the home's diagnostics folder",
        reader=_OBSERVER,
    )


class HealthChecks(Section):
    """The engine's looks at itself."""

    enabled: bool = switch(
        True,
        "Whether the resident engine examines itself. Off: only `doctor` does",
        live=True,
        rests_on=_DIAGNOSTICS,
        reader=_EXAMINING,
    )
    interval: int = seconds(
        300,
        "How long between two such examinations",
        live=True,
        rests_on=_HEALTH,
        reader=_EXAMINING,
    )
    comprehensive: bool = switch(
        False,
        "Whether they verify the journal and try a durable write as well",
        live=True,
        rests_on=_HEALTH,
        reader=_EXAMINING,
    )


class SystemInfo(Section):
    """What a bundle holds beside logs and states."""

    enabled: bool = switch(
        True, "Whether a bundle tells about the system", rests_on=_DIAGNOSTICS, reader=_BUNDLING
    )
    include_environment: bool = switch(
        True,
        "Whether it has the variables, secrets taken out",
        rests_on=_SYSTEM,
        reader=_BUNDLING,
    )
    include_dependencies: bool = switch(
        True,
        "Whether it has the versions of the libraries",
        rests_on=_SYSTEM,
        reader=_BUNDLING,
    )
    include_performance: bool = switch(
        True,
        "Whether it has load, memory and space",
        rests_on=_SYSTEM,
        reader=_BUNDLING,
    )


class Troubleshooting(Section):
    """From a failure to what helps."""

    enabled: bool = switch(
        True, "Whether failures are analysed", rests_on=_DIAGNOSTICS, reader=_BUNDLING
    )
    auto_diagnosis: bool = switch(
        False,
        "Whether each failed upgrade leaves a bundle",
        rests_on=_TROUBLE,
        reader=_OBSERVER,
    )
    error_analysis: bool = switch(
        True,
        "Whether a bundle has the chain of causes and like failures of before",
        rests_on=_TROUBLE,
        reader=_BUNDLING,
    )
    recommendation_engine: bool = switch(
        False,
        "Whether remedies are ordered by what worked before; the error's own remedy stays",
        rests_on=_TROUBLE,
        reader=_BUNDLING,
    )


class Diagnostics(Section):
    """Finding out what is wrong."""

    enabled: bool = switch(
        True,
        "Whether there are bundles and examinations by the resident engine. `doctor` always works",
        live=True,
        reader=_BUNDLING,
    )
    health_checks: HealthChecks = section(HealthChecks)
    system_info: SystemInfo = section(SystemInfo)
    troubleshooting: Troubleshooting = section(Troubleshooting)
