"""Section `runtime_upgrade`: what every upgrade obeys."""

from __future__ import annotations

from typing import Final

from noodle_policies.settings.model.kinds import Level, Names, PathBelow, Strategy
from noodle_policies.settings.model.section import (
    Section,
    choice,
    count,
    days,
    names,
    percent,
    seconds,
    section,
    share,
    switch,
    text,
    whole,
)

__all__ = ["AutomaticRollback", "RuntimeUpgrade"]

_HOT_SWAP: Final = "runtime_upgrade.hot_swap.enabled"
_ROLLBACK: Final = "runtime_upgrade.rollback.enabled"
_AUTOMATIC: Final = "runtime_upgrade.rollback.automatic_rollback.enabled"
_TIMEOUT: Final = "runtime_upgrade_manager.default_timeout"
_BACK_ON_FAILURE: Final = (
    "Whether a failure in flight turns the upgrade back by itself. Off: it stops whole at the end "
    "of the step, with exit 5, and waits for promote, retry or abort"
)


class HotSwap(Section):
    """Exchanging code inside a process that runs."""

    enabled: bool = switch(
        True,
        "Whether code is exchanged inside running processes. Off: upgrades of kind python and "
        "compiler are staged, and switch when the process starts next",
        variables="NOODLE_HOT_SWAP_ENABLED",
        twin="hot_swap.enabled",
    )
    max_concurrent_swaps: int = whole(
        3,
        "How many components may be between the intent of their swap and its end at once",
        low=1,
        high=10,
        live=True,
        twin="hot_swap.max_concurrent_swaps",
        rests_on=_HOT_SWAP,
    )
    swap_timeout: int = seconds(
        30,
        "How long one swap may take from loading the new code to its flip; then it is undone",
        general="hot_swap_engine.default_swap_timeout",
        rests_on=_HOT_SWAP,
    )
    retry_attempts: int = whole(
        3,
        "How many more tries a swap gets that failed before its flip",
        low=0,
        high=100,
        twin="hot_swap.retry_attempts",
        rests_on=_HOT_SWAP,
    )
    retry_delay: float = seconds(
        5.0,
        "How long to wait between the tries of a swap",
        zero=True,
        twin="hot_swap.retry_delay",
        rests_on=_HOT_SWAP,
    )


class AutomaticRollback(Section):
    """Taking a committed upgrade back without being asked."""

    enabled: bool = switch(
        False,
        "Whether a committed upgrade is watched while its rollback point exists, and taken back "
        "if it turns out bad. Off: only alerts",
        twin="rollback.automatic_rollback.enabled",
        rests_on=_ROLLBACK,
    )
    trigger_threshold: float = share(
        0.5,
        "Which share of the last 20 samples must breach a threshold before the upgrade goes back",
        twin="rollback.automatic_rollback.trigger_threshold",
        rests_on=_AUTOMATIC,
    )
    confirmation_required: bool = switch(
        True,
        "Whether such a rollback waits until a person approves it",
        twin="rollback.automatic_rollback.confirmation_required",
        rests_on=_AUTOMATIC,
    )


class Rollback(Section):
    """Old versions that are kept, and going back to them."""

    enabled: bool = switch(
        True,
        "Whether a committed upgrade can be taken back. Off: `rollback` refuses, though old "
        "versions are kept as ever until `gc`; an upgrade in flight can still go back",
        variables="NOODLE_ROLLBACK_ENABLED",
        twin="rollback.enabled",
        reader="noodle_engine.execute.operations",
    )
    max_rollback_points: int = count(
        10,
        "How many old versions of a component stay; older ones go, by `gc` or by themselves",
        live=True,
        twin="rollback.max_rollback_points",
        rests_on=_ROLLBACK,
        reader="noodle_engine.execute.retention",
    )
    rollback_retention_days: int = days(
        30,
        "How old a kept version may become before it goes; the newest one stays longer",
        live=True,
        twin="rollback.rollback_retention_days",
        rests_on=_ROLLBACK,
        reader="noodle_engine.execute.retention",
    )
    automatic_rollback: AutomaticRollback = section(AutomaticRollback)


class Validation(Section):
    """How strictly an upgrade is looked at before and after."""

    level: Level = choice(
        "strict",
        "What a finding must be to refuse: strict refuses at a warning, normal at an error, "
        "permissive only at a critical finding",
        variables="NOODLE_UPGRADE_VALIDATION_LEVEL",
        twin="validation_level",
    )
    pre_upgrade_checks: bool = switch(
        True,
        "Whether the checks before an upgrade run. Off: they are shown as skipped",
        twin="pre_upgrade_checks",
    )
    post_upgrade_validation: bool = switch(
        True,
        "Whether the checks after an upgrade run. Off: they are shown as skipped",
        twin="post_upgrade_checks",
    )
    custom_validators: Names = names(
        (),
        "Which validators of your own run, in this order",
        bounds="names of validators",
        rests_on="upgrade_validator.custom_validators.enabled",
    )


