"""Rule L: which limit an upgrade has, by each setting that has a say."""

from __future__ import annotations

from typing import Any

import pytest

from noodle_engine import Noodle
from noodle_engine.execute.answers import reading
from noodle_engine.execute.timing.limits import (
    STEPPED_LIMIT_S,
    back_limit_ms,
    health_limit_ms,
    total_limit_ms,
)
from noodle_engine.machine.records import TimerSet
from noodle_engine.machine.states import Direction
from noodle_policies.settings.values import Values
from tests.unit.execute.site import Driven, Site, hook
from tests.unit.policies.settings.sources import resolved

STRATEGY = "runtime_upgrade.strategies.default_strategy"
IMMEDIATE = "runtime_upgrade.strategies.strategy_configs.immediate.timeout"
GRADUAL = "runtime_upgrade.strategies.strategy_configs.gradual.timeout"
BLUE_GREEN = "runtime_upgrade.strategies.strategy_configs.blue_green.timeout"
GENERAL = "runtime_upgrade_manager.default_timeout"
TWIN = "self_improvement.runtime_upgrade_integration.upgrade_timeout"
ALL = "deployment.coordination.rollback_timeout"
NODE = "rollback_manager.rollback_strategies.rollback_timeout"
HEALTH = "deployment.coordination.health_check_timeout"
HISTORY_DAYS = "deployment.upgrade_integration.history_days"
HISTORY_MAX = "runtime_upgrade_manager.max_upgrade_history"
DURATIONS = "runtime_upgrade_manager.performance_monitoring"
DAY_MS = 86_400_000


def of(values: dict[str, Any]) -> Values:
    """The settings in force when some keys are given as options."""
    return resolved([], {}, [(key, str(value)) for key, value in values.items()]).in_force()


@pytest.mark.parametrize(
    ("given", "limit_s"),
    [
        ({}, 300),
        ({STRATEGY: "immediate"}, 60),
        ({STRATEGY: "blue_green"}, 600),
        ({STRATEGY: "canary"}, STEPPED_LIMIT_S),
        ({STRATEGY: "rolling"}, STEPPED_LIMIT_S),
        ({GRADUAL: 301}, 301),
        ({STRATEGY: "immediate", IMMEDIATE: 61}, 61),
        ({STRATEGY: "blue_green", BLUE_GREEN: 601}, 601),
        ({GENERAL: 40}, 40),
        ({TWIN: 41}, 41),
        ({GENERAL: 40, GRADUAL: 50}, 50),
        ({STRATEGY: "canary", GENERAL: 700}, 700),
    ],
)
def test_the_total_limit(given: dict[str, Any], limit_s: int) -> None:
    assert total_limit_ms(of(given)) == limit_s * 1000


@pytest.mark.parametrize(
    ("given", "in_flight_s", "committed_s"),
    [({}, 600, 300), ({NODE: 700}, 600, 600), ({ALL: 200}, 200, 200), ({NODE: 100}, 600, 100)],
)
def test_the_limit_of_a_way_back(given: dict[str, Any], in_flight_s: int, committed_s: int) -> None:
    assert back_limit_ms(of(given), Direction.FORWARD) == in_flight_s * 1000
    assert back_limit_ms(of(given), Direction.BACK) == committed_s * 1000


def test_a_health_check_gets_what_the_settings_say_where_its_manifest_is_silent() -> None:
    assert health_limit_ms(None) == 300_000
    assert health_limit_ms(of({HEALTH: 7})) == 7_000


def test_a_plan_says_how_long_each_health_check_has(site: Site) -> None:
    site.settings('{"deployment": {"coordination": {"health_check_timeout": 7}}}')
    checks = '[[health]]\nfile = "/"\n[[health]]\nfile = "/"\nwithin = 9\n'
    site.release("web", "1.0.0", checks)
    with site.open() as noodle:
        plan = noodle.plan(["web@1.0.0"]).plan
    assert plan is not None
    assert [check.within_ms for check in plan.components[0].health] == [7_000, 9_000]


def test_an_upgrade_is_requested_with_its_limit(driven: Driven) -> None:
    driven.site.release("web", "1.0.0")
    upgrade = driven.apply("web@1.0.0")
    begun = driven.entries(upgrade)[0].at_ms
    (timer,) = [one for one in driven.events(upgrade) if isinstance(one, TimerSet)]
    assert timer.due_ms - begun <= 300_000


def upgraded(site: Site) -> None:
    with site.open() as noodle:
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            site.release("web", version, hook("before-swap", ["true"]))
            noodle.apply([f"web@{version}"])


def listed(noodle: Noodle) -> tuple[int, str | None]:
    view = noodle.history()
    return len(view.upgrades), view.hidden_by


def test_the_history_holds_so_many_finished_upgrades_and_all_if_asked(site: Site) -> None:
    upgraded(site)
    with site.open() as noodle:
        assert listed(noodle) == (3, None)
        site.settings('{"runtime_upgrade_manager": {"max_upgrade_history": 2}}')
        assert listed(noodle) == (2, HISTORY_MAX)
        assert len(noodle.history(everything=True).upgrades) == 3


def test_the_history_goes_so_many_days_back(site: Site) -> None:
    """What ended is left out by its age; what is still open is always there."""
    driven = Driven.open(site)
    try:
        for version in ("1.0.0", "1.1.0"):
            site.release("web", version)
            driven.apply(f"web@{version}")
        reader, now = driven.engine.journal, driven.engine.clock.now_ms()
        first = reading.history(reader, None)[0][-1]
        assert reading.history(reader, None, since_ms=now + 1) == ((), HISTORY_DAYS)
        rows, cut = reading.history(reader, None, since_ms=now + 1, unfinished=[first.upgrade])
        assert ([row.upgrade for row in rows], cut) == ([first.upgrade], HISTORY_DAYS)
        assert reading.history(reader, None, since_ms=0)[1] is None
    finally:
        driven.close()


def test_steps_tell_how_long_they_took_unless_that_is_off(site: Site) -> None:
    upgraded(site)
    with site.open() as noodle:
        upgrade = noodle.history().upgrades[0].upgrade
        assert any(row.duration_ms is not None for row in noodle.steps(upgrade).steps)
        site.settings('{"runtime_upgrade_manager": {"performance_monitoring": false}}')
        assert all(row.duration_ms is None for row in noodle.steps(upgrade).steps)
