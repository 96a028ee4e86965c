"""Whether a row is what was written at its place.

Owns the checks of one row, and of the rows at the journal's end. Pure: rows in,
records or damage out.

Laws
Q1. A row passes only at its own number, in its own log, under its own key.
"""

from __future__ import annotations

from collections.abc import Sequence

from noodle_journal.failures import DamageKind, JournalFormatNewer, damaged
from noodle_journal.format.canonical import NotCanonical, parse, unpad
from noodle_journal.format.clear import EpochClear, decode_epoch, decode_state
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.records import (
    CLEAR_KINDS,
    FLAG_CLEAR,
    FLAG_COMMIT_END,
    FLAGS_KNOWN,
    FORMAT_VERSION,
    HEADER_BYTES,
    MAGIC,
    Header,
    Kind,
    Record,
    Row,
    kind_of,
    unpack_header,
)
from noodle_journal.format.sealing import NotAuthentic, Sealing, Tagger


def checked_header(row: Row, *, log_id: bytes) -> Header:
    """The header of a whole row that stands where it was written for.

    Raises: JournalDamaged, JournalFormatNewer.
    """
    seq = row.seq
    if row.header is None or row.nonce is None or row.sealed is None:
        raise damaged(seq=seq, kind=DamageKind.UNRECORDED_SHRED, problem="only its hash is left")
    types = {type(value) for value in row[1:] if value is not None}
    if types != {bytes}:
        raise damaged(
            seq=seq, kind=DamageKind.STORE_DAMAGED, problem="a value is not of its column's type"
        )
    if len(row.header) != HEADER_BYTES:
        raise damaged(seq=seq, kind=DamageKind.MALFORMED, problem="the header is not 96 bytes")
    header = unpack_header(row.header)
    problem: tuple[DamageKind, str] | None = None
    if header.magic != MAGIC:
        problem = DamageKind.MALFORMED, "the header does not start with NDLR"
    elif header.version > FORMAT_VERSION:
        raise JournalFormatNewer(path=f"record {seq}", found=header.version, known=FORMAT_VERSION)
    elif header.version != FORMAT_VERSION or header.flags & ~FLAGS_KNOWN:
        problem = DamageKind.MALFORMED, "unknown version or flags"
    elif header.log_id != log_id:
        problem = DamageKind.FOREIGN, "it belongs to another journal"
    elif header.seq != seq:
        problem = DamageKind.MOVED, f"it was written as record {header.seq}"
    elif bool(header.flags & FLAG_CLEAR) != (row.clear is not None):
        problem = DamageKind.MALFORMED, "its clear part is not as its header says"
    elif header.kind in CLEAR_KINDS and row.clear is None:
        problem = DamageKind.MALFORMED, "it has no clear part"
    if problem is not None:
        raise damaged(seq=seq, kind=problem[0], problem=problem[1])
    return header


def epoch_clear(row: Row, *, log_id: bytes) -> tuple[Header, EpochClear]:
    """Header and clear part of a `key.epoch` row. Raises: JournalDamaged."""
    header = checked_header(row, log_id=log_id)
    try:
        clear = decode_epoch(row.clear or b"")
    except NotCanonical as exc:
        raise damaged(seq=row.seq, kind=DamageKind.CLEAR_INVALID, problem=str(exc)) from exc
    if header.kind != Kind.KEY_EPOCH or clear.tree.size != row.seq - 1:
        raise damaged(seq=row.seq, kind=DamageKind.CLEAR_INVALID, problem="not the epoch it says")
    return header, clear


def decode_row(row: Row, *, log_id: bytes, keys: Sealing, tagger: Tagger) -> Record:
    """A row as a record: unsealed, and checked against its place, tag and form.

    Raises: JournalDamaged, JournalForged, JournalFormatNewer.
    """
    header = checked_header(row, log_id=log_id)
    assert row.header is not None  # checked_header looked
    assert row.nonce is not None
    assert row.sealed is not None
    try:
        padded = keys.open(
            associated=row.header + (row.clear or b""), nonce=row.nonce, sealed=row.sealed
        )
        body = parse(unpad(padded))
    except NotAuthentic as exc:
        raise damaged(seq=row.seq, kind=DamageKind.FORGED, problem=str(exc)) from exc
    except NotCanonical as exc:
        raise damaged(seq=row.seq, kind=DamageKind.NOT_CANONICAL, problem=str(exc)) from exc
    run = body.get("upgrade")
    if header.tag != tagger.tag(run if isinstance(run, str) else None):
        raise damaged(
            seq=row.seq, kind=DamageKind.TAG_MISMATCH, problem="its tag is not its upgrade's"
        )
    return Record(
        header.seq,
        kind_of(header.kind),
        header.epoch,
        header.fence,
        header.at_ns,
        header.tag,
        body,
    )


def check_tail_rows(found: Sequence[Row], *, log_id: bytes) -> tuple[Frontier, bytes, Header]:
    """Chain, tree and stored roots from a `state` row to the end.

    Raises: JournalDamaged.
    """
    header = checked_header(found[0], log_id=log_id)
    try:
        mark = decode_state(found[0].clear or b"").tree
    except NotCanonical as exc:
        raise damaged(seq=found[0].seq, kind=DamageKind.CLEAR_INVALID, problem=str(exc)) from exc
    if mark.size != found[0].seq - 1:
        raise damaged(
            seq=found[0].seq, kind=DamageKind.CLEAR_INVALID, problem="not the size it says"
        )
    tree = Frontier(mark.size, mark.frontier)
    leaf = header.previous
    for index, row in enumerate(found):
        seq = mark.size + 1 + index
        if row.seq != seq:
            raise damaged(seq=seq, kind=DamageKind.MISSING, problem="it is gone")
        header = checked_header(row, log_id=log_id)
        if header.previous != leaf:
            raise damaged(
                seq=seq, kind=DamageKind.CHAIN_BROKEN, problem="it follows another record"
            )
        leaf = leaf_hash(row.header or b"", row.clear or b"", row.nonce or b"", row.sealed or b"")
        tree.push(leaf)
        if row.root is not None and row.root != tree.root():
            raise damaged(
                seq=seq, kind=DamageKind.ROOT_MISMATCH, problem="its root is not the tree's"
            )
    if not header.flags & FLAG_COMMIT_END:
        raise damaged(seq=found[-1].seq, kind=DamageKind.CUT, problem="its commit is not whole")
    return tree, leaf, header
