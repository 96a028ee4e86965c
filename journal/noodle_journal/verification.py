"""Verification: is this journal, from its first record to its last, what was written?

Owns the pass over all records and the verdict, which is a value. Never writes,
never repairs, and trusts nothing in the file that a signature does not cover.

Laws
V1. A changed, missing, moved, foreign or repeated record is found, at its number.
V2. Public key alone: order, completeness, roots, signatures and heads. With the
    master key: contents, tags and keys as well.
V3. What was cut off is found where a kept head says more; else the report says
    up to which size the journal is known.

Source: RFC 6962; `specs/journal-format.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noodle_journal.failures import (
    REMEDIES,
    REMEDY_OTHER,
    DamageKind,
    JournalDamaged,
    JournalFormatNewer,
    KeyMissing,
    KeystoreAbsent,
    KeystoreDamaged,
    NotAJournal,
    damaged,
)
from noodle_journal.format.canonical import NotCanonical, parse, unpad
from noodle_journal.format.checkpoints import (
    Checkpoint,
    LogSigner,
    LogVerifier,
    new_key_message,
)
from noodle_journal.format.clear import (
    CIPHER_AES,
    EpochClear,
    RetentionClear,
    TreeMark,
    check_frame,
    decode_retention,
    decode_state,
)
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.records import (
    FLAG_CLEAR,
    FLAG_COMMIT_END,
    FLAGS_KNOWN,
    FORMAT_VERSION,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    NO_LEAF,
    Kind,
    Row,
)
from noodle_journal.format.sealing import EpochKeys, NotAuthentic
from noodle_journal.keys import PUBLIC_KEY_FILE, read_public_key
from noodle_journal.opening import KeyRing, checked_header, epoch_clear, open_store
from noodle_journal.storage import rows
from noodle_journal.storage.database import Connection, StoreMalformed, translated
from noodle_journal.storage.keystore import Head, Keystore
from noodle_journal.storage.rows import ROWS_FETCHED_MAX


@dataclass(frozen=True, slots=True)
class Damage:
    """The first bad place. `seq` 0 stands for what lies outside the records."""

    seq: int
    kind: DamageKind
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict. `known_up_to` is the largest size that is proved.

    `opened` counts the records whose contents were read; `behind_head` says
    whether a head outside the journal confirms the end (size of the largest
    matching head).
    """

    ok: bool
    log_id: str
    size: int
    root: bytes
    epochs: int
    records: int
    opened: int
    signatures_checked: int
    heads_checked: int
    largest_head: int
    known_up_to: int
    first_bad: Damage | None
    checkpoint: Checkpoint | None


