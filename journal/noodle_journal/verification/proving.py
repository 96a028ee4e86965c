"""Making proofs from a journal, and none that would not check.

Owns the one pass over the leaves. Never writes, needs no secret, and works beside a live
writer.

Laws
V4. What is handed out checks under the public key that was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from noodle_journal.failures import (
    REMEDY_NOTE,
    CheckpointAbsent,
    DamageKind,
    RecordUnknown,
    damaged,
)
from noodle_journal.format.canonical import NotCanonical
from noodle_journal.format.checkpoints import Checkpoint
from noodle_journal.format.clear import decode_epoch
from noodle_journal.format.merkle import leaf_hash
from noodle_journal.format.notes import LogKey, Note, trusted_keys
from noodle_journal.format.proof_files import (
    Consistency,
    Inclusion,
    Proof,
    ProvedRecord,
    check_proof,
    encode_proof,
)
from noodle_journal.format.proofs import (
    Range,
    consistency_ranges,
    inclusion_ranges,
    root_by_inclusion,
    roots_of,
)
from noodle_journal.format.records import Row
from noodle_journal.opening import open_store, reading
from noodle_journal.storage import rows
from noodle_journal.storage.database import Connection
from noodle_journal.storage.rows import ROWS_FETCHED_MAX

Place = int | Note
"""A checkpoint: by its size, or as it is kept elsewhere."""


def prove_inclusion(folder: Path, seq: int, *, public_key: bytes, at: Place | None = None) -> bytes:
    """The proof that record `seq` is in a checkpoint: that of `at`, or the last one.

    Raises: RecordUnknown, CheckpointAbsent, JournalDamaged (head_invalid, rollback and fork
    for a note; what keeps the proof from checking else), and as opening.
    """
    with closing(open_store(folder, read_only=True)) as connection:
        log = _Log(folder, connection, public_key)
        size, known = log.place(at)
        if not 1 <= seq <= size:
            raise RecordUnknown(seq=seq, size=size)
        path, row = log.roots(inclusion_ranges(seq - 1, size), size, wanted=seq)
        leaf = _leaf(row)
        if isinstance(at, Note) and root_by_inclusion(leaf, seq - 1, size, path) != at.root:
            raise _fork(size)
        proof = Inclusion(
            keys=tuple(log.keys),
            seq=seq,
            leaf=leaf,
            record=_record(row),
            path=tuple(path),
            checkpoint=known,
        )
        return _checked(proof, public_key, size)


def prove_consistency(
    folder: Path, first: Place, second: Place | None = None, *, public_key: bytes
) -> bytes:
    """The proof that the checkpoint `first` is the beginning of `second`, or of the last one.

    Raises: as `prove_inclusion`.
    """
    with closing(open_store(folder, read_only=True)) as connection:
        log = _Log(folder, connection, public_key)
        old_size, old = log.place(first)
        new_size, new = log.place(second)
        if old_size > new_size:
            (old_size, old), (new_size, new) = (new_size, new), (old_size, old)
        path, _ = log.roots(consistency_ranges(old_size, new_size), new_size)
        proof = Consistency(keys=tuple(log.keys), path=tuple(path), first=old, second=new)
        if not check_proof(encode_proof(proof), public_key=public_key).ok:
            for note in (first, second):
                if isinstance(note, Note) and log.root_at(note.size) != note.root:
                    raise _fork(note.size)
        return _checked(proof, public_key, new_size)


@dataclass(slots=True)
class _Log:
    """A journal to prove something of."""

    folder: Path
    connection: Connection
    trusted: bytes
    keys: list[LogKey] = field(default_factory=list)
    log_id: bytes = b""
    size: int = 0

    def __post_init__(self) -> None:
        with reading(self.folder, 1):
            self.log_id = rows.log_id(self.connection) or b""
            self.size = rows.size(self.connection)
            self.keys = log_keys(rows.epochs(self.connection))

    def place(self, at: Place | None) -> tuple[int, str]:
        """A checkpoint's size, and its note."""
        known = trusted_keys(self.keys, log_id=self.log_id, trusted=self.trusted)
        if isinstance(at, Note):
            return at.size, self._kept(at, known)
        wanted = self.size if at is None else at
        with reading(self.folder, wanted):
            found = rows.last_checkpoint(self.connection, above=0, up_to=wanted)
        if found is None or (at is not None and found[0] != at):
            raise CheckpointAbsent(size=wanted, before=0 if found is None else found[0])
        for key in reversed(known):
            for plain in (False, True):  # a row does not say which its epoch was
                checkpoint = Checkpoint(self.log_id, *found, plain=plain)
                if checkpoint.is_signed_by(key):
                    return found[0], checkpoint.note(key)
        raise damaged(
            seq=found[0],
            kind=DamageKind.SIGNATURE_INVALID,
            problem="its signature is not the log's",
        )

    def _kept(self, note: Note, known: list[bytes]) -> str:
        """A note that is kept elsewhere, if the log signed it."""
        if note.log_id != self.log_id:
            raise unsigned(note, "it is of another journal")
        for key in known:
            checkpoint = note.checkpoint(key)
            if checkpoint is None:
                continue
            if note.size > self.size:
                raise damaged(
                    seq=self.size + 1,
                    kind=DamageKind.ROLLBACK,
                    problem=f"ROLLBACK: the note says that the journal had {note.size} records",
                )
            return checkpoint.note(key)
        raise unsigned(note, "it is not signed by the log")

    def root_at(self, size: int) -> bytes | None:
        """The root that is stored for a size."""
        with reading(self.folder, size):
            found = rows.last_checkpoint(self.connection, above=size - 1, up_to=size)
        return None if found is None else found[1]

    def roots(self, ranges: list[Range], size: int, *, wanted: int = 1) -> tuple[list[bytes], Row]:
        """The roots of ranges of the first `size` leaves; and the row `wanted` on the way."""
        taken: list[Row] = []

        def leaves() -> Iterator[bytes]:
            for row in self._rows(size):
                if row.seq == wanted:
                    taken.append(row)
                yield _leaf(row)

        source = leaves()
        found = roots_of(ranges, source)
        while not taken:  # the last record is in no range of its own path
            next(source)
        return found, taken[0]

    def _rows(self, size: int) -> Iterator[Row]:
        at = 1
        while at <= size:
            with reading(self.folder, at):
                batch = rows.rows_from(self.connection, at, size + 1, ROWS_FETCHED_MAX)
            for row in batch:
                if row.seq != at:
                    break
                yield row
                at += 1
            else:
                if batch:
                    continue
            raise damaged(seq=at, kind=DamageKind.MISSING, problem="it is gone")


