"""What each section and each key of the model is made of.

Owns the strictness of all sections, and the facts that stand beside a key:
its unit, its bounds, its variables, and how it stands to other keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

__all__ = [
    "DAYS_MAX",
    "INTEGER_MAX",
    "SECONDS_MAX",
    "Facts",
    "Section",
    "choice",
    "count",
    "days",
    "entries",
    "entries_of",
    "facts_of",
    "is_key",
    "mapping",
    "names",
    "number",
    "percent",
    "records",
    "seconds",
    "section",
    "share",
    "switch",
    "text",
    "whole",
]

SECONDS_MAX: Final = 366 * 24 * 3600
"""No limit or interval is longer than a year: a longer one is a slip of the unit."""
DAYS_MAX: Final = 36_500
INTEGER_MAX: Final = 2**31 - 1


class Section(BaseModel):
    """A section of the settings: strict, frozen, and without unknown keys.

    Building the validators of all sections takes longer than most commands, so it is
    left to the first validation.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,
        validate_default=False,
        use_attribute_docstrings=False,
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What the model says of one key beside its type and its default.

    says: what it does, and what is different under another value.
    unit: `s`, `day`, `MiB`, ..., or nothing for a bare value.
    live: whether a change also acts on upgrades that are running.
    reader: the module that obeys it; None while no part of this version does.
    variables: those that set it, beside `NOODLE_` and its name.
    twin: the name of the group of keys that are one setting in several places.
    general: the key that counts where this one is not set in the same layer or a higher one.
    rests_on: the switches that must be on for this key to have any effect.
    stricter: keys that bound the same thing; the strictest of them counts.
    """

    says: str
    unit: str = ""
    bounds: str = ""
    live: bool = False
    reader: str | None = None
    variables: tuple[str, ...] = ()
    twin: str | None = None
    general: str | None = None
    rests_on: tuple[str, ...] = ()
    stricter: tuple[str, ...] = ()


_FACTS: Final = "noodle"


def is_key(field: FieldInfo) -> bool:
    """Whether a field is a key, and no section."""
    return _FACTS in cast(dict[str, Any], field.json_schema_extra or {})


def facts_of(field: FieldInfo) -> Facts:
    """The facts of a key's field. Raises KeyError for a field that holds a section."""
    extra = cast(dict[str, Any], field.json_schema_extra or {})
    return cast(Facts, extra[_FACTS])


_ENTRIES: Final = "entries"
SectionType = TypeVar("SectionType", bound=Section)


def section(made: type[SectionType]) -> Any:
    """A section inside a section. It is made when it is first wanted."""
    return Field(default_factory=made)


def entries(made: type[Section], first: Mapping[str, Mapping[str, Any]]) -> Any:
    """Sections by a name of the user's; `first` are those that there are from the beginning."""
    return Field(
        default_factory=lambda: {name: made.model_validate(one) for name, one in first.items()},
        json_schema_extra=cast(Any, {_ENTRIES: first}),
    )


def entries_of(field: FieldInfo) -> Mapping[str, Mapping[str, Any]] | None:
    """The first entries of a field that holds sections by name; None for another field."""
    extra = cast(dict[str, Any], field.json_schema_extra or {})
    return cast("Mapping[str, Mapping[str, Any]] | None", extra.get(_ENTRIES))


def _key(default: Any, says: str, *, bounds: str = "", **rest: Any) -> Any:
    """A key. What pydantic knows goes to it; the rest are facts."""
    limits = {name: rest.pop(name) for name in ("ge", "gt", "le", "max_length") if name in rest}
    facts = Facts(
        says=says,
        bounds=bounds,
        variables=_tuple(rest.pop("variables", ())),
        rests_on=_tuple(rest.pop("rests_on", ())),
        stricter=_tuple(rest.pop("stricter", ())),
        **rest,
    )
    return Field(
        default=default,
        description=says,
        json_schema_extra=cast(Any, {_FACTS: facts}),
        **limits,
    )


def _tuple(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def switch(default: bool, says: str, **facts: Any) -> Any:  # noqa: FBT001
    """A key that is on or off."""
    return _key(default, says, bounds="true or false", **facts)


def whole(default: int, says: str, *, low: int, high: int = INTEGER_MAX, **facts: Any) -> Any:
    """A whole number, both bounds included."""
    bounds = f"{low} to {high}" if high != INTEGER_MAX else f"at least {low}"
    return _key(default, says, bounds=bounds, ge=low, le=high, **facts)


def count(default: int, says: str, **facts: Any) -> Any:
    """How many of something: at least one."""
    return whole(default, says, low=1, **facts)


def number(default: float, says: str, *, low: float, high: float, **facts: Any) -> Any:
    """A number, both bounds included."""
    return _key(default, says, bounds=f"{low:g} to {high:g}", ge=low, le=high, **facts)


def share(default: float, says: str, **facts: Any) -> Any:
    """A part of one: 0 to 1."""
    return number(default, says, low=0.0, high=1.0, **facts)


def percent(default: float, says: str, *, zero: bool = False, **facts: Any) -> Any:
    """A part of a hundred; 0 only where `zero` says so."""
    low = {"ge": 0} if zero else {"gt": 0}
    bounds = "0 to 100" if zero else "above 0, up to 100"
    return _key(default, says, bounds=bounds, unit="%", le=100, **low, **facts)


def seconds(default: float, says: str, *, zero: bool = False, **facts: Any) -> Any:
    """A time in seconds, up to a year; 0 only where `zero` says so."""
    low = {"ge": 0} if zero else {"gt": 0}
    bounds = ("0 or more" if zero else "above 0") + ", at most a year"
    return _key(default, says, bounds=bounds, unit="s", le=SECONDS_MAX, **low, **facts)


def days(default: int, says: str, **facts: Any) -> Any:
    """A number of days: at least one."""
    return _key(default, says, bounds=f"1 to {DAYS_MAX}", unit="day", ge=1, le=DAYS_MAX, **facts)


def choice(default: str, says: str, **facts: Any) -> Any:
    """One of the words that the field's type lists."""
    return _key(default, says, **facts)


def text(default: str, says: str, *, bounds: str, **facts: Any) -> Any:
    """A text of a stated form."""
    return _key(default, says, bounds=bounds, **facts)


def names(default: Iterable[str], says: str, *, bounds: str, **facts: Any) -> Any:
    """A list of texts. In a variable they are separated by commas."""
    return _key(tuple(default), says, bounds=bounds, **facts)


def records(says: str, *, bounds: str, **facts: Any) -> Any:
    """A list of objects, empty at first. In a variable it is written as JSON."""
    return _key((), says, bounds=bounds, **facts)


def mapping(says: str, *, bounds: str, **facts: Any) -> Any:
    """Objects by name, none at first. In a variable they are written as JSON."""
    return Field(
        default_factory=dict,
        description=says,
        json_schema_extra=cast(Any, {_FACTS: Facts(says=says, bounds=bounds, **facts)}),
    )
