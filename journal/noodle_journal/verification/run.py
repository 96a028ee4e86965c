"""Opening what is to be verified, cutting it in slices, and the verdict if it cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_journal.failures import (
    DamageKind,
    JournalDamaged,
    KeystoreAbsent,
    KeystoreDamaged,
    NotAJournal,
    RecordUnknown,
)
from noodle_journal.format.notes import Note
from noodle_journal.keys import PUBLIC_KEY_FILE, read_public_key
from noodle_journal.keys.ring import KeyRing
from noodle_journal.opening import open_store
from noodle_journal.storage.database import Connection
from noodle_journal.storage.keystore import KEYSTORE_FILE, Head, Keystore
from noodle_journal.verification.checker import Checker
from noodle_journal.verification.report import Report, unreadable
from noodle_journal.verification.slicing import Helper, Order, Start, planned_seams, take
from noodle_journal.verification.sources import StoreSource

Progress = Callable[[int, int], None]

PROCESSES_MAX: Final = 3
"""Each takes some thirty megabytes."""
SLICE_RECORDS_MIN: Final = 25_000
"""A smaller slice is checked sooner than a process for it starts."""
_LOOKS_EVERY_S: Final = 0.1


def _process(order: Order) -> Helper:
    # Small journals never need it.
    from noodle_journal.verification.helpers import ProcessHelper  # noqa: PLC0415

    return ProcessHelper(order)


@dataclass(frozen=True, slots=True)
class Slices:
    """How a pass is cut: into at most so many, none smaller than so many records.

    `start` gives a slice to somebody who checks it meanwhile.
    """

    most: int
    records_min: int = SLICE_RECORDS_MIN
    start: Start = _process

    @classmethod
    def by_cores(cls) -> Slices:
        """One for each core that this process may use, within PROCESSES_MAX."""
        return cls(min(len(os.sched_getaffinity(0)), PROCESSES_MAX))


def verify(
    folder: Path,
    *,
    master_key: bytes | None = None,
    public_key: bytes | None = None,
    every_signature: bool = False,
    since: Sequence[Note] = (),
    first: int = 1,
    last: int | None = None,
    slices: Slices | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check every record of the journal in `folder`, beside a live writer too.

    With `master_key` contents are checked as well. With `public_key` that key
    is what is trusted; without it the keystore's (with the master key) or
    keys/log.pub. `progress` gets records done and records in all. Heads are
    compared wherever there is a keystore; `since` are checkpoints that were kept
    elsewhere: the journal must still hold what they signed.

    `first` and `last` make it a range: what comes before is hashed and not
    opened, what comes after the commit of `last` is not looked at.

    A long journal is checked by several processes (`slices`; by default as many as
    there are cores, at most PROCESSES_MAX); the report is the same whatever their number.

    Damage is a value in the report. Raises only for what keeps it from
    looking: JournalAbsent, JournalEmpty, JournalUnreadable, NotAJournal,
    JournalFormatNewer, JournalFormatOlder, KeystoreAbsent, WrongKey,
    KeyInvalid, KeyMissing (no public key at hand), SqliteTooOld; RecordUnknown for a range
    that begins beyond the end.
    """
    keystore: Keystore | None = None
    connection: Connection | None = None
    checker: Checker | None = None
    try:
        try:
            keystore = Keystore(folder, read_only=True)
        except KeystoreAbsent:
            if master_key is not None:
                raise
        # Heads first: the journal can only have grown beyond them since.
        heads = [] if keystore is None else keystore.heads()
        ring = None
        if keystore is not None and master_key is not None:
            ring = KeyRing(keystore=keystore, master_key=master_key)
        trusted = public_key
        if trusted is None:
            trusted = (
                read_public_key(folder / PUBLIC_KEY_FILE) if ring is None else ring.first_public_key
            )
        connection = open_store(folder, read_only=True)
        store = StoreSource(folder, connection)
        checker = Checker(
            source=store,
            ring=ring,
            keystore_log_id=None if keystore is None else keystore.log_id,
            trusted=trusted,
            heads=heads,
            every_signature=every_signature,
            since=[
                Head(note.size, note.root, signature)
                for note in since
                for signature in _own_signature(note)
            ],
            first=first,
            last=None if last is None else max([last, *(note.size for note in since)]),
        )
        cut = Slices.by_cores() if slices is None else slices
        return checker.run(lambda at_work: _check_rows(at_work, store, cut, master_key, progress))
    except KeystoreDamaged as exc:
        return unreadable(DamageKind.KEYSTORE_DAMAGED, exc.problem)
    except NotAJournal as exc:
        if exc.data["path"] != str(folder / KEYSTORE_FILE):
            raise
        return unreadable(DamageKind.KEYSTORE_DAMAGED, exc.problem)
    except JournalDamaged as exc:
        return unreadable(exc.kind, exc.problem, seq=exc.seq)
    finally:
        if connection is not None:
            connection.close()
        if keystore is not None:
            keystore.close()


def _own_signature(note: Note) -> list[bytes]:
    """The signatures of a note that may be the log's; one that is nobody's if it has none."""
    return [signature for _, signature in note.signatures] or [bytes(64)]


def _check_rows(
    checker: Checker,
    store: StoreSource,
    slices: Slices,
    master_key: bytes | None,
    progress: Progress | None,
) -> None:
    """Every record up to the pass's end, with the help that it is worth."""
    if checker.first > max(checker.size, 1):
        raise RecordUnknown(seq=checker.first, size=checker.size)
    total = checker.stop
    count = min(slices.most, total // slices.records_min) if slices.records_min else slices.most
    seams = planned_seams(checker, store, count) if count > 1 else []
    ends = [seam.size for seam in seams] + [total]
    helpers: list[Helper] = []

    def tell(done: int) -> None:
        if progress is not None:
            ahead = sum(helper.done for helper in helpers)
            progress(min(done + ahead, total), total)

    with ExitStack() as stack:
        orders = [
            Order(
                folder=store.path,
                seam=seam,
                last=last,
                first_opened=checker.first,
                every_signature=checker.every_signature,
                heads=tuple({head.size for head in (*checker.heads, *checker.since)}),
                master_key=master_key,
            )
            for seam, last in zip(seams, ends[1:], strict=True)
        ]
        for order in orders:
            helper = slices.start(order)
            stack.callback(helper.stop)
            helpers.append(helper)
        checker.rows_up_to(ends[0], tell)
        if orders and checker.stop == checker.size:
            checker.look_at_index()  # while the others are at work
        for order in orders:
            helper = helpers[0]
            found = None
            while True:
                try:
                    found = helper.found(_LOOKS_EVERY_S)
                except TimeoutError:
                    tell(checker.tree.size)
                else:
                    break
            helpers.pop(0)
            if found is None or not take(checker, store, order, found):
                checker.rows_up_to(order.last, tell)
            tell(checker.tree.size)
