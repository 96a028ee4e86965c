"""The journal as its owner uses it: one owner at a time, many threads.

Owns the queue and the turn: the caller that gets the turn commits everybody's
queue (group commit by leader and followers). The caller holds the home's lock
file; the fence catches a caller that lost it. Never interprets a record's body
and never decides what to shred.

Laws
J1. When append returns, its records are durable, and on_commit has seen them, in
    their order.
J2. After JournalFull, BadRecord, JournalElsewhere or LeaseLost nothing was written.
J3. After an error from a commit the writer is poisoned: it writes nothing more
    until `reopen`, which says what survived.
J4. Each commit's last record carries the tree's root and a signature over it.
J5. An epoch's key is durable in the keystore before its record is in the
    journal; each epoch starts with `key.epoch`, then `state`.
J6. Records that go back find space on a full disk: the reserve is freed for them;
    and what opening needs is lent from it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from noodle_journal.anchors.comparing import Compared, Verdict, compare
from noodle_journal.creation import Created, create
from noodle_journal.draft import Entropy, Waiting, ready
from noodle_journal.failures import (
    JournalClosed,
    JournalElsewhere,
    JournalError,
    JournalFull,
)
from noodle_journal.format.canonical import JsonValue
from noodle_journal.format.checkpoints import Checkpoint
from noodle_journal.format.records import Kind, NewRecord, Record
from noodle_journal.keys.ring import KeyRing
from noodle_journal.opening import Loaded, Log, Tail, open_store
from noodle_journal.reader import Reader
from noodle_journal.shredding import EpochSpan
from noodle_journal.storage.database import Connection, StoreMalformed
from noodle_journal.storage.identity import Identity
from noodle_journal.storage.keystore import Keystore
from noodle_journal.storage.reserve import has_room, lend_from_reserve, make_reserve
from noodle_journal.writing import World, Writer

EPOCH_SECONDS_MAX = 86_400
IDLE_COMMITS_MIN = 64  # commits that make an idle checkpoint worth its cost


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
        loaded: Callable[[Loaded], None] | None = None,
        adopt: bool = False,
        epoch_seconds_max: int = EPOCH_SECONDS_MAX,
        plain: bool = False,
    ) -> Self:
        """Open for writing; the caller holds the home's lock.

        Reads the last `state` record and what follows, compares with the kept
        heads, and raises the fence. Opens no epoch: the first append does.
        With `plain` its epochs are legible to anybody, though signed as ever.
        `loaded` is given what `load` returns before anything is written. `state`
        gives the fold of everything committed so far; `on_commit` sees every
        committed record in order. Both are called by the thread that commits
        and must not append. A journal found in another place can be
        read; to write it takes `adopt`, which binds it to `identity` at once
        and records the heads it gives up.

        Raises: JournalAbsent, JournalEmpty, NotAJournal, JournalDamaged,
        JournalRollback, JournalFork, JournalFormatNewer, JournalFormatOlder,
        KeystoreAbsent, KeystoreDamaged, WrongKey, KeyMissing, JournalBusy,
        JournalUnreadable, SqliteTooOld.
        """
        world = World(
            wall_ns=wall_ns,
            entropy=entropy,
            identity=identity,
            state=state,
            on_commit=on_commit,
            epoch_ns_max=epoch_seconds_max * 1_000_000_000,
            plain=plain,
        )
        lent = not has_room(folder) and lend_from_reserve(folder)
        try:
            connection, keystore = _open_both(folder)
        except JournalFull:
            if lent or not lend_from_reserve(folder):
                raise
            connection, keystore = _open_both(folder)
        log = None
        try:
            ring = KeyRing(keystore=keystore, master_key=master_key)
            log = Log(folder=folder, connection=open_store(folder, read_only=True), ring=ring)
            writer = Writer(folder=folder, connection=connection, log=log, ring=ring, world=world)
            tail = log.tail()
            must_adopt = writer.start(tail, adopt=adopt)
            journal = cls(folder=folder, log=log, writer=writer, ring=ring, tail=tail)
            if loaded is not None:
                # An adoption writes the fold anew, so its owner must have it before.
                loaded(journal.load())
            if must_adopt:
                journal._commit_one(Waiting(items=[], going_back=False, head=True))
        except BaseException:
            if log is not None:
                log.close()
            connection.close()
            keystore.close()
            raise
        return journal

    @staticmethod
    def read_only(folder: Path, *, master_key: bytes) -> Reader:
        """Open beside a live writer; never writes. Raises: as `open`."""
        return Reader(folder, master_key=master_key)

    def __init__(
        self, *, folder: Path, log: Log, writer: Writer, ring: KeyRing, tail: Tail
    ) -> None:
        """Use `open`."""
        self._folder = folder
        self._log = log
        self._writer = writer
        self._ring = ring
        self._tail: Tail | None = tail
        self._turn = threading.Condition(threading.Lock())
        self._queue: list[Waiting] = []
        self._owner: int | None = None  # the thread that commits now
        self._closed = False

    # -- what is known ---------------------------------------------------

    @property
    def log_id(self) -> str:
        """The log's id, 32 hexadecimal digits."""
        return self._log.log_id.hex()

    @property
    def public_key(self) -> bytes:
        """The log's Ed25519 public key."""
        return self._ring.signer.public_key

    @property
    def first_public_key(self) -> bytes:
        """The public key that the log began with: it proves those that followed it."""
        return self._ring.first_public_key

    @property
    def size(self) -> int:
        """The last committed sequence number."""
        return self._writer.tree.size

    @property
    def root(self) -> bytes:
        """The root of the tree of all committed records."""
        return self._writer.tree.root()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The last signed head; None for a journal without records."""
        return self._writer.checkpoint

    @property
    def fence(self) -> int:
        """The fence number of this writer; 0 where the journal may not be written here."""
        return self._writer.fence

    @property
    def elsewhere(self) -> JournalElsewhere | None:
        """Why this journal may not be written here, or None."""
        return self._writer.elsewhere

    @property
    def poisoned(self) -> JournalError | None:
        """The error that stopped the writer, or None."""
        return self._writer.poison

    @property
    def head_owed(self) -> bool:
        """Whether a head could not be kept yet; the next commit tries again."""
        return self._writer.head_owed

    # -- reading ---------------------------------------------------------

    def load(self) -> Loaded:
        """The last state and the records after it, for the fold at open."""
        tail, self._tail = self._tail, None
        if tail is None or tail.size != self.size:
            tail = self._log.tail()
        return self._log.load(tail)

    def read(self, start: int = 1, stop: int | None = None) -> Iterator[Record]:
        """Records with start <= seq < stop, in order."""
        return self._log.read(start, stop)

    def read_run(self, run: str) -> Iterator[Record]:
        """The records of one upgrade, in order."""
        return self._log.read_run(run)

    def read_back(self, limit: int, kind: Kind | None = None) -> Iterator[Record]:
        """The last `limit` records, newest first; of one kind, or of all.

        Records of other kinds are looked at, and not deciphered.
        """
        return self._log.read_back(limit, kind)

    # -- writing ---------------------------------------------------------

    def append(
        self, records: Sequence[NewRecord], *, going_back: bool = False, head: bool = False
    ) -> Sequence[Record]:
        """Seal `records`, make them durable together, and return them numbered.

        They are one commit, or part of one with what other threads append.
        `head` keeps the signed head in the keystore as well. `going_back` may
        use the reserve on a full disk. Cost: one fsync, one more for a head.

        After BadRecord, JournalFull, JournalElsewhere, LeaseLost and
        JournalBusy nothing was written. After JournalIoError the outcome is
        unknown and the writer is poisoned: `reopen` tells.
        """
        if not records:
            return ()
        tagger = self._ring.tagger
        entry = Waiting(
            items=[ready(record, tagger=tagger) for record in records],
            going_back=going_back,
            head=head,
        )
        self._commit_one(entry)
        return entry.committed

    def rotate(self, *, log_key: bool = False) -> None:
        """Open a new epoch now: nothing more is sealed under the key used so far.

        With `log_key` a new key signs from here on, which the old one signed. Durable on
        return. A kill leaves the old epoch or the new one; a key that no epoch names is
        deleted when the journal is opened next.

        Raises: as `append`.
        """
        self._take_turn()
        try:
            self._writer.rotate_next(log_key=log_key)
        finally:
            self._give_turn()
        self._commit_one(Waiting(items=[], going_back=False, head=True))

    # -- anchors ---------------------------------------------------------

    def keep_head(self) -> str | None:
        """Keep the last signed head in the keystore, and return it as a note to send.

        It is durable here before anybody has it: after a crash in between nothing else is
        signed for its size. None for a journal without records.

        Raises: JournalFull, JournalIoError, JournalBusy, KeystoreDamaged, JournalClosed.
        """
        self._take_turn()
        try:
            head = self._writer.keep_head()
            return None if head is None else head.note(self._ring.signer.public_key)
        finally:
            self._give_turn()

    def compare(self, notes: Iterable[str], *, remember: bool = False) -> Sequence[Compared]:
        """Hold notes that were kept elsewhere against the journal.

        `remember` keeps the heads that it is behind of, so that every later opening finds the
        loss. Raises: JournalDamaged, and as `keep_head`.
        """
        found = compare(self._log, notes)
        behind = [one.head for one in found if one.verdict is Verdict.ROLLBACK and one.head]
        if remember and behind:
            self._take_turn()
            try:
                for head in behind:
                    self._ring.keystore.add_head(head)
            finally:
                self._give_turn()
        return found

    # -- shredding -------------------------------------------------------

    @property
    def shredded(self) -> int:
        """The last epoch that is shredded; 0 for none. All before it are as well."""
        return self._writer.shredded

    @property
    def first_readable(self) -> int:
        """The number of the first record that is not shredded."""
        return self._log.first_readable()

    def spans(self) -> Sequence[EpochSpan]:
        """The ended epochs that are not shredded, oldest first. Raises: JournalDamaged."""
        return self._writer.spans()

    def first_of(self, run: str) -> int | None:
        """The number of an upgrade's first record."""
        return self._log.first_of(run)

    def shred(self, up_to: int, rule: str) -> None:
        """Make every record of the epochs up to that number unreadable, for good.

        The caller says by which rule, and that nothing alive needs them. Signed records order
        it, then their keys are deleted; where encryption was off, the rows are compacted. The
        tree goes on proving what they were. Begins a new epoch. After a failure or a kill
        nothing is shredded, or opening the journal ends it.

        Raises: NothingToShred, and as `append`.
        """
        self._take_turn()
        try:
            items = self._writer.shred_next(up_to, rule)
        finally:
            self._give_turn()
        self._commit_one(Waiting(items=items, going_back=False, head=True))
        self._take_turn()
        try:
            self._writer.shredding_ordered()
        finally:
            self._give_turn()
        self._commit_one(Waiting(items=[], going_back=False, head=True))

    def compact(self) -> int:
        """Replace what is shredded by its hashes, and give the space back; how many rows.

        Whoever appends meanwhile waits for some thousand rows at most, and for the end, when
        the file is written anew, which needs as much free space as the journal has. Without
        that the rows are compacted, and JournalFull is raised.

        Raises: LeaseLost, JournalFull, JournalIoError, JournalBusy, JournalDamaged.
        """
        self._take_turn()
        try:
            done = self._writer.compact()
            self._writer.vacuum()
        finally:
            self._give_turn()
        return done

    def checkpoint_idle(self) -> bool:
        """Move the write-ahead log into the file if nobody waits; whether it did.

        Call it after a reply: it costs about 1 ms that no append then pays.
        """
        if self._writer.commits_since_idle < IDLE_COMMITS_MIN:
            return False
        with self._turn:
            if self._owner is not None or self._queue or self._closed or self.poisoned:
                return False
            self._owner = threading.get_ident()
        try:
            self._writer.checkpoint_passive()
        except (JournalError, StoreMalformed):
            return False  # the next commit meets the same trouble and reports it
        finally:
            self._give_turn()
        return True

    def restore_reserve(self) -> bool:
        """Set the reserve aside again where it was used; whether it is whole now."""
        try:
            make_reserve(self._folder)
        except JournalError:
            return False
        return True

    def reopen(self) -> Sequence[Record]:
        """After JournalIoError: look what survived, and be able to write again.

        Returns the records of the failed commit that are on disk after all, in
        order and durable now; they were not passed to on_commit. Empty: nothing
        of it survived.

        Raises: JournalIoError while the disk still fails (still poisoned),
        LeaseLost, JournalClosed, and as `open`.
        """
        self._take_turn()
        try:
            return self._writer.reopen()
        finally:
            self._give_turn()

    def close(self) -> None:
        """Wait for the commit that runs, then give the files back. Idempotent."""
        try:
            self._take_turn()
        except JournalClosed:
            return
        try:
            self._closed = True
            self._log.close()
            self._writer.close()
            self._ring.keystore.close()
            self.restore_reserve()
        finally:
            self._give_turn()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the turn --------------------------------------------------------

    def _commit_one(self, entry: Waiting) -> None:
        """Return when `entry` is committed, by this thread or by another one."""
        me = threading.get_ident()
        with self._turn:
            if self._closed:
                raise JournalClosed(what="closed")
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

    def _lead(self) -> None:
        """Commit everybody's queue; this thread has the turn."""
        entries = self._take_queue()
        try:
            self._writer.commit(entries, self._take_queue)
        except BaseException as exc:
            # Not the disk: an interrupt, or a callback that failed. Whoever waits
            # must not believe anything about its own records.
            for entry in entries:
                if not entry.durable:
                    entry.error = self._writer.poisoned_by(f"interrupted: {exc!r}")
            raise
        finally:
            for entry in entries:
                entry.done = True
            self._give_turn()

    def _take_queue(self) -> list[Waiting]:
        with self._turn:
            taken, self._queue = self._queue, []
        return taken

    def _take_turn(self) -> None:
        me = threading.get_ident()
        with self._turn:
            if self._owner == me:
                raise JournalClosed(what="busy: used from its own callback")
            while self._owner is not None:
                self._turn.wait()
            if self._closed:
                raise JournalClosed(what="closed")
            self._owner = me

    def _give_turn(self) -> None:
        with self._turn:
            self._owner = None
            self._turn.notify_all()


__all__ = ["Created", "Journal"]


def _open_both(folder: Path) -> tuple[Connection, Keystore]:
    connection = open_store(folder, read_only=False)
    try:
        return connection, Keystore(folder)
    except BaseException:
        connection.close()
        raise
