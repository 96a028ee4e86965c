"""Journals and logs to append to: Noodle's own, and the bare loops beside it.

Owns the floors. `BareLog` has the journal's SQLite build, connection settings
and row sizes; with `crypto` it does the same cryptography for each row and
each commit, in one plain loop. With `schema` its table is the journal's own,
with its indexes, computed columns and triggers; else it has none of them. It
checks nothing, remembers nothing and knows no lease.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noodle_journal import Identity, Journal, JsonValue, Kind, NewRecord
from noodle_journal.format.canonical import encode, pad
from noodle_journal.format.merkle import Frontier
from noodle_journal.format.records import (
    FORMAT_VERSION,
    HEADER,
    MAGIC,
    NO_LEAF,
    TAG_BYTES,
)
from noodle_journal.storage.database import connect
from noodle_journal.storage.schema import JOURNAL

PLAIN_TABLE = (
    "CREATE TABLE record (seq INTEGER PRIMARY KEY, header BLOB, clear BLOB, nonce BLOB, "
    "sealed BLOB, root BLOB, signature BLOB) STRICT"
)
MASTER_KEY = bytes(range(32))
MACHINE = "bench"
UPGRADE = "01J00000000000000000000000"
BODY: dict[str, JsonValue] = {
    "actor": "uid:1000",
    "at_ms": 1_700_000_000_000,
    "attempt": 1,
    "expected_new": "b3:" + "7f" * 32,
    "expected_old": "b3:" + "1c" * 32,
    "key": f"{UPGRADE}:swap:web",
    "step": "swap:web",
    "upgrade": UPGRADE,
}
"""The body of a `step.intent`, the record that every effect waits for."""


def the_record() -> NewRecord:
    """What is appended."""
    return NewRecord(Kind.STEP_INTENT, UPGRADE, BODY)


def new_journal(folder: Path) -> Path:
    """Make a journal in a new folder."""
    folder.mkdir(parents=True)
    Journal.create(folder, master_key=MASTER_KEY, entropy=os.urandom)
    return folder


def open_journal(folder: Path) -> Journal:
    """Open it, with nothing behind it that folds."""
    return Journal.open(
        folder,
        master_key=MASTER_KEY,
        wall_ns=time.time_ns,
        entropy=os.urandom,
        identity=Identity.of(folder / "journal.db", MACHINE),
        state=dict,
        on_commit=lambda _records: None,
    )


@dataclass(frozen=True, slots=True)
class Durability:
    """What a live connection says of itself."""

    journal_mode: str
    synchronous: int
    sqlite: str


class BareLog:
    """One table, one durable transaction a call."""

    def __init__(self, folder: Path, *, crypto: bool, schema: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "bare.db"
        self._crypto = crypto
        self._connection = connect(self.path, create=True)
        self._connection.execute("PRAGMA journal_mode = WAL")
        if self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            own = [statement for step in JOURNAL.steps for statement in step]
            for statement in own if schema else (PLAIN_TABLE,):
                self._connection.execute(statement)
        found = self._connection.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()
        self._seq = int(found[0])
        self._padded = pad(encode(BODY)[0])
        self._cipher = AESGCM(os.urandom(32))
        self._nonce_key = os.urandom(32)
        self._signer = Ed25519PrivateKey.generate()
        self._tree = Frontier()
        self._last_leaf = NO_LEAF
        self._tag = os.urandom(TAG_BYTES)
        self._ready = (os.urandom(96), os.urandom(12), os.urandom(len(self._padded) + 16))

    def durability(self) -> Durability:
        """Read back from the live connection."""
        one = self._connection.execute
        return Durability(
            str(one("PRAGMA journal_mode").fetchone()[0]),
            int(one("PRAGMA synchronous").fetchone()[0]),
            str(one("SELECT sqlite_version()").fetchone()[0]),
        )

    def append(self, rows: int = 1) -> None:
        """Insert that many rows in one durable transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        for number in range(rows):
            values = self._sealed() if self._crypto else self._ready
            end: Sequence[bytes | None] = (None, None)
            if number == rows - 1:
                end = self._signed() if self._crypto else (bytes(32), bytes(64))
            self._seq += 1
            header, nonce, sealed = values
            self._connection.execute(
                "INSERT INTO record (seq, header, clear, nonce, sealed, root, signature) "
                "VALUES (?, ?, NULL, ?, ?, ?, ?)",
                (self._seq, header, nonce, sealed, *end),
            )
        self._connection.execute("COMMIT")

    def _sealed(self) -> tuple[bytes, bytes, bytes]:
        """Nonce, seal and leaf of one row, as the journal's format has them."""
        header = HEADER.pack(
            *(MAGIC, FORMAT_VERSION, 0, Kind.STEP_INTENT, bytes(16), self._seq + 1, 1, 1),
            *(time.time_ns(), self._tag, self._last_leaf),
        )
        hedge = os.urandom(16)
        nonce = hmac.digest(self._nonce_key, hedge + header + self._padded, "sha256")[:12]
        sealed = self._cipher.encrypt(nonce, self._padded, header)
        self._last_leaf = hashlib.sha256(b"\0" + header + nonce + sealed).digest()
        self._tree.push(self._last_leaf)
        return header, nonce, sealed

    def _signed(self) -> tuple[bytes, bytes]:
        """Root, and the signature over its note."""
        root = self._tree.root()
        note = f"noodle.journal/{'0' * 32}\n{self._tree.size}\n{base64.b64encode(root).decode()}\n"
        return root, self._signer.sign(note.encode())

    def close(self) -> None:
        """Close the connection; the write-ahead log goes."""
        self._connection.close()
