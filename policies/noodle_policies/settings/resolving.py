"""Which value of a key counts, and why.

Owns the order of the layers, and how keys that are one setting in several places
are settled.

Laws
S1. A higher layer beats a lower one: option, variable, file (a later folder over an
    earlier one), default. Also across twins, and across a general and a specific key.
S2. Within one layer unequal twins are a problem that names both places; of a general
    and a specific key the specific one counts.
S3. Mappings merge by name, lists replace.
S4. Resolving what was resolved changes nothing; the order in which the sources of one
    layer are handed in does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from math import ceil
from types import MappingProxyType
from typing import Any, Final

from noodle_policies.settings.checks import consistency_problems, dependencies, security_problems
from noodle_policies.settings.failures import Problem, ProblemKind, SettingsInvalid, nearest
from noodle_policies.settings.migrating import VERSION, leads_here
from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.reading.files import FileRead, Inputs
from noodle_policies.settings.reading.json_text import JsonRefused, places_in, read_json
from noodle_policies.settings.reading.sections import Way, private_keys, read_sections, shown
from noodle_policies.settings.reading.texts import (
    Given,
    keyless_variables,
    read_options,
    read_variables,
)
from noodle_policies.settings.values import Values

__all__ = [
    "ENVIRONMENTS",
    "Layer",
    "Resolution",
    "Source",
    "examine",
    "located",
    "resolve",
]

ENVIRONMENTS: Final = ("production", "staging", "development")


class Layer(IntEnum):
    """Where a value comes from, the one that counts most last."""

    DEFAULT = 0
    FILE = 1
    VARIABLE = 2
    OPTION = 3


@dataclass(frozen=True, slots=True)
class Source:
    """What one file, one variable or one option says. rank: a greater one counts more.

    place: the file, the variable or the option. locate: where a key stands in it.
    """

    layer: Layer
    rank: int
    place: str
    values: Mapping[str, Any]
    locate: Callable[[str], str] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The settings in force, and where each comes from.

    values: every key. sources: what was said, the one that counts least first. chosen: the
    source that counts, for each key that is no default; it may speak of a twin or a general
    key. inert: keys without effect, by the switch that is off. environment: what
    NOODLE_ENVIRONMENT says, or nothing.
    """

    values: Mapping[str, Any]
    sources: tuple[Source, ...]
    chosen: Mapping[str, Source]
    inert: Mapping[str, str]
    warnings: tuple[str, ...]
    environment: str | None
    inputs: Inputs

    def place_of(self, key: str) -> str:
        """Where the value of a key comes from; nothing for a default."""
        return _place_in(self.chosen, key)

    def in_force(self) -> Values:
        """The values for those who obey them."""
        return Values(self.values, self.inert, self.warnings)


def resolve(inputs: Inputs) -> Resolution:
    """The settings that some inputs make.

    Raises SettingsInvalid with every problem of every source.
    """
    found, problems = examine(inputs)
    if problems:
        raise SettingsInvalid(problems)
    return found


def examine(inputs: Inputs) -> tuple[Resolution, tuple[Problem, ...]]:
    """What some inputs make where all that is wrong is left out, and what is wrong.

    Only without problems are these the settings in force. With some it is for explaining.
    """
    problems: list[Problem] = []
    environment = _environment(inputs, problems)
    sources = sorted(
        (*_of_files(inputs, problems), *_of_texts(inputs, problems)), key=lambda one: one.rank
    )
    problems.extend(_contradictions(sources))
    values, chosen = _settled(sources, problems)
    inert, refused = dependencies(values, partial(_rank, chosen), _unsettled(problems))
    problems.extend(_dependency(key, switch, values, chosen) for key, switch in refused)
    if not any(one.kind is ProblemKind.SYNTAX for one in problems):
        # Of a file that cannot be read it is not known what it says; of a key whose value is
        # wrong it is, and what others say beside each other can be asked all the same.
        wrong = _wrong(problems)
        place = partial(_place_in, chosen)
        beside = (
            *consistency_problems(values, environment, chosen, place, wrong),
            *security_problems(values, environment, place),
        )
        problems.extend(one for one in beside if not _names(one, wrong))
    found = Resolution(
        MappingProxyType(values),
        tuple(sources),
        MappingProxyType(chosen),
        MappingProxyType(inert),
        tuple(_warnings(chosen, values, inert)),
        environment,
        inputs,
    )
    return found, tuple(_in_order(problems))


# -- what the sources say ------------------------------------------------------------


def _of_files(inputs: Inputs, problems: list[Problem]) -> Iterator[Source]:
    """What the files say. Files of one folder have one rank."""
    for file in inputs.files:
        if file.refused is not None:
            kind = ProblemKind.SECURITY if file.unsafe else ProblemKind.SYNTAX
            problems.append(Problem(kind, file.path, None, file.refused))
            continue
        rank = 1 + inputs.layers.index(file.layer)
        yield from _of_file(file, rank, problems)


