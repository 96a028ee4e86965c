"""Section `deployment`: when and how upgrades reach an environment."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, Strict

from noodle_policies.settings.model.kinds import (
    Clock,
    Day,
    Deployment,
    EntryName,
    Mode,
    Strategy,
    Windows,
    Zone,
)
from noodle_policies.settings.model.section import (
    Section,
    choice,
    days,
    entries,
    names,
    percent,
    records,
    seconds,
    section,
    switch,
    text,
    whole,
)

__all__ = ["Blackout", "DeploymentSettings", "MaintenanceWindow", "Policy"]

_INTEGRATION: Final = "deployment.upgrade_integration.enabled"


class UpgradeIntegration(Section):
    """Policies for each environment."""

    enabled: bool = switch(
        True,
        "Whether policies, windows and triggers of deployments act. Off: none does",
    )
    sync_interval: int = seconds(
        60,
        "How long between two looks of the resident engine at events of deployments and at the "
        "versions that are wanted",
        live=True,
        variables="NOODLE_DEPLOYMENT_UPGRADE_SYNC_INTERVAL",
        rests_on=_INTEGRATION,
    )
    upgrade_timeout: int = seconds(
        1800,
        "The limit over everything for an upgrade under a policy",
        variables="NOODLE_UPGRADE_DEPLOYMENT_TIMEOUT",
        twin="deployment_upgrade_timeout",
    )
    history_days: int = days(
        30,
        "How many days back `history` lists; `history --all` reads the whole journal",
        live=True,
        variables="NOODLE_DEPLOYMENT_UPGRADE_HISTORY_DAYS",
        reader="noodle_engine.api",
    )


class ResourceThreshold(Section):
    """What the host may use before upgrades wait."""

    cpu_usage: float = percent(
        100.0,
        "Above this part of the processors no upgrade begins, and the next forward step waits; "
        "going back never does",
        live=True,
        rests_on=_INTEGRATION,
    )
    memory_usage: float = percent(
        100.0,
        "Above this part of the memory no upgrade begins, and the next forward step waits",
        live=True,
        rests_on=_INTEGRATION,
    )
    disk_usage: float = percent(
        100.0,
        "Above this part of the disk no upgrade begins, and the next forward step waits",
        live=True,
        rests_on=_INTEGRATION,
    )


class Blackout(Section):
    """A time in which no forward step is made: from `start` to `end`, or by a rule."""

    start: str | None = Field(default=None, max_length=64)
    end: str | None = Field(default=None, max_length=64)
    rrule: str | None = Field(default=None, max_length=1024)
    duration: float | None = Field(default=None, gt=0, le=366 * 24 * 3600)
    timezone: Zone | None = None
    reason: str = Field(default="", max_length=1024)


class TimingConstraints(Section):
    """When upgrades may run."""

    min_interval_between_upgrades: int = seconds(
        0,
        "How long after a commit of a component its next upgrade may begin",
        zero=True,
        live=True,
        rests_on=_INTEGRATION,
    )
    maintenance_windows: Windows = names(
        (),
        "When upgrades may run, on the days and in the zone of the window of the same name, whose "
        "own times then do not count",
        bounds="HH:MM-HH:MM, the end not included, 24:00 allowed",
        live=True,
        rests_on=_INTEGRATION,
    )
    blackout_periods: Annotated[tuple[Blackout, ...], Strict(strict=False)] = records(
        "When no forward step is made, whatever the windows say",
        bounds="objects with start and end (ISO 8601 with offset), or with rrule, duration (s) and "
        "timezone; with a reason",
        live=True,
        rests_on=_INTEGRATION,
    )


class Policy(Section):
    """What one environment asks of upgrades. A policy of your own begins with these values."""

    deployment_environment: Deployment | None = choice(
        None,  # type: ignore[arg-type]
        "The environment (NOODLE_ENVIRONMENT) in which the policy acts; each has one policy",
        rests_on=_INTEGRATION,
    )
    upgrade_strategy: Strategy | None = choice(
        None,  # type: ignore[arg-type]
        "The strategy of upgrades under this policy; it beats the default strategy",
        rests_on=_INTEGRATION,
    )
    deployment_mode: Mode = choice(
        "synchronous",
        "In which order instances switch: synchronous (all staged and healthy first), asynchronous "
        "(each when ready), rolling, blue_green, canary",
        rests_on=_INTEGRATION,
    )
    auto_trigger: bool = switch(
        False,
        "Whether events and schedules file requests under this policy",
        rests_on=_INTEGRATION,
    )
    rollback_on_failure: bool = switch(
        True,
        "Whether a failure in flight turns an upgrade under this policy back by itself",
        rests_on=_INTEGRATION,
    )
    health_check_required: bool = switch(
        True,
        "Whether a component without a health check is refused. Off: a warning",
        rests_on=_INTEGRATION,
    )
    resource_threshold: ResourceThreshold = section(ResourceThreshold)
    timing_constraints: TimingConstraints = section(TimingConstraints)


class MaintenanceWindow(Section):
    """A time of the day, on some days, in one zone."""

    start: Clock = text(
        "00:00",
        "When the window opens, where its policy lists none",
        bounds="HH:MM",
        live=True,
        rests_on=_INTEGRATION,
    )
    end: Clock = text(
        "24:00",
        "When the window closes; before its start means on the next day",
        bounds="HH:MM, 24:00 allowed",
        live=True,
        rests_on=_INTEGRATION,
    )
    days: Annotated[tuple[Day, ...], Strict(strict=False)] = names(
        ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        "On which days the window opens",
        bounds="names of days",
        live=True,
        rests_on=_INTEGRATION,
    )
    timezone: Zone = text(
        "UTC",
        "In which zone these times are meant",
        bounds="an IANA zone",
        live=True,
        rests_on=_INTEGRATION,
    )


class Triggers(Section):
    """Which events ask for upgrades."""

    deployment_start: bool = switch(
        True, "Whether the start of a deployment fires triggers", rests_on=_INTEGRATION
    )
    deployment_success: bool = switch(
        True, "Whether the success of a deployment fires triggers", rests_on=_INTEGRATION
    )
    deployment_failure: bool = switch(
        True, "Whether the failure of a deployment fires triggers", rests_on=_INTEGRATION
    )
    deployment_rollback: bool = switch(
        True, "Whether the rollback of a deployment fires triggers", rests_on=_INTEGRATION
    )
    scheduled_maintenance: bool = switch(
        True, "Whether an opening window starts upgrades that wait for it", rests_on=_INTEGRATION
    )
    health_degradation: bool = switch(
        True,
        "Whether failing health checks of the engine's own fire triggers",
        rests_on=_INTEGRATION,
    )
    resource_pressure: bool = switch(
        True,
        "Whether pressure on the host holds upgrades, tells a person and turns upgrades back; it "
        "never starts one",
        rests_on=_INTEGRATION,
    )
    manual: bool = switch(
        True,
        "Whether a person's own `apply` is taken under a policy. Off: it is refused",
        rests_on=_INTEGRATION,
    )


class Coordination(Section):
    """The limits of an upgrade of many instances."""

    max_concurrent_upgrades: int = whole(
        2,
        "How many upgrades may run at once under one policy; more wait",
        low=1,
        high=64,
        live=True,
        variables="NOODLE_DEPLOYMENT_MAX_CONCURRENT_UPGRADES",
        rests_on=_INTEGRATION,
    )
    upgrade_timeout: int = seconds(
        1800,
        "The limit over everything for an upgrade under a policy",
        variables="NOODLE_UPGRADE_DEPLOYMENT_TIMEOUT",
        twin="deployment_upgrade_timeout",
    )
    deployment_timeout: int = seconds(
        900, "How long all instances may take to be staged and verified before the first switches"
    )
    rollback_timeout: int = seconds(
        600,
        "How long a whole way back may take; then an alert and exit 5, and `resume` goes on",
        reader="noodle_engine.execute.timing.limits",
    )
    health_check_timeout: int = seconds(
        300,
        "How long an instance has to pass its health checks often enough in a row, where its "
        "manifest does not say so",
        reader="noodle_engine.execute.timing.limits",
    )
    retry_attempts: int = whole(
        3, "How many more tries an instance gets before it counts as failed", low=0, high=100
    )
    retry_delay: float = seconds(30.0, "How long to wait between such tries", zero=True)


_EVERY_DAY: Final = (
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
)
_POLICIES: Final = {
    "production": {
        "deployment_environment": "production",
        "upgrade_strategy": "gradual",
        "deployment_mode": "blue_green",
        "auto_trigger": True,
        "rollback_on_failure": True,
        "health_check_required": True,
        "resource_threshold": {"cpu_usage": 80.0, "memory_usage": 85.0, "disk_usage": 90.0},
        "timing_constraints": {
            "min_interval_between_upgrades": 3600,
            "maintenance_windows": ("02:00-04:00", "22:00-23:59"),
            "blackout_periods": (),
        },
    },
    "staging": {
        "deployment_environment": "staging",
        "upgrade_strategy": "immediate",
        "deployment_mode": "synchronous",
        "auto_trigger": True,
        "rollback_on_failure": True,
        "health_check_required": True,
        "resource_threshold": {"cpu_usage": 70.0, "memory_usage": 75.0, "disk_usage": 80.0},
    },
    "development": {
        "deployment_environment": "development",
        "upgrade_strategy": "immediate",
        "deployment_mode": "asynchronous",
        "auto_trigger": False,
        "rollback_on_failure": True,
        "health_check_required": False,
        "resource_threshold": {"cpu_usage": 90.0, "memory_usage": 90.0, "disk_usage": 90.0},
    },
}
_WINDOWS: Final = {
    "production": {"start": "02:00", "end": "04:00", "days": _EVERY_DAY, "timezone": "UTC"},
    "staging": {"start": "06:00", "end": "08:00", "days": ("sunday",), "timezone": "UTC"},
}


class DeploymentSettings(Section):
    """When and how upgrades reach an environment."""

    upgrade_integration: UpgradeIntegration = section(UpgradeIntegration)
    policies: dict[EntryName, Policy] = entries(Policy, _POLICIES)
    triggers: Triggers = section(Triggers)
    maintenance_windows: dict[EntryName, MaintenanceWindow] = entries(MaintenanceWindow, _WINDOWS)
    coordination: Coordination = section(Coordination)
