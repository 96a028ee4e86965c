"""Every key by its name, made from the model.

Owns the way from a dotted name to the field that it names, and the groups of
keys that are one setting in several places. It reads class definitions only:
nothing is validated here.
"""

from __future__ import annotations

import typing
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from noodle_policies.settings.model.root import OWN_SECTION, Settings
from noodle_policies.settings.model.section import Facts, Section, entries_of, facts_of, is_key

__all__ = ["KINDS", "Catalogue", "Key", "catalogue", "section_in"]

KINDS: Final = ("boolean", "integer", "number", "string", "list", "mapping")


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its name, the kind and default of its value, and the facts beside it.

    kind: one of KINDS. choices: the words that are legal, or none for any.
    structured: whether its value holds objects, which a variable writes as JSON.
    """

    name: str
    kind: str
    default: Any
    choices: tuple[str, ...]
    structured: bool
    facts: Facts

    @property
    def own(self) -> bool:
        """Whether it is an option of Noodle's own."""
        return self.name.startswith(f"{OWN_SECTION}.")

    @property
    def bounds(self) -> str:
        """What values are legal, in words."""
        if self.facts.bounds:
            return self.facts.bounds
        return "one of " + ", ".join(self.choices)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All keys.

    keys: by name, in the order of the model; entries of mappings as they are at first.
    variables: which keys a variable sets.
    twins: the names of each group that is one setting in several places.
    resting_on: the keys that rest on a switch, by the switch; switches: those.
    merging: the keys whose values merge by name from layer to layer.
    defaults: the value of each key where nothing is said.
    specific: the keys for which a general one counts where they are not set.
    """

    keys: Mapping[str, Key]
    variables: Mapping[str, tuple[str, ...]]
    twins: Mapping[str, tuple[str, ...]]
    resting_on: Mapping[str, tuple[str, ...]]
    merging: frozenset[str]
    specific: tuple[tuple[Key, str], ...]
    defaults: Mapping[str, Any]

    @property
    def switches(self) -> Iterable[str]:
        """The keys that others rest on, in the order of the model."""
        return self.resting_on.keys()

    def find(self, name: str) -> Key | None:
        """The key of that name, also below an entry that a user named; None if there is none."""
        known = self.keys.get(name)
        return known if known is not None else _find(Settings, name.split("."), name)

    def section_says(self, name: str) -> str:
        """The sentence of a section, or of the entry of one; nothing for what is none."""
        section: type[Section] | None = Settings
        parts = name.split(".")
        while parts and section is not None:
            field = section.model_fields.get(parts.pop(0))
            section = None if field is None else section_in(field)
            if field is not None and section is not None and entries_of(field) is not None:
                parts = parts[1:]
        return "" if section is None else " ".join((section.__doc__ or "").split())

    def reader_of(self, key: Key) -> str | None:
        """The module that obeys a key, or a twin of it: they have one value."""
        if key.facts.reader is not None or key.facts.twin is None:
            return key.facts.reader
        members = (self.keys[name].facts.reader for name in self.twins[key.facts.twin])
        return next((reader for reader in members if reader is not None), None)

    def speaking(self, key: Key) -> tuple[str, ...]:
        """The names under which something may be said of a key, its own first."""
        names = (key.name, *self.twins_of(key))
        if key.facts.general is None:
            return names
        general = self.keys[key.facts.general]
        return (*names, general.name, *self.twins_of(general))

    def twins_of(self, key: Key) -> tuple[str, ...]:
        """The other names of one setting."""
        if key.facts.twin is None:
            return ()
        return tuple(name for name in self.twins[key.facts.twin] if name != key.name)


@cache
def catalogue() -> Catalogue:
    """The catalogue of the model."""
    keys = {key.name: key for key in _keys(Settings, "")}
    variables: defaultdict[str, list[str]] = defaultdict(list)
    twins: defaultdict[str, list[str]] = defaultdict(list)
    for key in keys.values():
        for variable in key.facts.variables:
            variables[variable].append(key.name)
        if key.facts.twin is not None:
            twins[key.facts.twin].append(key.name)
    resting: dict[str, list[str]] = {name: [] for name in keys}
    for key in keys.values():
        for switch in key.facts.rests_on:
            resting[switch].append(key.name)
    return Catalogue(
        MappingProxyType(keys),
        MappingProxyType({name: tuple(found) for name, found in variables.items()}),
        MappingProxyType({name: tuple(found) for name, found in twins.items()}),
        MappingProxyType({name: tuple(found) for name, found in resting.items() if found}),
        frozenset(key.name for key in keys.values() if key.kind == "mapping"),
        tuple((key, key.facts.general) for key in keys.values() if key.facts.general is not None),
        MappingProxyType({name: key.default for name, key in keys.items()}),
    )


def section_in(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds, or whose entries it holds; None for a key."""
    if is_key(field):
        return None
    for found in (field.annotation, *get_args(field.annotation)):
        if isinstance(found, type) and issubclass(found, Section):
            return found
    raise TypeError(f"neither a key nor a section: {field}")


def _keys(section: type[Section], prefix: str) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        inner = section_in(field)
        first = entries_of(field)
        if inner is None:
            yield _key(f"{prefix}{name}", field)
        elif first is None:
            yield from _keys(inner, f"{prefix}{name}.")
        else:
            for entry, values in first.items():
                yield from _entry_keys(inner, f"{prefix}{name}.{entry}.", values)


def _entry_keys(section: type[Section], prefix: str, values: Mapping[str, Any]) -> Iterator[Key]:
    """The keys that an entry has at first, with its own defaults."""
    for name, value in values.items():
        field = section.model_fields[name]
        inner = section_in(field)
        if inner is None:
            yield _key(f"{prefix}{name}", field, default=value)
        else:
            yield from _entry_keys(inner, f"{prefix}{name}.", value)


def _find(section: type[Section], parts: list[str], name: str) -> Key | None:
    field = section.model_fields.get(parts[0])
    if field is None:
        return None
    inner, rest = section_in(field), parts[1:]
    if inner is None:
        return None if rest else _key(name, field)
    if entries_of(field) is not None:
        rest = rest[1:]
    return _find(inner, rest, name) if rest else None


_ABSENT: Final = object()


def _key(name: str, field: FieldInfo, default: Any = _ABSENT) -> Key:
    kind, choices, structured = _kind(field.annotation)
    if default is _ABSENT:
        default = field.get_default(call_default_factory=True)
    return Key(name, kind, default, choices, structured, facts_of(field))


def _kind(annotation: Any) -> tuple[str, tuple[str, ...], bool]:
    """The kind of a value, the words that are legal, and whether it holds objects."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _kind(get_args(annotation)[0])
    if origin in (typing.Union, UnionType):
        return _kind(next(one for one in get_args(annotation) if one is not type(None)))
    if origin is Literal:
        return "string", get_args(annotation), False
    if origin is tuple:
        inner = get_args(annotation)[0]
        if isinstance(inner, type) and issubclass(inner, Section):
            return "list", (), True
        return "list", _kind(inner)[1], False
    if origin is dict:
        return "mapping", (), True
    return {bool: "boolean", int: "integer", float: "number", str: "string"}[annotation], (), False
