"""Several attacks at once: one pass, slices, and the second verifier name the same first record."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from noodle_journal import verify
from noodle_journal.storage.database import Connection
from noodle_journal.verification.run import Slices
from tests.attacks import second_verifier
from tests.attacks.tampering import HEADER_FIELDS, SIZE, TINY_SLICES, Copies, flip
from tests.breadth import sampled
from tests.unit.journal.place import MASTER_KEY

COLUMNS = ("header", "clear", "nonce", "sealed", "root", "signature")
BEYOND = {"store_damaged", "keystore_damaged"}
"""What SQLite says, which the page does not."""

Attack = Callable[[Connection, random.Random], object]


def value(connection: Connection, column: str, seq: int) -> bytes | None:
    row = connection.execute(f"SELECT {column} FROM record WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else row[0]


def put(connection: Connection, column: str, seq: int, new: bytes | None) -> None:
    connection.execute(f"UPDATE record SET {column} = ? WHERE seq = ?", (new, seq))


def flipped(connection: Connection, chance: random.Random) -> None:
    column, seq = chance.choice(COLUMNS), chance.randint(1, SIZE)
    old = value(connection, column, seq)
    if old:
        put(connection, column, seq, flip(old, chance.randrange(len(old)), chance.choice([1, 128])))


def deleted(connection: Connection, chance: random.Random) -> None:
    connection.execute("DELETE FROM record WHERE seq = ?", (chance.randint(1, SIZE),))


def cut(connection: Connection, chance: random.Random) -> None:
    connection.execute("DELETE FROM record WHERE seq > ?", (chance.randint(3, SIZE),))


def stripped(connection: Connection, chance: random.Random) -> None:
    seq = chance.randint(1, SIZE)
    if chance.choice([True, False]):
        put(connection, "clear", seq, None)
    else:
        connection.execute("UPDATE record SET root = NULL, signature = NULL WHERE seq = ?", (seq,))


def exchanged(connection: Connection, chance: random.Random) -> None:
    column = chance.choice(COLUMNS)
    one, other = chance.randint(1, SIZE), chance.randint(1, SIZE)
    first, second = value(connection, column, one), value(connection, column, other)
    if (first is None) is (second is None):
        put(connection, column, one, second)
        put(connection, column, other, first)


def rewritten(connection: Connection, chance: random.Random) -> None:
    seq = chance.randint(1, SIZE)
    _, start, length = chance.choice(HEADER_FIELDS)
    old = value(connection, "header", seq)
    if old is not None:
        new = old[:start] + chance.randbytes(length) + old[start + length :]
        put(connection, "header", seq, new)


ATTACKS: tuple[Attack, ...] = (flipped, deleted, cut, stripped, exchanged, rewritten)


@pytest.mark.parametrize("seed", range(sampled(40)))
def test_every_way_of_looking_names_the_same_record_and_kind(copies: Copies, seed: int) -> None:
    chance, victim = random.Random(seed), copies.take()
    public = bytes.fromhex((victim.folder / "keys" / "log.pub").read_text())
    with victim.journal() as connection:
        for _ in range(chance.randint(1, 3)):
            chance.choice(ATTACKS)(connection, chance)
    for key in (MASTER_KEY, None):
        whole, sliced = (
            verify(victim.folder, master_key=key, public_key=public, slices=slices)
            for slices in (Slices(1), TINY_SLICES)
        )
        assert sliced == whole
        bad = whole.first_bad
        first = (whole.size, None) if bad is None else (bad.seq, bad.kind.value)
        if first[1] not in BEYOND:
            assert second_verifier.verify(victim.folder, public, key) == first
