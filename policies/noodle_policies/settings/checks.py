"""What values must be beside each other: dependency, consistency, security.

Owns the rules that need more than one key, or the environment. Everything is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, Final

from noodle_policies.settings.failures import Problem, ProblemKind
from noodle_policies.settings.model.catalogue import catalogue

__all__ = ["below_switch", "consistency_problems", "dependencies", "security_problems"]

PlaceOf = Callable[[str], str]
"""Where the value of a key was set; nothing for a default."""

DAY_MINUTES: Final = 24 * 60
STEP_S_MIN: Final = 60
"""How long one step of a canary holds at least."""


def dependencies(
    values: Mapping[str, Any], rank: Callable[[str], int], unsettled: AbstractSet[str]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The keys without effect, by the switch that is off; and those that were set for nothing.

    `rank` says in which layer a key was set; 0 for a default. `unsettled` are keys of which
    one layer says different things: such a switch turns nothing off, and such a key was not
    set for nothing, for which of the values counts is chance.

    A key was set for nothing if its value is not the default, it acts under no other name
    either, and it was set where the switch was set or in a higher layer. A switch that a
    higher layer turns off is meant: an operator who turns something off for now need not
    undo every file.
    """
    inert: dict[str, str] = {}
    refused: list[tuple[str, str]] = []
    for switch in catalogue().switches:
        if not values[switch] and switch not in unsettled:
            for name in below_switch(switch, values):
                inert.setdefault(name, switch)
    for name, switch in inert.items():
        key = catalogue().find(name)
        if key is None or name in unsettled or values[name] == key.default:
            continue
        if any(twin not in inert for twin in catalogue().twins_of(key)):
            continue
        if rank(name) >= max(1, rank(switch)):
            refused.append((name, switch))
    return inert, refused


