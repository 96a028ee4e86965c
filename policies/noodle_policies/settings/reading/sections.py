"""From the nested content of one source to values by key, checked against the model.

Owns the words for what the model refuses. Each source is checked by itself: what a
higher layer covers must be right as well.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from noodle_policies.settings.failures import VALUE_LETTERS_MAX, Problem, ProblemKind, nearest
from noodle_policies.settings.model.catalogue import Key, catalogue, section_in
from noodle_policies.settings.model.kinds import SecretNamed
from noodle_policies.settings.model.root import Settings
from noodle_policies.settings.model.section import Section, entries_of

__all__ = ["PRIVATE_KEY", "Way", "dotted", "private_keys", "read_sections", "shown"]

NEAR_MAX: Final = 50
"""How many unknown names of a section are told the nearest real one; a file may have thousands."""
NAME_LETTERS_MAX: Final = 200
Way = tuple[str | int, ...]
"""The names and indexes that lead to a value."""

_SECRET: Final = re.compile(r"secret|passw|token$|api_?key|private_?key|credential", re.IGNORECASE)
PRIVATE_KEY: Final = r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
_PEM: Final = re.compile(PRIVATE_KEY)
_WANTED: Final = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "list": "a list",
    "mapping": "an object",
}
_TYPES: Final = frozenset(
    {
        "bool_type",
        "int_type",
        "float_type",
        "string_type",
        "tuple_type",
        "dict_type",
        "model_type",
        "int_from_float",
    }
)


def read_sections(
    content: Mapping[str, Any], place: Callable[[Way], str]
) -> tuple[dict[str, Any], list[Problem]]:
    """The values that a source sets, by key, and what is wrong with it.

    `place` says where in the source something stands. What is wrong is left out of
    the values.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    sections = _shape(Settings)
    for name, given in content.items():
        section, _ = sections.get(name, _NOTHING)
        if section is None:
            problems.append(_unknown((name,), place, near=len(problems) < NEAR_MAX))
            continue
        try:
            read, taken = section.model_validate(given), given
        except ValidationError as error:
            taken = copy.deepcopy(given)
            left = _mended(section, name, taken, error, _told(place, problems))
            if left is None:
                continue
            read = left
        _leaves(section, read, taken, f"{name}.", values)
    return values, problems


Tell = Callable[[str, ValidationError], None]


def _told(place: Callable[[Way], str], problems: list[Problem]) -> Tell:
    def tell(name: str, error: ValidationError) -> None:
        problems.extend(_problems(name, error, place))

    return tell


def _mended(
    section: type[Section], name: str, content: Any, error: ValidationError, tell: Tell
) -> Section | None:
    """A section without what is wrong with it, which is told; None if nothing is left.

    `content` is changed. 30.0 is taken for a whole number: JSON knows no other one.
    """
    for _ in range(_READS_MAX):
        tell(name, error)
        for detail in error.errors(include_url=False, include_context=False):
            if not detail["loc"]:
                return None
            _mend(content, detail["loc"], detail["input"] if _integral(detail) else _GONE)
        try:
            return section.model_validate(content)
        except ValidationError as again:
            error = again
    return None


_READS_MAX: Final = 4
_GONE: Final = object()


def _integral(detail: Any) -> bool:
    found = detail["input"]
    named = all(isinstance(part, str) for part in detail["loc"])
    return (
        detail["type"] == "int_type" and named and isinstance(found, float) and found.is_integer()
    )


def _mend(content: Any, way: Way, value: object) -> None:
    """Put a whole number in the place that a way leads to, or take the key there away."""
    *outer, last = [part for part in way if part != "[key]"]
    for part in outer:
        inner = content.get(part) if isinstance(content, dict) else None
        if not isinstance(inner, dict):
            last = part  # it is gone already, or the way leads into a value
            value = _GONE
            break
        content = inner
    if isinstance(value, float):
        content[last] = int(value)
    elif isinstance(content, dict):
        content.pop(last, None)


def _leaves(
    section: type[Section],
    read: Section,
    given: Mapping[str, Any],
    prefix: str,
    values: dict[str, Any],
) -> None:
    """Put the keys that were given into `values`, as the model made them."""
    shape = _shape(section)
    made = read.__dict__  # a tenth of the time of asking for each
    for name in given:
        value = made[name]
        if type(value) in _SCALARS:
            values[prefix + name] = value
            continue
        inner, by_name = shape[name]
        if inner is None:
            values[prefix + name] = _plain(value)
        elif by_name:
            for entry, one in given[name].items():
                _leaves(inner, value[entry], one, f"{prefix}{name}.{entry}.", values)
        else:
            _leaves(inner, value, given[name], f"{prefix}{name}.", values)


_SCALARS: Final = frozenset({bool, int, float, str})
_NOTHING: Final = (None, False)


@cache
def _shape(section: type[Section]) -> dict[str, tuple[type[Section] | None, bool]]:
    """What each name of a section holds: a section or a key; and whether by names."""
    return {
        name: (section_in(field), entries_of(field) is not None)
        for name, field in section.model_fields.items()
    }


