"""Every setting and variable that is obeyed, and the test in which changing it changes something.

Owns the rows. `make clauses` lists the keys that have none; `make clauses-mutate` takes
each key out of all that is said, and its test must fail then.

A key's test sets it away from its default and looks at what the engine does. Three
families are made from the catalogue, for each of their rows says the same: a variable
sets its keys, a twin is the setting that its test is about, and of a key with one legal
value every other is refused.
"""

from __future__ import annotations

from typing import Final

from noodle_policies.settings.model.catalogue import Key, catalogue

__all__ = ["CLAUSES", "NO_MORE_THAN_TWINS", "UNTESTED", "only_values"]

_HERE: Final = "tests/clauses/test_keys.py"
_FAMILIES: Final = "tests/clauses/test_families.py"
_ANCHORING: Final = "tests/unit/execute/test_anchoring.py"
_LIMITS: Final = "tests/unit/execute/test_limits.py"
_RELOADING: Final = "tests/unit/execute/test_reloading.py"
_LOGS: Final = "tests/unit/observe/test_logs.py"
_AUDIT: Final = "tests/unit/observe/test_audit.py"
_DIAGNOSTICS: Final = "tests/unit/observe/test_diagnostics.py"
_EXAMINING: Final = "tests/unit/observe/test_examining.py"
_PARTS: Final = f"{_DIAGNOSTICS}::test_each_part_of_the_system_can_be_left_out"
_ANALYSED: Final = f"{_DIAGNOSTICS}::test_failures_are_analysed_unless_that_is_off"
_AT_ONCE: Final = f"{_RELOADING}::test_more_may_run_as_soon_as_the_settings_say_so"
_STRATEGIES: Final = "runtime_upgrade.strategies"