def below_switch(switch: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The keys that rest on a switch, also over others, the user's own entries included."""
    waiting, seen = [switch], {switch}
    while waiting:
        for name in catalogue().resting_on.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
                yield name
    if switch == _POLICIES_SWITCH:
        yield from (name for name in values if name.startswith(_POLICIES) and name not in seen)


_POLICIES_SWITCH: Final = "deployment.upgrade_integration.enabled"
_POLICIES: Final = ("deployment.policies.", "deployment.maintenance_windows.")


# -- consistency ------------------------------------------------------------------------


def consistency_problems(
    values: Mapping[str, Any],
    environment: str | None,
    said: Container[str],
    place: PlaceOf,
    wrong: AbstractSet[str] = frozenset(),
) -> Iterator[Problem]:
    """What contradicts itself. `said` are the keys that are no defaults.

    `wrong` are keys of which it is not known what is meant: the policies, which many keys
    make, are not asked about where one of them is. A policy of another environment, of which
    nobody said anything, acts nowhere here.
    """
    yield from _not_above(
        values,
        place,
        "runtime_upgrade.strategies.strategy_configs.canary.initial_percentage",
        "runtime_upgrade.strategies.strategy_configs.canary.max_percentage",
        "a canary begins with no more than it ends with",
    )
    yield from _not_above(
        values,
        place,
        "ai_agents.rollback.automatic_rollback_threshold",
        "ai_agents.upgrade_integration.rollback_trigger_threshold",
        "what advises a rollback comes before what causes one",
    )
    yield from _not_above(
        values,
        place,
        "rollback_manager.rollback_retention_days",
        "rollback_manager.cleanup.max_retention_days",
        "even the newest kept version would go before older ones",
    )
    yield from _in_transit(values, place)
    if not any(key.startswith(_OF_POLICIES) for key in wrong):
        yield from _policies(values, environment, said, place)


_OF_POLICIES: Final = ("deployment.", "runtime_upgrade.strategies.")


def _not_above(
    values: Mapping[str, Any], place: PlaceOf, low: str, high: str, why: str
) -> Iterator[Problem]:
    if values[low] > values[high]:
        where = place(low) or place(high)
        other = place(high if place(low) else low)
        beside = f" ({other})" if other and other != where else ""
        text = f"{low} is {values[low]}, {high} is {values[high]}{beside}: {why}"
        yield Problem(ProblemKind.CONSISTENCY, where, low, text)


def _in_transit(values: Mapping[str, Any], place: PlaceOf) -> Iterator[Problem]:
    required, allowed = "secure_communication.tls_required", "encryption.data_in_transit_encryption"
    if values[required] and not values[allowed] and place(required):
        text = f"{required} is on and {allowed} is off: only one of them can be meant"
        yield Problem(ProblemKind.CONSISTENCY, place(required), required, text)


def _policies(
    values: Mapping[str, Any], here: str | None, said: Container[str], place: PlaceOf
) -> Iterator[Problem]:
    """Policies: one for an environment, and windows in which their upgrades fit."""
    by_environment: dict[str, str] = {}
    for name in _entries(values, "deployment.policies."):
        prefix = f"deployment.policies.{name}."
        key = f"{prefix}deployment_environment"
        environment = values.get(key)
        if environment is None:
            text = f"{key} is missing: a policy acts in one environment"
            where = next(
                (place(one) for one in values if one.startswith(prefix) and place(one)), ""
            )
            yield Problem(ProblemKind.CONSISTENCY, where, key, text)
            continue
        if environment in by_environment:
            other = f"deployment.policies.{by_environment[environment]}.deployment_environment"
            text = f'{key} and {other} are both "{environment}": an environment has one policy'
            yield Problem(ProblemKind.CONSISTENCY, place(key) or place(other), key, text)
        by_environment[environment] = name
        if environment == here or _touched(name, said):
            yield from _narrow(values, place, name)


def _entries(values: Mapping[str, Any], prefix: str) -> list[str]:
    own = (key for key in values.keys() - catalogue().defaults.keys() if key.startswith(prefix))
    return list(dict.fromkeys((*_first_entries(prefix), *sorted(map(_entry(prefix), own)))))


@cache
def _first_entries(prefix: str) -> tuple[str, ...]:
    found = (key for key in catalogue().defaults if key.startswith(prefix))
    return tuple(dict.fromkeys(map(_entry(prefix), found)))


def _touched(name: str, said: Container[str]) -> bool:
    """Whether somebody said anything of a policy or of the window of its name."""
    first = _first_keys(name)
    return not first or any(key in said for key in first)


@cache
def _first_keys(name: str) -> tuple[str, ...]:
    own = tuple(f"{prefix}{name}." for prefix in _POLICIES)
    return tuple(key for key in catalogue().defaults if key.startswith(own))


def _entry(prefix: str) -> Callable[[str], str]:
    return lambda key: key.removeprefix(prefix).partition(".")[0]


def _narrow(values: Mapping[str, Any], place: PlaceOf, name: str) -> Iterator[Problem]:
    """A policy whose longest window is shorter than its strategy at its shortest."""
    strategy_key = f"deployment.policies.{name}.upgrade_strategy"
    strategy = values.get(strategy_key) or values["runtime_upgrade.strategies.default_strategy"]
    least_s = _least_s(values, strategy)
    key = f"deployment.policies.{name}.timing_constraints.maintenance_windows"
    windows = [tuple(one.split("-")) for one in values.get(key) or ()]
    if not windows:
        key = f"deployment.maintenance_windows.{name}.start"
        if key not in values:
            return
        end = f"deployment.maintenance_windows.{name}.end"
        windows = [(values[key], values.get(end, "24:00"))]
    longest_s = max(_minutes(start, end) for start, end in windows) * 60
    if longest_s < least_s:
        text = (
            f"the longest window of {key} is {longest_s} s, and an upgrade with strategy "
            f"{strategy} ({strategy_key}) takes at least {least_s} s: none could ever begin"
        )
        where = place(key) or place(strategy_key)
        yield Problem(ProblemKind.CONSISTENCY, where, key, text)


def _least_s(values: Mapping[str, Any], strategy: str) -> int:
    """How long an upgrade with a strategy holds at least, however fast its steps are."""
    configs = "runtime_upgrade.strategies.strategy_configs"
    if strategy == "gradual":
        return int(values[f"{configs}.gradual.timeout"]) // 2
    if strategy == "canary":
        first = values[f"{configs}.canary.initial_percentage"]
        step = values[f"{configs}.canary.increment_percentage"]
        last = values[f"{configs}.canary.max_percentage"]
        return int(2 - (first - last) // step) * STEP_S_MIN
    return 0


def _minutes(start: str, end: str) -> int:
    begin, finish = (int(one[:2]) * 60 + int(one[3:]) for one in (start, end))
    return finish - begin if finish > begin else finish - begin + DAY_MINUTES


# -- security -------------------------------------------------------------------------

_PRODUCTION_ON: Final = (
    "security.component_validation.signature_verification",
    "security.component_validation.integrity_checking",
    "security.component_validation.source_verification",
    "security.component_validation.malware_scanning",
    "secure_communication.certificate_validation",
)


def security_problems(
    values: Mapping[str, Any], environment: str | None, place: PlaceOf
) -> Iterator[Problem]:
    """What may not be in production."""
    if environment != "production":
        return
    for key in _PRODUCTION_ON:
        if not values[key]:
            text = f"{key} is off, which production does not allow"
            yield Problem(ProblemKind.SECURITY, place(key), key, text)
    key = "debug.stack_traces"
    if values[key]:
        text = f"{key} is on: in production no traceback is written"
        yield Problem(ProblemKind.SECURITY, place(key), key, text)
