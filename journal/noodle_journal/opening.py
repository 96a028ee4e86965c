"""What an open journal knows: its keys, its tail, and how to read a record.

Owns the read side that writer, reader and take-over share. Never writes.

Laws
O1. Opening reads the last `state` record and what follows, whatever the length.
O2. A record is handed out only after its seal, place, tag and form are checked.
O3. A journal behind a kept head is ROLLBACK, one with another root is FORK.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from noodle_journal.failures import (
    DamageKind,
    JournalAbsent,
    JournalClosed,
    JournalEmpty,
    JournalFork,
    JournalRollback,
    KeystoreDamaged,
    damaged,
)
from noodle_journal.format.canonical import JsonValue
from noodle_journal.format.checkpoints import Checkpoint, LogVerifier
from noodle_journal.format.clear import CIPHER_NONE, EpochClear
from noodle_journal.format.merkle import Frontier
from noodle_journal.format.records import NO_LEAF, Kind, Record, Row
from noodle_journal.keys import os_failure
from noodle_journal.keys.ring import KeyRing
from noodle_journal.shredding import SHREDDED, EpochSpan, Shredded, ordered, spans
from noodle_journal.soundness import check_tail_rows, checked_header, decode_row, epoch_clear
from noodle_journal.storage import rows
from noodle_journal.storage.database import (
    Connection,
    StoreMalformed,
    check_format,
    connect,
    translated,
)
from noodle_journal.storage.keystore import Head
from noodle_journal.storage.rows import ROWS_FETCHED_MAX
from noodle_journal.storage.schema import JOURNAL, foreign_schema

JOURNAL_FILE = "journal.db"
SEQ_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a fold starts from: the last `state` body, and the records after it.

    `state` is None for a journal without records. `size` is the last sequence number.
    """

    state: Mapping[str, JsonValue] | None
    records: Sequence[Record]
    size: int


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a journal: everything from the last `state` record on, checked.

    `public_key` is the one that its last epoch names; None for a journal without records.
    """

    tree: Frontier
    last_leaf: bytes
    rows: Sequence[Row]
    epoch: int
    epoch_seq: int
    epoch_at_ns: int
    fence: int
    checkpoint: Checkpoint | None
    public_key: bytes | None

    @property
    def size(self) -> int:
        """The last sequence number."""
        return self.tree.size


def open_store(folder: Path, *, read_only: bool, with_indexes: bool = True) -> Connection:
    """A connection to journal.db, of the current format; `with_indexes`: they must be there.

    Raises: JournalAbsent, JournalEmpty, NotAJournal, JournalFormatNewer,
    JournalFormatOlder, JournalUnreadable, JournalDamaged, SqliteTooOld.
    """
    path = folder / JOURNAL_FILE
    try:
        # A write-ahead log without its database does not count either.
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise JournalAbsent(folder=str(folder)) from exc
    except OSError as exc:
        raise os_failure(path, exc) from exc
    if size == 0:
        raise JournalEmpty(path=str(path))
    try:
        connection = connect(path, read_only=read_only)
        try:
            check_format(connection, path, application=JOURNAL.application, known=JOURNAL.current)
            strange = foreign_schema(connection, path, JOURNAL, with_indexes=with_indexes)
        except BaseException:
            connection.close()
            raise
    except StoreMalformed as exc:
        raise damaged(seq=1, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc
    if strange is not None:
        connection.close()
        raise damaged(
            seq=0, kind=DamageKind.STORE_DAMAGED, problem=f"the schema differs at: {strange}"
        )
    return connection


@contextmanager
def reading(path: Path, seq: int) -> Iterator[None]:
    """Translate SQLite's errors around reads near `seq`."""
    try:
        with translated(path):
            yield
    except StoreMalformed as exc:
        raise damaged(seq=seq, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc


class Log:
    """The read side of one open journal.

    Holds no transaction between calls, so that a slow consumer never keeps the
    write-ahead log from being recycled. Safe to use from several threads.
    """

    def __init__(self, *, folder: Path, connection: Connection, ring: KeyRing) -> None:
        """Raises: JournalDamaged where the keystore is another journal's."""
        self.folder = folder
        self.path = folder / JOURNAL_FILE
        self.ring = ring
        self._connection: Connection | None = connection
        self._lock = threading.Lock()
        with reading(self.path, 1):
            found = rows.log_id(connection)
        if found != ring.log_id:
            raise damaged(
                seq=0,
                kind=DamageKind.FOREIGN,
                problem="journal.db and keystore.db name different logs",
            )
        self.log_id = ring.log_id

    @property
    def connection(self) -> Connection:
        """Raises: JournalClosed."""
        if self._connection is None:
            raise JournalClosed(what="closed")
        return self._connection

    def replace_connection(self, connection: Connection) -> None:
        """Go on with another connection to the same file."""
        with self._lock:
            old, self._connection = self._connection, connection
        if old is not None:
            with translated(self.path):
                old.close()

    def close(self) -> None:
        """Give the files back; further reads raise JournalClosed."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            with translated(self.path):
                connection.close()

    def size(self) -> int:
        """The last sequence number as the file has it now."""
        with self._lock, reading(self.path, 1):
            return rows.size(self.connection)

    def root_at(self, size: int) -> bytes | None:
        """The root that is stored for a size; None where no commit ends there."""
        with self._lock, reading(self.path, size):
            row = rows.row_at(self.connection, size)
        return None if row is None else row.root

    def record(self, row: Row) -> Record:
        """Raises: JournalDamaged, JournalForged, KeyMissing."""
        header = checked_header(row, log_id=self.log_id)
        keys = self.ring.epoch_keys(
            epoch=header.epoch, find=lambda: self.find_epoch(header.epoch, row.seq)
        )
        return decode_row(row, log_id=self.log_id, keys=keys, tagger=self.ring.tagger)

    def read(self, start: int = 1, stop: int | None = None) -> Iterator[Record]:
        """Records with start <= seq < stop, in order; those there when each batch is read.

        What is shredded is left out: it begins at `first_readable`.
        """
        at = max(start, self.first_readable())
        end = SEQ_END if stop is None else stop
        while at < end:
            with self._lock, reading(self.path, at):
                found = rows.rows_from(self.connection, at, end, ROWS_FETCHED_MAX)
            for row in found:
                if row.seq != at:
                    raise damaged(seq=at, kind=DamageKind.MISSING, problem="it is gone")
                yield self.record(row)
                at += 1
            if len(found) < ROWS_FETCHED_MAX:
                return

    def read_run(self, run: str) -> Iterator[Record]:
        """The records of one upgrade, in order, by its tag; without what is shredded."""
        tag = self.ring.tagger.tag(run)
        at = self.first_readable()
        while True:
            with self._lock, reading(self.path, at):
                found = rows.rows_tagged(self.connection, tag, at, ROWS_FETCHED_MAX)
            for row in found:
                record = self.record(row)
                # Tags are 12 bytes of a hash: two upgrades might share one.
                if record.run == run:
                    yield record
            if len(found) < ROWS_FETCHED_MAX:
                return
            at = found[-1].seq + 1

    def read_back(self, limit: int, kind: Kind | None = None) -> Iterator[Record]:
        """The last `limit` records, newest first; of one kind, or of all; none that is shredded."""
        before, left, first = SEQ_END, limit, self.first_readable()
        while left > 0:
            with self._lock, reading(self.path, before):
                found = rows.rows_back(self.connection, before, min(left, ROWS_FETCHED_MAX), kind)
            if not found:
                return
            for row in found:
                if row.seq < first:
                    return
                yield self.record(row)
            before, left = found[-1].seq, left - len(found)

    def tail(self) -> Tail:
        """The end of the journal, checked against its last signature.

        Raises: JournalDamaged, JournalForged, KeystoreDamaged.
        """
        with self._lock, reading(self.path, 1):
            connection = self.connection
            # One read transaction, so that all of it is one moment of a live journal.
            own = not connection.in_transaction
            if own:
                connection.execute("BEGIN")
            try:
                return self._tail(connection)
            finally:
                if own and connection.in_transaction:
                    connection.execute("ROLLBACK")

    def load(self, tail: Tail) -> Loaded:
        """The state and the records after it. Raises: as `record`."""
        if not tail.rows:
            return Loaded(None, (), 0)
        records = [self.record(row) for row in tail.rows]
        return Loaded(records[0].body, records[1:], records[-1].seq)

    def identity_body(self, tail: Tail) -> Mapping[str, JsonValue]:
        """The body of the last `key.epoch`. Raises: as `record`."""
        with self._lock, reading(self.path, tail.epoch_seq):
            row = rows.row_at(self.connection, tail.epoch_seq)
        if row is None:
            raise damaged(
                seq=tail.epoch_seq, kind=DamageKind.MISSING, problem="the epoch's record is gone"
            )
        return self.record(row).body

    def shredded(self, tail: Tail) -> Shredded:
        """How far the journal is ordered to be shredded.

        The last epoch's record says it, and what the tail orders beyond that: between the two
        nothing is ordered, for an epoch begins as soon as something was shredded.

        Raises: as `record`.
        """
        if tail.size == 0:
            return Shredded(0, unsaid=False)
        said = self.identity_body(tail).get(SHREDDED, 0)
        known = said if isinstance(said, int) else 0
        beyond = [one.epoch for one in ordered(tail.rows, log_id=self.log_id)]
        return Shredded(max([known, *beyond]), unsaid=bool(beyond))

    def first_readable(self) -> int:
        """The number of the first record that is not shredded. Raises: as `tail`."""
        connection = self.connection
        with self._lock, reading(self.path, 1):
            if self.ring.keystore.first_data_epoch() <= 1:
                return 1  # no key is gone
        after = self.shredded(self.tail()).up_to
        with self._lock, reading(self.path, 1):
            row = next(rows.epochs(connection, after=after), None)
        return 1 if row is None else row.seq

    def spans(self, after: int, *, last_ended: bool) -> list[EpochSpan]:
        """As `shredding.spans`. Raises: JournalDamaged."""
        with self._lock, reading(self.path, 1):
            return list(
                spans(self.connection, log_id=self.log_id, after=after, last_ended=last_ended)
            )

    def first_of(self, run: str) -> int | None:
        """The number of an upgrade's first record."""
        with self._lock, reading(self.path, 1):
            return rows.first_tagged(self.connection, self.ring.tagger.tag(run))

    def given_up(self) -> list[tuple[int, int]]:
        """Sizes of heads given up by take-overs: from (excluded) and to (included)."""
        with self._lock, reading(self.path, 1):
            found = list(rows.epochs(self.connection))
        gaps: list[tuple[int, int]] = []
        for row in found:
            _, clear = epoch_clear(row, log_id=self.log_id)
            if clear.gave_up is not None:
                gaps.append((clear.tree.size, clear.gave_up.size))
        return gaps

    def check_heads(self, tail: Tail, *, accept_loss: bool = False) -> Head | None:
        """Compare with the heads that the keystore keeps.

        Returns the largest head that the journal is behind of, where
        `accept_loss` allows that; None where nothing is lost.

        Raises: JournalRollback, JournalFork, KeystoreDamaged, JournalDamaged.
        """
        keystore = self.ring.keystore
        beyond = keystore.heads_beyond(tail.size)
        if beyond:
            gaps = self.given_up()
            lost = [head for head in beyond if not _excused(head.size, gaps)]
            if lost:
                self._check_signed(lost[-1])
                if not accept_loss:
                    raise JournalRollback(size=tail.size, head_size=lost[-1].size)
                return lost[-1]
        last = keystore.last_head() if not beyond else None
        if last is not None:
            self._check_root(last.size)
        return None

    def _check_root(self, size: int) -> None:
        root = self.root_at(size)
        heads = self.ring.keystore.heads_of(size)
        if root is not None and any(head.root == root for head in heads):
            return
        if _excused(size, self.given_up()):
            return
        for head in heads:
            self._check_signed(head)
        raise JournalFork(size=size)

    def _check_signed(self, head: Head) -> None:
        """A head accuses the journal only where the log signed it."""
        if not self.ring.accepts(head):
            raise KeystoreDamaged(
                path=str(self.ring.keystore.path),
                problem=f"the head of size {head.size} is not signed by the log",
            )

    def find_epoch(self, epoch: int, seq: int) -> tuple[int, EpochClear]:
        """Number and clear part of the record that opened `epoch`; `seq` needs it."""
        with self._lock, reading(self.path, seq):
            row = rows.epoch_at(self.connection, epoch)
        if row is None:
            raise damaged(
                seq=seq, kind=DamageKind.ORDER, problem=f"no record opens its epoch {epoch}"
            )
        _, clear = epoch_clear(row, log_id=self.log_id)
        return row.seq, clear

    def _tail(self, connection: Connection) -> Tail:
        size = rows.size(connection)
        if size == 0:
            return Tail(Frontier(), NO_LEAF, (), 0, 0, 0, 0, None, None)
        state = rows.last_state(connection)
        epoch_row = rows.last_epoch(connection)
        if state is None or epoch_row is None:
            raise damaged(
                seq=1, kind=DamageKind.MISSING, problem="no state or epoch record is there"
            )
        epoch_header, clear = epoch_clear(epoch_row, log_id=self.log_id)
        found = [state]
        while found[-1].seq < size:
            at = found[-1].seq + 1
            batch = rows.rows_from(connection, at, size + 1, ROWS_FETCHED_MAX)
            if not batch:
                raise damaged(seq=at, kind=DamageKind.MISSING, problem="it is gone")
            found.extend(batch)
        tree, leaf, header = check_tail_rows(found, log_id=self.log_id)
        if header.epoch != epoch_header.epoch:
            raise damaged(seq=size, kind=DamageKind.ORDER, problem="it is not of the last epoch")
        checkpoint = self._checkpoint(found[-1], tree, clear)
        return Tail(
            tree=tree,
            last_leaf=leaf,
            rows=found,
            epoch=epoch_header.epoch,
            epoch_seq=epoch_row.seq,
            epoch_at_ns=epoch_header.at_ns,
            fence=header.fence,
            checkpoint=checkpoint,
            public_key=clear.public_key,
        )

    def _checkpoint(self, last: Row, tree: Frontier, clear: EpochClear) -> Checkpoint:
        if last.root is None or last.signature is None:
            raise damaged(
                seq=last.seq,
                kind=DamageKind.CHECKPOINT_MISSING,
                problem="the journal ends without a signature",
            )
        plain = clear.cipher == CIPHER_NONE
        checkpoint = Checkpoint(self.log_id, tree.size, last.root, last.signature, plain)
        verifier = LogVerifier(clear.public_key)
        if not verifier.accepts(checkpoint.text.encode(), checkpoint.signature):
            raise damaged(
                seq=last.seq,
                kind=DamageKind.SIGNATURE_INVALID,
                problem="the last signature is not the log's",
            )
        return checkpoint


def _excused(size: int, gaps: Sequence[tuple[int, int]]) -> bool:
    return any(after < size <= to for after, to in gaps)
