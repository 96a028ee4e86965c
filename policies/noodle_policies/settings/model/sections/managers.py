"""Sections of the parts of the engine: its manager, swaps, versions, points, validation."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from noodle_policies.settings.model.kinds import (
    Arguments,
    FolderNames,
    Level,
    Name,
    Names,
    Strategy,
)
from noodle_policies.settings.model.section import (
    Section,
    choice,
    count,
    days,
    mapping,
    names,
    seconds,
    section,
    switch,
    whole,
)
from noodle_policies.settings.model.sections.runtime_upgrade import AutomaticRollback

__all__ = [
    "HotSwapEngine",
    "RollbackManager",
    "RuntimeUpgradeManager",
    "UpgradeValidator",
    "ValidationRule",
    "VersionManager",
]

_SWAP_VALIDATION: Final = "hot_swap_engine.swap_validation.enabled"
_PREPARATION: Final = "hot_swap_engine.rollback_preparation.enabled"
_HOT_SWAP: Final = "hot_swap_engine.enabled"
_MATRIX: Final = "version_manager.compatibility_matrix.enabled"
_SEMANTIC: Final = "version_manager.semantic_versioning"
_RESOLUTION: Final = "version_manager.version_resolution.enabled"
_VERSION_VALIDATION: Final = "version_manager.validation.enabled"
_ROLLBACK: Final = "rollback_manager.enabled"
_CLEANUP: Final = "rollback_manager.cleanup.enabled"
_VALIDATOR: Final = "upgrade_validator.enabled"
_BEFORE: Final = "upgrade_validator.pre_upgrade_checks.enabled"
_AFTER: Final = "upgrade_validator.post_upgrade_checks.enabled"
_CUSTOM: Final = "upgrade_validator.custom_validators.enabled"


class RuntimeUpgradeManager(Section):
    """The engine as a whole."""

    max_concurrent_upgrades: int = whole(
        3,
        "How many upgrades may run at once in this home; more wait",
        low=1,
        high=64,
        live=True,
        variables="NOODLE_MAX_CONCURRENT_UPGRADES",
        reader="noodle_engine.execute.timing.limits",
    )
    default_timeout: int = seconds(
        300,
        "The total limit of an upgrade for which no strategy has its own; then it is undone",
        variables="NOODLE_UPGRADE_TIMEOUT",
        twin="default_timeout",
        reader="noodle_engine.execute.timing.limits",
    )
    max_upgrade_history: int = count(
        1000,
        "How many finished upgrades the index of the history holds; `history --all` reads the "
        "whole journal",
        live=True,
        reader="noodle_engine.api",
    )
    cleanup_interval: int = seconds(
        3600,
        "How long between two clean-ups of the resident engine (index, leftovers, caches)",
        live=True,
    )
    health_check_interval: float = seconds(
        60.0,
        "How long between two looks of the resident engine for stuck upgrades and dead holders",
        live=True,
    )
    metrics_collection: bool = switch(True, "Whether the engine's own series stand in /metrics")
    performance_monitoring: bool = switch(
        True,
        "Whether `steps` shows how long each step took",
        live=True,
        reader="noodle_engine.api",
    )


class SwapValidation(Section):
    """What is looked at before the flip of a swap."""

    enabled: bool = switch(
        True,
        "Whether a new generation is looked at before its flip; the digest of its code always is",
        rests_on=_HOT_SWAP,
    )
    integrity_check: bool = switch(
        True, "Whether loaded code is compared with the plan", rests_on=_SWAP_VALIDATION
    )
    functionality_check: bool = switch(
        True, "Whether the new generation's health is asked", rests_on=_SWAP_VALIDATION
    )
    performance_check: bool = switch(
        True,
        "Whether calls of the new generation are timed against those of the old",
        rests_on=_SWAP_VALIDATION,
    )


class RollbackPreparation(Section):
    """What a swap keeps for its way back."""

    enabled: bool = switch(
        True,
        "Whether the old generation stays warm until commit. Off: going back loads it again",
        rests_on=_HOT_SWAP,
    )
    snapshot_creation: bool = switch(
        True,
        "Whether state is written down. Off: it is in memory only, lost if the process dies, and "
        "critical components are refused",
        rests_on=_PREPARATION,
    )
    state_preservation: bool = switch(
        True,
        "Whether the new generation gets the state of the old. Off: it begins empty",
        rests_on=_PREPARATION,
    )
    cleanup_on_success: bool = switch(
        True,
        "Whether the snapshot goes when the upgrade is committed. Off: it stays with the point",
        rests_on=_PREPARATION,
    )


class HotSwapEngine(Section):
    """Exchanging code inside a process that runs."""

    enabled: bool = switch(
        True,
        "Whether code is exchanged inside running processes",
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
    default_swap_timeout: float = seconds(
        60.0,
        "How long a swap may take where runtime_upgrade.hot_swap.swap_timeout says nothing",
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
    swap_validation: SwapValidation = section(SwapValidation)
    rollback_preparation: RollbackPreparation = section(RollbackPreparation)


class CompatibilityMatrix(Section):
    """Which versions go together."""

    enabled: bool = switch(
        True, "Whether outcomes count beside the ranges of manifests. Off: only the ranges do"
    )
    cache_size: int = count(
        1000,
        "How many pairs of versions are kept",
        live=True,
        stricter="caching.version_cache.max_size",
        rests_on=_MATRIX,
    )
    auto_update: bool = switch(
        False, "Whether the outcome of an upgrade marks its pair of versions", rests_on=_MATRIX
    )


class VersionResolution(Section):
    """From what was asked to a version."""

    enabled: bool = switch(True, "Whether ranges may be asked for. Off: only exact versions")
    latest_check: bool = switch(
        True, "Whether a plan names a newer release that there is", rests_on=_RESOLUTION
    )
    fallback_strategy: Literal["nearest_compatible", "latest_compatible", "exact"] = choice(
        "nearest_compatible",
        "Which version is proposed where the one asked for cannot be; it needs a yes",
        rests_on=(_RESOLUTION, _SEMANTIC),
    )


class VersionValidation(Section):
    """What a version may look like."""

    enabled: bool = switch(True, "Whether the rules for versions below are applied")
    strict_validation: bool = switch(
        True,
        "Whether only SemVer 2 is taken. Off: `v1.2` is read as 1.2.0, with a warning",
        rests_on=_VERSION_VALIDATION,
    )
    custom_rules: Names = names(
        (),
        "Which rules of your own are asked for each version",
        bounds="names of entry points",
        rests_on=_VERSION_VALIDATION,
    )


class VersionManager(Section):
    """Versions."""

    semantic_versioning: bool = switch(
        True,
        "Whether versions are ordered as SemVer 2 has it. Off: by registration, and ranges are "
        "refused",
    )
    compatibility_matrix: CompatibilityMatrix = section(CompatibilityMatrix)
    version_resolution: VersionResolution = section(VersionResolution)
    validation: VersionValidation = section(VersionValidation)


class RollbackStrategies(Section):
    """How a committed upgrade is taken back."""

    default_strategy: Strategy = choice(
        "immediate",
        "The strategy of the rollback of a committed upgrade; one in flight goes back at once",
        rests_on=_ROLLBACK,
    )
    rollback_timeout: int = seconds(
        300,
        "How long the rollback of a committed upgrade may take; then an alert and exit 5, and "
        "`resume` goes on",
        rests_on=_ROLLBACK,
        reader="noodle_engine.execute.timing.limits",
    )
    validation_after_rollback: bool = switch(
        True,
        "Whether the checks after an upgrade also run after a rollback; if they fail: exit 5",
        rests_on=_ROLLBACK,
    )
    health_check_after_rollback: bool = switch(
        True,
        "Whether health is asked after a rollback; if it is bad: exit 5",
        rests_on=_ROLLBACK,
    )


class Cleanup(Section):
    """When kept versions go by themselves."""

    enabled: bool = switch(
        True,
        "Whether kept versions go by themselves, where a process stays. Off: only `gc` drops them",
        rests_on=_ROLLBACK,
        reader="noodle_engine.execute.retention",
    )
    cleanup_interval: int = seconds(
        86400,
        "How long between two such clean-ups",
        live=True,
        rests_on=_CLEANUP,
        reader="noodle_engine.execute.operations",
    )
    max_retention_days: int = days(
        30,
        "How old even the newest kept version may become; not less than rollback_retention_days",
        live=True,
        rests_on=_CLEANUP,
        reader="noodle_engine.execute.retention",
    )


class RollbackManager(Section):
    """Old versions that are kept."""

    enabled: bool = switch(
        True,
        "Whether a committed upgrade can be taken back; old versions are kept as ever",
        variables="NOODLE_ROLLBACK_ENABLED",
        twin="rollback.enabled",
    )
    max_rollback_points: int = count(
        10,
        "How many old versions of a component stay",
        live=True,
        twin="rollback.max_rollback_points",
        rests_on=_ROLLBACK,
    )
    rollback_retention_days: int = days(
        30,
        "How old a kept version may become; the newest one stays",
        live=True,
        twin="rollback.rollback_retention_days",
        rests_on=_ROLLBACK,
    )
    automatic_rollback: AutomaticRollback = section(AutomaticRollback)
    rollback_strategies: RollbackStrategies = section(RollbackStrategies)
    cleanup: Cleanup = section(Cleanup)


class PreUpgradeChecks(Section):
    """The checks before an upgrade."""

    enabled: bool = switch(
        True,
        "Whether the checks before an upgrade run. Off: they are shown as skipped",
        twin="pre_upgrade_checks",
        rests_on=_VALIDATOR,
    )
    component_compatibility: bool = switch(
        True, "Whether versions are looked at for what goes together", rests_on=_BEFORE
    )
    dependency_resolution: bool = switch(
        True, "Whether requirements and conflicts are looked at", rests_on=_BEFORE
    )
    resource_availability: bool = switch(
        True, "Whether space, inodes and memory are looked at", rests_on=_BEFORE
    )
    security_validation: bool = switch(
        True,
        "Whether the origin of a release is looked at; its signature and digests always are",
        rests_on=_BEFORE,
    )


class PostUpgradeChecks(Section):
    """The checks after an upgrade."""

    enabled: bool = switch(
        True,
        "Whether the checks after an upgrade run. Off: they are shown as skipped",
        twin="post_upgrade_checks",
        rests_on=_VALIDATOR,
    )
    functionality_validation: bool = switch(
        True, "Whether health is asked before commit", rests_on=_AFTER
    )
    performance_validation: bool = switch(
        True, "Whether calls are timed against those of before", rests_on=_AFTER
    )
    integrity_check: bool = switch(
        True, "Whether what was installed is read once more", rests_on=_AFTER
    )
    rollback_validation: bool = switch(
        True, "Whether the way back is rehearsed on a copy", rests_on=_AFTER
    )


class ValidationRule(Section):
    """How one validator of your own is run."""

    severity: Literal["critical", "error", "warning"] = "error"
    timeout: float = Field(default=30.0, gt=0, le=3600)
    args: Arguments = Field(default_factory=dict)


class CustomValidators(Section):
    """Validators of your own."""

    enabled: bool = switch(False, "Whether validators of your own run", rests_on=_VALIDATOR)
    validator_paths: FolderNames = names(
        (), "Folders in which they are looked for", bounds="folders", rests_on=_CUSTOM
    )
    validation_rules: dict[Name, ValidationRule] = mapping(
        "How single validators are run: the severity of a refusal, their limit in seconds, and "
        "their arguments",
        bounds="by name: severity (critical, error, warning), timeout, args",
        rests_on=(_CUSTOM,),
    )


class ErrorHandling(Section):
    """How findings are gathered."""

    fail_fast: bool = switch(
        False, "Whether validation stops at the first finding", rests_on=_VALIDATOR
    )
    collect_all_errors: bool = switch(
        True,
        "Whether all checks run. Off: none after the first that fails",
        rests_on=_VALIDATOR,
    )
    error_categorization: bool = switch(
        True, "Whether findings are shown by category. Off: as one list", rests_on=_VALIDATOR
    )


class UpgradeValidator(Section):
    """Looking at an upgrade before and after."""

    enabled: bool = switch(True, "Whether upgrades are validated; signature and digests always are")
    validation_level: Level = choice(
        "strict",
        "What a finding must be to refuse: a warning, an error or a critical finding",
        variables="NOODLE_UPGRADE_VALIDATION_LEVEL",
        twin="validation_level",
        rests_on=_VALIDATOR,
    )
    pre_upgrade_checks: PreUpgradeChecks = section(PreUpgradeChecks)
    post_upgrade_checks: PostUpgradeChecks = section(PostUpgradeChecks)
    custom_validators: CustomValidators = section(CustomValidators)
    error_handling: ErrorHandling = section(ErrorHandling)
