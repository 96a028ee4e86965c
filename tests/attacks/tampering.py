"""A small journal, and hands that change it as an attacker with write access would.

The attacker has no keys unless a test says so, knows SQLite, and puts the
triggers back so that the schema looks untouched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from noodle_journal import Kind, NewRecord, Report, verify
from noodle_journal.storage.database import Connection, connect
from noodle_journal.storage.schema import JOURNAL, KEYSTORE, Format
from noodle_journal.verification.run import Slices
from noodle_journal.verification.slicing import Found, Order, check_slice
from tests.breadth import BREADTH, Breadth
from tests.unit.journal.place import MASTER_KEY, Place, note

RUN = "01JATTACKATTACKATTACKATTAC"
COMMIT_ENDS = (3, 6, 7, 10, 12)
HEADS = (3, 7, 10)
EPOCH_STARTS = (1, 8)
STATES = (2, 9)
NOTES = (3, 7, 10, 11, 12)
SIZE = 12

# name, first byte, length: the header of specs/journal-format.md
HEADER_FIELDS = (
    ("magic", 0, 4),
    ("version", 4, 1),
    ("flags", 5, 1),
    ("kind", 6, 2),
    ("log_id", 8, 16),
    ("seq", 24, 8),
    ("epoch", 32, 4),
    ("fence", 36, 8),
    ("at_ns", 44, 8),
    ("tag", 52, 12),
    ("previous", 64, 32),
)


class InThisProcess:
    """Checks its slice at once."""

    def __init__(self, order: Order) -> None:
        self._found = check_slice(order)
        self.done = 0

    def found(self, wait_s: float) -> Found | None:  # noqa: ARG002 - it waits for nothing
        return self._found

    def stop(self) -> None:
        """Nothing is left of it."""


TINY_SLICES = Slices(4, 1, InThisProcess)
"""Every place where a slice can begin in the journal below: after records 3 and 10."""


def make_journal(folder: Path, *, seed: int = 7) -> Place:
    """Two sessions: commits end at COMMIT_ENDS, heads are kept for HEADS."""
    place = Place(folder, seed).create()
    with place.open() as journal:
        journal.append([note("one")])
        journal.append(
            [
                NewRecord(Kind.TRANSITION, RUN, {"from": "pending", "to": "validated"}),
                NewRecord(Kind.STEP_INTENT, RUN, {"step": "swap", "key": "k1"}),
                NewRecord(Kind.STEP_DONE, RUN, {"step": "swap", "key": "k1"}),
            ]
        )
        journal.append([note("terminal")], head=True)
    with place.open() as journal:
        journal.append([note("two")])
        journal.append([note("three", RUN), note("four")])
        assert journal.size == SIZE
    return place


SLICED_EVERY = 9


@dataclass
class Victim:
    """A copy of the journal that one test may change."""

    folder: Path
    looks: int = 0

    def verify(self, *, with_key: bool, every_signature: bool = True) -> Report:
        """The report of one pass; and law V5: in slices it is the same, for every damage.

        In slices at the first look, and now and then; in a wide run each time.
        """
        key = MASTER_KEY if with_key else None
        whole = verify(
            self.folder, master_key=key, every_signature=every_signature, slices=Slices(1)
        )
        if self.looks % SLICED_EVERY == 0 or BREADTH is not Breadth.SMALL:
            sliced = verify(
                self.folder, master_key=key, every_signature=every_signature, slices=TINY_SLICES
            )
            assert sliced == whole
        self.looks += 1
        return whole

    def place(self) -> Place:
        return Place(self.folder, seed=99)

    @contextmanager
    def journal(self) -> Iterator[Connection]:
        """Free hands in journal.db; the schema is put back afterwards."""
        with _free_hands(self.folder / "journal.db", JOURNAL) as connection:
            yield connection

    @contextmanager
    def keystore(self) -> Iterator[Connection]:
        """Free hands in keystore.db."""
        with _free_hands(self.folder / "keystore.db", KEYSTORE) as connection:
            yield connection


@contextmanager
def _free_hands(path: Path, format_: Format) -> Iterator[Connection]:
    connection = connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    triggers = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
    ).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    assert all(sql in format_.schema for _, sql in triggers)
    try:
        yield connection
        for _, sql in triggers:
            connection.execute(sql)
    finally:
        connection.close()


class Copies:
    """Fresh copies of one made journal."""

    def __init__(self, made: Path, room: Path) -> None:
        self.made = made
        self.room = room
        self.count = 0

    def take(self) -> Victim:
        self.count += 1
        folder = self.room / str(self.count)
        shutil.copytree(self.made, folder)
        return Victim(folder)


def flip(value: bytes, at: int, mask: int) -> bytes:
    changed = bytearray(value)
    changed[at] ^= mask
    return bytes(changed)


def flip_each(
    folder: Path,
    *,
    column: str,
    seq: int,
    positions: Callable[[int], range],
    masks: tuple[int, ...] = (0x01, 0x80),
) -> Iterator[tuple[int, int]]:
    """Change one byte after the other of one value of a record, and put each back."""
    connection = connect(folder / "journal.db")
    guard = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE name = 'record_never_changes'"
    ).fetchone()[0]

    def put(changed: bytes) -> None:
        connection.execute("BEGIN")
        connection.execute("DROP TRIGGER record_never_changes")
        connection.execute(f"UPDATE record SET {column} = ? WHERE seq = ?", (changed, seq))
        connection.execute(guard)
        connection.execute("COMMIT")

    value = bytes(
        connection.execute(f"SELECT {column} FROM record WHERE seq = ?", (seq,)).fetchone()[0]
    )
    for at in positions(len(value)):
        for mask in masks:
            put(flip(value, at, mask))
            yield at, mask
    put(value)
    connection.close()
