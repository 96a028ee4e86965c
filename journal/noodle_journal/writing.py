"""The commit: one transaction, one signature, nothing acknowledged before it is durable.

Owns the connection that writes, the epoch, the tree's end and the fence. Only
the thread that has the turn calls it; `journal.py` sees to that.

Laws: J2 to J6 of `journal.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from noodle_journal.draft import Draft, Entropy, Ready, Waiting, own
from noodle_journal.failures import (
    DamageKind,
    InvariantBroken,
    JournalBusy,
    JournalElsewhere,
    JournalError,
    JournalFull,
    JournalIoError,
    KeystoreDamaged,
    LeaseLost,
    damaged,
)
from noodle_journal.format.canonical import JsonValue
from noodle_journal.format.checkpoints import Checkpoint, LogSigner, new_key_message
from noodle_journal.format.clear import (
    CIPHER_AES,
    CIPHER_NONE,
    EpochClear,
    GivenUp,
    TreeMark,
    encode_epoch,
)
from noodle_journal.format.merkle import Frontier
from noodle_journal.format.records import NO_LEAF, Kind, Record
from noodle_journal.format.sealing import Sealing
from noodle_journal.keys import KEY_ID_BYTES, KeyPurpose, NotUnwrapped
from noodle_journal.keys.ring import KeyRing, LogKey, keys_of
from noodle_journal.opening import Log, Tail, open_store
from noodle_journal.shredding import (
    COMPACTED_MAX,
    SHREDDED,
    EpochSpan,
    compact_rows,
    retention_items,
)
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
from noodle_journal.storage.keystore import Head
from noodle_journal.storage.reserve import free_reserve, has_room

STATE_RECORDS_MAX = 2048  # records between two `state` records
EPOCH_RECORDS_MAX = 2**28
GROUP_RECORDS_MAX = 1024  # records after which a commit gathers no more

TakeMore = Callable[[], list[Waiting]]


@dataclass(frozen=True, slots=True)
class World:
    """What a writer is handed: clock, randomness, place, and its two callbacks.

    plain: whether its epochs are legible, for encryption is switched off.
    """

    wall_ns: Callable[[], int]
    entropy: Entropy
    identity: Identity
    state: Callable[[], Mapping[str, JsonValue]]
    on_commit: Callable[[Sequence[Record]], None]
    epoch_ns_max: int
    plain: bool = False


class _NewEpoch(NamedTuple):
    number: int
    keys: Sealing
    key_id: bytes
    log_key: LogKey | None = None  # where another key signs from here on


class Writer:
    """The journal's end and the only code that moves it."""

    def __init__(
        self, *, folder: Path, connection: Connection, log: Log, ring: KeyRing, world: World
    ) -> None:
        self._folder = folder
        self._connection = connection
        self._log = log
        self._ring = ring
        self._world = world
        self._adopting = False
        self._gave_up: GivenUp | None = None
        self._keys: Sealing | None = None  # None: no epoch of this session yet
        self._prepared: _NewEpoch | None = None  # key stored, record not yet
        self._rotation_due = False
        self._log_key_due = False
        self._shredded = 0  # the last epoch that is ordered to be shredded
        self._shredding = 0  # the last one that is about to be
        self._epoch_start_ns = 0
        self._epoch_first_seq = 0
        self._epoch = 0
        self._state_seq = 0
        self._last_leaf = NO_LEAF
        self.tree = Frontier()
        self.checkpoint: Checkpoint | None = None
        self.fence = 0
        self.poison: JournalError | None = None
        self.elsewhere: JournalElsewhere | None = None
        self.head_owed = False
        self.commits_since_idle = 0

    # -- opening ---------------------------------------------------------

    def start(self, tail: Tail, *, adopt: bool) -> bool:
        """Take the end over; whether an adoption has to be written now.

        Raises: as `Journal.open`.
        """
        lost = self._log.check_heads(tail, accept_loss=adopt)
        self._take(tail)
        self._check_place(tail, adopt=adopt)
        if self.elsewhere is not None:
            return False
        if lost is not None:
            self._adopting = True
            self._gave_up = GivenUp(size=lost.size, root=lost.root)
            # What was lost may hold the hand-over to a newer key: that one goes on signing.
            newest = self._ring.log_keys[-1]
            self._log_key_due = newest.signer.public_key != self._ring.signer.public_key
        elif not self._adopting:
            self._delete_unnamed_keys(tail)
        self._raise_fence(tail)
        self._shredded, unsaid = self._log.shredded(tail)
        self.finish_shredding(also_plain=unsaid)
        last = self._ring.keystore.last_head()
        if self.checkpoint is not None and (last is None or last.size < self.checkpoint.size):
            self._keep_head(self.checkpoint)
        return self._adopting

    def _take(self, tail: Tail) -> None:
        self.tree = tail.tree.copy()
        self.checkpoint = tail.checkpoint
        self._last_leaf = tail.last_leaf
        self._epoch = tail.epoch
        if tail.public_key is not None:
            self._ring.sign_with(tail.public_key)
        self._state_seq = tail.rows[0].seq if tail.rows else 0

    def _check_place(self, tail: Tail, *, adopt: bool) -> None:
        if tail.size == 0:
            return
        here = self._world.identity
        bound = Identity.from_json(self._log.identity_body(tail).get("identity"))
        if bound is not None and bound.is_same_place(here):
            return
        if adopt:
            self._adopting = True
            return
        self.elsewhere = JournalElsewhere(
            bound_to="an unknown place" if bound is None else str(bound), found=str(here)
        )

    def _delete_unnamed_keys(self, tail: Tail) -> None:
        # An epoch's key is stored before its record, so a crash in between leaves a key
        # that nothing was sealed under. Only keys of the last epoch's number or later can
        # be such. A journal behind its heads never gets here, so no key is needed.
        keystore = self._ring.keystore
        candidates = keystore.data_keys_from(max(tail.epoch, 1))
        named = None
        if candidates and tail.epoch:
            named = self._log.find_epoch(tail.epoch, tail.size)[1].key_id
        for wrapped in candidates:
            if wrapped.key_id == named:
                continue
            try:
                # Its epoch number is trusted only where it is authentic.
                self._ring.master.unwrap(wrapped, log_id=self._log.log_id)
            except NotUnwrapped as exc:
                raise KeystoreDamaged(path=str(keystore.path), problem=str(exc)) from exc
            keystore.delete_key(wrapped.key_id)
        for key in [key for key in self._ring.log_keys if key.epoch > tail.epoch]:
            self._ring.drop_log_key(key)

    def _raise_fence(self, tail: Tail) -> None:
        connection = self._connection
        try:
            with translated(self._log.path):
                connection.execute("BEGIN IMMEDIATE")
                # Not below what records say, should the row have been changed.
                found = rows.fence(connection)
                fence = max(found, tail.fence) + 1
                if rows.size(connection) != tail.size:
                    raise LeaseLost(fence=fence, found=found)
                connection.execute("UPDATE writer SET fence = ? WHERE id = 1", (fence,))
                connection.execute("COMMIT")
        except StoreMalformed as exc:
            raise damaged(seq=tail.size, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc
        finally:
            rolled_back(connection)
        self.fence = fence

    # -- shredding -------------------------------------------------------

    @property
    def shredded(self) -> int:
        """The last epoch that is ordered to be shredded."""
        return self._shredded

    def spans(self) -> list[EpochSpan]:
        """The ended epochs that are not shredded: all, until this writer has opened one."""
        return self._log.spans(self._shredded, last_ended=self._keys is None)

    def shred_next(self, up_to: int, rule: str) -> list[Ready]:
        """What orders the ended epochs up to that number to be shredded, to be committed.

        Raises: NothingToShred, JournalDamaged.
        """
        found = [one for one in self.spans() if one.number <= up_to]
        items = retention_items(found, rule)
        self._shredding = found[-1].number
        return items

    def shredding_ordered(self) -> None:
        """The order is durable: carry it out, and let an epoch begin that says so."""
        self._shredded = self._shredding
        self.finish_shredding(also_plain=True)
        self._rotation_due = True

    def finish_shredding(self, *, also_plain: bool) -> None:
        """Delete the keys that are ordered to go (X2), and compact what was never sealed.

        Raises: JournalIoError, JournalBusy, KeystoreDamaged, LeaseLost; a later open ends it.
        """
        if not self._shredded:
            return
        self._ring.shred(self._shredded)
        if also_plain:
            for span in self._log.spans(0, last_ended=False):
                if span.plain and span.number <= self._shredded:
                    self._compact(span.first, span.last)

    def compact(self) -> int:
        """Leave hashes of all that is shredded; how many rows that were. See `Journal.compact`."""
        done = 0
        for span in self._log.spans(0, last_ended=False):
            if span.number <= self._shredded:
                done += self._compact(span.first, span.last)
        return done

    def _compact(self, first: int, last: int) -> int:
        connection, done = self._connection, 0
        try:
            with translated(self._log.path):
                for start in range(first, last + 1, COMPACTED_MAX):
                    connection.execute("BEGIN IMMEDIATE")
                    self._check_lease()
                    done += compact_rows(connection, start, min(last, start + COMPACTED_MAX - 1))
                    connection.execute("COMMIT")
                if done:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except StoreMalformed as exc:
            raise damaged(seq=first, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc
        finally:
            rolled_back(connection)
        return done

    def vacuum(self) -> None:
        """Give the space of what was compacted back to the file system.

        Raises: JournalFull, JournalBusy, JournalIoError; the journal is whole all the same.
        """
        with translated(self._log.path):
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- committing ------------------------------------------------------

    def rotate_next(self, *, log_key: bool) -> None:
        """Let the next commit open an epoch; with `log_key` another key signs from there on."""
        self._rotation_due = True
        self._log_key_due = self._log_key_due or log_key

    def commit(self, entries: list[Waiting], take_more: TakeMore) -> None:
        """One transaction of `entries` and of what `take_more` adds to them.

        Each entry ends with its records or an error; `entries` grows. Raises
        only what is no failure of the journal: an interrupt, a failing callback.
        """
        try:
            self._check_may_write()
            if not has_room(self._folder):
                raise JournalFull(path=str(self._log.path))
            self._write_and_commit(entries, take_more)
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

    def _commit_from_reserve(self, back: list[Waiting], full: JournalFull) -> None:
        error: JournalError = full
        if free_reserve(self._folder) or not has_room(self._folder):
            try:
                self._write_and_commit(back, list)
                return
            except JournalError as again:
                error = again
        for entry in back:
            entry.error = error

    def _check_may_write(self) -> None:
        for refusal in (self.poison, self.elsewhere):
            if refusal is not None:
                raise refusal

    def _write_and_commit(self, entries: list[Waiting], take_more: TakeMore) -> None:
        for entry in entries:
            entry.committed.clear()  # a try before this one may have failed
        now = self._world.wall_ns()
        opened = self._next_epoch() if self._epoch_is_due(now) else None
        draft = Draft(
            log_id=self._log.log_id,
            fence=self.fence,
            tree=self.tree.copy(),
            last_leaf=self._last_leaf,
            epoch=self._epoch if opened is None else opened.number,
            keys=self._session_keys() if opened is None else opened.keys,
            at_ns=now,
            state_seq=self._state_seq,
        )
        leading = self._leading_items(opened)
        connection = self._connection
        committing = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._check_lease()
            self._write_all(draft, self._signer(opened), leading, entries, take_more)
            committing = True
            connection.execute("COMMIT")
        except sqlite3.Error as exc:
            rolled_back(connection)
            raise self._commit_failure(exc, committing=committing) from exc
        except BaseException:
            rolled_back(connection)
            if committing:
                self.poisoned_by("interrupted while committing")
            raise
        self._committed(draft, entries, opened)

    def _session_keys(self) -> Sealing:
        if self._keys is None:
            raise InvariantBroken(what="an epoch is open when none is due")
        return self._keys

    def _epoch_is_due(self, now: int) -> bool:
        return (
            self._keys is None
            or self._rotation_due
            or now - self._epoch_start_ns >= self._world.epoch_ns_max
            or self.tree.size - self._epoch_first_seq >= EPOCH_RECORDS_MAX - 2 * GROUP_RECORDS_MAX
        )

    def _next_epoch(self) -> _NewEpoch:
        # One whose commit failed before it took place is used again, or its key would
        # stay in the keystore with nothing sealed under it.
        if self._prepared is None:
            self._prepared = self._prepare_epoch()
        if self._log_key_due and self._prepared.log_key is None:
            log_key = self._next_log_key(self._prepared.number)
            self._prepared = self._prepared._replace(log_key=log_key)
        return self._prepared

    def _next_log_key(self, epoch: int) -> LogKey:
        """The key that is to sign from this epoch on: one that is stored already, or a new one."""
        ring, entropy = self._ring, self._world.entropy
        newest = ring.log_keys[-1]
        if newest.signer.public_key != ring.signer.public_key:
            return newest
        key_id = entropy(KEY_ID_BYTES)
        return ring.add_log_key(entropy(32), epoch=epoch, key_id=key_id, entropy=entropy)

    def _prepare_epoch(self) -> _NewEpoch:
        """A new data key, durable in the keystore; no record names it yet."""
        ring, entropy = self._ring, self._world.entropy
        stored = [key.epoch for key in ring.keystore.data_keys_from(self._epoch + 1)]
        # Numbers of lost epochs are not used again: their keys may still be needed.
        number = max([self._epoch, *stored]) + 1
        data_key = entropy(32)
        wrapped = ring.master.wrap(
            data_key,
            log_id=self._log.log_id,
            purpose=KeyPurpose.DATA,
            key_id=entropy(KEY_ID_BYTES),
            epoch=number,
            entropy=entropy,
        )
        ring.keystore.add_key(wrapped)
        keys = keys_of(data_key, log_id=self._log.log_id, cipher=self._cipher)
        return _NewEpoch(number, keys, wrapped.key_id)

    @property
    def _cipher(self) -> str:
        return CIPHER_NONE if self._world.plain else CIPHER_AES

    def _leading_items(self, opened: _NewEpoch | None) -> list[Ready]:
        """What the journal itself writes first: `key.epoch` and `state`, or nothing."""
        world, items = self._world, list[Ready]()
        if opened is not None:
            clear = EpochClear(
                key_id=opened.key_id,
                kek_id=self._ring.master.kek_id,
                commitment=opened.keys.commitment,
                public_key=self._signer(opened).public_key,
                tree=TreeMark.of(self.tree),
                key_signature=self._handed_over(opened.log_key),
                gave_up=self._gave_up,
                cipher=self._cipher,
            )
            body: dict[str, JsonValue] = {
                "adopted": self._adopting,
                "identity": world.identity.to_json(),
            }
            if self._shredded:
                body[SHREDDED] = self._shredded
            items.append(own(Kind.KEY_EPOCH, body, encode_epoch(clear)))
        if opened is not None or self.tree.size - self._state_seq >= STATE_RECORDS_MAX:
            items.append(own(Kind.STATE, world.state()))
        return items

    def _signer(self, opened: _NewEpoch | None) -> LogSigner:
        """Whoever signs the commit that may open an epoch."""
        if opened is None or opened.log_key is None:
            return self._ring.signer
        return opened.log_key.signer

    def _handed_over(self, log_key: LogKey | None) -> bytes | None:
        """What the key that signed until now says of the one that follows it."""
        if log_key is None:
            return None
        message = new_key_message(log_id=self._log.log_id, public_key=log_key.signer.public_key)
        return self._ring.signer.sign(message)

    def _check_lease(self) -> None:
        found = self._connection.execute(rows.FENCE).fetchone()
        if found is None or found[0] != self.fence:
            raise LeaseLost(fence=self.fence, found=0 if found is None else found[0])

    def _write_all(
        self,
        draft: Draft,
        signer: LogSigner,
        leading: list[Ready],
        entries: list[Waiting],
        take_more: TakeMore,
    ) -> None:
        nothing_follows = not any(entry.items for entry in entries)
        for at, item in enumerate(leading):
            is_last = nothing_follows and at == len(leading) - 1
            self._write(draft, item, signer, is_last=is_last)
        position = 0
        while position < len(entries):
            entry = entries[position]
            position += 1
            for at, item in enumerate(entry.items):
                is_last = position == len(entries) and at == len(entry.items) - 1
                if is_last and len(draft.records) < GROUP_RECORDS_MAX:
                    # Whoever queued while this was sealed still gets into the commit.
                    more = take_more()
                    entries.extend(more)
                    is_last = not more
                self._write(draft, item, signer, is_last=is_last)
                entry.committed.append(draft.records[-1])

    def _write(self, draft: Draft, item: Ready, signer: LogSigner, *, is_last: bool) -> None:
        values = draft.row(item, is_last=is_last, signer=signer, entropy=self._world.entropy)
        self._connection.execute(rows.INSERT, values)

    def _committed(self, draft: Draft, entries: list[Waiting], opened: _NewEpoch | None) -> None:
        first = self.tree.size + 1
        self.tree = draft.tree
        self.checkpoint = draft.checkpoint
        self._last_leaf = draft.last_leaf
        self._state_seq = draft.state_seq
        self.commits_since_idle += 1
        if opened is not None:
            self._epoch, self._keys = opened.number, opened.keys
            self._prepared = None
            self._rotation_due = self._log_key_due = False
            self._ring.signer = self._signer(opened)
            self._ring.keep(opened.number, opened.keys)
            self._epoch_start_ns, self._epoch_first_seq = draft.at_ns, first
            self._adopting, self._gave_up = False, None
        for entry in entries:
            entry.durable = True
        wanted = opened is not None or self.head_owed or any(entry.head for entry in entries)
        if wanted and draft.checkpoint is not None:
            self._keep_head(draft.checkpoint)
        try:
            self._world.on_commit(draft.records)
        except BaseException as exc:
            # The records are durable; what the caller holds in memory is not theirs.
            self.poisoned_by(f"on_commit failed: {exc!r}")
            raise

    def _keep_head(self, checkpoint: Checkpoint) -> None:
        # A head that cannot be kept never fails what is durable already.
        head = Head(checkpoint.size, checkpoint.root, checkpoint.signature)
        try:
            self._ring.keystore.add_head(head)
            self.head_owed = False
        except JournalError:
            self.head_owed = True

    def keep_head(self) -> Checkpoint | None:
        """Keep the last signed head now, durable on return; None without records.

        Raises: JournalFull, JournalIoError, JournalBusy, KeystoreDamaged.
        """
        last = self.checkpoint
        if last is not None:
            self._ring.keystore.add_head(Head(last.size, last.root, last.signature))
        return last

    # -- failing ---------------------------------------------------------

    def poisoned_by(self, reason: str) -> JournalError:
        """Stop this writer for good, or until `reopen`; the error that says so."""
        if self.poison is None:
            self.poison = JournalIoError(path=str(self._log.path), reason=reason)
        return self.poison

    def _commit_failure(self, exc: sqlite3.Error, *, committing: bool) -> JournalError:
        error = failure(self._log.path, exc)
        if isinstance(error, JournalFull | JournalBusy):
            # SQLite writes the frame that commits last of all: without space for it
            # there is no commit, neither now nor after a crash.
            return error
        if isinstance(exc, sqlite3.IntegrityError) and not committing:
            # The row's number is taken: somebody else wrote.
            return LeaseLost(fence=self.fence, found=self.fence)
        return self.poisoned_by(str(exc))

    def checkpoint_passive(self) -> None:
        """Move what can be moved from the write-ahead log into the file."""
        self.commits_since_idle = 0
        with translated(self._log.path):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def reopen(self) -> Sequence[Record]:
        """As `Journal.reopen`."""
        before = self.tree.size
        connection = open_store(self._folder, read_only=False)
        try:
            with translated(self._log.path):
                found = rows.fence(connection)
                if found != self.fence:
                    raise LeaseLost(fence=self.fence, found=found)
                # What an fsync failed for may be in the cache only. A full checkpoint
                # writes the pages again, into the other file, and syncs that.
                checkpoint = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if checkpoint[0] or checkpoint[1] != checkpoint[2]:
                raise JournalBusy(path=str(self._log.path), waited_ms=0)
            self._log.replace_connection(open_store(self._folder, read_only=True))
            tail = self._log.tail()
            survivors = list(self._log.read(before + 1))
        except StoreMalformed as exc:
            connection.close()
            raise damaged(seq=before + 1, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc
        except BaseException:
            connection.close()
            raise
        self.close()
        self._connection = connection
        if tail.epoch != self._epoch:
            # The failed commit opened an epoch and survived: go on with a fresh one.
            self._keys = self._prepared = None
        self._take(tail)
        self.poison = None
        return survivors

    def close(self) -> None:
        """Give the connection back."""
        with translated(self._log.path):
            self._connection.close()
