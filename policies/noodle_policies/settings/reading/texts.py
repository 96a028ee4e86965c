"""Variables and options: texts that are read by the kind of the key they set.

Owns the way from `1` to true, 1 or 1.0, and from a comma list to a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from noodle_policies.settings.failures import Problem, ProblemKind, nearest
from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.reading.files import (
    HOOK_VARIABLES,
    KNOWN_VARIABLES,
    PREFIX,
    SWITCH_VARIABLE,
)
from noodle_policies.settings.reading.sections import Way, read_sections, shown
from noodle_policies.settings.values import nested

__all__ = ["Given", "keyless_variables", "read_options", "read_variables"]

TEXT_LENGTH_MAX: Final = 1 << 16
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_NOTHING: Final = "is set to nothing; unset it, or give it a value"
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?"
)


@dataclass(frozen=True, slots=True)
class Given:
    """What a variable or an option says of a key."""

    place: str
    key: str
    value: Any


class _Refused(ValueError):
    """A text is none of the key's kind."""


def read_variables(variables: Mapping[str, str]) -> tuple[list[Given], list[Problem]]:
    """What the variables set, and what is wrong with them.

    Takes those that begin with PREFIX. Each known name sets its keys; `NOODLE_` and
    the dotted name of a key sets that key.
    """
    given: list[Given] = []
    problems: list[Problem] = []
    known = catalogue()
    for variable, text in sorted(variables.items()):
        if not variable.startswith(PREFIX) or variable in KNOWN_VARIABLES:
            continue
        keys = [known.keys[name] for name in known.variables.get(variable, ())]
        named = None if keys else known.find(variable.removeprefix(PREFIX))
        if named is not None:
            keys = [named]
        if not keys:
            near = nearest(variable, (*known.variables, *KNOWN_VARIABLES))
            problems.append(
                Problem(ProblemKind.UNKNOWN, variable, None, f"there is no such variable{near}")
            )
        for key in keys:
            _take(variable, key, text, given, problems)
    checked, refused = _checked(given)
    return checked, problems + refused


def keyless_variables(variables: Mapping[str, str]) -> Iterator[Problem]:
    """What is wrong with the variables that set no key; NOODLE_ENVIRONMENT is judged elsewhere.

    One that is set to nothing was meant to be something. A hook gets its own as they are.
    """
    for name in KNOWN_VARIABLES:
        text = variables.get(name)
        if text is None or name in HOOK_VARIABLES or name == "NOODLE_ENVIRONMENT":
            continue
        try:
            if not text.strip():
                raise _Refused(_NOTHING)
            if name == SWITCH_VARIABLE:
                _scalar("boolean", text.strip())
        except _Refused as refused:
            yield Problem(ProblemKind.TYPE, name, None, f"it {refused}")


def read_options(options: Iterable[tuple[str, str]]) -> tuple[list[Given], list[Problem]]:
    """What options set: pairs of a dotted key and a text. The last of a key counts."""
    given: dict[str, list[Given]] = {}
    problems: list[Problem] = []
    for name, text in options:
        key = catalogue().find(name)
        if key is None:
            near = nearest(name, catalogue().keys)
            problems.append(
                Problem(ProblemKind.UNKNOWN, "--set", name, f"there is no setting {name}{near}")
            )
            continue
        given[name] = []
        _take("--set", key, text, given[name], problems)
    checked, refused = _checked([one for found in given.values() for one in found])
    return checked, problems + refused


def _take(place: str, key: Key, text: str, given: list[Given], problems: list[Problem]) -> None:
    try:
        given.append(Given(place, key.name, _parsed(key, text)))
    except _Refused as refused:
        problems.append(
            Problem(ProblemKind.TYPE, place, key.name, f"{refused} (it sets {key.name})")
        )


def _checked(given: list[Given]) -> tuple[list[Given], list[Problem]]:
    """Each through the model, by itself: two may speak of one key."""
    taken: list[Given] = []
    problems: list[Problem] = []
    for one in given:
        values, refused = read_sections(nested({one.key: one.value}), _at(one.place))
        problems.extend(refused)
        taken.extend(Given(one.place, key, value) for key, value in values.items())
    return taken, problems


def _at(place: str) -> Any:
    def where(_way: Way) -> str:
        return place

    return where


def _parsed(key: Key, text: str) -> Any:
    """The value that a text means for a key. Raises _Refused."""
    trimmed = text.strip()
    if not trimmed:
        raise _Refused(_NOTHING)
    if len(trimmed) > TEXT_LENGTH_MAX:
        raise _Refused(f"is longer than {TEXT_LENGTH_MAX} letters")
    if key.structured:
        return _structured(trimmed)
    if key.kind == "list":
        return list(_parts(trimmed))
    return _scalar(key.kind, trimmed)


def _scalar(kind: str, text: str) -> Any:
    if kind == "boolean":
        word = text.lower()
        if word not in _TRUE | _FALSE:
            raise _Refused(f"is {shown(text)}: 1, 0, true, false, yes, no, on or off is wanted")
        return word in _TRUE
    if kind == "integer":
        if not _WHOLE.fullmatch(text):
            raise _Refused(f"is {shown(text)}: a whole number is wanted")
        return int(text)
    if kind == "number":
        if not _NUMBER.fullmatch(text):
            raise _Refused(f"is {shown(text)}: a number is wanted")
        return float(text)
    return text


def _parts(text: str) -> Iterator[str]:
    for part in text.split(","):
        trimmed = part.strip()
        if not trimmed:
            raise _Refused(f"is {shown(text)}: between two commas stands nothing")
        yield trimmed


def _structured(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _Refused(f"is {shown(text)}: JSON is wanted, for it holds objects") from None