_OBEYED: Final[dict[str, str]] = {
    "runtime_upgrade.enabled": f"{_HERE}::test_no_upgrade_begins_and_the_way_back_is_open",
    "runtime_upgrade.rollback.enabled": f"{_HERE}::test_nothing_goes_back_after_a_commit",
    "runtime_upgrade.rollback.max_rollback_points": f"{_HERE}::test_so_many_old_versions_stay",
    "runtime_upgrade.rollback.rollback_retention_days": f"{_HERE}::test_old_versions_go_by_age",
    f"{_STRATEGIES}.default_strategy": f"{_LIMITS}::test_the_total_limit",
    f"{_STRATEGIES}.strategy_configs.immediate.timeout": f"{_LIMITS}::test_the_total_limit",
    f"{_STRATEGIES}.strategy_configs.gradual.timeout": f"{_LIMITS}::test_the_total_limit",
    f"{_STRATEGIES}.strategy_configs.blue_green.timeout": f"{_LIMITS}::test_the_total_limit",
    "deployment.upgrade_integration.history_days": (
        f"{_HERE}::test_what_ended_earlier_is_not_listed"
    ),
    "deployment.coordination.rollback_timeout": f"{_LIMITS}::test_the_limit_of_a_way_back",
    "deployment.coordination.health_check_timeout": (
        f"{_LIMITS}::test_a_plan_says_how_long_each_health_check_has"
    ),
    "runtime_upgrade_manager.max_concurrent_upgrades": (
        f"{_AT_ONCE}[runtime_upgrade_manager.max_concurrent_upgrades]"
    ),
    "runtime_upgrade_manager.default_timeout": f"{_LIMITS}::test_the_total_limit",
    "runtime_upgrade_manager.max_upgrade_history": (
        f"{_LIMITS}::test_the_history_holds_so_many_finished_upgrades_and_all_if_asked"
    ),
    "runtime_upgrade_manager.performance_monitoring": (
        f"{_LIMITS}::test_steps_tell_how_long_they_took_unless_that_is_off"
    ),
    "rollback_manager.rollback_strategies.rollback_timeout": (
        f"{_LIMITS}::test_the_limit_of_a_way_back"
    ),
    "encryption.key_source": f"{_HERE}::test_the_key_comes_from_where_the_settings_say",
    "encryption.enabled": f"{_HERE}::test_off_the_journal_is_legible_and_says_so",
    "encryption.data_at_rest_encryption": f"{_HERE}::test_off_the_journal_is_legible_and_says_so",
    "security.audit_logging.log_retention_days": f"{_HERE}::test_the_journal_is_readable_so_long",
    "noodle.anchors": f"{_ANCHORING}::test_each_end_is_anchored_and_recorded",
    "noodle.anchor_unreachable": f"{_ANCHORING}::test_refused_no_step_begins_that_cannot_be_undone",
    "noodle.anchor_timeout": f"{_ANCHORING}::test_one_anchor_may_take_so_long",
    "noodle.anchor_wait": f"{_ANCHORING}::test_what_waits_for_an_anchor_waits_so_long",
    "noodle.anchor_interval": f"{_ANCHORING}::test_what_changed_is_anchored_after_so_long",
    "noodle.anchor_strict": f"{_ANCHORING}::test_strict_every_step_follows_an_anchor",
    "rollback_manager.cleanup.enabled": f"{_HERE}::test_without_clean_ups_nothing_goes_by_itself",
    "rollback_manager.cleanup.cleanup_interval": (
        f"{_HERE}::test_old_versions_go_by_themselves_that_often"
    ),
    "rollback_manager.cleanup.max_retention_days": (
        f"{_HERE}::test_even_the_newest_goes_at_that_age"
    ),
    "noodle.key_service": f"{_HERE}::test_the_key_service_is_the_one_that_is_named",
    "encryption.key_rotation_interval": f"{_HERE}::test_an_epoch_lasts_so_long",
    "performance.throttling.enabled": (
        f"{_RELOADING}::test_without_throttling_its_limit_does_not_count"
    ),
    "performance.throttling.concurrent_limit": (
        f"{_AT_ONCE}[performance.throttling.concurrent_limit]"
    ),
    "security.audit_logging.enabled": f"{_AUDIT}::test_off_nothing_is_written",
    "security.audit_logging.log_level": f"{_AUDIT}::test_the_level_says_what_is_in_it",
    "security.audit_logging.log_format": f"{_AUDIT}::test_the_format_is_json_or_text",
    "security.audit_logging.include_sensitive_data": (
        f"{_AUDIT}::test_names_and_reasons_are_digests_unless_they_are_wanted"
    ),
    "noodle.clock_bound": f"{_HERE}::test_the_clock_may_stray_so_far",
    "debug.enabled": f"{_LOGS}::test_enabled_logs_everything_whatever_the_level",
    "debug.log_level": f"{_LOGS}::test_the_level_says_from_which_one_on",
    "debug.log_file": f"{_LOGS}::test_the_log_is_where_the_settings_say",
    "debug.max_log_size": f"{_LOGS}::test_a_smaller_log_is_put_aside_sooner",
    "debug.log_rotation": f"{_LOGS}::test_without_rotation_a_full_log_ends_with_a_word",
    "debug.stack_traces": f"{_LOGS}::test_tracebacks_are_in_the_file_where_they_are_wanted",
    "debug.performance_profiling": (
        "tests/unit/observe/test_profile.py::test_an_upgrade_leaves_a_profile_where_it_is_wanted"
    ),
    "diagnostics.enabled": f"{_DIAGNOSTICS}::test_off_there_is_no_bundle",
    "diagnostics.health_checks.enabled": (f"{_EXAMINING}::test_there_are_none_where_they_are_off"),
    "diagnostics.health_checks.interval": f"{_EXAMINING}::test_a_look_comes_after_each_interval",
    "diagnostics.health_checks.comprehensive": (
        f"{_EXAMINING}::test_comprehensive_ones_verify_the_journal_and_try_a_write"
    ),
    "diagnostics.system_info.enabled": f"{_DIAGNOSTICS}::test_the_system_can_be_left_out_wholly",
    "diagnostics.system_info.include_environment": _PARTS,
    "diagnostics.system_info.include_dependencies": _PARTS,
    "diagnostics.system_info.include_performance": _PARTS,
    "diagnostics.troubleshooting.enabled": f"{_ANALYSED}[enabled]",
    "diagnostics.troubleshooting.auto_diagnosis": (
        f"{_DIAGNOSTICS}::test_a_failed_upgrade_leaves_a_bundle_where_that_is_wanted"
    ),
    "diagnostics.troubleshooting.error_analysis": f"{_ANALYSED}[error_analysis]",
    "diagnostics.troubleshooting.recommendation_engine": (
        f"{_DIAGNOSTICS}::test_remedies_are_ranked_where_that_is_wanted"
    ),
}
NO_MORE_THAN_TWINS: Final = (
    "self_improvement.runtime_upgrade_integration.validation_level",
    "upgrade_validator.validation_level",
)
"""What these do is to be another key; that is obeyed by a later part of the work."""
_VARIABLE_WITHOUT_A_KEY: Final = {
    "NOODLE_RUNTIME_UPGRADE_DEBUG": (
        f"{_LOGS}::test_the_variable_is_for_the_loggers_of_upgrades_alone"
    ),
}


def only_values() -> list[Key]:
    """The keys that have a single legal value."""
    return [key for key in catalogue().keys.values() if len(key.choices) == 1]


def _twins() -> dict[str, str]:
    """The other names of what is obeyed under one."""
    keys = catalogue().keys
    found = [twin for name in _OBEYED for twin in catalogue().twins_of(keys[name])]
    return {
        twin: f"{_FAMILIES}::test_a_twin_is_the_same_setting[{twin}]"
        for twin in (*found, *NO_MORE_THAN_TWINS)
        if twin not in _OBEYED
    }


CLAUSES: Final[dict[str, str]] = {
    **_OBEYED,
    **_twins(),
    **{
        key.name: f"{_FAMILIES}::test_every_value_but_the_only_one_is_refused[{key.name}]"
        for key in only_values()
    },
    **{
        variable: f"{_FAMILIES}::test_a_variable_sets_its_keys[{variable}]"
        for variable in catalogue().variables
    },
    **_VARIABLE_WITHOUT_A_KEY,
}
"""The test of each key and each variable."""
UNTESTED: Final = tuple(name for name in catalogue().keys if name not in CLAUSES)
