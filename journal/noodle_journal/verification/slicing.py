"""Checking a journal in slices, each from a state that is claimed first and proved later.

Owns where slices begin, what one is told and what it answers. A slice begins at a commit's
end behind a `state` record: its clear part claims the tree of that place, so that nothing
before it needs to be read. The claim counts for nothing until the slice before has come to
the very same state: only then is the answer taken. Where it is not, or where a slice found
anything wrong, the pass itself goes on over those records, as if nobody had been asked.

Laws
V5. The report is that of one pass from the first record to the last, whatever the slices.
`docs/decisions/0019-verify-in-slices.md` says why not at subtree boundaries.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from noodle_journal.errors import NoodleError
from noodle_journal.failures import KeyMissing
from noodle_journal.format.checkpoints import Checkpoint, LogVerifier
from noodle_journal.format.clear import CIPHER_NONE, RetentionClear, decode_state
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.records import Row
from noodle_journal.keys.ring import KeyRing
from noodle_journal.opening import open_store
from noodle_journal.soundness import checked_header, epoch_clear
from noodle_journal.storage import rows
from noodle_journal.storage.database import StoreMalformed, translated
from noodle_journal.storage.keystore import Head, Keystore
from noodle_journal.verification.checker import Checker, OpenEpoch
from noodle_journal.verification.sources import StoreSource

COMMIT_RECORDS_MAX = 10_000
"""A slice begins at the end of a commit; one that is longer than this is not waited for."""
INDEX_SHARE = 0.15
"""What SQLite's look at its own pages takes, in parts of what the records take."""

_CLAIMED_WRONG = (NoodleError, StoreMalformed, ValueError, TypeError, struct.error)


@dataclass(frozen=True, slots=True)
class Seam:
    """What is known after a record, where a slice ends and the next begins."""

    size: int
    frontier: tuple[bytes, ...]
    last_leaf: bytes
    epoch: int
    epoch_seq: int
    fence: int
    public_key: bytes
    root: bytes
    signature: bytes
    plain: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A slice to check: from a seam up to and with record `last`. Holds the master key."""

    folder: Path
    seam: Seam
    last: int
    first_opened: int
    every_signature: bool
    heads: tuple[int, ...]
    master_key: bytes | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a slice without any damage came to."""

    seam: Seam
    epochs: int
    plain_epochs: int
    opened: int
    signatures_checked: int
    checkpoint_proved: int
    public_keys: tuple[bytes, ...]
    gaps: tuple[tuple[int, int], ...]
    shredded: tuple[RetentionClear, ...]
    unreadable: tuple[tuple[int, int], ...]
    compacted: tuple[tuple[int, int], ...]
    head_roots: tuple[tuple[int, bytes], ...]


class Helper(Protocol):
    """Somebody who checks a slice meanwhile."""

    @property
    def done(self) -> int:
        """How many of its records it has checked."""

    def found(self, wait_s: float) -> Found | None:
        """What it came to; None if there is damage, or it failed. Waits at most `wait_s`.

        Raises: TimeoutError while it is at work.
        """

    def stop(self) -> None:
        """End it, whatever it does."""


Start = Callable[[Order], Helper]


def planned_seams(
    checker: Checker, store: StoreSource, slices: int, *, own_extra: float = INDEX_SHARE
) -> list[Seam]:
    """Where the slices after the first begin: fewer where the journal claims no state there.

    The first slice is the shorter for `own_extra`, which its process does besides.
    """
    share = (1 + own_extra) / slices
    found: list[Seam] = []
    for number in range(1, slices):
        near = round(checker.stop * (share * number - own_extra))
        seam = _claimed_seam(store, checker.log_id, max(near, 1))
        after = found[-1].size if found else 0
        if seam is not None and after < seam.size < checker.stop:
            found.append(seam)
    return found


