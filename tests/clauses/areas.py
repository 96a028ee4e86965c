"""Which part of the work each setting waits for, where nothing obeys it yet.

Owns that, and nothing else: what a key does is said in the model. A row is a key, or a
section with all that is below it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["AREAS", "area_of"]

AREAS: Final[dict[str, str]] = {
    "settings": """
        runtime_upgrade.enabled
        self_improvement.runtime_upgrade_integration.rollback_enabled
        self_improvement.runtime_upgrade_integration.validation_level
        deployment.upgrade_integration.history_days
        runtime_upgrade_manager.max_concurrent_upgrades
        runtime_upgrade_manager.default_timeout
        runtime_upgrade_manager.max_upgrade_history
        upgrade_validator.validation_level
        security.audit_logging.enabled
        security.audit_logging.log_level
        security.audit_logging.log_format
        debug.*
        diagnostics.*
    """,
    "components": """
        runtime_upgrade.rollback.enabled
        runtime_upgrade.rollback.max_rollback_points
        runtime_upgrade.rollback.rollback_retention_days
        runtime_upgrade.validation.*
        runtime_upgrade.components.*
        runtime_upgrade_manager.cleanup_interval
        runtime_upgrade_manager.health_check_interval
        version_manager.*
        rollback_manager.enabled
        rollback_manager.max_rollback_points
        rollback_manager.rollback_retention_days
        rollback_manager.automatic_rollback.*
        rollback_manager.cleanup.*
        upgrade_validator.enabled
        upgrade_validator.pre_upgrade_checks.*
        upgrade_validator.post_upgrade_checks.*
        upgrade_validator.custom_validators.*
        upgrade_validator.error_handling.*
        security.component_validation.*
        performance.resource_limits.*
        performance.throttling.*
    """,
    "live": """
        runtime_upgrade.hot_swap.*
        runtime.upgrade_integration.*
        runtime.components.auto_discovery
        runtime.components.hot_swappable_default
        runtime.components.component_timeout
        runtime.coordination.*
        compiler.*
        hot_swap_engine.*
    """,
    "components, live": """
        caching.*
    """,
    "policies": """
        runtime_upgrade.rollback.automatic_rollback.*
        runtime_upgrade.strategies.*
        runtime_upgrade.monitoring.*
        self_improvement.runtime_upgrade_integration.enabled
        self_improvement.runtime_upgrade_integration.auto_upgrade_approval
        self_improvement.runtime_upgrade_integration.critical_components
        self_improvement.runtime_upgrade_integration.upgrade_timeout
        self_improvement.runtime_upgrade_integration.max_concurrent_upgrades
        self_improvement.triggers.*
        self_improvement.ai_decision.*
        self_improvement.feedback.*
        runtime.components.critical_components
        runtime.components.health_check_interval
        runtime.monitoring.alert_thresholds.*
        ai_agents.*
        deployment.upgrade_integration.enabled
        deployment.upgrade_integration.sync_interval
        deployment.upgrade_integration.upgrade_timeout
        deployment.policies.*
        deployment.triggers.*
        deployment.maintenance_windows.*
        deployment.coordination.*
        rollback_manager.rollback_strategies.*
    """,
    "server": """
        runtime.monitoring.enabled
        runtime.monitoring.metrics_collection
        runtime.monitoring.performance_tracking
        runtime_upgrade_manager.metrics_collection
        runtime_upgrade_manager.performance_monitoring
        security.authentication.*
        security.authorization.*
        encryption.data_in_transit_encryption
        secure_communication.*
        performance.monitoring.*
    """,
    "journal": """
        security.audit_logging.log_retention_days
        security.audit_logging.include_sensitive_data
        encryption.enabled
        encryption.algorithm
        encryption.key_source
        encryption.key_rotation_interval
        encryption.data_at_rest_encryption
    """,
}
"""The area, and its keys. What is Noodle's own belongs to the settings themselves."""
_OWN: Final = "settings"


def area_of(key: str) -> str:
    """The area of a key. Raises KeyError for one that none has."""
    if key.startswith("noodle."):
        return _OWN
    for area, rows in AREAS.items():
        if any(_is_in(key, row) for row in rows.split()):
            return area
    raise KeyError(key)


def _is_in(key: str, row: str) -> bool:
    return key.startswith(row[:-1]) if row.endswith("*") else key == row
