"""The pass over all records.

Owns what is known after each record. Never writes; damage is raised inside and
becomes a value in `run`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from noodle_journal.failures import (
    REMEDY_NOTE,
    DamageKind,
    JournalDamaged,
    JournalFormatNewer,
    KeyMissing,
    KeystoreDamaged,
    damaged,
)
from noodle_journal.format.canonical import NotCanonical, parse_padded
from noodle_journal.format.checkpoints import (
    Checkpoint,
    LogVerifier,
    new_key_message,
)
from noodle_journal.format.clear import (
    CIPHER_NONE,
    EpochClear,
    RetentionClear,
    TreeMark,
    check_frame,
    decode_retention,
    decode_state,
)
from noodle_journal.format.merkle import Frontier
from noodle_journal.format.records import (
    CLEAR_KINDS,
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
from noodle_journal.format.sealing import NotAuthentic, Sealing, legible
from noodle_journal.keys.ring import KeyRing, accepted_head
from noodle_journal.soundness import checked_header, epoch_clear
from noodle_journal.storage.database import StoreMalformed
from noodle_journal.storage.keystore import Head
from noodle_journal.verification.locating import explains, first_unsigned
from noodle_journal.verification.report import Damage, Report
from noodle_journal.verification.sources import RawRow, Source


@dataclass(frozen=True, slots=True)
class OpenEpoch:
    """The epoch that a record belongs to. `keys` is None without the key, or without its own."""

    number: int
    first_seq: int
    fence: int
    clear: EpochClear
    keys: Sealing | None


Taker = Callable[[RawRow, bytes, bytes | None], None]
"""Gets each row once it is checked, its leaf, and its body's text where that could be read."""

_KEY_EPOCH = int(Kind.KEY_EPOCH)
_CLEAR_KINDS = frozenset(map(int, CLEAR_KINDS))


