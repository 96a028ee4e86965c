"""Settings as a whole: what is in force, and where two folders differ.

Pure. The documented answers of `noodle config show`, `validate` and `diff`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from noodle_policies.settings.failures import Problem
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.model.root import OWN_SECTION
from noodle_policies.settings.resolving import Resolution, located
from noodle_policies.settings.values import nested

__all__ = [
    "DifferenceRow",
    "DifferencesView",
    "ProblemRow",
    "SettingsView",
    "ValidatedView",
    "differences",
    "problem_rows",
    "settings_view",
]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SettingsView:
    """The answer of config show.

    `settings` is nested as in a file; Noodle's own options stand apart in `own`. `changed`
    are the keys that are not at their default, `origins` where each key that was set was
    set, `inert` the switch that is off for each key without effect. `folders` were looked
    at, the one that counts least first; `files` were found there. `hash` is of all values.
    """

    settings: Mapping[str, Any]
    own: Mapping[str, Any]
    changed: tuple[str, ...]
    origins: Mapping[str, str]
    inert: Mapping[str, str]
    warnings: tuple[str, ...]
    environment: str | None
    folders: tuple[str, ...]
    files: tuple[str, ...]
    hash: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One thing that is wrong: `kind` of check, place, key if it is about one, and why."""

    kind: str
    place: str
    key: str | None
    text: str


@dataclass(frozen=True, slots=True)
class ValidatedView:
    """The answer of config validate.

    `environments` were each looked at (`none`: without one). `unread` are JSON files in
    the folders that have none of the names that are read.
    """

    valid: bool
    problems: tuple[ProblemRow, ...]
    warnings: tuple[str, ...]
    environments: tuple[str, ...]
    folders: tuple[str, ...]
    files: tuple[str, ...]
    unread: tuple[str, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """A key that differs: both values, and where each was set (empty for a default)."""

    key: str
    one: Any
    other: Any
    one_place: str
    other_place: str


@dataclass(frozen=True, slots=True)
class DifferencesView:
    """The answer of config diff: what was compared, and the keys that differ."""

    one: str
    other: str
    differing: tuple[DifferenceRow, ...]
    format: int = FORMAT


def settings_view(found: Resolution, *, only_changed: bool = False) -> SettingsView:
    """All settings in force; with `only_changed` those that are not at their default."""
    changed = tuple(name for name in found.values if _changed(name, found))
    shown = changed if only_changed else tuple(found.values)
    own = f"{OWN_SECTION}."
    return SettingsView(
        settings=nested({key: found.values[key] for key in shown if not key.startswith(own)}),
        own=nested({key: found.values[key] for key in shown if key.startswith(own)}),
        changed=changed,
        origins={key: located(one, key) for key, one in found.chosen.items() if key in shown},
        inert={key: switch for key, switch in found.inert.items() if key in shown},
        warnings=found.warnings,
        environment=found.environment,
        folders=found.inputs.layers,
        files=tuple(file.path for file in found.inputs.files),
        hash=found.in_force().hash,
    )


def problem_rows(problems: Iterable[Problem]) -> tuple[ProblemRow, ...]:
    """Problems as an answer holds them."""
    return tuple(ProblemRow(one.kind.value, one.place, one.key, one.text) for one in problems)


def differences(one: Resolution, other: Resolution) -> tuple[DifferenceRow, ...]:
    """The keys whose values differ, in the order of the model.

    An entry that only one of the two has, has null in the other.
    """
    names = dict.fromkeys([*one.values, *other.values])
    return tuple(
        DifferenceRow(
            name,
            one.values.get(name),
            other.values.get(name),
            one.place_of(name),
            other.place_of(name),
        )
        for name in names
        if one.values.get(name) != other.values.get(name)
    )


def _changed(name: str, found: Resolution) -> bool:
    key = catalogue().find(name)
    in_first = catalogue().defaults.get(name, None if key is None else key.default)
    return bool(found.values[name] != in_first) or name not in catalogue().defaults