def _claimed_seam(store: StoreSource, log_id: bytes, near: int) -> Seam | None:
    """The first place behind `near` at which a slice can begin. Nothing of it is proved."""
    connection = store.connection
    try:
        with translated(store.path):
            row = rows.state_from(connection, near)
            if row is None:
                return None
            mark = decode_state(row.clear or b"").tree
            tree = Frontier(mark.size, mark.frontier)
            header, leaf = checked_header(row, log_id=log_id), _leaf(row)
            tree.push(leaf)
            while row.root is None and tree.size < mark.size + COMMIT_RECORDS_MAX:
                row = rows.row_at(connection, tree.size + 1)
                if row is None:
                    return None
                header, leaf = checked_header(row, log_id=log_id), _leaf(row)
                tree.push(leaf)
            epoch_row = rows.epoch_at(connection, header.epoch)
        if epoch_row is None or row.root is None or row.signature is None:
            return None
        _, clear = epoch_clear(epoch_row, log_id=log_id)
        return Seam(
            size=tree.size,
            frontier=tuple(tree.hashes),
            last_leaf=leaf,
            epoch=header.epoch,
            epoch_seq=epoch_row.seq,
            fence=header.fence,
            public_key=clear.public_key,
            root=row.root,
            signature=row.signature,
            plain=clear.cipher == CIPHER_NONE,
        )
    except _CLAIMED_WRONG:
        return None


def _leaf(row: Row) -> bytes:
    return leaf_hash(row.header or b"", row.clear or b"", row.nonce or b"", row.sealed or b"")


def seam_of(checker: Checker) -> Seam | None:
    """Where a pass stands, if a slice can begin there."""
    epoch, checkpoint = checker.epoch, checker.checkpoint
    if (
        epoch is None
        or checkpoint is None
        or checkpoint.size != checker.tree.size
        or checker.plain is None
        or checker.verifier is None
    ):
        return None
    return Seam(
        size=checker.tree.size,
        frontier=tuple(checker.tree.hashes),
        last_leaf=checker.last_leaf,
        epoch=epoch.number,
        epoch_seq=epoch.first_seq,
        fence=epoch.fence,
        public_key=checker.verifier.public_key,
        root=checkpoint.root,
        signature=checkpoint.signature,
        plain=checkpoint.plain,
    )


def check_slice(order: Order, progress: Callable[[int], None] | None = None) -> Found | None:
    """Check one slice, in whichever process; None if anything at all is wrong."""
    keystore: Keystore | None = None
    try:
        ring = None
        if order.master_key is not None:
            keystore = Keystore(order.folder, read_only=True)
            ring = KeyRing(keystore=keystore, master_key=order.master_key)
        with closing(open_store(order.folder, read_only=True)) as connection:
            checker = _resumed(order, StoreSource(order.folder, connection), ring)
            checker.rows_up_to(order.last, progress)
        end = seam_of(checker)
        return None if end is None else _answer(checker, end)
    except _CLAIMED_WRONG:
        return None
    finally:
        if keystore is not None:
            keystore.close()


def take(checker: Checker, store: StoreSource, order: Order, found: Found) -> bool:
    """Go on from where a slice ended; False, and nothing taken, if it began elsewhere."""
    end = found.seam
    if seam_of(checker) != order.seam or end.size != order.last:
        return False
    epoch = checker.epoch
    if epoch is None or epoch.first_seq != end.epoch_seq:
        try:
            epoch = _epoch_of(end, store, checker.log_id, checker.ring)
        except _CLAIMED_WRONG:
            return False
    checker.epoch = epoch
    checker.tree.size, checker.tree.hashes[:] = end.size, end.frontier
    checker.last_leaf = end.last_leaf
    checker.plain = end.plain
    checker.checkpoint = Checkpoint(
        checker.log_id, end.size, end.root, end.signature, plain=end.plain
    )
    checker.commit_tree = list(end.frontier)
    checker.checkpoint_proved = max(checker.checkpoint_proved, found.checkpoint_proved)
    checker.verifiers.extend(LogVerifier(key) for key in found.public_keys)
    checker.verifier = checker.verifiers[-1]
    checker.epochs += found.epochs
    checker.plain_epochs += found.plain_epochs
    checker.opened += found.opened
    checker.signatures_checked += found.signatures_checked
    checker.gaps.extend(found.gaps)
    checker.shredded.extend(found.shredded)
    checker.unreadable.update(found.unreadable)
    checker.compacted.extend(found.compacted)
    checker.head_roots.update(found.head_roots)
    return True