@dataclass(slots=True)
class Checker:
    """One pass. Fields are what is known after the last good record.

    `first` is the first record whose contents are opened, `last` the one that must be checked
    (None: to the end). `since` are heads that somebody else kept: no take-over gives them up.
    """

    source: Source
    ring: KeyRing | None
    keystore_log_id: bytes | None
    trusted: bytes
    heads: Sequence[Head]
    every_signature: bool
    since: Sequence[Head] = ()
    taker: Taker | None = None
    recorded_only: bool = True  # what is compacted must be named by a retention record
    first: int = 1
    last: int | None = None
    log_id: bytes = b""
    size: int = 0
    stop: int = 0  # the last record of the pass: where the commit of `last` ends
    fence: int = 0  # of the writer's row
    tree: Frontier = field(default_factory=Frontier)
    last_leaf: bytes = NO_LEAF
    epoch: OpenEpoch | None = None
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
    verifiers: list[LogVerifier] = field(default_factory=list)  # of every key of the log so far
    plain: bool | None = None  # of the open epoch; None where its record is compacted
    plain_epochs: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    shredded: list[RetentionClear] = field(default_factory=list)
    unreadable: dict[int, int] = field(default_factory=dict)  # epoch: first seq
    compacted: list[tuple[int, int]] = field(default_factory=list)  # first and last seq
    head_roots: dict[int, bytes] = field(default_factory=dict)  # our roots at head sizes
    index_looked_at: bool = False
    index_problem: str | None = None

    def run(self, rows_checked: Callable[[Checker], None]) -> Report:
        """The whole pass; `rows_checked` has every record up to `stop` checked."""
        damage: Damage | None = None
        try:
            self._start()
            rows_checked(self)
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
            known_up_to=self.stop if damage is None else self._known_before(damage.seq),
            first_bad=damage,
            checkpoint=self.checkpoint,
            plain_epochs=self.plain_epochs,
            shredded=tuple(
                sorted(
                    {item.epoch: item for item in self.shredded}.values(),
                    key=lambda item: item.first,
                )
            ),
            first=self.first,
            last=self.stop,
        )

    def _start(self) -> None:
        found, self.size, self.fence = self.source.begin()
        self.log_id = found or b""
        if found is None:
            raise damaged(seq=0, kind=DamageKind.MALFORMED, problem="the log's id is gone")
        if self.keystore_log_id is not None and found != self.keystore_log_id:
            raise damaged(
                seq=0,
                kind=DamageKind.FOREIGN,
                problem="journal.db and keystore.db name different logs",
            )
        if self.ring is not None and self.ring.first_public_key != self.trusted:
            raise damaged(
                seq=0,
                kind=DamageKind.PUBLIC_KEY_CHANGED,
                problem="the public key given is not that of the keystore",
            )
        self.verifier = LogVerifier(self.trusted)
        self.verifiers = [self.verifier]
        self.stop = self.size
        if self.last is not None and self.last < self.size:
            self.stop = self.source.commit_end_from(self.last) or self.size

    # -- the pass --------------------------------------------------------

    def rows_up_to(self, last: int, progress: Callable[[int], None] | None = None) -> None:
        """Check the records after the last one checked, up to and with `last`.

        `progress` gets the number of the last one, some hundred records apart.

        Raises: JournalDamaged, and as reading.
        """
        wanted = {head.size for head in (*self.heads, *self.since)}
        at, end = self.tree.size + 1, last + 1
        while at < end:
            batch = self.source.batch(at, end)
            if not batch:
                raise damaged(seq=at, kind=DamageKind.MISSING, problem="it is gone")
            try:
                self._rows(batch, wanted)
            except (TypeError, struct.error) as exc:
                # STRICT holds for what SQLite writes, not for bytes changed in the file.
                raise damaged(
                    seq=self.tree.size + 1,
                    kind=DamageKind.STORE_DAMAGED,
                    problem="a value is not of its column's type",
                ) from exc
            at = self.tree.size + 1
            if progress is not None:
                progress(at - 1)

    def _rows(  # noqa: C901, PLR0912, PLR0915 - calls would cost as much as the work
        self, batch: Sequence[RawRow], wanted: set[int]
    ) -> None:
        # The hot loop: one million times. Everything it calls per record is needed.
        unpack, tree, log_id, sha256 = HEADER.unpack, self.tree, self.log_id, hashlib.sha256
        hashes, last_leaf, taker = tree.hashes, self.last_leaf, self.taker
        for row in batch:
            seq, header, clear, nonce, sealed, leaf, root, signature = row
            if seq != tree.size + 1:
                raise damaged(seq=tree.size + 1, kind=DamageKind.MISSING, problem="it is gone")
            if leaf is not None:
                self._compacted(Row._make(row))
                last_leaf = self.last_leaf
                if seq in wanted:
                    self.head_roots[seq] = tree.root()
                if taker is not None:
                    taker(row, last_leaf, None)
                continue
            if header is None or nonce is None or sealed is None or len(header) != HEADER_BYTES:
                checked_header(Row._make(row), log_id=log_id)
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
                or (clear is None and kind in _CLEAR_KINDS)
            ):
                self._bad_header(Row._make(row))
            if kind == _KEY_EPOCH:
                self._epoch_starts(Row._make(row))
            current = self.epoch
            if current is None or epoch != current.number or fence != current.fence:
                if previous != last_leaf:  # the record before may be what changed
                    self._chain_broken(seq, previous)
                raise damaged(seq=seq, kind=DamageKind.ORDER, problem="it is not of the open epoch")
            associated = header if clear is None else header + clear
            text = None
            if seq >= self.first:
                if current.keys is not None:
                    text = self._open(seq, associated, nonce, sealed, tag, current.keys)
                elif self.plain:
                    text = self._read(seq, sealed)
            if previous != last_leaf:
                self._chain_broken(seq, previous)
            if clear is not None:
                self._clear_part(seq, kind, clear)
            # Frontier.push, in place.
            last_leaf = node = sha256(b"\0" + associated + nonce + sealed).digest()
            before = seq - 1
            while before & 1:
                node = sha256(b"\1" + hashes.pop() + node).digest()
                before >>= 1
            hashes.append(node)
            tree.size = seq
            self.last_leaf = last_leaf
            if flags & FLAG_COMMIT_END:
                self._commit_end(seq, root, signature)
            elif root is not None:
                raise damaged(
                    seq=seq,
                    kind=DamageKind.CHECKPOINT_MISPLACED,
                    problem="a signature where no commit ends",
                )
            if seq in wanted:
                self.head_roots[seq] = tree.root()
            if taker is not None:
                taker(row, last_leaf, text)

    def _bad_header(self, row: Row) -> None:
        try:
            checked_header(row, log_id=self.log_id)
        except JournalFormatNewer as exc:
            # Within one file a newer record follows no older one by accident.
            raise damaged(seq=row.seq, kind=DamageKind.MALFORMED, problem=exc.problem) from exc

    def _open(  # noqa: PLR0917 - keywords would cost as much as what it does
        self, seq: int, associated: bytes, nonce: bytes, sealed: bytes, tag: bytes, keys: Sealing
    ) -> bytes:
        try:
            padded = keys.open(associated=associated, nonce=nonce, sealed=sealed)
            text, body = parse_padded(padded)
        except NotAuthentic as exc:
            raise damaged(seq=seq, kind=DamageKind.FORGED, problem=str(exc)) from exc
        except NotCanonical as exc:
            raise damaged(seq=seq, kind=DamageKind.NOT_CANONICAL, problem=str(exc)) from exc
        run = body.get("upgrade")
        ring = self.ring
        assert ring is not None  # keys come from it
        if tag != ring.tagger.tag(run if isinstance(run, str) else None):
            raise damaged(
                seq=seq, kind=DamageKind.TAG_MISMATCH, problem="its tag is not its upgrade's"
            )
        self.opened += 1
        return text

    def _read(self, seq: int, sealed: bytes) -> bytes:
        """A record of a plain epoch, without the key."""
        try:
            text, _ = parse_padded(legible(sealed))
        except NotCanonical as exc:
            raise damaged(seq=seq, kind=DamageKind.NOT_CANONICAL, problem=str(exc)) from exc
        self.opened += 1
        return text

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
        self.plain = clear.cipher == CIPHER_NONE
        self.plain_epochs += self.plain
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
        self.epoch = OpenEpoch(header.epoch, seq, header.fence, clear, keys)
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
        self.verifiers.append(self.verifier)

    def _clear_part(self, seq: int, kind: int, clear: bytes) -> None:
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
            self._commit_end(seq, row.root, row.signature)

    # -- roots and signatures ---------------------------------------------

    def _commit_end(self, seq: int, root: bytes | None, signature: bytes | None) -> None:
        if root is None or signature is None:
            raise damaged(
                seq=seq,
                kind=DamageKind.CHECKPOINT_MISSING,
                problem="its commit ends without a signature",
            )
        if root != self.tree.root():
            self._root_differs(seq, root, signature)
        self.checkpoint = Checkpoint(self.log_id, seq, root, signature, bool(self.plain))
        self.commit_tree = self.tree.hashes[:]
        if self.every_signature:
            self._check_signature(self.checkpoint)

    def _check_signature(self, checkpoint: Checkpoint) -> None:
        if self._accepts(checkpoint):
            self.checkpoint_proved = checkpoint.size
            return
        raise damaged(
            seq=first_unsigned(
                self.source,
                after=self.checkpoint_proved,
                bad=checkpoint.size,
                accepts=self._accepts_at,
            ),
            kind=DamageKind.SIGNATURE_INVALID,
            problem="its signature is not the log's",
        )

    def _accepts(self, checkpoint: Checkpoint) -> bool:
        assert self.verifier is not None
        if self.plain is None:  # the epoch's record is compacted: it would have said so
            return self._accepts_at(checkpoint.size, checkpoint.root, checkpoint.signature)
        self.signatures_checked += 1
        return self.verifier.accepts(checkpoint.text.encode(), checkpoint.signature)

    def _accepts_at(self, size: int, root: bytes, signature: bytes) -> bool:
        self.signatures_checked += 1
        head = Head(size, root, signature)
        return accepted_head(head, log_id=self.log_id, verifiers=self.verifiers)

    def _root_differs(self, seq: int, root: bytes, signature: bytes) -> None:
        # The signature tells which of the two was changed.
        record_changed = self._accepts(
            Checkpoint(self.log_id, seq, root, signature, bool(self.plain))
        )
        if record_changed:
            raise damaged(
                seq=seq,
                kind=DamageKind.ALTERED,
                problem="its bytes are not those that were signed",
            )
        raise damaged(
            seq=seq,
            kind=DamageKind.ROOT_MISMATCH,
            problem="its stored root is not the tree's",
        )

    def _chain_broken(self, seq: int, claimed: bytes) -> None:
        """Find which of the two was changed where record `seq` names another one before it."""
        before = self.tree.size
        commit_size = 0 if self.checkpoint is None else self.checkpoint.size
        known = self.epoch is not None and self.epoch.keys is not None and before >= self.first
        if (
            known
            or before <= commit_size
            or not explains(
                self.source,
                changed=before,
                claimed=claimed,
                size=commit_size,
                frontier=self.commit_tree,
                end=self.size + 1,
            )
        ):
            raise damaged(
                seq=seq, kind=DamageKind.CHAIN_BROKEN, problem="it follows another record"
            )
        raise damaged(
            seq=before, kind=DamageKind.ALTERED, problem="its bytes are not those that were hashed"
        )

    # -- the end ---------------------------------------------------------

    def _finish(self) -> None:
        if self.stop:
            if self.checkpoint is None or self.checkpoint.size != self.stop:
                raise damaged(
                    seq=self.stop, kind=DamageKind.CUT, problem="the last commit is not whole"
                )
            self._check_signature(self.checkpoint)
        if self.epoch is not None and self.fence < self.epoch.fence:
            raise damaged(seq=0, kind=DamageKind.ORDER, problem="the writer's fence went back")
        self._check_heads()
        self._check_since()
        self._check_shredded()
        if self.stop == self.size:
            self.look_at_index()
            if self.index_problem is not None:
                raise damaged(seq=0, kind=DamageKind.STORE_DAMAGED, problem=self.index_problem)

    def look_at_index(self) -> None:
        """Let the store look at itself, once: `index_problem` is what it says."""
        if self.index_looked_at:
            return
        self.index_looked_at = True
        self.index_problem = self.source.problem()

    def _check_shredded(self) -> None:
        if (self.unreadable or self.compacted) and self.stop < self.size:
            self._later_retention()
        ordered = {item.epoch for item in self.shredded}
        for epoch, seq in sorted(self.unreadable.items(), key=lambda pair: pair[1]):
            if epoch not in ordered:
                raise damaged(
                    seq=seq,
                    kind=DamageKind.KEY_MISSING,
                    problem=f"the key of epoch {epoch} is gone",
                )
        for first, last in self.compacted if self.recorded_only else ():
            if not any(item.first <= first and last <= item.last for item in self.shredded):
                raise damaged(
                    seq=first,
                    kind=DamageKind.UNRECORDED_SHRED,
                    problem="only hashes are left, and no retention record says why",
                )

    def _later_retention(self) -> None:
        """What is shredded is recorded later, maybe after the range."""
        for row in self.source.retention_after(self.stop):
            try:
                self.shredded.append(decode_retention(row.clear or b""))
            except NotCanonical:
                continue  # it is not of the range, and names nothing

    def _check_since(self) -> None:
        """Whether the journal still holds what a checkpoint kept elsewhere says."""
        for head in self.since:
            self.signatures_checked += 1
            if not accepted_head(head, log_id=self.log_id, verifiers=self.verifiers):
                raise damaged(
                    seq=head.size,
                    kind=DamageKind.HEAD_INVALID,
                    problem="the checkpoint given for it is not signed by the log",
                    remedy=REMEDY_NOTE,
                )
            if head.size > self.size:
                raise damaged(
                    seq=self.size + 1,
                    kind=DamageKind.ROLLBACK,
                    problem="ROLLBACK: the checkpoint given says that the journal had "
                    f"{head.size} records",
                )
            if self.head_roots.get(head.size) != head.root:
                raise damaged(
                    seq=head.size,
                    kind=DamageKind.FORK,
                    problem="FORK: the checkpoint given has another root for this size",
                )
            self.largest_head = max(self.largest_head, head.size)

    def _check_heads(self) -> None:
        for head in self.heads:
            if self.stop < self.size and head.size > self.stop:
                continue  # a range says nothing of what comes after it
            self.heads_checked += 1
            self.signatures_checked += 1
            given_up = any(after < head.size <= to for after, to in self.gaps)
            signed = accepted_head(head, log_id=self.log_id, verifiers=self.verifiers)
            if self.ring is not None:
                signed = signed or self.ring.accepts(head)
            # Without the keystore's keys: it may be of one handed over to in what was given up.
            if not signed and not (given_up and self.ring is None):
                raise damaged(
                    seq=head.size,
                    kind=DamageKind.HEAD_INVALID,
                    problem="the head kept for it is not signed by the log",
                )
            if given_up:
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
        up_to = min(self.tree.size, (seq or self.size + 1) - 1)
        try:
            found = self.source.last_checkpoint(above=0, up_to=up_to)
        except StoreMalformed:
            return self.checkpoint_proved
        if found is None:
            return 0
        return found[0] if self._accepts_at(*found) else self.checkpoint_proved
