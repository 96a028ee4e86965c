"""Upgrade ids: ULIDs.

Owns their form. Pure: time and entropy are handed in. An id says when an
upgrade was asked for and sorts by it; nothing else is read from it.

Laws
U1. 26 characters of Crockford's base32: 48 bits of milliseconds, 80 of entropy.
U2. next_upgrade_id is greater than the id before it, whatever the clock does.

Source: the ULID specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from noodle_engine.machine.failures import InvariantBroken

__all__ = [
    "ENTROPY_BYTES",
    "PREFIX_CHARACTERS_MIN",
    "earliest_id_ms",
    "is_upgrade_id",
    "matching_ids",
    "new_upgrade_id",
    "next_upgrade_id",
    "upgrade_id_ms",
]

ENTROPY_BYTES = 16
"""How much entropy is handed in; an id uses its first 80 bits."""
PREFIX_CHARACTERS_MIN = 4
"""A shorter beginning of an id names none."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUE = {character: value for value, character in enumerate(_ALPHABET)}
_LENGTH = 26
_ENTROPY_BITS = 80
_TIME_MAX = (1 << 48) - 1
_ID = re.compile("[0-7][0-9A-HJKMNP-TV-Z]{25}")
_MISREAD = str.maketrans("ILO", "110")


def new_upgrade_id(at_ms: int, entropy16: bytes) -> str:
    """The id of an upgrade asked for at `at_ms` (Unix time, at most 48 bits; law U1)."""
    if len(entropy16) != ENTROPY_BYTES or not 0 <= at_ms <= _TIME_MAX:
        raise InvariantBroken(law="U1", found=f"{len(entropy16)} bytes of entropy at {at_ms} ms")
    return _text(at_ms << _ENTROPY_BITS | int.from_bytes(entropy16[: _ENTROPY_BITS // 8]))


def next_upgrade_id(at_ms: int, entropy16: bytes, *, previous: str | None) -> str:
    """A new id, greater than `previous` (law U2).

    Within the same millisecond, or when the clock went back, it is `previous` + 1.
    """
    fresh = new_upgrade_id(at_ms, entropy16)
    if previous is None or upgrade_id_ms(previous) < at_ms:
        return fresh
    return _text(_number(previous) + 1)


def is_upgrade_id(text: str) -> bool:
    """Whether `text` is an id in its stored form: upper case, nothing around it."""
    return _ID.fullmatch(text) is not None


def upgrade_id_ms(upgrade: str) -> int:
    """The Unix time in milliseconds that an id carries."""
    return _number(upgrade) >> _ENTROPY_BITS


def matching_ids(text: str, ids: Iterable[str]) -> tuple[str, ...]:
    """Those of `ids` that `text` names: itself, or those that begin with it.

    Lower case is taken, and I, L and O for the digits they are misread from.
    Empty below PREFIX_CHARACTERS_MIN; more than one means that more is needed.
    """
    wanted = text.strip().upper().translate(_MISREAD)
    if len(wanted) < PREFIX_CHARACTERS_MIN:
        return ()
    return tuple(found for found in ids if found.startswith(wanted))


def earliest_id_ms(text: str) -> int | None:
    """The earliest time that an id named by `text` can carry; None if it names none."""
    wanted = text.strip().upper().translate(_MISREAD)
    padded = wanted.ljust(_LENGTH, "0")
    if len(wanted) < PREFIX_CHARACTERS_MIN or not is_upgrade_id(padded):
        return None
    return upgrade_id_ms(padded)


def _text(number: int) -> str:
    if number >> (48 + _ENTROPY_BITS):
        raise InvariantBroken(law="U2", found="no id is left after the last one")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def _number(upgrade: str) -> int:
    if not is_upgrade_id(upgrade):
        raise InvariantBroken(law="U1", found=f"{upgrade!r} is no upgrade id")
    number = 0
    for character in upgrade:
        number = number << 5 | _VALUE[character]
    return number
