"""What a key is now, why, and what would be different if it were changed.

Owns the words of `noodle config explain`. Pure: it looks at a resolution and at the
model. It explains settings that cannot be used too: with their problems named.

Laws
X1. The value that is explained is the value in force.
X2. Exactly one of what was said counts, but for values that merge by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from noodle_policies.settings.changing import changes_of, resting_on, ways_of
from noodle_policies.settings.failures import Problem, SettingUnknown
from noodle_policies.settings.migrating import VERSION
from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.reading.files import KNOWN_VARIABLES, PREFIX, SECRET_VARIABLES
from noodle_policies.settings.resolving import Layer, Resolution, Source
from noodle_policies.settings.values import value_text

__all__ = ["Explanation", "KeyLine", "Listing", "Said", "explain", "line_of", "names_with"]

FORMAT = 1
_KINDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "list": "a list",
    "mapping": "an object of objects",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What one place says of a key.

    `key` is the name that stands there: its own, a twin's or the general one. `layer` is
    option, variable, file or default.
    """

    layer: str
    place: str
    key: str
    value: Any
    counts: bool
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer of config explain for one key.

    `said` begins with what counts most. `rest_on_it` are the keys without effect while this is
    off. `inert` is the switch that is off and takes all effect away. `reader` is the module
    that obeys the key, null while none does. `problems` are those of this key,
    `problems_in_all` counts those of all settings; with any, nothing of them is in force.
    """

    key: str
    value: Any
    default: Any
    says: str
    kind: str
    legal: str
    unit: str
    live: bool
    own: bool
    why: str
    said: tuple[Said, ...]
    inert: str | None
    inert_why: str | None
    rests_on: tuple[str, ...]
    rest_on_it: tuple[str, ...]
    twins: tuple[str, ...]
    general: str | None
    specific: tuple[str, ...]
    stricter: tuple[str, ...]
    variables: tuple[str, ...]
    reader: str | None
    changes: tuple[str, ...]
    ways: tuple[str, ...]
    problems: tuple[str, ...]
    problems_in_all: int
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key in a list: its value, whether that is not the default, where it comes from."""

    key: str
    value: Any
    changed: bool
    place: str
    says: str
    inert: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The answer of config explain for a section or a variable: its keys."""

    name: str
    says: str
    keys: tuple[KeyLine, ...]
    problems_in_all: int
    format: int = FORMAT


def explain(
    name: str, found: Resolution, problems: Iterable[Problem] = ()
) -> Explanation | Listing:
    """Explain a key, a section, or a variable.

    Raises SettingUnknown with the nearest name.
    """
    told = tuple(problems)
    known = catalogue()
    if name.startswith(PREFIX):
        keys = known.variables.get(name)
        if keys is not None and len(keys) == 1:
            return _explained(known.keys[keys[0]], found, told)
        if keys is not None:
            return _listing(name, "This variable sets:", keys, found, told)
        if name in KNOWN_VARIABLES:
            says = f"{KNOWN_VARIABLES[name]}. It sets no key. {_here(name, found, told)}"
            return _listing(name, says, (), found, told)
    if name == "version":
        says = f"The version of a settings file, {VERSION}; a file without it is of version 1."
        return _listing(name, says, (), found, told)
    key = known.find(name.removeprefix(PREFIX))
    if key is not None:
        return _explained(key, found, told)
    name = name.removesuffix(".")
    below = [one for one in _names(found) if one.startswith(f"{name}.")]
    if not below and known.section_says(name):
        says = "There is none of this name; `noodle config explain {}` shows what one may hold."
        return _listing(name, says.format(name.rpartition(".")[0]), (), found, told)
    if not below:
        sections = {
            one.rsplit(".", count)[0]
            for one in _names(found)
            for count in range(1, one.count(".") + 1)
        }
        variables = (*known.variables, *KNOWN_VARIABLES)
        raise SettingUnknown(name, [*_names(found), *sorted(sections), *variables])
    return _listing(name, known.section_says(name), below, found, told)


def _here(variable: str, found: Resolution, problems: tuple[Problem, ...]) -> str:
    """What a variable that sets no key is set to; of a secret only whether it is set."""
    value = found.inputs.variables.get(variable)
    wrong = "".join(f" Wrong: {one.text}." for one in problems if one.place == variable)
    if value is None:
        return f"It is not set.{wrong}"
    shown = "" if variable in SECRET_VARIABLES else f" to {value_text(value)}"
    return f"It is set{shown}.{wrong}"


def names_with(beginning: str) -> list[str]:
    """What can be explained and begins so: keys, variables, and sections up to the next dot."""
    known = catalogue()
    cut = len(beginning)
    found: dict[str, None] = {}
    for name in (*known.keys, *known.variables, *KNOWN_VARIABLES):
        if name.startswith(beginning):
            dot = name.find(".", cut)
            found[name if dot < 0 else name[: dot + 1]] = None
    return list(found)


def _names(found: Resolution) -> list[str]:
    """Every key, those of the user's own entries included."""
    return list(found.values)


def _listing(
    name: str,
    says: str,
    keys: Iterable[str],
    found: Resolution,
    problems: tuple[Problem, ...],
) -> Listing:
    return Listing(name, says, tuple(line_of(one, found) for one in keys), len(problems))


def line_of(name: str, found: Resolution) -> KeyLine:
    """A key in force as it stands in a list."""
    key = catalogue().find(name)
    assert key is not None
    return KeyLine(
        key=name,
        value=found.values[name],
        changed=found.values[name] != key.default,
        place=found.place_of(name),
        says=key.facts.says,
        inert=found.inert.get(name),
    )


