"""Shredding: records whose time is over are made unreadable, and the tree over them stays.

Owns what is written for it, in which order, and what is made of it when it was cut off:
the `retention` records are committed, then the keys are deleted, then an epoch begins
whose record says how far the journal is shredded. Where encryption was off there is no
key to delete: those rows are compacted to their hashes at once. Which epochs are over is
the caller's to say, and why.

Laws
X1. What is shredded is the beginning of the journal: whole epochs, without a gap.
X2. A key is deleted only after a durable record says so, and then also from a keystore
    that was put back: opening ends what the journal orders.
X3. `key.epoch` and `retention` records are never compacted: who verifies needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from noodle_journal.failures import DamageKind, NothingToShred, damaged
from noodle_journal.format.canonical import JsonValue, NotCanonical
from noodle_journal.format.clear import (
    CIPHER_NONE,
    RetentionClear,
    decode_retention,
    encode_retention,
)
from noodle_journal.format.merkle import leaf_hash
from noodle_journal.format.records import Kind, Row, unpack_header
from noodle_journal.soundness import checked_header, epoch_clear
from noodle_journal.storage import rows
from noodle_journal.storage.schema import RECORD_NEVER_CHANGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noodle_journal.draft import Ready
    from noodle_journal.storage.database import Connection

__all__ = [
    "COMPACTED_MAX",
    "SHREDDED",
    "EpochSpan",
    "Shredded",
    "compact_rows",
    "ordered",
    "retention_items",
    "spans",
]

SHREDDED: Final = "shredded"
"""The field of a `key.epoch` body that says up to which epoch the journal is shredded."""
COMPACTED_MAX: Final = 1024
"""How many rows one transaction compacts: a commit in between waits no longer than for these."""


@dataclass(frozen=True, slots=True)
class EpochSpan:
    """An epoch and its records. `at_ns` is the latest time that one of them has (Unix time)."""

    number: int
    first: int
    last: int
    at_ns: int
    plain: bool


class Shredded(NamedTuple):
    """How far a journal is ordered to be shredded.

    up_to: the last epoch; 0 for none. unsaid: no epoch's record says so yet, so that carrying
    it out may have been cut off.
    """

    up_to: int
    unsaid: bool


def spans(
    connection: Connection, *, log_id: bytes, after: int, last_ended: bool
) -> Iterator[EpochSpan]:
    """The epochs after that number which have ended, oldest first.

    `last_ended` says that the last one has too: its writer is gone.

    Raises: JournalDamaged.
    """
    before: tuple[int, int, bool] | None = None
    for row in rows.epochs(connection, after=after):
        header, clear = epoch_clear(row, log_id=log_id)
        if before is not None:
            yield _span(connection, *before, row.seq - 1)
        before = header.epoch, row.seq, clear.cipher == CIPHER_NONE
    if before is not None and last_ended:
        yield _span(connection, *before, rows.size(connection))


def _span(
    connection: Connection,
    number: int,
    first: int,
    plain: bool,  # noqa: FBT001 - three of one tuple
    last: int,
) -> EpochSpan:
    return EpochSpan(number, first, last, rows.latest_ns(connection, first, last), plain)


def retention_items(found: Sequence[EpochSpan], rule: str) -> list[Ready]:
    """The records that order these epochs to be shredded. Raises: NothingToShred."""
    from noodle_journal.draft import own  # noqa: PLC0415 - who reads does not pay for it

    if not found:
        raise NothingToShred
    items = []
    for one in found:
        body: Mapping[str, JsonValue] = {
            "epoch": one.number,
            "first": one.first,
            "last": one.last,
            "rule": rule,
        }
        clear = RetentionClear(epoch=one.number, first=one.first, last=one.last, rule=rule)
        items.append(own(Kind.RETENTION, body, encode_retention(clear)))
    return items


def ordered(found: Sequence[Row], *, log_id: bytes) -> Iterator[RetentionClear]:
    """What the `retention` records among some rows order. Raises: JournalDamaged."""
    for row in found:
        if row.header is None or unpack_header(row.header).kind != Kind.RETENTION:
            continue
        checked_header(row, log_id=log_id)
        try:
            yield decode_retention(row.clear or b"")
        except NotCanonical as exc:
            raise damaged(seq=row.seq, kind=DamageKind.CLEAR_INVALID, problem=str(exc)) from exc


def compact_rows(connection: Connection, first: int, last: int) -> int:
    """Leave the hashes of some rows, inside of the caller's transaction; how many there were.

    The trigger that lets no record change is away within it, and there again at its end: no
    other connection ever sees the schema without it.
    """
    found = [
        row
        for row in rows.rows_from(connection, first, last + 1, COMPACTED_MAX)
        if row.header is not None
        and unpack_header(row.header).kind not in (Kind.KEY_EPOCH, Kind.RETENTION)
    ]
    if not found:
        return 0
    connection.execute("DROP TRIGGER record_never_changes")
    connection.executemany(
        rows.COMPACT,
        [
            (
                leaf_hash(row.header or b"", row.clear or b"", row.nonce or b"", row.sealed or b""),
                row.seq,
            )
            for row in found
        ],
    )
    connection.execute(RECORD_NEVER_CHANGES)
    return len(found)
