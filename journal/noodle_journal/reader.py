"""Reading beside a live writer.

Owns a journal opened for reading. Never writes, opens no epoch, takes no lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from noodle_journal.anchors.comparing import Compared, compare
from noodle_journal.failures import JournalRollback
from noodle_journal.format.checkpoints import Checkpoint
from noodle_journal.format.records import Kind, Record
from noodle_journal.keys.ring import KeyRing
from noodle_journal.opening import Loaded, Log, open_store
from noodle_journal.shredding import EpochSpan
from noodle_journal.storage.keystore import Keystore

_LOOKS_MAX: Final = 1_000
"""How often it looks again at a journal that grows while it is compared with its heads."""


class Epoch(NamedTuple):
    """An epoch: number, beginning (Unix time), records so far, whether it is legible."""

    number: int
    at_ns: int
    records: int
    plain: bool


class Reader:
    """A journal for reading only. What it sees grows while a writer writes."""

    def __init__(self, folder: Path, *, master_key: bytes) -> None:
        """Raises: as `Journal.open`, without the failures of writing."""
        connection = open_store(folder, read_only=True)
        try:
            self._keystore = Keystore(folder, read_only=True)
            try:
                ring = KeyRing(keystore=self._keystore, master_key=master_key)
                self._log = Log(folder=folder, connection=connection, ring=ring)
                self._check_heads()
            except BaseException:
                self._keystore.close()
                raise
        except BaseException:
            connection.close()
            raise

    def _check_heads(self) -> None:
        """Compare with the kept heads, of which a writer may keep more meanwhile.

        A head is kept after its records are durable: a head that the end of the
        journal is behind of accuses it only if that end is the same afterwards.
        """
        tail = self._log.tail()
        for left in reversed(range(_LOOKS_MAX)):
            try:
                if tail.public_key is not None:
                    self._log.ring.sign_with(tail.public_key)
                self._log.check_heads(tail)
            except JournalRollback:
                later = self._log.tail()
                if later.size == tail.size or not left:
                    raise
                tail = later
            else:
                return

    @property
    def log_id(self) -> str:
        """The log's id, 32 hexadecimal digits."""
        return self._log.log_id.hex()

    @property
    def size(self) -> int:
        """The last sequence number, as of now."""
        return self._log.size()

    @property
    def root(self) -> bytes:
        """The root of the tree, as of now."""
        return self._log.tail().tree.root()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The last signed head; None for a journal without records."""
        return self._log.tail().checkpoint

    @property
    def note(self) -> str | None:
        """The last signed head as a note to keep elsewhere; None for a journal without records."""
        tail = self._log.tail()
        if tail.checkpoint is None or tail.public_key is None:
            return None
        return tail.checkpoint.note(tail.public_key)

    @property
    def public_key(self) -> bytes:
        """The public key of whoever signs now."""
        return self._log.ring.signer.public_key

    @property
    def first_public_key(self) -> bytes:
        """The public key that the log began with: it proves those that followed it."""
        return self._log.ring.first_public_key

    @property
    def epoch(self) -> Epoch:
        """The last epoch, as of now; number 0 for a journal without records."""
        tail = self._log.tail()
        plain = tail.checkpoint is not None and tail.checkpoint.plain
        records = tail.size - tail.epoch_seq + 1 if tail.size else 0
        return Epoch(tail.epoch, tail.epoch_at_ns, records, plain)

    @property
    def first_readable(self) -> int:
        """The number of the first record that is not shredded, as of now."""
        return self._log.first_readable()

    def spans(self) -> Sequence[EpochSpan]:
        """The epochs that are not shredded, oldest first; the last one may be in use."""
        return self._log.spans(self._log.shredded(self._log.tail()).up_to, last_ended=True)

    def first_of(self, run: str) -> int | None:
        """The number of an upgrade's first record."""
        return self._log.first_of(run)

    def compare(self, notes: Iterable[str]) -> Sequence[Compared]:
        """Hold notes that were kept elsewhere against the journal. Raises: JournalDamaged."""
        return compare(self._log, notes)

    def load(self) -> Loaded:
        """The last state and the records after it, as of one moment."""
        return self._log.load(self._log.tail())

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

    def close(self) -> None:
        """Give the files back."""
        self._log.close()
        self._keystore.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
