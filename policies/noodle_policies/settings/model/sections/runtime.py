"""Section `runtime`: upgrades of what runs."""

from __future__ import annotations

from typing import Final

from noodle_policies.settings.model.kinds import Level, Names
from noodle_policies.settings.model.section import (
    Section,
    choice,
    names,
    percent,
    seconds,
    section,
    share,
    switch,
    whole,
)

__all__ = ["Runtime"]

_INTEGRATION: Final = "runtime.upgrade_integration.enabled"
_MONITORING: Final = "runtime.monitoring.enabled"


class UpgradeIntegration(Section):
    """How the engine and running processes work together."""

    enabled: bool = switch(
        True,
        "Whether targets of kind python and service can be upgraded. Off: they are refused; files "
        "and directories go on",
        variables="NOODLE_RUNTIME_UPGRADE_INTEGRATION",
    )
    auto_sync: bool = switch(
        True,
        "Whether the resident engine looks at each target by itself and records what a stranger "
        "changed. Off: only `status --probe` looks",
        variables="NOODLE_RUNTIME_UPGRADE_SYNC",
        rests_on=_INTEGRATION,
    )
    sync_interval: float = seconds(
        60.0,
        "How long between two such looks",
        live=True,
        variables="NOODLE_RUNTIME_UPGRADE_SYNC_INTERVAL",
        rests_on=(_INTEGRATION, "runtime.upgrade_integration.auto_sync"),
    )
    max_concurrent_upgrades: int = whole(
        3,
        "How many upgrades of running targets may run at once; more wait",
        low=1,
        high=64,
        live=True,
        variables="NOODLE_MAX_CONCURRENT_UPGRADES",
        rests_on=_INTEGRATION,
    )
    enable_runtime_coordination: bool = switch(
        True,
        "Whether a process is asked to come to rest before it is upgraded. Off: services are "
        "restarted, and python components with state are refused",
        variables="NOODLE_RUNTIME_COORDINATION",
        rests_on=_INTEGRATION,
    )
    enable_performance_monitoring: bool = switch(
        True,
        "Whether a process is sampled during its upgrade",
        variables="NOODLE_RUNTIME_PERFORMANCE_MONITORING",
        rests_on=_INTEGRATION,
    )
    enable_error_recovery: bool = switch(
        True,
        "Whether a step that failed for a passing reason is tried again",
        variables="NOODLE_RUNTIME_ERROR_RECOVERY",
        twin="error_recovery.enabled",
        rests_on=_INTEGRATION,
    )
    coordination_timeout: float = seconds(
        30.0,
        "How long to wait for the answer of a process that was asked to come to rest or be ready",
        variables="NOODLE_RUNTIME_UPGRADE_TIMEOUT",
        rests_on=(_INTEGRATION, "runtime.upgrade_integration.enable_runtime_coordination"),
    )


class Components(Section):
    """The components of running processes."""

    auto_discovery: bool = switch(
        True,
        "Whether running agents and units become known by themselves. Off: only when registered",
    )
    hot_swappable_default: bool = switch(
        True, "Whether a component whose manifest does not say so may be swapped while it runs"
    )
    critical_components: Names = names(
        ("memory_manager", "vm_engine"),
        "Components whose upgrades need a second person's approval, strict validation and a "
        "snapshot; with what self_improvement and manifests call critical",
        bounds="names of components",
    )
    component_timeout: float = seconds(60.0, "How long one call of a component's contract may take")
    health_check_interval: float = seconds(
        30.0, "How long between two health checks outside of upgrades", live=True
    )


class ErrorRecovery(Section):
    """Trying again."""

    enabled: bool = switch(
        True,
        "Whether a step that failed for a passing reason (busy, again, network) is tried again. "
        "Off: the first such failure undoes the upgrade",
        variables=(),
        twin="error_recovery.enabled",
    )
    max_retry_attempts: int = whole(
        3,
        "How many more tries such a step gets, under the same key",
        low=0,
        high=100,
        variables="NOODLE_RUNTIME_UPGRADE_RETRY",
        rests_on="runtime.coordination.error_recovery.enabled",
    )
    retry_delay: float = seconds(
        10.0,
        "How long to wait between such tries",
        zero=True,
        rests_on="runtime.coordination.error_recovery.enabled",
    )


class Coordination(Section):
    """The limits of the steps on a running target."""

    upgrade_timeout: float = seconds(
        30.0,
        "How long one forward step on a running target may take; then it is undone",
        variables="NOODLE_RUNTIME_UPGRADE_TIMEOUT",
    )
    rollback_timeout: float = seconds(
        60.0,
        "How long one step back on a running target may take; then an alert, and `resume` goes on",
    )
    validation_level: Level = choice(
        "strict",
        "What a finding must be to refuse: a warning, an error or a critical finding",
        variables="NOODLE_UPGRADE_VALIDATION_LEVEL",
        twin="validation_level",
    )
    error_recovery: ErrorRecovery = section(ErrorRecovery)


class AlertThresholds(Section):
    """What the processes of a target may use."""

    cpu_usage: float = percent(
        80.0,
        "Which part of its cgroup's processor time a target may use",
        live=True,
        rests_on=_MONITORING,
    )
    memory_usage: float = percent(
        85.0,
        "Which part of its cgroup's memory a target may use",
        live=True,
        rests_on=_MONITORING,
    )
    error_rate: float = share(
        0.05, "Which share of a target's calls may fail", live=True, rests_on=_MONITORING
    )
    response_time: float = seconds(
        2.0,
        "How long the 95th percentile of a target's calls may take",
        live=True,
        rests_on=_MONITORING,
    )


class Monitoring(Section):
    """Targets between upgrades."""

    enabled: bool = switch(True, "Whether targets are watched between upgrades")
    metrics_collection: bool = switch(
        True, "Whether the series of targets stand in /metrics", rests_on=_MONITORING
    )
    performance_tracking: bool = switch(
        True, "Whether response times of targets are kept and alerted on", rests_on=_MONITORING
    )
    alert_thresholds: AlertThresholds = section(AlertThresholds)


class Runtime(Section):
    """Upgrades of what runs."""

    upgrade_integration: UpgradeIntegration = section(UpgradeIntegration)
    components: Components = section(Components)
    coordination: Coordination = section(Coordination)
    monitoring: Monitoring = section(Monitoring)
