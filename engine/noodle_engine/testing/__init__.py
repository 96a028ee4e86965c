"""Proofs for authors of target kinds: what Noodle's own kinds are held to, for everybody's.

Owns the public names. They are imported when they are first asked for: the failures and
the answers of commands need no extra, all else needs Hypothesis (extra `testing`).

    strategies  what Hypothesis draws: trees, manifests, plans, crash schedules
    contract    TargetContract, the state machine of a kind
    versions    what a version of a kind is: Files, Trees, or your own
    site        one target, its steps, and the looks whether a law holds
    sweep       every law once; a kill at every point
    acting, striking  an act in a process of its own, and how it is killed
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from noodle_engine.testing.failures import ContractBroken, ExtraMissing

if TYPE_CHECKING:
    from noodle_engine.testing.contract import TargetContract
    from noodle_engine.testing.strategies import Tree, crash_schedules, manifests, plans, trees
    from noodle_engine.testing.versions import Files, Trees, Versions

__all__ = [
    "ContractBroken",
    "Files",
    "TargetContract",
    "Tree",
    "Trees",
    "Versions",
    "crash_schedules",
    "manifests",
    "plans",
    "trees",
]

_WHERE: Final = {
    "Files": "versions",
    "TargetContract": "contract",
    "Tree": "strategies",
    "Trees": "versions",
    "Versions": "versions",
    "crash_schedules": "strategies",
    "manifests": "strategies",
    "plans": "strategies",
    "trees": "strategies",
}

if not TYPE_CHECKING:
    # Hidden from type checkers, to which it would say that every name exists.

    def __getattr__(name: str) -> object:
        """Import a public name at its first use (PEP 562).

        Raises: AttributeError for every other name, ExtraMissing without Hypothesis.
        """
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            found = import_module(f"{__name__}.{_WHERE[name]}")
        except ModuleNotFoundError as error:
            if error.name != "hypothesis":
                raise
            raise ExtraMissing(module=error.name) from error
        return getattr(found, name)


def __dir__() -> list[str]:
    """List the public names, whether or not they were used yet."""
    return sorted(__all__)