def _of_file(file: FileRead, rank: int, problems: list[Problem]) -> Iterator[Source]:
    try:
        content = read_json(file.raw)
    except JsonRefused as refused:
        for one in (refused, *refused.more):
            place = f"{file.path}:{one.place}"
            problems.append(Problem(ProblemKind.SYNTAX, place, None, one.text))
        return
    if not isinstance(content, dict):
        text = f"it holds {shown(content)}; an object is wanted"
        problems.append(Problem(ProblemKind.SYNTAX, f"{file.path}:1:1", None, text))
        return
    placed = _placer(file)
    version = content.pop("version", VERSION)
    if isinstance(version, bool) or version != VERSION:
        problems.append(_version(version, placed))
        return
    values, refused_values = read_sections(content, placed)
    problems.extend(refused_values)
    if b"PRIVATE KEY" in file.raw:
        for problem in private_keys(content, (), placed):
            problems.append(problem)
            values.pop(problem.key or "", None)
    yield Source(Layer.FILE, rank, file.path, values, lambda key: placed(tuple(key.split("."))))


def _placer(file: FileRead) -> Callable[[Way], str]:
    """Where something stands in a file. The file is read again once, when that is asked."""
    known: dict[Way, Any] = {}

    def place(way: Way) -> str:
        if not known:
            known.update(places_in(file.raw))
        found = next(
            (known[way[:length]] for length in range(len(way), 0, -1) if way[:length] in known),
            None,
        )
        return file.path if found is None else f"{file.path}:{found}"

    return place


def _version(version: object, place: Callable[[Way], str]) -> Problem:
    way = (
        "`noodle config migrate` brings it here"
        if leads_here(version)
        else f"this Noodle knows {VERSION}"
    )
    text = f"the version of the file is {shown(version)}; {way}"
    return Problem(ProblemKind.SYNTAX, place(("version",)), "version", text)


def _of_texts(inputs: Inputs, problems: list[Problem]) -> Iterator[Source]:
    """What variables and options say."""
    rank = len(inputs.layers) + 1
    layers: tuple[tuple[Layer, tuple[list[Given], list[Problem]]], ...] = (
        (Layer.VARIABLE, read_variables(inputs.variables)),
        (Layer.OPTION, read_options(inputs.options)),
    )
    for step, (layer, (given, refused)) in enumerate(layers):
        problems.extend(refused)
        for one in given:
            yield Source(layer, rank + step, one.place, {one.key: one.value}, _always(one.place))


def _always(place: str) -> Callable[[str], str]:
    def located(_key: str) -> str:
        return place

    return located


def _environment(inputs: Inputs, problems: list[Problem]) -> str | None:
    problems.extend(keyless_variables(inputs.variables))
    found = inputs.variables.get("NOODLE_ENVIRONMENT")
    if found is None or found in ENVIRONMENTS:
        return found
    near = nearest(found, ENVIRONMENTS) or f"; it is one of {', '.join(ENVIRONMENTS)}"
    text = f'there is no environment "{found}"{near}'
    problems.append(Problem(ProblemKind.RANGE, "NOODLE_ENVIRONMENT", None, text))
    return None


# -- which of them counts ---------------------------------------------------------------


def _contradictions(sources: Sequence[Source]) -> Iterator[Problem]:
    """Two sources of one layer that say different things of one key (law S2)."""
    said: set[str] = set()
    for index, one in enumerate(sources):
        if said.isdisjoint(one.values):
            said.update(one.values)
            continue
        said.update(one.values)
        for other in sources[:index]:
            if one.rank != other.rank:
                continue
            for key in one.values.keys() & other.values.keys():
                ours, theirs = one.values[key], other.values[key]
                if key in catalogue().merging:
                    yield from _unequal_entries(other, one, key)
                elif ours != theirs:
                    yield _unequal((other, theirs), key, (one, ours), key)


def _unequal_entries(one: Source, other: Source, key: str) -> Iterator[Problem]:
    """Entries of a mapping that both have, and not alike."""
    ours, theirs = one.values[key], other.values[key]
    for entry in ours.keys() & theirs.keys():
        if ours[entry] != theirs[entry]:
            where = other.locate(f"{key}.{entry}")
            text = f"{key}: {entry} is one thing here and another in {where}"
            yield Problem(ProblemKind.CONSISTENCY, one.locate(f"{key}.{entry}"), key, text)


def _unequal(one: tuple[Source, Any], key: str, other: tuple[Source, Any], twin: str) -> Problem:
    what = (
        f"{key} is {shown(one[1])} here and {shown(other[1])} in {located(other[0], twin)}"
        if key == twin
        else f"{key} is {shown(one[1])}, and {twin}, the same setting, is "
        f"{shown(other[1])} in {located(other[0], twin)}"
    )
    return Problem(ProblemKind.CONSISTENCY, located(one[0], key), key, what)


