"""`noodle plugin test`: which contract a kind has, and what came of it.

Owns the way from a kind's name to its contract (entry points, group
`noodle.target_contracts`) and the answer. Three parts, each bounded: a walk through
every law, a kill at every point, and what Hypothesis draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from noodle_engine.targets.load import load_target
from noodle_engine.testing.contract import TargetContract
from noodle_engine.testing.failures import ContractBroken, ContractUnusable, PayloadUnsaid
from noodle_engine.testing.versions import Files, Trees, Versions
from noodle_engine.testing.views import CONTRACT_GROUP, ContractView

__all__ = ["contract_of", "run_contract"]

STEPS_MAX: Final = 12
"""How many rules one example has."""
_OWN: Final[Mapping[str, Callable[[], Versions]]] = {"file": Files, "directory": Trees}
_PAYLOADS: Final[Mapping[str, Callable[[], Versions]]] = {"file": Files, "tree": Trees}


def contract_of(kind: str, payload: str | None = None) -> type[TargetContract]:
    """The contract of a kind: its plug-in's, or one of a payload of `file` or `tree`.

    Raises what `load_target` raises, PayloadUnsaid, ContractUnusable.
    """
    load_target(kind)
    if payload is not None:
        return _made(kind, _PAYLOADS[payload])
    if kind in _OWN:
        return _made(kind, _OWN[kind])
    for point in entry_points(group=CONTRACT_GROUP, name=kind):
        try:
            found = point.load()
        except Exception as error:  # whatever a plug-in's import raises
            why = f"{type(error).__name__}: {error}"
            raise ContractUnusable(kind=kind, why=why) from error
        if not (isinstance(found, type) and issubclass(found, TargetContract)):
            raise ContractUnusable(kind=kind, why=f"{point.value} is no TargetContract")
        return found
    raise PayloadUnsaid(kind=kind, group=CONTRACT_GROUP)


def _made(kind: str, versions: Callable[[], Versions]) -> type[TargetContract]:
    return type(f"Contract_{kind}", (TargetContract,), {"kind": kind, "versions": versions()})


def run_contract(
    contract: type[TargetContract],
    *,
    examples: int,
    every: int = 1,
    seed_of_run: int | None = None,
    folder: Path | None = None,
    told: Callable[[str], None] = lambda _text: None,
) -> ContractView:
    """Hold a kind to every law; `every` is how many points one kill stands for.

    Without a seed the examples are the same in every run. `told` hears of each part. All is
    done in folders of its own, in `folder` if given. Raises ContractBroken at the first law
    that does not hold, with the shortest story that was found.
    """
    began = time.monotonic()
    if folder is not None:
        contract = type(contract.__name__, (contract,), {"folder": folder})
    told("every law, without a kill")
    kills = contract.prove(
        every=every, told=lambda name, kills: told(f"{name}: killed {kills} times so far")
    )
    if examples:
        told(f"{examples} histories by chance")
        _drawn(contract, examples, seed_of_run)
    return ContractView(
        kind=contract.loaded().kind,
        laws=tuple(_laws()),
        kills=kills,
        examples=examples,
        seed=seed_of_run,
        seconds=round(time.monotonic() - began, 1),
    )


def _laws() -> list[str]:
    from noodle_engine.testing.laws import Law  # noqa: PLC0415 - beside its only use

    return [law.value for law in Law]


def _drawn(contract: type[TargetContract], examples: int, seed_of_run: int | None) -> None:
    chosen = type(contract.__name__, (contract,), {})
    if seed_of_run is not None:
        chosen = seed(seed_of_run)(chosen)
    limits = settings(
        max_examples=examples,
        stateful_step_count=STEPS_MAX,
        deadline=None,
        database=None,
        derandomize=seed_of_run is None,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(chosen, settings=limits)
    except FlakyFailure as error:
        for one in error.exceptions:
            if isinstance(one, ContractBroken):
                raise one from error
        raise
