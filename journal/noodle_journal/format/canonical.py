"""Canonical JSON and padding: one form for each body.

Laws
C1. parse(encode(body)) == body, and encode(parse(text)) == text for what parse accepts.
C2. parse refuses duplicate keys, unsorted keys, spaces and second spellings.
C3. unpad(pad(text)) == text; a padded length is a multiple of 64 and above len(text).

Source: RFC 8259; padding as in ISO/IEC 7816-4 (0x80, then zeros).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import orjson

from noodle_journal.failures import BadRecord

JsonValue: TypeAlias = (
    "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)

PAD_BYTES = 64
BODY_BYTES_MAX = 16 * 1024 * 1024
BODY_DEPTH_MAX = 254  # the serialiser's own limit

# Types that orjson would spell in its own way are refused, not guessed at.
_STRICT = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


_SORTED = orjson.OPT_SORT_KEYS
_loads, _dumps = orjson.loads, orjson.dumps


class NotCanonical(ValueError):
    """Bytes are not the one canonical form of a JSON object."""


def encode(body: Mapping[str, JsonValue]) -> tuple[bytes, dict[str, JsonValue]]:
    """The canonical bytes of `body`, at most BODY_BYTES_MAX, and what they parse to.

    Accepts what JSON has: text keys, finite floats, integers of 64 bits,
    text without lone surrogates, no deeper than BODY_DEPTH_MAX.

    Raises: BadRecord for anything else, naming where it stands.
    """
    try:
        text = orjson.dumps(body, default=_as_dict, option=_STRICT)
        # What orjson changes silently (NaN to null, a UUID to text) differs here.
        parsed = orjson.loads(text)
    except (TypeError, ValueError, RecursionError) as exc:
        raise BadRecord(reason=_first_problem(body, "body", 0) or str(exc)) from exc
    if parsed != body or len(text) > BODY_BYTES_MAX:
        problem = _first_problem(body, "body", 0)
        if problem is None and len(text) > BODY_BYTES_MAX:
            problem = f"{len(text)} bytes, at most {BODY_BYTES_MAX} fit"
        if problem is not None:
            raise BadRecord(reason=problem)
    return text, parsed


def parse(text: bytes) -> dict[str, JsonValue]:
    """The object whose canonical form is `text`.

    Raises: NotCanonical.
    """
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise NotCanonical(f"not JSON: {exc}") from exc
    if type(body) is not dict:
        raise NotCanonical("not an object")
    if orjson.dumps(body, option=orjson.OPT_SORT_KEYS) != text and not _same_but_floats(text):
        raise NotCanonical("not in canonical form")
    return body


def pad(text: bytes) -> bytes:
    """`text`, one byte 0x80, and zeros up to the next multiple of 64."""
    return text + b"\x80" + b"\0" * (-(len(text) + 1) % PAD_BYTES)


def unpad(padded: bytes) -> bytes:
    """What was padded. Raises: NotCanonical."""
    text = padded.rstrip(b"\0")
    if len(padded) % PAD_BYTES or text[-1:] != b"\x80" or len(padded) - len(text) >= PAD_BYTES:
        raise NotCanonical("padding is not 0x80 and fewer than 64 zeros")
    return text[:-1]


def parse_padded(padded: bytes) -> tuple[bytes, dict[str, JsonValue]]:
    """What was padded, and the object whose canonical form it is; `unpad` and `parse` in one.

    A verification does it a million times. Raises: NotCanonical.
    """
    text = padded.rstrip(b"\0")
    if (
        len(padded) % PAD_BYTES == 0
        and text[-1:] == b"\x80"
        and len(padded) - len(text) < PAD_BYTES
    ):
        text = text[:-1]
        try:
            body = _loads(text)
        except orjson.JSONDecodeError:
            body = None
        if type(body) is dict and _dumps(body, None, _SORTED) == text:
            return text, body
    text = unpad(padded)
    return text, parse(text)


def _as_dict(value: object) -> dict[object, object]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def _first_problem(value: object, where: str, depth: int) -> str | None:
    """Where the first thing stands that JSON cannot hold exactly, or None."""
    if depth > BODY_DEPTH_MAX:
        return f"{where}: deeper than {BODY_DEPTH_MAX}"
    match value:
        case Mapping():
            inner = [(f"{where} key", key) for key in value]
            inner += [(f"{where}.{key}", item) for key, item in value.items()]
            if any(not isinstance(key, str) for key in value):
                return f"{where}: a key is not text"
        case list() | tuple():
            inner = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
        case _:
            return _scalar_problem(value, where)
    for place, item in inner:
        problem = _first_problem(item, place, depth + 1)
        if problem is not None:
            return problem
    return None


def _scalar_problem(value: object, where: str) -> str | None:
    match value:
        case None | bool():
            problem = None
        case float():
            problem = None if math.isfinite(value) else f"{value} is not a finite number"
        case int():
            problem = None if -(2**63) <= value < 2**64 else "beyond 64 bits"
        case str():
            ok = not any("\ud800" <= char <= "\udfff" for char in value)
            problem = None if ok else "a lone surrogate is not text"
        case _:
            problem = f"{type(value).__name__} is not a JSON type"
    return None if problem is None else f"{where}: {problem}"


class _FloatToken(str):
    """A float as it is spelled."""

    __slots__ = ()


def _same_but_floats(text: bytes) -> bool:
    """Whether `text` is canonical when floats keep their spelling.

    Serialisers spell floats in more than one shortest way (1e16, 1e+16); a
    journal must not become unreadable with the next version of one.
    """
    try:
        value = json.loads(text, parse_float=_FloatToken, object_pairs_hook=_no_duplicates)
        return _spell(value).encode() == text
    except (ValueError, RecursionError, orjson.JSONEncodeError):
        return False  # the last: an integer of more than 64 bits, read as a float before


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotCanonical("a key appears twice")
    return found


def _spell(value: object) -> str:
    match value:
        case _FloatToken():
            return value
        case dict():
            inner = sorted(value.items(), key=lambda pair: str(pair[0]).encode())
            return "{" + ",".join(f"{_spell(key)}:{_spell(item)}" for key, item in inner) + "}"
        case list():
            return "[" + ",".join(map(_spell, value)) + "]"
        case float():
            raise NotCanonical("not a finite number")
        case _:
            return orjson.dumps(value).decode()
