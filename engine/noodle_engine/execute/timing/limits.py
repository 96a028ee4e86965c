"""How long an upgrade may take, and how many may run at once, by the settings.

Pure. Owns rule L: a limit is the smaller of itself and of those around it. Going
forward, expiry undoes; going back, it alerts, and `resume` goes on. And rule N: of the
limits on how many run at once the smallest counts.
"""

from __future__ import annotations

from typing import Final

from noodle_engine.machine.plan import HEALTH_MS_MAX
from noodle_engine.machine.states import Direction
from noodle_policies.settings.values import Values

__all__ = [
    "DAY_MS",
    "STEPPED_LIMIT_S",
    "at_once_limit",
    "back_limit_ms",
    "health_limit_ms",
    "total_limit_ms",
]

DAY_MS: Final = 86_400_000
STEPPED_LIMIT_S: Final = 1_800
"""The total limit of strategies that have none of their own: they hold for minutes."""
_GENERAL: Final = "runtime_upgrade_manager.default_timeout"
_GENERAL_DEFAULT: Final = 300
_OWN: Final = {
    "immediate": "runtime_upgrade.strategies.strategy_configs.immediate.timeout",
    "gradual": "runtime_upgrade.strategies.strategy_configs.gradual.timeout",
    "blue_green": "runtime_upgrade.strategies.strategy_configs.blue_green.timeout",
}


def total_limit_ms(settings: Values) -> int:
    """How long an upgrade may take forward, from its request to its commit.

    The strategy's own limit, which a `default_timeout` of a higher layer beats; for canary
    and rolling, which have none, STEPPED_LIMIT_S unless `default_timeout` was set.
    """
    strategy = settings.text("runtime_upgrade.strategies.default_strategy")
    own = _OWN.get(strategy)
    if own is not None:
        return settings.whole(own) * 1000
    general_s = settings.whole(_GENERAL)
    return (STEPPED_LIMIT_S if general_s == _GENERAL_DEFAULT else general_s) * 1000


def back_limit_ms(settings: Values, direction: Direction) -> int:
    """How long a way back may take: of an upgrade in flight, or of one that was committed."""
    whole_s = settings.whole("deployment.coordination.rollback_timeout")
    if direction is Direction.BACK:
        node_s = settings.whole("rollback_manager.rollback_strategies.rollback_timeout")
        whole_s = min(whole_s, node_s)
    return whole_s * 1000


def health_limit_ms(settings: Values | None) -> int:
    """How long a health check has whose manifest does not say so."""
    if settings is None:
        return HEALTH_MS_MAX
    return settings.whole("deployment.coordination.health_check_timeout") * 1000


def at_once_limit(settings: Values) -> tuple[int, str]:
    """How many upgrades may run at once, and the key that says so."""
    most = settings.whole("runtime_upgrade_manager.max_concurrent_upgrades")
    limits = [(most, "runtime_upgrade_manager.max_concurrent_upgrades")]
    if settings.switch("performance.throttling.enabled"):
        throttled = settings.whole("performance.throttling.concurrent_limit")
        limits.append((throttled, "performance.throttling.concurrent_limit"))
    return min(limits, key=lambda limit: limit[0])
