"""Noodle upgrades running software and never leaves it half-upgraded.

Owns the public name `Noodle` and the version, and nothing else. `Noodle` is
imported when it is first asked for, so that a short command does not pay for
what it does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noodle_engine.api import Noodle

__all__ = ["Noodle", "__version__"]

__version__ = "0.1.0"


if not TYPE_CHECKING:
    # Hidden from type checkers, to which it would say that every name exists.

    def __getattr__(name: str) -> object:
        """Import `Noodle` at its first use (PEP 562).

        Raises: AttributeError for every other name.
        """
        if name == "Noodle":
            return import_module("noodle_engine.api").Noodle
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, whether or not they were used yet."""
    return sorted(__all__)