def verify(
    folder: Path,
    *,
    master_key: bytes | None = None,
    public_key: bytes | None = None,
    every_signature: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check every record of the journal in `folder`, beside a live writer too.

    With `master_key` contents are checked as well. With `public_key` that key
    is what is trusted; without it the keystore's (with the master key) or
    keys/log.pub. `progress` gets records done and records in all. Heads are
    compared wherever there is a keystore.

    Damage is a value in the report. Raises only for what keeps it from
    looking: JournalAbsent, JournalEmpty, JournalUnreadable, NotAJournal,
    JournalFormatNewer, JournalFormatOlder, KeystoreAbsent, WrongKey,
    KeyInvalid, KeyMissing (no public key at hand), SqliteTooOld.
    """
    keystore: Keystore | None = None
    connection: Connection | None = None
    checker: _Checker | None = None
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
                read_public_key(folder / PUBLIC_KEY_FILE)
                if ring is None
                else LogSigner(ring.log_seed()).public_key
            )
        connection = open_store(folder, read_only=True)
        checker = _Checker(
            path=folder,
            connection=connection,
            ring=ring,
            keystore_log_id=None if keystore is None else keystore.log_id,
            trusted=trusted,
            heads=heads,
            every_signature=every_signature,
        )
        return checker.run(progress)
    except KeystoreDamaged as exc:
        return _unreadable(DamageKind.KEYSTORE_DAMAGED, exc.problem)
    except NotAJournal as exc:
        if exc.data["path"] != str(folder / "keystore.db"):
            raise
        return _unreadable(DamageKind.KEYSTORE_DAMAGED, exc.problem)
    except JournalDamaged as exc:
        return _unreadable(exc.kind, exc.problem, seq=exc.seq)
    finally:
        if connection is not None:
            connection.close()
        if keystore is not None:
            keystore.close()


def _unreadable(kind: DamageKind, problem: str, *, seq: int = 0) -> Report:
    damage = Damage(seq, kind, problem, REMEDIES.get(kind, REMEDY_OTHER))
    return Report(False, "", 0, b"", 0, 0, 0, 0, 0, 0, 0, damage, None)


@dataclass(slots=True)
class _Epoch:
    number: int
    first_seq: int
    fence: int
    clear: EpochClear
    keys: EpochKeys | None


@dataclass(slots=True)
class _Checker:
    """One pass. Fields are what is known after the last good record."""

    path: Path
    connection: Connection
    ring: KeyRing | None
    keystore_log_id: bytes | None
    trusted: bytes
    heads: Sequence[Head]
    every_signature: bool
    log_id: bytes = b""
    size: int = 0
    tree: Frontier = field(default_factory=Frontier)
    last_leaf: bytes = NO_LEAF
    epoch: _Epoch | None = None
    epochs: int = 0
    opened: int = 0
    signatures_checked: int = 0
    heads_checked: int = 0
    largest_head: int = 0
    checkpoint: Checkpoint | None = None  # at the last commit's end
    checkpoint_proved: int = 0  # size of the last one whose signature was checked
    proved: Checkpoint | None = None
    commit_tree: list[bytes] = field(default_factory=list)  # frontier at the last commit's end
    verifier: LogVerifier | None = None
    gaps: list[tuple[int, int]] = field(default_factory=list)
    shredded: list[RetentionClear] = field(default_factory=list)
    unreadable: dict[int, int] = field(default_factory=dict)  # epoch: first seq
    compacted: list[tuple[int, int]] = field(default_factory=list)  # first and last seq
    head_roots: dict[int, bytes] = field(default_factory=dict)  # our roots at head sizes

    def run(self, progress: Callable[[int, int], None] | None) -> Report:
        """The whole pass."""
        damage: Damage | None = None
        try:
            self._start()
            self._all_rows(progress)
            self._finish()
        except JournalDamaged as exc:
            damage = Damage(exc.seq, exc.kind, exc.problem, exc.remedy)
        except StoreMalformed as exc:
            found = damaged(seq=self.tree.size + 1, kind=DamageKind.STORE_DAMAGED, problem=str(exc))
            damage = Damage(found.seq, found.kind, found.problem, found.remedy)
        return Report(
            ok=damage is None,
            log_id=self.log_id.hex(),
            size=self.size,
            root=self.tree.root(),
            epochs=self.epochs,
            records=self.tree.size,
            opened=self.opened,
            signatures_checked=self.signatures_checked,
            heads_checked=self.heads_checked,
            largest_head=self.largest_head,
            known_up_to=self.size if damage is None else self._known_before(damage.seq),
            first_bad=damage,
            checkpoint=self.checkpoint,
        )

    def _start(self) -> None:
        with translated(self.path):
            found = rows.log_id(self.connection)
            self.size = rows.size(self.connection)
            fence = rows.fence(self.connection)
            last = rows.row_at(self.connection, self.size)
        self.log_id = found or b""
        if found is None:
            raise damaged(seq=0, kind=DamageKind.MALFORMED, problem="the log's id is gone")
        if self.keystore_log_id is not None and found != self.keystore_log_id:
            raise damaged(
                seq=0,
                kind=DamageKind.FOREIGN,
                problem="journal.db and keystore.db name different logs",
            )
        if last is not None and last.header is not None and len(last.header) == HEADER_BYTES:
            header = HEADER.unpack(last.header)
            if header[4] == found and fence < header[7]:
                raise damaged(seq=0, kind=DamageKind.ORDER, problem="the writer's fence went back")
        if self.ring is not None:
            seed_key = LogSigner(self.ring.log_seed()).public_key
            if seed_key != self.trusted:
                raise damaged(
                    seq=0,
                    kind=DamageKind.PUBLIC_KEY_CHANGED,
                    problem="the public key given is not that of the keystore",
                )
        self.verifier = LogVerifier(self.trusted)

    # -- the pass --------------------------------------------------------

    def _all_rows(self, progress: Callable[[int, int], None] | None) -> None:
        wanted = {head.size for head in self.heads}
        at, end = 1, self.size + 1
        while at < end:
            with translated(self.path):
                batch = rows.rows_from(self.connection, at, end, ROWS_FETCHED_MAX)
            if not batch:
                raise damaged(seq=at, kind=DamageKind.MISSING, problem="it is gone")
            self._rows(batch, wanted)
            at = self.tree.size + 1
            if progress is not None:
                progress(at - 1, self.size)

    def _rows(self, batch: Sequence[Row], wanted: set[int]) -> None:
        # The hot loop: one million times. Everything it calls per record is needed.
        unpack, tree, log_id = HEADER.unpack, self.tree, self.log_id
        for row in batch:
            seq, header, clear, nonce, sealed, leaf, root, signature = row
            if seq != tree.size + 1:
                raise damaged(seq=tree.size + 1, kind=DamageKind.MISSING, problem="it is gone")
            if leaf is not None:
                self._compacted(row)
                if seq in wanted:
                    self.head_roots[seq] = tree.root()
                continue
            if header is None or nonce is None or sealed is None or len(header) != HEADER_BYTES:
                checked_header(row, log_id=log_id)
                continue
            fields = unpack(header)
            magic, version, flags, kind, its_log, its_seq, epoch, fence, _, tag, previous = fields
            if (
                magic != MAGIC
                or version != FORMAT_VERSION
                or flags & ~FLAGS_KNOWN
                or its_log != log_id
                or its_seq != seq
                or bool(flags & FLAG_CLEAR) is (clear is None)
            ):
                self._bad_header(row)
            if kind == Kind.KEY_EPOCH:
                self._epoch_starts(row)
            current = self.epoch
            if current is None or epoch != current.number or fence != current.fence:
                raise damaged(seq=seq, kind=DamageKind.ORDER, problem="it is not of the open epoch")
            if current.keys is not None:
                self._open(row, header, clear, nonce, sealed, tag, current.keys)
            if clear is not None:
                self._clear_part(row, kind, clear)
            if previous != self.last_leaf:
                self._chain_broken(row, previous)
            self.last_leaf = leaf_hash(header, clear or b"", nonce, sealed)
            tree.push(self.last_leaf)
            if flags & FLAG_COMMIT_END:
                self._commit_end(row, root, signature)
            elif root is not None:
                raise damaged(
                    seq=seq,
                    kind=DamageKind.CHECKPOINT_MISPLACED,
                    problem="a signature where no commit ends",
                )
            if seq in wanted:
                self.head_roots[seq] = tree.root()

    def _bad_header(self, row: Row) -> None:
        try:
            checked_header(row, log_id=self.log_id)
        except JournalFormatNewer as exc:
            # Within one file a newer record follows no older one by accident.
            raise damaged(seq=row.seq, kind=DamageKind.MALFORMED, problem=exc.problem) from exc

    def _open(
        self,
        row: Row,
        header: bytes,
        clear: bytes | None,
        nonce: bytes,
        sealed: bytes,
        tag: bytes,
        keys: EpochKeys,
    ) -> None:
        try:
            padded = keys.open(
                associated=header if clear is None else header + clear,
                nonce=nonce,
                sealed=sealed,
            )
            body = parse(unpad(padded))
        except NotAuthentic as exc:
            raise damaged(seq=row.seq, kind=DamageKind.FORGED, problem=str(exc)) from exc
        except NotCanonical as exc:
            raise damaged(seq=row.seq, kind=DamageKind.NOT_CANONICAL, problem=str(exc)) from exc
        run = body.get("upgrade")
        ring = self.ring
        assert ring is not None  # keys come from it
        if tag != ring.tagger.tag(run if isinstance(run, str) else None):
            raise damaged(
                seq=row.seq, kind=DamageKind.TAG_MISMATCH, problem="its tag is not its upgrade's"
            )
        self.opened += 1

    def _epoch_starts(self, row: Row) -> None:
        seq = row.seq
        header, clear = epoch_clear(row, log_id=self.log_id)
        before = self.epoch
        if before is not None:
            if self.checkpoint is None or self.checkpoint.size != seq - 1:
                raise damaged(
                    seq=seq, kind=DamageKind.ORDER, problem="an epoch opens in mid-commit"
                )
            self._check_signature(self.checkpoint)
        if header.epoch <= (0 if before is None else before.number) or header.fence < (
            1 if before is None else before.fence
        ):
            raise damaged(seq=seq, kind=DamageKind.ORDER, problem="epoch or fence does not rise")
        self._check_public_key(seq, clear)
        if clear.cipher != CIPHER_AES:
            raise damaged(seq=seq, kind=DamageKind.CLEAR_INVALID, problem=f"cipher {clear.cipher}")
        if clear.gave_up is not None:
            self.gaps.append((seq - 1, clear.gave_up.size))
        keys = None
        if self.ring is not None:
            try:
                keys = self.ring.unwrap_epoch(clear, epoch=header.epoch, seq=seq)
            except KeyMissing:
                self.unreadable[header.epoch] = seq
            except KeystoreDamaged as exc:
                raise damaged(
                    seq=seq, kind=DamageKind.KEYSTORE_DAMAGED, problem=exc.problem
                ) from exc
        self.epoch = _Epoch(header.epoch, seq, header.fence, clear, keys)
        self.epochs += 1

    def _check_public_key(self, seq: int, clear: EpochClear) -> None:
        assert self.verifier is not None  # set by _start
        if clear.public_key == self.verifier.public_key:
            return
        message = new_key_message(log_id=self.log_id, public_key=clear.public_key)
        if clear.key_signature is None or not self.verifier.accepts(message, clear.key_signature):
            raise damaged(
                seq=seq,
                kind=DamageKind.PUBLIC_KEY_CHANGED,
                problem="its log key is not the trusted one, nor signed by it",
            )
        self.verifier = LogVerifier(clear.public_key)

    def _clear_part(self, row: Row, kind: int, clear: bytes) -> None:
        seq = row.seq
        try:
            if kind == Kind.STATE:
                self._check_mark(seq, decode_state(clear).tree)
                return
            if kind == Kind.RETENTION:
                self.shredded.append(decode_retention(clear))
                return
            check_frame(clear)
        except NotCanonical as exc:
            raise damaged(seq=seq, kind=DamageKind.CLEAR_INVALID, problem=str(exc)) from exc
        if kind == Kind.KEY_EPOCH and self.epoch is not None:
            self._check_mark(seq, self.epoch.clear.tree)

    def _check_mark(self, seq: int, mark: TreeMark) -> None:
        if mark.size != self.tree.size or mark.root != self.tree.root():
            raise damaged(
                seq=seq, kind=DamageKind.CLEAR_INVALID, problem="its tree is not the one before"
            )

    def _compacted(self, row: Row) -> None:
        assert row.leaf is not None
        seq = row.seq
        if self.compacted and self.compacted[-1][1] == seq - 1:
            self.compacted[-1] = (self.compacted[-1][0], seq)
        else:
            self.compacted.append((seq, seq))
        self.last_leaf = row.leaf
        self.tree.push(row.leaf)
        if row.root is not None:
            self._commit_end(row, row.root, row.signature)

    # -- roots and signatures ---------------------------------------------

    def _commit_end(self, row: Row, root: bytes | None, signature: bytes | None) -> None:
        seq = row.seq
        if root is None or signature is None:
            raise damaged(
                seq=seq,
                kind=DamageKind.CHECKPOINT_MISSING,
                problem="its commit ends without a signature",
            )
        if root != self.tree.root():
            self._root_differs(row, root, signature)
        self.checkpoint = Checkpoint(self.log_id, seq, root, signature)
        self.commit_tree = self.tree.hashes[:]
        if self.every_signature:
            self._check_signature(self.checkpoint)

    def _check_signature(self, checkpoint: Checkpoint) -> None:
        if self._accepts(checkpoint):
            self.checkpoint_proved = checkpoint.size
            return
        raise damaged(
            seq=self._first_unsigned(checkpoint),
            kind=DamageKind.SIGNATURE_INVALID,
            problem="its signature is not the log's",
        )

    def _accepts(self, checkpoint: Checkpoint) -> bool:
        assert self.verifier is not None
        self.signatures_checked += 1
        return self.verifier.accepts(checkpoint.text.encode(), checkpoint.signature)

    def _first_unsigned(self, last: Checkpoint) -> int:
        """The first commit's end after the last proved one whose signature is bad."""
        good, bad = self.checkpoint_proved, last.size
        while bad - good > 1:
            middle = (good + bad) // 2
            with translated(self.path):
                found = self.connection.execute(
                    "SELECT seq, root, signature FROM record "
                    "WHERE seq > ? AND seq <= ? AND root IS NOT NULL ORDER BY seq DESC LIMIT 1",
                    (good, middle),
                ).fetchone()
            if found is None:
                good = middle  # no commit ends in that half
            elif self._accepts(Checkpoint(self.log_id, found[0], found[1], found[2])):
                good = int(found[0])
                if found[0] < middle:
                    good = middle
            else:
                bad = int(found[0])
        return bad

    def _root_differs(self, row: Row, root: bytes, signature: bytes) -> None:
        # The signature tells which of the two was changed.
        record_changed = self._accepts(Checkpoint(self.log_id, row.seq, root, signature))
        if record_changed:
            raise damaged(
                seq=row.seq,
                kind=DamageKind.ALTERED,
                problem="its bytes are not those that were signed",
            )
        raise damaged(
            seq=row.seq,
            kind=DamageKind.ROOT_MISMATCH,
            problem="its stored root is not the tree's",
        )

    def _chain_broken(self, row: Row, claimed: bytes) -> None:
        """`row` names another record before it: which of the two was changed?"""
        before = self.tree.size
        commit_size = 0 if self.checkpoint is None else self.checkpoint.size
        known = self.epoch is not None and self.epoch.keys is not None
        if known or before <= commit_size or not self._explains(before, claimed):
            raise damaged(
                seq=row.seq, kind=DamageKind.CHAIN_BROKEN, problem="it follows another record"
            )
        raise damaged(
            seq=before, kind=DamageKind.ALTERED, problem="its bytes are not those that were hashed"
        )

    def _explains(self, changed: int, claimed: bytes) -> bool:
        """Whether the commit's signed root fits if record `changed` had this leaf."""
        commit_size = 0 if self.checkpoint is None else self.checkpoint.size
        tree = Frontier(commit_size, self.commit_tree)
        at = commit_size + 1
        while True:
            with translated(self.path):
                batch = rows.rows_from(self.connection, at, self.size + 1, ROWS_FETCHED_MAX)
            if not batch:
                return False
            for row in batch:
                tree.push(
                    claimed
                    if row.seq == changed
                    else row.leaf
                    or leaf_hash(
                        row.header or b"", row.clear or b"", row.nonce or b"", row.sealed or b""
                    )
                )
                if row.root is not None:
                    return row.root == tree.root()
            at = batch[-1].seq + 1

    # -- the end ---------------------------------------------------------

    def _finish(self) -> None:
        if self.size:
            if self.checkpoint is None or self.checkpoint.size != self.size:
                raise damaged(
                    seq=self.size, kind=DamageKind.CUT, problem="the last commit is not whole"
                )
            self._check_signature(self.checkpoint)
        self._check_shredded()
        self._check_heads()

    def _check_shredded(self) -> None:
        ordered = {item.epoch for item in self.shredded}
        for epoch, seq in sorted(self.unreadable.items(), key=lambda pair: pair[1]):
            if epoch not in ordered:
                raise damaged(
                    seq=seq,
                    kind=DamageKind.KEY_MISSING,
                    problem=f"the key of epoch {epoch} is gone",
                )
        for first, last in self.compacted:
            if not any(item.first <= first and last <= item.last for item in self.shredded):
                raise damaged(
                    seq=first,
                    kind=DamageKind.UNRECORDED_SHRED,
                    problem="only hashes are left, and no retention record says why",
                )

    def _check_heads(self) -> None:
        for head in self.heads:
            self.heads_checked += 1
            checkpoint = Checkpoint(self.log_id, head.size, head.root, head.signature)
            # The last key signs; an older one may have signed older heads.
            if not self._accepts(checkpoint) and not LogVerifier(self.trusted).accepts(
                checkpoint.text.encode(), head.signature
            ):
                raise damaged(
                    seq=head.size,
                    kind=DamageKind.HEAD_INVALID,
                    problem="the head kept for it is not signed by the log",
                )
            if any(after < head.size <= to for after, to in self.gaps):
                continue
            if head.size > self.size:
                raise damaged(
                    seq=self.size + 1,
                    kind=DamageKind.ROLLBACK,
                    problem=f"ROLLBACK: a kept head says that the journal had {head.size} records",
                )
            if self.head_roots.get(head.size) != head.root:
                raise damaged(
                    seq=head.size,
                    kind=DamageKind.FORK,
                    problem="FORK: a kept head has another root for this size",
                )
            self.largest_head = max(self.largest_head, head.size)

    def _known_before(self, seq: int) -> int:
        """The largest size below `seq` that a good signature proves."""
        if self.verifier is None:
            return 0
        with translated(self.path):
            found = self.connection.execute(
                "SELECT seq, root, signature FROM record WHERE seq < ? AND seq <= ? "
                "AND root IS NOT NULL ORDER BY seq DESC LIMIT 1",
                (seq if seq else self.size + 1, self.tree.size),
            ).fetchone()
        if found is None:
            return 0
        good = self._accepts(Checkpoint(self.log_id, found[0], found[1], found[2]))
        return int(found[0]) if good else self.checkpoint_proved