def log_keys(epochs: Iterable[Row]) -> list[LogKey]:
    """The log's keys, from the first on, as `key.epoch` rows say; oldest row first.

    Raises: JournalDamaged.
    """
    keys: list[LogKey] = []
    for row in epochs:
        try:
            clear = decode_epoch(row.clear or b"")
        except NotCanonical as exc:
            raise damaged(seq=row.seq, kind=DamageKind.CLEAR_INVALID, problem=str(exc)) from exc
        if not keys:
            keys.append(LogKey(clear.public_key))
        elif keys[-1].public_key != clear.public_key:
            keys.append(LogKey(clear.public_key, clear.key_signature))
    return keys


def _leaf(row: Row) -> bytes:
    if row.leaf is not None:
        return row.leaf
    if not (row.header and row.nonce and row.sealed):
        raise damaged(seq=row.seq, kind=DamageKind.MALFORMED, problem="a part of it is gone")
    return leaf_hash(row.header, row.clear or b"", row.nonce, row.sealed)


def _record(row: Row) -> ProvedRecord | None:
    if row.header is None or row.nonce is None or row.sealed is None:
        return None
    return ProvedRecord(row.header, row.clear, row.nonce, row.sealed)


def _checked(proof: Proof, public_key: bytes, size: int) -> bytes:
    data = encode_proof(proof)
    report = check_proof(data, public_key=public_key)
    if not report.ok:
        raise damaged(
            seq=size,
            kind=DamageKind.ROOT_MISMATCH,
            problem=f"no proof can be made: {report.problem}",
        )
    return data


def unsigned(note: Note, why: str) -> Exception:
    """The failure of a note that is not this log's; raise what this returns."""
    return damaged(
        seq=note.size,
        kind=DamageKind.HEAD_INVALID,
        problem=f"the note of {note.size} records: {why}",
        remedy=REMEDY_NOTE,
    )


def _fork(size: int) -> Exception:
    return damaged(
        seq=size, kind=DamageKind.FORK, problem="FORK: the note has another root for this size"
    )