class Components(Section):
    """The releases that are known."""

    registry_path: PathBelow = text(
        "runtime_components",
        "The folder that holds the releases, relative to the home",
        bounds="a path below the home",
    )
    auto_discovery: bool = switch(
        True,
        "Whether a release that appears in that folder becomes known by itself. Off: only "
        "`component add` makes one known",
    )
    dependency_resolution: bool = switch(
        True,
        "Whether a plan pulls in what its components require. Off: a missing requirement refuses",
    )
    component_cache_size: int = count(
        100,
        "How many parsed manifests are kept",
        live=True,
        stricter="caching.component_cache.max_size",
    )


class Immediate(Section):
    """All at once."""

    timeout: int = seconds(
        60,
        "The total limit of an upgrade with strategy immediate; then it is undone",
        general=_TIMEOUT,
        reader="noodle_engine.execute.timing.limits",
    )
    rollback_on_failure: bool = switch(True, _BACK_ON_FAILURE)


class Gradual(Section):
    """A tenth at a time."""

    timeout: int = seconds(
        300,
        "The total limit of an upgrade with strategy gradual; then it is undone",
        general=_TIMEOUT,
        reader="noodle_engine.execute.timing.limits",
    )
    rollback_percentage: int = percent(
        10,
        "The upgrade goes back when more than this part of what has moved has failed",
        zero=True,
    )
    rollback_on_failure: bool = switch(True, _BACK_ON_FAILURE)


class BlueGreen(Section):
    """The new beside the old, and one switch."""

    timeout: int = seconds(
        600,
        "The total limit of an upgrade with strategy blue_green; then it is undone",
        general=_TIMEOUT,
        reader="noodle_engine.execute.timing.limits",
    )
    switchback_delay: int = seconds(
        30, "How long the old instances keep running after the switch", zero=True
    )
    rollback_on_failure: bool = switch(True, _BACK_ON_FAILURE)


class Canary(Section):
    """A small share first."""

    initial_percentage: int = percent(5, "The first share that gets the new version")
    increment_percentage: int = percent(5, "How much the share grows at each step")
    max_percentage: int = percent(50, "The last share before all of it")
    rollback_on_failure: bool = switch(True, _BACK_ON_FAILURE)


class Rolling(Section):
    """One batch after the other."""

    batch_size: int = count(10, "How many instances one batch has")
    batch_delay: int = seconds(
        60, "How long to wait after a healthy batch; after the last one not at all", zero=True
    )
    rollback_on_failure: bool = switch(True, _BACK_ON_FAILURE)


class StrategyConfigs(Section):
    """One section for each strategy."""

    immediate: Immediate = section(Immediate)
    gradual: Gradual = section(Gradual)
    blue_green: BlueGreen = section(BlueGreen)
    canary: Canary = section(Canary)
    rolling: Rolling = section(Rolling)


class Strategies(Section):
    """How an upgrade reaches instances and traffic."""

    default_strategy: Strategy = choice(
        "gradual",
        "The strategy where neither a request nor a deployment policy names one",
        reader="noodle_engine.execute.timing.limits",
    )
    strategy_configs: StrategyConfigs = section(StrategyConfigs)


class AlertThresholds(Section):
    """What may not be exceeded while an upgrade is in flight."""

    error_rate: float = share(
        0.05, "Which share of calls may fail before an upgrade is judged bad", live=True
    )
    performance_degradation: float = share(
        0.2,
        "Which share of calls may be slower than 1.2 times the 95th percentile of before",
        live=True,
    )
    timeout_rate: float = share(
        0.01, "Which share of calls may time out before an upgrade is judged bad", live=True
    )


_MONITORING: Final = "runtime_upgrade.monitoring.enabled"


class Monitoring(Section):
    """What is measured during an upgrade."""

    enabled: bool = switch(
        True,
        "Whether anything is sampled during an upgrade. Off: canary and gradual are refused at "
        "planning, for there is nothing to judge them by",
    )
    metrics_collection: bool = switch(
        True,
        "Whether failed calls and time-outs are counted. Off: an upgrade is judged by latency only",
        rests_on=_MONITORING,
    )
    performance_tracking: bool = switch(
        True,
        "Whether latency is measured against that of before. Off: it is not judged",
        rests_on=_MONITORING,
    )
    alert_thresholds: AlertThresholds = section(AlertThresholds)


class RuntimeUpgrade(Section):
    """What every upgrade obeys."""

    enabled: bool = switch(
        True,
        "Whether upgrades are accepted. Off: `apply` and triggers refuse with exit 3; plan, audit, "
        "resume and rollback work",
        variables="NOODLE_RUNTIME_UPGRADE_ENABLED",
        reader="noodle_engine.execute.operations",
    )
    hot_swap: HotSwap = section(HotSwap)
    rollback: Rollback = section(Rollback)
    validation: Validation = section(Validation)
    components: Components = section(Components)
    strategies: Strategies = section(Strategies)
    monitoring: Monitoring = section(Monitoring)