def _plain(value: Any) -> Any:
    """A value as the journal and JSON can hold it."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True, mode="json")
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value


def dotted(way: Way) -> str:
    """The name of a key, as far as a way names one."""
    return ".".join(str(part) for part in way if isinstance(part, str))


def _problems(name: str, error: ValidationError, place: Callable[[Way], str]) -> Iterator[Problem]:
    for number, detail in enumerate(error.errors(include_url=False, include_context=True)):
        if _integral(detail):
            continue
        way = (name, *(part for part in detail["loc"] if part != "[key]"))
        if detail["type"] == "extra_forbidden":
            yield _unknown(way, place, near=number < NEAR_MAX)
        elif detail["loc"] and detail["loc"][-1] == "[key]":
            yield Problem(
                ProblemKind.UNKNOWN,
                place(way),
                dotted(way),
                f"{dotted(way)} is no name for an entry: letters, digits, _ and - are, up to 63",
            )
        elif isinstance(detail["input"], str) and _PEM.search(detail["input"]):
            yield _private(way, place)
        else:
            yield _refused(way, cast(Mapping[str, Any], detail), place)


def _refused(way: Way, detail: Mapping[str, Any], place: Callable[[Way], str]) -> Problem:
    """A value that the model refused, in the words of its key."""
    key, inner = _key_of(way)
    kind = ProblemKind.TYPE if detail["type"] in _TYPES else ProblemKind.RANGE
    name = dotted(way) if key is None else key.name
    why = detail.get("ctx", {}).get("error")
    if isinstance(why, SecretNamed):
        return Problem(ProblemKind.SECURITY, place(way), name, f"{dotted(way)}: {why}")
    if key is None:
        wanted = "an object with keys of that section"
    elif inner:
        wanted = detail["msg"].removeprefix("Value error, ")
        wanted = wanted[:1].lower() + wanted[1:] if key.structured else key.bounds
    elif detail["type"] == "value_error":
        wanted = f"{key.bounds} ({detail['msg'].removeprefix('Value error, ')})"
    else:
        wanted = key.bounds if kind is ProblemKind.RANGE else _wanted(key)
    unit = f" ({key.facts.unit})" if key is not None and key.facts.unit else ""
    where = f"{name}[{way[-1]}]" if inner and isinstance(way[-1], int) else name
    return Problem(kind, place(way), name, f"{where} is {shown(detail['input'])}: {wanted}{unit}")


def _wanted(key: Key) -> str:
    wanted = _WANTED[key.kind]
    return wanted if key.bounds == wanted else f"{wanted}, {key.bounds}"


def _key_of(way: Way) -> tuple[Key | None, bool]:
    """The key that a way leads to or into, and whether it leads inside of its value."""
    for length in range(len(way), 0, -1):
        if all(isinstance(part, str) for part in way[:length]):
            key = catalogue().find(dotted(way[:length]))
            if key is not None:
                return key, length < len(way)
    return None, False


def _unknown(way: Way, place: Callable[[Way], str], *, near: bool) -> Problem:
    """`near`: whether the nearest real name is looked for, which takes milliseconds."""
    name = dotted(way)
    if _SECRET.search(str(way[-1])):
        text = (
            f"{name} is no setting, and secrets have no place in settings: they come from a "
            "variable, a file of mode 0600 or the keyring"
        )
        return Problem(ProblemKind.SECURITY, place(way), name, text)
    real = nearest(name[:NAME_LETTERS_MAX], _names_near(way)) if near else ""
    text = f"there is no setting {name}{real}"
    return Problem(ProblemKind.UNKNOWN, place(way), name, text)


def _names_near(way: Way) -> Sequence[str]:
    """The names that a wrong one can have meant: at the top sections, below keys and sections."""
    sections = {
        ".".join(parts[:length])
        for parts in (name.split(".") for name in catalogue().keys)
        for length in range(1, len(parts))
    }
    if len(way) == 1:
        return [name for name in sections if "." not in name]
    return [*catalogue().keys, *sections]


def private_keys(content: Any, way: Way, place: Callable[[Way], str]) -> Iterator[Problem]:
    """The private keys among the values of a source, wherever they stand."""
    if isinstance(content, str) and _PEM.search(content):
        yield _private(way, place)
    elif isinstance(content, dict):
        for name, inner in content.items():
            yield from private_keys(inner, (*way, name), place)
    elif isinstance(content, list):
        for index, inner in enumerate(content):
            yield from private_keys(inner, (*way, index), place)


def _private(way: Way, place: Callable[[Way], str]) -> Problem:
    text = f"{dotted(way)} holds a private key, which has no place in settings"
    return Problem(ProblemKind.SECURITY, place(way), dotted(way), text)


def shown(value: object) -> str:
    """A value as a message shows it: short, and never a private key."""
    if isinstance(value, str) and _PEM.search(value):
        return "a private key"
    if isinstance(value, Mapping):
        return "an object"
    words = {True: "true", False: "false", None: "null"}
    if value is None or isinstance(value, bool):
        return words[value]
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= VALUE_LETTERS_MAX else f"{text[:VALUE_LETTERS_MAX]}..."
