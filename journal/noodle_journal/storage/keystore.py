"""keystore.db: wrapped keys and heads, never in the journal's backup.

Owns its rows. Never sees a key that is not wrapped. Write order at an epoch's
start: the wrapped key is committed here first, then its record in the journal;
read order is the reverse.

Laws
H1. A row of a key is never replaced but by the same key, wrapped with another master key.
H2. One size has one head, unless a recorded take-over gave up the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from noodle_journal.failures import KeystoreAbsent, KeystoreDamaged
from noodle_journal.keys import KeyPurpose, WrappedKey
from noodle_journal.storage.database import (
    StoreMalformed,
    check_format,
    connect,
    rolled_back,
    translated,
)
from noodle_journal.storage.schema import KEYSTORE, foreign_schema

KEYSTORE_FILE = "keystore.db"
_KEYS = "SELECT key_id, purpose, epoch, kek_id, nonce, sealed FROM wrapped_key WHERE "
_HEADS = "SELECT size, root, signature FROM head "


class Head(NamedTuple):
    """A signed tree head kept outside the journal."""

    size: int
    root: bytes
    signature: bytes


class Keystore:
    """An open keystore. One connection; callers serialise its use."""

    __slots__ = ("_connection", "kek_id", "log_id", "path")

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Raises: KeystoreAbsent, KeystoreDamaged, JournalFormatNewer, JournalUnreadable."""
        self.path = folder / KEYSTORE_FILE
        try:
            present = self.path.stat().st_size > 0
        except FileNotFoundError:
            present = False
        if not present:
            raise KeystoreAbsent(path=str(self.path))
        try:
            self._connection = connect(self.path, read_only=read_only)
            try:
                check_format(
                    self._connection,
                    self.path,
                    application=KEYSTORE.application,
                    known=KEYSTORE.current,
                )
                with translated(self.path):
                    row = self._connection.execute(
                        "SELECT log_id, kek_id FROM store WHERE id = 1"
                    ).fetchone()
                if row is None:
                    raise KeystoreDamaged(path=str(self.path), problem="its first row is gone")
                _check_types(self.path, row, (bytes, bytes))
                strange = foreign_schema(self._connection, self.path, KEYSTORE)
                if strange is not None:
                    raise KeystoreDamaged(
                        path=str(self.path), problem=f"its schema differs at: {strange}"
                    )
            except BaseException:
                self._connection.close()
                raise
        except StoreMalformed as exc:
            raise KeystoreDamaged(path=str(self.path), problem=str(exc)) from exc
        self.log_id: bytes = row[0]
        self.kek_id: bytes = row[1]

    def close(self) -> None:
        """Give the files back."""
        with translated(self.path):
            self._connection.close()

    def single(self, purpose: KeyPurpose) -> WrappedKey:
        """The one key of a purpose. Raises: KeystoreDamaged."""
        found = self._keys("purpose = ?", purpose.value)
        if len(found) != 1:
            raise KeystoreDamaged(
                path=str(self.path), problem=f"{len(found)} keys for `{purpose.value}`, not one"
            )
        return found[0]

    def log_keys(self) -> list[WrappedKey]:
        """The log's signing keys, the first one first. Raises: KeystoreDamaged."""
        found = self._keys("purpose = ? ORDER BY epoch", KeyPurpose.LOG.value)
        if not found or found[0].epoch:
            raise KeystoreDamaged(path=str(self.path), problem="the log's first key is gone")
        return found

    def data_key(self, key_id: bytes) -> WrappedKey | None:
        """The wrapped key of an epoch, or None where it is gone."""
        found = self._keys("key_id = ?", key_id)
        return found[0] if found else None

    def data_keys_from(self, epoch: int) -> list[WrappedKey]:
        """Data keys made for this epoch number or a later one."""
        return self._keys("epoch >= ? AND purpose = 'data'", epoch)

    def data_keys_to(self, epoch: int) -> list[WrappedKey]:
        """Data keys of this epoch number or an earlier one."""
        return self._keys("epoch <= ? AND purpose = 'data' ORDER BY epoch", epoch)

    def first_data_epoch(self) -> int:
        """The smallest epoch number that has a key here; 0 where none has."""
        found = self._keys("purpose = ? ORDER BY epoch LIMIT 1", KeyPurpose.DATA.value)
        return found[0].epoch if found else 0

    def data_keys(self) -> list[WrappedKey]:
        """Every data key, in order of epoch."""
        return self._keys("purpose = ? ORDER BY epoch", KeyPurpose.DATA.value)

    def all_keys(self) -> list[WrappedKey]:
        """Every key of every purpose, in order of epoch."""
        return self._keys("epoch >= ? ORDER BY epoch, purpose", 0)

    def rewrap(self, keys: Sequence[WrappedKey], kek_id: bytes) -> None:
        """Put the same keys, wrapped with another master key, in the place of those here.

        One transaction; what they were wrapped with before is overwritten.

        Raises: JournalFull, JournalIoError, JournalBusy, KeystoreDamaged.
        """
        try:
            with translated(self.path):
                self._connection.execute("BEGIN IMMEDIATE")
                for key in keys:
                    self._connection.execute(
                        "UPDATE wrapped_key SET kek_id = ?, nonce = ?, sealed = ? WHERE key_id = ?",
                        (key.kek_id, key.nonce, key.sealed, key.key_id),
                    )
                self._connection.execute("UPDATE store SET kek_id = ? WHERE id = 1", (kek_id,))
                self._connection.execute("COMMIT")
        except StoreMalformed as exc:
            raise KeystoreDamaged(path=str(self.path), problem=str(exc)) from exc
        finally:
            rolled_back(self._connection)
        self.kek_id = kek_id
        self.forget_deleted()

    def forget_deleted(self) -> None:
        """Let nothing that was deleted or replaced stay in the write-ahead log."""
        with translated(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def add_key(self, key: WrappedKey) -> None:
        """Store a wrapped key, durable on return; a second row of one id is refused.

        Raises: JournalFull, JournalIoError, JournalBusy, KeystoreDamaged.
        """
        self._write(
            "INSERT INTO wrapped_key (key_id, purpose, epoch, kek_id, nonce, sealed) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (key.key_id, key.purpose, key.epoch, key.kek_id, key.nonce, key.sealed),
        )

    def delete_key(self, key_id: bytes) -> None:
        """Delete a key and overwrite its bytes (secure_delete), in the write-ahead log as well.

        Raises: JournalIoError, JournalBusy, KeystoreDamaged.
        """
        self._write("DELETE FROM wrapped_key WHERE key_id = ?", (key_id,))
        self.forget_deleted()

    def heads(self) -> list[Head]:
        """Every head, smallest first."""
        return self._heads("ORDER BY size, root")

    def last_head(self) -> Head | None:
        """The head of the largest size."""
        found = self._heads("ORDER BY size DESC LIMIT 1")
        return found[0] if found else None

    def heads_of(self, size: int) -> list[Head]:
        """The heads of one size: one, or several after a take-over that gave one up."""
        return self._heads("WHERE size = ?", size)

    def heads_beyond(self, size: int) -> list[Head]:
        """The heads of sizes above this."""
        return self._heads("WHERE size > ? ORDER BY size", size)

    def add_head(self, head: Head) -> None:
        """Keep a signed head, durable on return; the same head again is nothing new.

        Raises: JournalFull, JournalIoError, JournalBusy, KeystoreDamaged.
        """
        self._write(
            "INSERT OR IGNORE INTO head (size, root, signature) VALUES (?, ?, ?)", tuple(head)
        )

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            with translated(self.path):
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute(statement, values)
                self._connection.execute("COMMIT")
        except StoreMalformed as exc:
            raise KeystoreDamaged(path=str(self.path), problem=str(exc)) from exc
        finally:
            rolled_back(self._connection)

    def _keys(self, where: str, value: object) -> list[WrappedKey]:
        try:
            with translated(self.path):
                rows = self._connection.execute(
                    _KEYS + where,
                    (value,),
                ).fetchall()
        except StoreMalformed as exc:
            raise KeystoreDamaged(path=str(self.path), problem=str(exc)) from exc
        for row in rows:
            _check_types(self.path, row, (bytes, str, int, bytes, bytes, bytes))
        return [WrappedKey(*row) for row in rows]

    def _heads(self, rest: str, *values: int) -> list[Head]:
        try:
            with translated(self.path):
                rows = self._connection.execute(_HEADS + rest, values).fetchall()
        except StoreMalformed as exc:
            raise KeystoreDamaged(path=str(self.path), problem=str(exc)) from exc
        for row in rows:
            _check_types(self.path, row, (int, bytes, bytes))
        return [Head(*row) for row in rows]


def _check_types(path: Path, row: Sequence[object], types: Sequence[type]) -> None:
    # STRICT holds for what SQLite writes, not for bytes changed in the file.
    if any(type(value) is not wanted for value, wanted in zip(row, types, strict=True)):
        raise KeystoreDamaged(path=str(path), problem="a value is not of its column's type")
