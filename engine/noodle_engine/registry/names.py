"""Names of components and releases.

Owns the rule for a component's name and the notation NAME@VERSION.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from noodle_engine.registry.failures import NameRefused
from noodle_engine.registry.versions import check_version

__all__ = ["NAME_RULE", "Wanted", "check_name", "parse_wanted"]

NAME_RULE: Final = "[a-z0-9][a-z0-9._-]{0,62}"
"""A component's name, as a regular expression."""

_NAME = re.compile(NAME_RULE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A component, and the version that is wanted (None: none was stated)."""

    name: str
    version: str | None = None


def check_name(name: str) -> str:
    """Give `name` back if it keeps the rule. Raises NameRefused."""
    if _NAME.fullmatch(name) is None:
        raise NameRefused(text=name, rule=NAME_RULE)
    return name


def parse_wanted(text: str) -> Wanted:
    """Read NAME or NAME@VERSION. Raises NameRefused or VersionRefused."""
    name, at, version = text.partition("@")
    check_name(name)
    return Wanted(name, check_version(version) if at else None)