def _resumed(order: Order, store: StoreSource, ring: KeyRing | None) -> Checker:
    """A pass that believes the order's seam."""
    seam = order.seam
    found, size, _ = store.begin()
    log_id = found or b""
    verifier = LogVerifier(seam.public_key)
    return Checker(
        source=store,
        ring=ring,
        keystore_log_id=None,
        trusted=seam.public_key,
        heads=[Head(size, b"", b"") for size in order.heads],
        every_signature=order.every_signature,
        first=order.first_opened,
        log_id=log_id,
        size=size,
        stop=size,
        tree=Frontier(seam.size, seam.frontier),
        last_leaf=seam.last_leaf,
        epoch=_epoch_of(seam, store, log_id, ring),
        checkpoint=Checkpoint(log_id, seam.size, seam.root, seam.signature, plain=seam.plain),
        commit_tree=list(seam.frontier),
        verifier=verifier,
        verifiers=[verifier],
        plain=seam.plain,
    )


def _epoch_of(seam: Seam, store: StoreSource, log_id: bytes, ring: KeyRing | None) -> OpenEpoch:
    """The epoch that is open at a seam. Raises: ValueError, and as reading."""
    with translated(store.path):
        row = rows.row_at(store.connection, seam.epoch_seq)
    if row is None:
        raise ValueError("the epoch's record is gone")
    header, clear = epoch_clear(row, log_id=log_id)
    claimed = (seam.epoch, seam.fence, seam.public_key, seam.plain)
    if claimed != (header.epoch, header.fence, clear.public_key, clear.cipher == CIPHER_NONE):
        raise ValueError("the epoch's record says something else")
    keys = None
    if ring is not None:
        try:
            keys = ring.unwrap_epoch(clear, epoch=header.epoch, seq=row.seq)
        except KeyMissing:
            keys = None  # the slice that has its record remembers that
    return OpenEpoch(header.epoch, row.seq, header.fence, clear, keys)


def _answer(checker: Checker, end: Seam) -> Found:
    return Found(
        seam=end,
        epochs=checker.epochs,
        plain_epochs=checker.plain_epochs,
        opened=checker.opened,
        signatures_checked=checker.signatures_checked,
        checkpoint_proved=checker.checkpoint_proved,
        public_keys=tuple(one.public_key for one in checker.verifiers[1:]),
        gaps=tuple(checker.gaps),
        shredded=tuple(checker.shredded),
        unreadable=tuple(checker.unreadable.items()),
        compacted=tuple(checker.compacted),
        head_roots=tuple(checker.head_roots.items()),
    )


# -- between processes -----------------------------------------------------------


def order_to_json(order: Order) -> Any:
    """An order as plain values."""
    return _plain(asdict(order) | {"folder": str(order.folder)})


def order_from_json(value: Mapping[str, Any]) -> Order:
    """The order in plain values."""
    key = value["master_key"]
    return Order(
        folder=Path(value["folder"]),
        seam=_seam(value["seam"]),
        last=value["last"],
        first_opened=value["first_opened"],
        every_signature=value["every_signature"],
        heads=tuple(value["heads"]),
        master_key=None if key is None else bytes.fromhex(key),
    )


def found_to_json(found: Found) -> Any:
    """An answer as plain values."""
    return _plain(asdict(found))


def found_from_json(value: Mapping[str, Any]) -> Found:
    """The answer in plain values."""
    return Found(
        seam=_seam(value["seam"]),
        epochs=value["epochs"],
        plain_epochs=value["plain_epochs"],
        opened=value["opened"],
        signatures_checked=value["signatures_checked"],
        checkpoint_proved=value["checkpoint_proved"],
        public_keys=tuple(map(bytes.fromhex, value["public_keys"])),
        gaps=_pairs(value["gaps"]),
        shredded=tuple(RetentionClear(**one) for one in value["shredded"]),
        unreadable=_pairs(value["unreadable"]),
        compacted=_pairs(value["compacted"]),
        head_roots=tuple((size, bytes.fromhex(root)) for size, root in value["head_roots"]),
    )


def _seam(value: Mapping[str, Any]) -> Seam:
    of_bytes = {
        name: bytes.fromhex(value[name])
        for name in ("last_leaf", "public_key", "root", "signature")
    }
    frontier = tuple(map(bytes.fromhex, value["frontier"]))
    return Seam(**{**value, **of_bytes, "frontier": frontier})


def _pairs(value: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((first, second) for first, second in value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value
