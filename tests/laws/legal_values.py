"""Legal values of every key, made from the catalogue: what the laws of settings draw from.

A value is legal because the model itself takes it: candidates are offered to the reader
of files, and those that it refuses are dropped. No key is listed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.reading.sections import read_sections

__all__ = ["legal_values", "nested", "other_value", "taken"]

_TEXTS = (
    "one",
    "1.2.3",
    ">=1.0.0",
    "7MB",
    "12:00",
    "11:00-12:00",
    "Europe/Vienna",
    "other/folder",
    "/var/tmp/other",
)


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Keys as they stand in a file."""
    made: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        inner = made
        for part in sections:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return made


def taken(key: str, value: object) -> bool:
    """Whether the model takes a value for a key, by itself."""
    values, problems = read_sections(nested({key: value}), lambda _way: "")
    return not problems and key in values


@cache
def legal_values(name: str) -> tuple[Any, ...]:
    """Values that the model takes for a key, its default first; as JSON has them."""
    key = catalogue().keys[name]
    found: list[Any] = []
    for value in (key.default, *_candidates(key)):
        plain = list(value) if isinstance(value, tuple) else value
        if plain not in found and taken(name, plain):
            found.append(plain)
    return tuple(found)


def other_value(name: str) -> Any:
    """A legal value that is not the default; None if there is none."""
    values = legal_values(name)
    return values[1] if len(values) > 1 else None


def _candidates(key: Key) -> Iterator[Any]:
    default = key.default
    match key.kind:
        case "boolean":
            yield not default
        case "integer":
            yield from (default + 1, default - 1, default * 2, 1, 2)
        case "number":
            yield from _numbers(default)
        case "string":
            yield from (*key.choices, *_TEXTS)
        case "list" if not key.structured:
            yield from _lists(default, key.choices or _TEXTS)


def _numbers(default: float) -> Iterable[float]:
    return (default / 2, default + 1, default * 2, 0.25, 0.75, 1.0)


def _lists(default: tuple[str, ...], words: Iterable[str]) -> Iterator[list[str]]:
    yield list(default[:1])
    yield list(default[1:])
    for word in words:
        yield [word]
        yield [*default, word]
