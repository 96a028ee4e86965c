"""The writer: one owner at a time, group commit, nothing acknowledged before it is durable.

Owns appending: the queue, the commit, epochs and `state` records. The caller
holds the home's lock file; the fence catches a caller that lost it. Never
interprets a record's body and never decides what to shred.

Laws
J1. When append returns, its records are durable, in the order on_commit saw.
J2. After JournalFull, BadRecord, JournalElsewhere or LeaseLost nothing was written.
J3. After an error from a commit the writer is poisoned: it writes nothing more
    until `reopen`, which says what survived.
J4. Each commit's last record carries the tree's root and a signature over it.
J5. An epoch's key is durable in the keystore before its record is in the
    journal; each epoch starts with `key.epoch`, then `state`.
J6. Records that go back find space on a full disk: the reserve is freed for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from noodle_journal.creation import Created, create
from noodle_journal.failures import (
    BadRecord,
    DamageKind,
    InvariantBroken,
    JournalBusy,
    JournalClosed,
    JournalElsewhere,
    JournalError,
    JournalFull,
    JournalIoError,
    KeystoreDamaged,
    LeaseLost,
    damaged,
)
from noodle_journal.format.canonical import JsonValue, encode, pad
from noodle_journal.format.checkpoints import Checkpoint, LogSigner
from noodle_journal.format.clear import (
    EpochClear,
    GivenUp,
    StateClear,
    TreeMark,
    encode_epoch,
    encode_state,
)
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.records import (
    CLEAR_KINDS,
    FLAG_CLEAR,
    FLAG_COMMIT_END,
    FORMAT_VERSION,
    HEADER,
    MAGIC,
    NO_TAG,
    Kind,
    NewRecord,
    Record,
)
from noodle_journal.format.sealing import HEDGE_BYTES, EpochKeys
from noodle_journal.keys import KEY_ID_BYTES, KeyPurpose, NotUnwrapped
from noodle_journal.opening import KeyRing, Loaded, Log, Tail, open_store
from noodle_journal.reader import Reader
from noodle_journal.storage import rows
from noodle_journal.storage.database import (
    Connection,
    StoreMalformed,
    failure,
    rolled_back,
    sqlite3,
    translated,
)
from noodle_journal.storage.identity import Identity
from noodle_journal.storage.keystore import Head, Keystore
from noodle_journal.storage.reserve import free_reserve, make_reserve

STATE_RECORDS_MAX = 2048  # records between two `state` records
EPOCH_RECORDS_MAX = 2**28
EPOCH_SECONDS_MAX = 86_400
GROUP_RECORDS_MAX = 1024  # records gathered into one commit
IDLE_COMMITS_MIN = 64  # commits that make an idle checkpoint worth its cost

Entropy = Callable[[int], bytes]


@dataclass(slots=True, eq=False)
class _Waiting:
    """One append call: its records, ready to seal, and what became of it."""

    items: Sequence[_Ready]
    going_back: bool
    head: bool
    committed: list[Record] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class _Ready:
    kind: int
    tag: bytes
    padded: bytes
    body: Mapping[str, JsonValue]
    clear: bytes | None = None


@dataclass(slots=True)
class _Draft:
    """One commit in the making; becomes the journal's end when it is durable."""

    tree: Frontier
    last_leaf: bytes
    epoch: int
    keys: EpochKeys
    at_ns: int
    state_seq: int
    records: list[Record] = field(default_factory=list)
    checkpoint: Checkpoint | None = None