# -- one key -----------------------------------------------------------------------------


def _explained(key: Key, found: Resolution, problems: tuple[Problem, ...]) -> Explanation:
    known = catalogue()
    facts = key.facts
    names = known.speaking(key)
    inert = found.inert.get(key.name)
    said = tuple(_said(key, found))
    return Explanation(
        key=key.name,
        value=found.values.get(key.name, key.default),
        default=key.default,
        says=facts.says,
        kind=key.kind,
        legal=_legal(key),
        unit=facts.unit,
        live=facts.live,
        own=key.own,
        why=_why(key, found, said),
        said=said,
        inert=inert,
        inert_why=None if inert is None else _switched_off(inert, found),
        rests_on=facts.rests_on,
        rest_on_it=tuple(resting_on(key, found)),
        twins=known.twins_of(key),
        general=facts.general,
        specific=tuple(one.name for one, general in known.specific if general == key.name),
        stricter=facts.stricter,
        variables=(*facts.variables, f"{PREFIX}{key.name}"),
        reader=known.reader_of(key),
        changes=tuple(changes_of(key, found)),
        ways=tuple(ways_of(key, found, next(one for one in said if one.counts))),
        problems=tuple(str(one) for one in problems if one.key in names),
        problems_in_all=len(problems),
    )


def _legal(key: Key) -> str:
    kind = _KINDS[key.kind]
    bounds = key.bounds
    if key.kind == "list" and key.choices:
        return f"a list of {', '.join(key.choices)}"
    return kind if bounds == kind else f"{kind}: {bounds}"


def _said(key: Key, found: Resolution) -> Iterator[Said]:
    """Everything that was said of a key, what counts most first."""
    chosen = found.chosen.get(key.name)
    counting = None if chosen is None else chosen.rank
    for source, name in _spoken(key, found):
        counts = source.rank == counting or key.kind == "mapping"
        counting = None if source.rank == counting else counting
        yield Said(
            layer=source.layer.name.lower(),
            place=source.locate(name),
            key=name,
            value=source.values[name],
            counts=counts,
            why=_rule(key, name, source, found, counts=counts),
        )
    why = "nothing says otherwise" if chosen is None else "something else is said"
    yield Said("default", "", key.name, key.default, counts=chosen is None, why=why)


def _spoken(key: Key, found: Resolution) -> Iterator[tuple[Source, str]]:
    """Who speaks of a key, by which name: by layer, within one its own name first.

    A variable that sets twins says one thing, and stands there once.
    """
    names = catalogue().speaking(key)
    spoken = [
        (source, name)
        for source in reversed(found.sources)
        for name in names
        if name in source.values
    ]
    told: set[str] = set()
    for source, name in sorted(spoken, key=lambda one: (-one[0].rank, names.index(one[1]))):
        if source.layer is Layer.VARIABLE:
            if source.place in told:
                continue
            told.add(source.place)
        yield source, name


def _rule(key: Key, name: str, source: Source, found: Resolution, *, counts: bool) -> str:
    """Why what a source says counts, or does not."""
    twins = catalogue().twins_of(key)
    chosen = found.chosen.get(key.name)
    if counts and key.kind == "mapping":
        return "its entries count, and beat those of the same name that count less"
    if counts:
        if name == key.name:
            return "nothing that counts more speaks of it"
        if name in twins:
            return "the same setting under another name"
        return f"general: it counts where {key.name} is not set in its layer or a higher one"
    assert chosen is not None
    if source.rank < chosen.rank:
        return f"{_layers(source, chosen)} counts more"
    if name in (key.name, *twins):
        same = source.values[name] == found.values.get(key.name)
        return f"says {'the same' if same else 'something else'} in the same layer"
    return f"general: in one layer {key.name} itself counts"


def _layers(source: Source, chosen: Source) -> str:
    if source.layer is chosen.layer is Layer.FILE:
        return "a later folder"
    return {Layer.OPTION: "an option", Layer.VARIABLE: "a variable", Layer.FILE: "a file"}[
        chosen.layer
    ]


def _why(key: Key, found: Resolution, said: tuple[Said, ...]) -> str:
    entry = _absent_entry(key, found)
    if entry is not None:
        return f"there is no {entry}; one would begin with this"
    first = next(one for one in said if one.counts)
    if first.layer == "default":
        return "nothing says otherwise: it is the default"
    place = f"the option {first.place}" if first.layer == "option" else first.place
    if first.key == key.name:
        return f"{place} says so, and nothing that counts more speaks of it"
    if first.key in catalogue().twins_of(key):
        return f"{place} sets {first.key}, which is the same setting"
    return (
        f"{place} sets {first.key}, which is general: it counts for this key too, which is not "
        "set in the same layer or a higher one"
    )


def _absent_entry(key: Key, found: Resolution) -> str | None:
    """The entry of a user's own name that a key would be in, if there is none."""
    if key.name in found.values:
        return None
    parts = key.name.split(".")
    for length in range(len(parts) - 1, 1, -1):
        prefix = ".".join(parts[:length])
        if any(name.startswith(f"{prefix}.") for name in found.values):
            return None if length == len(parts) - 1 else ".".join(parts[: length + 1])
    return ".".join(parts[:-1])


def _switched_off(switch: str, found: Resolution) -> str:
    place = found.place_of(switch)
    return f"{switch} is off" + (f" ({place})" if place else " (the default)")
