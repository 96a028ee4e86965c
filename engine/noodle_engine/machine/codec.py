"""Frozen dataclasses to JSON values and back, strictly.

Owns the one mapping between the types of the machine and what the journal
stores. It is not a validation library: it exists so that folding a journal
(status, resume) needs no import beyond the standard library. Fields that are
None and default to None are left out; a reader refuses unknown and missing
fields and values of another type, so that encode(decode(x)) == x.

A field's JSON name is its own, or the `name` in its metadata.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

from noodle_engine.machine.failures import RecordUnreadable

__all__ = ["JsonObject", "JsonValue", "decode", "encode"]

JsonValue = str | int | float | bool | None | list[Any] | dict[str, Any]
JsonObject = dict[str, JsonValue]

T = TypeVar("T")
_Reader = Callable[[Any, str], Any]


def encode(value: object, *, keep_none: bool = False) -> JsonObject:
    """The JSON object of a dataclass instance.

    With `keep_none` a field that is None is written as null: what people and
    programs read has every field always; what the journal stores has not.
    """
    return cast("JsonObject", _encode(value, keep_none=keep_none))


def decode(kind: type[T], value: Mapping[str, Any]) -> T:
    """Build a `kind` from its JSON object.

    Raises RecordUnreadable, and builds nothing, if a field is unknown,
    missing or of another type.
    """
    return cast("T", _reader(cast("Hashable", kind))(value, kind.__name__))


def _encode(value: object, *, keep_none: bool) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value.value if isinstance(value, StrEnum) else value
    if isinstance(value, (tuple, list)):
        return [_encode(item, keep_none=keep_none) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _encode(item, keep_none=keep_none) for key, item in value.items()}
    if is_dataclass(value):
        found: dict[str, Any] = {}
        for field, name in _names(cast("Hashable", type(value))):
            item = getattr(value, field.name)
            if item is None and field.default is None and not keep_none:
                continue
            found[name] = _encode(item, keep_none=keep_none)
        return found
    raise RecordUnreadable(kind=type(value).__name__, found="no JSON form")


@cache
def _names(kind: Any) -> tuple[tuple[Field[Any], str], ...]:
    return tuple((field, field.metadata.get("name", field.name)) for field in fields(kind))


@cache
def _reader(kind: Any) -> _Reader:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _optional(kind)
    if origin is tuple:
        return _sequence(_reader(typing.get_args(kind)[0]))
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return _mapping(_reader(typing.get_args(kind)[1]))
    if hasattr(kind, "__supertype__"):
        return _reader(kind.__supertype__)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enumeration(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _object(kind)
    if kind in (str, int, bool, float):
        return _plain(kind)
    if kind in (Any, object):
        return lambda value, _where: value
    raise RecordUnreadable(kind=str(kind), found="no JSON form")


def _plain(kind: type) -> _Reader:
    def read(value: Any, where: str) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise RecordUnreadable(kind=where, found=f"{value!r} is not {kind.__name__}")
        return value

    return read


def _enumeration(kind: type[StrEnum]) -> _Reader:
    def read(value: Any, where: str) -> Any:
        try:
            return kind(value)
        except ValueError as error:
            raise RecordUnreadable(kind=where, found=str(error)) from error

    return read


def _optional(kind: Any) -> _Reader:
    inner = [part for part in typing.get_args(kind) if part is not type(None)]
    if len(inner) != 1 or len(typing.get_args(kind)) != 2:
        raise RecordUnreadable(kind=str(kind), found="only X | None has a JSON form")
    read_inner = _reader(inner[0])
    return lambda value, where: None if value is None else read_inner(value, where)


def _sequence(item: _Reader) -> _Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, (list, tuple)):
            raise RecordUnreadable(kind=where, found=f"{value!r} is not a list")
        return tuple(item(part, where) for part in value)

    return read


def _mapping(item: _Reader) -> _Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise RecordUnreadable(kind=where, found=f"{value!r} is not an object")
        return {str(key): item(part, f"{where}.{key}") for key, part in value.items()}

    return read


def _object(kind: type) -> _Reader:
    hints = typing.get_type_hints(kind)
    known = {name: field for field, name in _names(kind)}
    readers = {name: _reader(hints[field.name]) for name, field in known.items()}

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise RecordUnreadable(kind=where, found=f"{value!r} is not an object")
        unknown = [name for name in value if name not in known]
        if unknown:
            raise RecordUnreadable(kind=where, found=f"unknown field {unknown[0]}")
        given: dict[str, Any] = {}
        for name, field in known.items():
            if name in value:
                given[field.name] = readers[name](value[name], f"{where}.{name}")
            elif field.default is MISSING and field.default_factory is MISSING:
                raise RecordUnreadable(kind=where, found=f"field {name} is missing")
        return kind(**given)

    return read
