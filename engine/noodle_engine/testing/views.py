"""What the commands for plug-ins answer. Needs no extra."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final

from noodle_engine.targets.base import ENTRY_POINT_GROUP
from noodle_engine.targets.load import known_kinds

__all__ = ["CONTRACT_GROUP", "ContractView", "KindView", "KindsView", "kinds_here"]

CONTRACT_GROUP: Final = "noodle.target_contracts"
"""Where a plug-in says, under its kind's name, which TargetContract it keeps."""
FORMAT: Final = 1
_OWN: Final = "noodle-upgrade"


@dataclass(frozen=True, slots=True)
class KindView:
    """A kind of target. `contract`: it can be tested without saying what its payload is."""

    kind: str
    provider: str
    version: str | None
    value: str
    contract: bool


@dataclass(frozen=True, slots=True)
class KindsView:
    """The answer of plugin list: the kinds that can be upgraded here."""

    kinds: tuple[KindView, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class ContractView:
    """The answer of plugin test: a kind kept every law.

    `kills`: how often a process was killed at a point of one upgrade, histories not counted.
    `examples` histories were drawn by `seed`, null where they are the same in every run.
    """

    kind: str
    laws: tuple[str, ...]
    kills: int
    examples: int
    seed: int | None
    seconds: float
    format: int = FORMAT


def kinds_here() -> KindsView:
    """The kinds that can be upgraded here, and who brings them. Imports no plug-in."""
    contracts = {point.name for point in entry_points(group=CONTRACT_GROUP)}
    known, found = set(known_kinds()), []
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name not in known:
            continue
        provider = point.dist.name if point.dist is not None else point.value
        found.append(
            KindView(
                kind=point.name,
                provider=provider,
                version=point.dist.version if point.dist is not None else None,
                value=point.value,
                contract=point.name in contracts or provider == _OWN,
            )
        )
    return KindsView(tuple(sorted(found, key=lambda one: (one.kind, one.provider))))