class Journal:
    """An open journal. Make one with `create`, open it with `open` or `read_only`.

    Safe to use from several threads. Not safe to carry over a fork.
    """

    create = staticmethod(create)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        master_key: bytes,
        wall_ns: Callable[[], int],
        entropy: Entropy,
        identity: Identity,
        state: Callable[[], Mapping[str, JsonValue]],
        on_commit: Callable[[Sequence[Record]], None],
        adopt: bool = False,
        epoch_seconds_max: int = EPOCH_SECONDS_MAX,
    ) -> Journal:
        """Open for writing; the caller holds the home's lock.

        Reads the last `state` record and what follows, compares with the kept
        heads, and raises the fence. Opens no epoch: the first append does.
        `state` gives the fold of everything committed so far; `on_commit` sees
        every committed record in order. Both are called by the thread that
        commits and must not append. A journal found in another place can be
        read; to write it takes `adopt`, which binds it to `identity` at once
        and records any heads it gives up.

        Raises: JournalAbsent, JournalEmpty, JournalDamaged, JournalRollback,
        JournalFork, JournalFormatNewer, JournalFormatOlder, KeystoreAbsent,
        KeystoreDamaged, WrongKey, KeyMissing, JournalBusy, JournalUnreadable.
        """
        connection = open_store(folder, read_only=False)
        try:
            keystore = Keystore(folder)
            try:
                ring = KeyRing(keystore=keystore, master_key=master_key)
                journal = cls(
                    folder=folder,
                    connection=connection,
                    ring=ring,
                    wall_ns=wall_ns,
                    entropy=entropy,
                    identity=identity,
                    state=state,
                    on_commit=on_commit,
                    epoch_seconds_max=epoch_seconds_max,
                )
                journal._start(adopt=adopt)
            except BaseException:
                keystore.close()
                raise
        except BaseException:
            connection.close()
            raise
        return journal

    @staticmethod
    def read_only(folder: Path, *, master_key: bytes) -> Reader:
        """Open beside a live writer; never writes. Raises: as `open`."""
        return Reader(folder, master_key=master_key)

    def __init__(
        self,
        *,
        folder: Path,
        connection: Connection,
        ring: KeyRing,
        wall_ns: Callable[[], int],
        entropy: Entropy,
        identity: Identity,
        state: Callable[[], Mapping[str, JsonValue]],
        on_commit: Callable[[Sequence[Record]], None],
        epoch_seconds_max: int,
    ) -> None:
        """Use `open`."""
        self._folder = folder
        self._writer = connection
        self._ring = ring
        self._signer = LogSigner(ring.log_seed())
        self._wall_ns = wall_ns
        self._entropy = entropy
        self._identity = identity
        self._state = state
        self._on_commit = on_commit
        self._epoch_ns_max = epoch_seconds_max * 1_000_000_000
        self._log = Log(folder=folder, connection=open_store(folder, read_only=True), ring=ring)
        self._turn = threading.Condition(threading.Lock())
        self._queue: list[_Waiting] = []
        self._owner: int | None = None  # thread that commits now
        self._closed = False
        self._poison: JournalError | None = None
        self._elsewhere: JournalElsewhere | None = None
        self._gave_up: GivenUp | None = None
        self._adopting = False
        self._keys: EpochKeys | None = None  # None: no epoch of this session yet
        self._epoch_start_ns = 0
        self._epoch_first_seq = 0
        self._fence = 0
        self._tail_rows: Tail | None = None
        self._tree = Frontier()
        self._last_leaf = b""
        self._epoch = 0
        self._state_seq = 0
        self._checkpoint: Checkpoint | None = None
        self._head_size = 0
        self._head_owed = False
        self._commits_since_idle = 0

    # -- what is known ---------------------------------------------------

    @property
    def log_id(self) -> str:
        """The log's id, 32 hexadecimal digits."""
        return self._log.log_id.hex()

    @property
    def public_key(self) -> bytes:
        """The log's Ed25519 public key."""
        return self._signer.public_key

    @property
    def size(self) -> int:
        """The last committed sequence number."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The root of the tree of all committed records."""
        return self._tree.root()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The last signed head; None for a journal without records."""
        return self._checkpoint

    @property
    def fence(self) -> int:
        """This writer's fence number; 0 where the journal may not be written here."""
        return self._fence

    @property
    def elsewhere(self) -> JournalElsewhere | None:
        """Why this journal may not be written here, or None."""
        return self._elsewhere

    @property
    def poisoned(self) -> JournalError | None:
        """The error that stopped the writer, or None."""
        return self._poison

    @property
    def head_owed(self) -> bool:
        """Whether a head could not be kept yet; the next commit tries again."""
        return self._head_owed

    # -- reading ---------------------------------------------------------

    def load(self) -> Loaded:
        """The last state and the records after it, for the fold at open.

        Call before the first append; afterwards it reads the file again.
        """
        tail, self._tail_rows = self._tail_rows, None
        return self._log.load(self._log.tail() if tail is None else tail)

    def read(self, start: int = 1, stop: int | None = None) -> Iterator[Record]:
        """Records with start <= seq < stop, in order."""
        return self._log.read(start, stop)

    def read_run(self, run: str) -> Iterator[Record]:
        """The records of one upgrade, in order."""
        return self._log.read_run(run)

    def read_back(self, limit: int) -> Iterator[Record]:
        """The last `limit` records, newest first."""
        return self._log.read_back(limit)

    # -- appending -------------------------------------------------------

    def append(
        self, records: Sequence[NewRecord], *, going_back: bool = False, head: bool = False
    ) -> Sequence[Record]:
        """Seal `records`, make them durable together, and return them numbered.

        They are one commit, or part of one with what other threads append.
        `head` keeps the signed head in the keystore as well. `going_back` may
        use the reserve on a full disk. Cost: one fsync, and one more for a head.

        After BadRecord, JournalFull, JournalElsewhere, LeaseLost and
        JournalBusy nothing was written. After JournalIoError the outcome is
        unknown and the writer is poisoned: `reopen` tells.
        """
        if not records:
            return ()
        entry = _Waiting(
            items=[self._ready(record) for record in records], going_back=going_back, head=head
        )
        me = threading.get_ident()
        with self._turn:
            if self._owner == me:
                raise JournalClosed(what="busy: append was called from its own callback")
            self._queue.append(entry)
            while not entry.done and self._owner is not None:
                self._turn.wait()
            if not entry.done:
                self._owner = me
        if not entry.done:
            self._lead()
        if entry.error is not None:
            raise entry.error
        return entry.committed

    def checkpoint_idle(self) -> bool:
        """Move the write-ahead log into the file if nobody waits; whether it did.

        Call it after a reply: it costs about 1 ms that no append then pays.
        """
        if self._commits_since_idle < IDLE_COMMITS_MIN:
            return False
        with self._turn:
            if self._owner is not None or self._queue or self._closed or self._poison:
                return False
            self._owner = threading.get_ident()
        try:
            self._commits_since_idle = 0
            with translated(self._log.path):
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return True
        except (JournalError, StoreMalformed):
            return False  # the next commit meets the same trouble and reports it
        finally:
            self._give_turn()

    def restore_reserve(self) -> bool:
        """Set the reserve aside again where it was used; whether it is whole now."""
        try:
            make_reserve(self._folder)
        except JournalError:
            return False
        return True

    def close(self) -> None:
        """Wait for the commit that runs, then give the files back. Idempotent."""
        with self._turn:
            while self._owner is not None:
                self._turn.wait()
            if self._closed:
                return
            self._closed = True
        self._log.close()
        with translated(self._log.path):
            self._writer.close()
        self._ring.keystore.close()

    def reopen(self) -> Sequence[Record]:
        """After JournalIoError: look what survived, and write again.

        Returns the records of the failed commit that are on disk after all, in
        order and durable now; they were not passed to on_commit. Empty: nothing
        of it survived.

        Raises: JournalIoError while the disk still fails (still poisoned),
        LeaseLost, and as `open`.
        """
        with self._turn:
            while self._owner is not None:
                self._turn.wait()
            if self._closed:
                raise JournalClosed(what="closed")
            self._owner = threading.get_ident()
        try:
            return self._reopen()
        finally:
            self._give_turn()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- opening ---------------------------------------------------------

    def _start(self, *, adopt: bool) -> None:
        try:
            tail = self._log.tail()
            lost = self._log.check_heads(tail, accept_loss=adopt)
            self._take(tail)
            self._tail_rows = tail
            self._check_place(tail, adopt=adopt)
            if self._elsewhere is not None:
                return
            if lost is not None:
                self._gave_up = GivenUp(size=lost.size, root=lost.root)
            elif not adopt:
                self._delete_unnamed_keys(tail)
            self._raise_fence(tail)
            self._keep_session_head()
            if self._adopting or lost is not None:
                self._adopting = True
                self._write_adoption()
        except BaseException:
            self._log.close()
            raise

    def _take(self, tail: Tail) -> None:
        self._tree = tail.tree.copy()
        self._last_leaf = tail.last_leaf
        self._epoch = tail.epoch
        self._state_seq = tail.rows[0].seq if tail.rows else 0
        self._checkpoint = tail.checkpoint

    def _check_place(self, tail: Tail, *, adopt: bool) -> None:
        if tail.size == 0:
            return
        bound = Identity.from_json(self._log.identity_body(tail).get("identity"))
        if bound is not None and bound.is_same_place(self._identity):
            return
        if adopt:
            self._adopting = True
        else:
            self._elsewhere = JournalElsewhere(
                bound_to="an unknown place" if bound is None else str(bound),
                found=str(self._identity),
            )

    def _raise_fence(self, tail: Tail) -> None:
        path = self._log.path
        try:
            with translated(path):
                self._writer.execute("BEGIN IMMEDIATE")
                # Not below what records say, should the row have been changed.
                fence = max(rows.fence(self._writer), tail.fence) + 1
                if rows.size(self._writer) != tail.size:
                    raise LeaseLost(fence=fence, found=rows.fence(self._writer))
                self._writer.execute("UPDATE writer SET fence = ? WHERE id = 1", (fence,))
                self._writer.execute("COMMIT")
        except StoreMalformed as exc:
            raise damaged(seq=tail.size, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc
        finally:
            rolled_back(self._writer)
        self._fence = fence

    def _delete_unnamed_keys(self, tail: Tail) -> None:
        # An epoch's key is stored before its record, so a crash in between leaves a key
        # that nothing was sealed under. Only keys of the last epoch number or later can
        # be such; a journal behind its heads never gets here, so none is needed.
        keystore = self._ring.keystore
        named = None
        candidates = keystore.data_keys_from(max(tail.epoch, 1))
        if not candidates:
            return
        if tail.epoch:
            _, clear = self._log._find_epoch(tail.epoch, tail.size)
            named = clear.key_id
        for wrapped in candidates:
            if wrapped.key_id == named:
                continue
            try:
                # Its epoch number is trusted only where it is authentic.
                self._ring.master.unwrap(wrapped, log_id=self._log.log_id)
            except NotUnwrapped as exc:
                raise KeystoreDamaged(path=str(keystore.path), problem=str(exc)) from exc
            keystore.delete_key(wrapped.key_id)

    def _keep_session_head(self) -> None:
        last = self._ring.keystore.last_head()
        self._head_size = 0 if last is None else last.size
        if self._checkpoint is not None and self._checkpoint.size > self._head_size:
            self._keep_head(self._checkpoint)

    def _write_adoption(self) -> None:
        with self._turn:
            self._owner = threading.get_ident()
        entry = _Waiting(items=[], going_back=False, head=True)
        try:
            self._commit([entry])
        finally:
            self._give_turn()
        if entry.error is not None:
            raise entry.error

    # -- committing ------------------------------------------------------

    def _ready(self, record: NewRecord) -> _Ready:
        kind = int(record.kind)
        if kind in CLEAR_KINDS:
            raise BadRecord(reason=f"{Kind(kind).label} is written by the journal alone")
        body = record.body
        if body.get("upgrade", record.run) != record.run:
            raise BadRecord(reason="its body names another upgrade than its run")
        if record.run is not None and "upgrade" not in body:
            body = {**body, "upgrade": record.run}
        text, parsed = encode(body)
        return _Ready(kind, self._ring.tagger.tag(record.run), pad(text), parsed)

    def _give_turn(self) -> None:
        with self._turn:
            self._owner = None
            self._turn.notify_all()

    def _take_queue(self) -> list[_Waiting]:
        with self._turn:
            taken, self._queue = self._queue, []
        return taken

    def _lead(self) -> None:
        """Commit everybody's queue; this thread has the turn."""
        entries = self._take_queue()
        try:
            self._commit(entries)
        except BaseException as exc:
            # Not from the disk: an interrupt, or a callback that failed.
            for entry in entries:
                if not entry.done and entry.error is None:
                    entry.error = self._poisoned_by(f"interrupted: {exc!r}")
            raise
        finally:
            for entry in entries:
                entry.done = True
            self._give_turn()

    def _commit(self, entries: list[_Waiting]) -> None:
        """One transaction of these entries and of those that queue meanwhile."""
        try:
            self._check_may_write()
            self._write_and_commit(entries)
        except JournalFull as full:
            back = [entry for entry in entries if entry.going_back]
            for entry in entries:
                if not entry.going_back:
                    entry.error = full
            if back:
                self._commit_from_reserve(back, full)
        except JournalError as error:
            for entry in entries:
                entry.error = error

    def _commit_from_reserve(self, back: list[_Waiting], full: JournalFull) -> None:
        error: JournalError = full
        if free_reserve(self._folder):
            try:
                self._write_and_commit(back, gather=False)
                return
            except JournalError as again:
                error = again
        for entry in back:
            entry.error = error

    def _check_may_write(self) -> None:
        if self._closed:
            raise JournalClosed(what="closed")
        if self._poison is not None:
            raise self._poison
        if self._elsewhere is not None:
            raise self._elsewhere

    def _write_and_commit(self, entries: list[_Waiting], *, gather: bool = True) -> None:
        for entry in entries:
            entry.committed.clear()  # a try before this one may have failed
        now = self._wall_ns()
        opening = self._epoch_is_due(now)
        prepared = self._prepare_epoch(now) if opening else None
        draft = _Draft(
            tree=self._tree.copy(),
            last_leaf=self._last_leaf,
            epoch=self._epoch if prepared is None else prepared[0],
            keys=self._session_keys() if prepared is None else prepared[1],
            at_ns=now,
            state_seq=self._state_seq,
        )
        leading = self._leading_items(draft, prepared)
        writer = self._writer
        committing = False
        try:
            writer.execute("BEGIN IMMEDIATE")
            self._check_lease()
            self._write_all(draft, leading, entries, gather=gather)
            committing = True
            writer.execute("COMMIT")
        except sqlite3.Error as exc:
            rolled_back(writer)
            raise self._commit_failure(exc, committing=committing) from exc
        except BaseException:
            rolled_back(writer)
            if committing:
                self._poisoned_by("interrupted")
            raise
        self._committed(draft, entries, opening=opening)

    def _session_keys(self) -> EpochKeys:
        if self._keys is None:
            raise InvariantBroken(what="an epoch is open when it is not due")
        return self._keys

    def _epoch_is_due(self, now: int) -> bool:
        return (
            self._keys is None
            or now - self._epoch_start_ns >= self._epoch_ns_max
            or self._tree.size - self._epoch_first_seq >= EPOCH_RECORDS_MAX - GROUP_RECORDS_MAX
        )

    def _prepare_epoch(self, now: int) -> tuple[int, EpochKeys, bytes, bytes]:
        """A new data key, durable in the keystore: epoch, keys, key id, commitment."""
        keystore = self._ring.keystore
        stored = [key.epoch for key in keystore.data_keys_from(self._epoch + 1)]
        # Numbers of lost epochs are not used again: their keys may still be needed.
        epoch = max([self._epoch, *stored]) + 1
        data_key = self._entropy(32)
        key_id = self._entropy(KEY_ID_BYTES)
        wrapped = self._ring.master.wrap(
            data_key,
            log_id=self._log.log_id,
            purpose=KeyPurpose.DATA,
            key_id=key_id,
            epoch=epoch,
            entropy=self._entropy,
        )
        keystore.add_key(wrapped)
        keys = EpochKeys(data_key=data_key, log_id=self._log.log_id)
        return epoch, keys, key_id, keys.commitment

    def _leading_items(
        self, draft: _Draft, prepared: tuple[int, EpochKeys, bytes, bytes] | None
    ) -> list[_Ready]:
        """What the journal itself writes first: `key.epoch` and `state`, or nothing."""
        items: list[_Ready] = []
        tree = draft.tree
        if prepared is not None:
            mark = TreeMark.of(tree)
            clear = EpochClear(
                key_id=prepared[2],
                kek_id=self._ring.master.kek_id,
                commitment=prepared[3],
                public_key=self._signer.public_key,
                tree=mark,
                gave_up=self._gave_up,
            )
            body: dict[str, JsonValue] = {
                "adopted": self._adopting,
                "identity": self._identity.to_json(),
            }
            items.append(self._own(Kind.KEY_EPOCH, body, encode_epoch(clear)))
        if prepared is not None or tree.size - draft.state_seq >= STATE_RECORDS_MAX:
            # Its mark is filled in when it is sealed: key.epoch may come before it.
            items.append(self._own(Kind.STATE, self._state(), None))
        return items

    def _own(self, kind: Kind, body: Mapping[str, JsonValue], clear: bytes | None) -> _Ready:
        text, parsed = encode(body)
        if "upgrade" in parsed:
            raise BadRecord(reason=f"a {kind.label} record belongs to no upgrade")
        return _Ready(int(kind), NO_TAG, pad(text), parsed, clear)

    def _check_lease(self) -> None:
        found = self._writer.execute(rows.FENCE).fetchone()
        if found is None or found[0] != self._fence:
            raise LeaseLost(fence=self._fence, found=0 if found is None else found[0])

    def _write_all(
        self,
        draft: _Draft,
        leading: list[_Ready],
        entries: list[_Waiting],
        *,
        gather: bool,
    ) -> None:
        last_own = len(leading) - 1
        has_more = any(entry.items for entry in entries)
        for at, item in enumerate(leading):
            self._write(draft, item, is_last=at == last_own and not has_more)
        position = 0
        while position < len(entries):
            entry = entries[position]
            position += 1
            last = len(entry.items) - 1
            for at, item in enumerate(entry.items):
                is_last = at == last and position == len(entries)
                if is_last and gather and len(draft.records) < GROUP_RECORDS_MAX:
                    # Whoever queued while this was sealed still gets into the commit.
                    more = self._take_queue()
                    entries.extend(more)
                    is_last = not more
                self._write(draft, item, is_last=is_last)
                entry.committed.append(draft.records[-1])

    def _write(self, draft: _Draft, item: _Ready, *, is_last: bool) -> None:
        tree = draft.tree
        seq = tree.size + 1
        clear = item.clear
        if item.kind == Kind.STATE:
            clear = encode_state(StateClear(tree=TreeMark.of(tree)))
            draft.state_seq = seq
        flags = (FLAG_COMMIT_END if is_last else 0) | (0 if clear is None else FLAG_CLEAR)
        header = HEADER.pack(
            MAGIC,
            FORMAT_VERSION,
            flags,
            item.kind,
            self._log.log_id,
            seq,
            draft.epoch,
            self._fence,
            draft.at_ns,
            item.tag,
            draft.last_leaf,
        )
        nonce, sealed = draft.keys.seal(
            associated=header if clear is None else header + clear,
            padded=item.padded,
            random16=self._entropy(HEDGE_BYTES),
        )
        draft.last_leaf = leaf_hash(header, clear or b"", nonce, sealed)
        tree.push(draft.last_leaf)
        root = signature = None
        if is_last:
            root = tree.root()
            unsigned = Checkpoint(self._log.log_id, seq, root, b"")
            signature = self._signer.sign(unsigned.text.encode())
            draft.checkpoint = Checkpoint(self._log.log_id, seq, root, signature)
        self._writer.execute(rows.INSERT, (seq, header, clear, nonce, sealed, root, signature))
        kind = Kind(item.kind)
        draft.records.append(
            Record(seq, kind, draft.epoch, self._fence, draft.at_ns, item.tag, item.body)
        )

    def _committed(self, draft: _Draft, entries: list[_Waiting], *, opening: bool) -> None:
        first_of_epoch = self._tree.size + 1
        self._tree = draft.tree
        self._last_leaf = draft.last_leaf
        self._state_seq = draft.state_seq
        self._checkpoint = draft.checkpoint
        self._tail_rows = None
        self._commits_since_idle += 1
        if opening:
            self._epoch = draft.epoch
            self._keys = draft.keys
            self._ring.keep(draft.epoch, draft.keys)
            self._epoch_start_ns = draft.at_ns
            self._epoch_first_seq = first_of_epoch
            self._adopting = False
            self._gave_up = None
        for entry in entries:
            entry.done = True
        wanted = opening or self._head_owed or any(entry.head for entry in entries)
        if wanted and draft.checkpoint is not None:
            self._keep_head(draft.checkpoint)
        try:
            self._on_commit(draft.records)
        except BaseException as exc:
            # The records are durable; what the caller holds in memory is not theirs.
            self._poisoned_by(f"on_commit failed: {exc!r}")
            raise

    def _keep_head(self, checkpoint: Checkpoint) -> None:
        # A head that cannot be kept never fails what is already durable.
        try:
            self._ring.keystore.add_head(
                Head(checkpoint.size, checkpoint.root, checkpoint.signature)
            )
            self._head_owed = False
            self._head_size = checkpoint.size
        except JournalError:
            self._head_owed = True

    # -- failing ---------------------------------------------------------

    def _commit_failure(self, exc: sqlite3.Error, *, committing: bool) -> JournalError:
        error = failure(self._log.path, exc)
        match error:
            case JournalFull() | JournalBusy():
                # SQLite writes the frame that commits last of all: without space for it
                # there is no commit, now or after a crash.
                return error
            case JournalIoError() if not committing:
                return self._poisoned_by(error.data["reason"])
            case StoreMalformed():
                if isinstance(exc, sqlite3.IntegrityError):
                    return LeaseLost(fence=self._fence, found=self._fence)
                self._poisoned_by(str(exc))
                return damaged(
                    seq=self._tree.size + 1,
                    kind=DamageKind.STORE_DAMAGED,
                    problem=str(exc),
                )
            case _:
                return self._poisoned_by(str(exc))

    def _poisoned_by(self, reason: object) -> JournalError:
        if self._poison is None:
            self._poison = JournalIoError(path=str(self._log.path), reason=str(reason))
        return self._poison

    def _reopen(self) -> Sequence[Record]:
        before = self._tree.size
        writer = open_store(self._folder, read_only=False)
        try:
            with translated(self._log.path):
                found = rows.fence(writer)
                if found != self._fence:
                    raise LeaseLost(fence=self._fence, found=found)
                # What an fsync failed for may be in the cache only. A full checkpoint
                # writes the pages again, into the other file, and syncs that.
                busy, logged, moved = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy or logged != moved:
                raise JournalBusy(path=str(self._log.path), waited_ms=0)
            self._log.replace_connection(open_store(self._folder, read_only=True))
            tail = self._log.tail()
            survivors = list(self._log.read(before + 1))
        except StoreMalformed as exc:
            writer.close()
            raise damaged(seq=before + 1, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc
        except BaseException:
            writer.close()
            raise
        old, self._writer = self._writer, writer
        with translated(self._log.path):
            old.close()
        if tail.epoch != self._epoch:
            # The failed commit opened an epoch and survived: go on with a fresh one.
            self._keys = None
        self._take(tail)
        self._poison = None
        return survivors


__all__ = ["Created", "Journal"]