def _settled(
    sources: Sequence[Source], problems: list[Problem]
) -> tuple[dict[str, Any], dict[str, Source]]:
    """The values in force, and the source behind each that is no default."""
    known = catalogue()
    values = dict(known.defaults)
    chosen: dict[str, Source] = {}
    for source in sources:
        merged = {
            key: {**values[key], **source.values[key]}
            for key in known.merging & source.values.keys()
        }
        values.update(source.values)
        values.update(merged)
        chosen.update(dict.fromkeys(source.values, source))
    for members in known.twins.values():
        if not chosen.keys().isdisjoint(members):
            _settle_twins(members, values, chosen, problems)
    for key, general in known.specific:
        if _rank(chosen, general) > _rank(chosen, key.name):
            values[key.name] = _as_kind(key, values[general])
            chosen[key.name] = chosen[general]
    return values, chosen


def _settle_twins(
    members: Sequence[str],
    values: dict[str, Any],
    chosen: dict[str, Source],
    problems: list[Problem],
) -> None:
    ranks = [_rank(chosen, name) for name in members]
    rank = max(ranks)
    first = members[ranks.index(rank)]
    source, value = chosen[first], values[first]
    for name, ours in zip(members, ranks, strict=True):
        if values[name] == value:
            pass
        elif ours == rank:
            problems.append(_unequal((source, value), first, (chosen[name], values[name]), name))
        else:
            values[name] = _as_kind(catalogue().keys[name], value)
        chosen[name] = source


def _wrong(problems: Sequence[Problem]) -> frozenset[str]:
    """The keys whose value is not what somebody said, for that is wrong; and their twins."""
    known = catalogue()
    named = {one.key for one in problems if one.key is not None}
    found = [known.find(name) for name in named]
    return frozenset(
        named | {twin for key in found if key is not None for twin in known.twins_of(key)}
    )


def _names(problem: Problem, keys: AbstractSet[str]) -> bool:
    words = problem.text.replace(",", " ").replace(":", " ").replace("(", " ").replace(")", " ")
    return problem.key in keys or not keys.isdisjoint(words.split())


def _unsettled(problems: Sequence[Problem]) -> set[str]:
    """The keys of which two sources of one layer say different things, and their twins.

    Which of the two counts is chance: nothing is made of it.
    """
    known = catalogue()
    named = {
        one.key for one in problems if one.kind is ProblemKind.CONSISTENCY and one.key is not None
    }
    found = [known.find(name) for name in named]
    return named | {twin for key in found if key is not None for twin in known.twins_of(key)}


def _rank(chosen: Mapping[str, Source], key: str) -> int:
    found = chosen.get(key)
    return 0 if found is None else found.rank


def _as_kind(key: Key, value: Any) -> Any:
    """The value of a twin or a general key as this key has it.

    30.0 is 30 for a whole number, and 30.5 the next one: a limit of half a second is not none.
    """
    if key.kind == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if key.kind == "integer" and isinstance(value, float):
        return ceil(value)
    return value


# -- what follows ---------------------------------------------------------------------------


def _place_in(chosen: Mapping[str, Source], key: str) -> str:
    found = chosen.get(key)
    return "" if found is None else located(found, key)


def located(source: Source, key: str) -> str:
    """Where a source speaks of a key, or of the twin or general key that counts for it."""
    found = catalogue().find(key)
    names = (key,) if found is None else catalogue().speaking(found)
    return source.locate(next((name for name in names if name in source.values), key))


def _dependency(
    key: str, switch: str, values: Mapping[str, Any], chosen: Mapping[str, Source]
) -> Problem:
    where = f" in {located(chosen[switch], switch)}" if switch in chosen else ""
    text = (
        f"{key} is {shown(values[key])}, and has no effect: {switch} is off{where}; "
        f"switch that on, or leave {key} at its default"
    )
    return Problem(ProblemKind.DEPENDENCY, located(chosen[key], key), key, text)


def _warnings(
    chosen: Mapping[str, Source], values: Mapping[str, Any], inert: Mapping[str, str]
) -> Iterator[str]:
    known = catalogue()
    default = known.defaults.get
    for name in [name for name in chosen if values[name] != default(name)]:
        one = chosen[name]
        if name not in one.values:
            continue
        key = known.find(name)
        if key is None:
            continue
        if name in inert:
            yield f"{name} ({_short(one)}) has no effect: {inert[name]} is off"
        elif known.reader_of(key) is None:
            yield f"{name} ({_short(one)}) is not obeyed by anything in this version"


def _short(source: Source) -> str:
    """A source without the way to it: the cache of a home knows none."""
    return source.place.rpartition("/")[2]


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    """By place, each once."""
    return sorted(dict.fromkeys(problems), key=_by_place)


def _by_place(problem: Problem) -> tuple[str, int, int]:
    """Files by line and column, as numbers."""
    path, *numbers = problem.place.rsplit(":", 2)
    if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
        return path, int(numbers[0]), int(numbers[1])
    return problem.place, 0, 0
