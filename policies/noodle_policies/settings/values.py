"""The settings in force, by their names.

Owns the typed look at values that were validated already. It knows no model:
a value comes from a resolution, from the home's cache or from the journal, and
each name that is asked for stands in the code as it stands in a file (a test
holds every such name against the model).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

__all__ = ["Values", "nested", "value_text", "values_hash"]


@dataclass(frozen=True, slots=True)
class Values:
    """The settings in force.

    by_key: every setting. inert: those without effect, by the switch that is off.
    warnings: what is legal and still worth saying.

    Asking for a name that is not there raises KeyError; for another kind, TypeError.
    """

    by_key: Mapping[str, Any]
    inert: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()

    def switch(self, key: str) -> bool:
        """Whether a switch is on."""
        return _as(bool, key, self.by_key[key])

    def acts(self, key: str) -> bool:
        """Whether a switch is on, and everything that it rests on as well."""
        return self.switch(key) and key not in self.inert

    def whole(self, key: str) -> int:
        """A whole number, in the key's own unit."""
        found = self.by_key[key]
        if isinstance(found, bool):
            raise TypeError(key)
        return _as(int, key, found)

    def number(self, key: str) -> float:
        """A number, in the key's own unit."""
        found = self.by_key[key]
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise TypeError(key)
        return float(found)

    def text(self, key: str) -> str:
        """A text."""
        return _as(str, key, self.by_key[key])

    def names(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(_as(str, key, one) for one in self.by_key[key])

    def stored(self) -> dict[str, Any]:
        """These settings as the journal holds them: in sections, at less than half the size."""
        return nested(self.by_key)

    @property
    def hash(self) -> str:
        """The SHA-256 of these settings, as the journal holds them."""
        return values_hash(self.stored())


T = TypeVar("T")


def _as(kind: type[T], key: str, found: object) -> T:
    if not isinstance(found, kind):
        raise TypeError(key)
    return found


def value_text(value: object) -> str:
    """A value as JSON has it, on one line: how a list or a text is shown to a person."""
    return json.dumps(value, default=dict, ensure_ascii=False)


def nested(by_key: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key, in sections as a file has them."""
    made: dict[str, Any] = {}
    for key, value in by_key.items():
        *sections, name = key.split(".")
        inner = made
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return made


def values_hash(stored: Mapping[str, Any]) -> str:
    """The SHA-256 of settings as the journal holds them, as canonical JSON."""
    text = json.dumps(stored, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.sha256(text.encode()).hexdigest()
