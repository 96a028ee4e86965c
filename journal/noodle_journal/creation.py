"""Making a new journal.

Owns the order in which its files come to be: drafts under other names, then
the keystore, the public key and the reserve, and journal.db as the very last.
Never writes over a journal or over a keystore that has sealed anything.

Laws
N1. A cut at any point leaves a whole journal, or none: without journal.db the
    making may run again.
N2. A keystore with a data key or a head stands for a journal that was used; it
    is never replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from noodle_journal.failures import (
    InvariantBroken,
    JournalAbsent,
    JournalExists,
    JournalIoError,
    JournalUnreadable,
)
from noodle_journal.format.checkpoints import LogSigner
from noodle_journal.keys import (
    KEY_ID_BYTES,
    PUBLIC_KEY_FILE,
    KeyPurpose,
    MasterKey,
    os_failure,
    sync_folder,
    write_new_file,
)
from noodle_journal.opening import JOURNAL_FILE
from noodle_journal.storage.database import (
    Connection,
    StoreMalformed,
    connect,
    new_private_file,
    remove_database,
    rolled_back,
    translated,
)
from noodle_journal.storage.keystore import KEYSTORE_FILE, Keystore
from noodle_journal.storage.reserve import make_reserve
from noodle_journal.storage.schema import JOURNAL, KEYSTORE, Format, migrate

LOG_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Created:
    """A new log: its id in hexadecimal digits, and its public key."""

    log_id: str
    public_key: bytes


def create(folder: Path, *, master_key: bytes, entropy: Callable[[int], bytes]) -> Created:
    """Make journal.db, keystore.db, the reserve and keys/log.pub in `folder`.

    `folder` exists. Durable on return. After any failure, and after a kill,
    either the whole journal is there or no journal.db, and the call may be
    repeated with any key. The caller holds the home's lock.

    Raises: JournalExists, JournalAbsent (the journal of a used keystore is
    gone), JournalFull, JournalUnreadable, KeyInvalid, SqliteTooOld.
    """
    master = MasterKey(master_key)
    journal_path, keystore_path = folder / JOURNAL_FILE, folder / KEYSTORE_FILE
    if journal_path.exists():
        raise JournalExists(path=str(journal_path))
    if journal_path.with_name(JOURNAL_FILE + "-wal").exists():
        raise JournalAbsent(folder=str(folder))  # its journal was lost, it is not new
    if keystore_path.exists():
        _refuse_used(folder)
    log_id = entropy(LOG_ID_BYTES)
    seed = entropy(32)
    public_key = LogSigner(seed).public_key
    keys = {KeyPurpose.TAG: entropy(32), KeyPurpose.LOG: seed}

    def fill_keystore(connection: Connection) -> None:
        connection.execute(
            "INSERT INTO store (id, log_id, kek_id) VALUES (1, ?, ?)", (log_id, master.kek_id)
        )
        for purpose, key in keys.items():
            wrapped = master.wrap(
                key,
                log_id=log_id,
                purpose=purpose,
                key_id=entropy(KEY_ID_BYTES),
                epoch=0,
                entropy=entropy,
            )
            connection.execute(
                "INSERT INTO wrapped_key (key_id, purpose, epoch, kek_id, nonce, sealed) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    wrapped.key_id,
                    wrapped.purpose,
                    wrapped.epoch,
                    wrapped.kek_id,
                    wrapped.nonce,
                    wrapped.sealed,
                ),
            )

    def fill_journal(connection: Connection) -> None:
        connection.execute("INSERT INTO log (id, log_id) VALUES (1, ?)", (log_id,))

    public_path = folder / PUBLIC_KEY_FILE
    try:
        keystore_draft = _draft(keystore_path, KEYSTORE, fill_keystore)
        journal_draft = _draft(journal_path, JOURNAL, fill_journal)
        public_path.parent.mkdir(mode=0o700, exist_ok=True)
        public_path.unlink(missing_ok=True)
        write_new_file(public_path, (public_key.hex() + "\n").encode(), mode=0o644)
        make_reserve(folder)
        remove_database(keystore_path)
        os.rename(keystore_draft, keystore_path)
        sync_folder(folder)
        os.rename(journal_draft, journal_path)
        sync_folder(folder)
    except OSError as exc:
        raise os_failure(folder, exc) from exc
    return Created(log_id=log_id.hex(), public_key=public_key)


def _refuse_used(folder: Path) -> None:
    if (folder / KEYSTORE_FILE).stat().st_size == 0:
        return
    keystore = Keystore(folder, read_only=True)
    try:
        if keystore.data_keys() or keystore.last_head() is not None:
            raise JournalAbsent(folder=str(folder))
    finally:
        keystore.close()


def _draft(path: Path, format_: Format, fill: Callable[[Connection], None]) -> Path:
    draft = path.with_name(path.name + ".new")
    remove_database(draft)
    new_private_file(draft)
    try:
        connection = connect(draft)
        try:
            migrate(connection, draft, format_)
            with translated(draft):
                connection.execute("BEGIN IMMEDIATE")
                fill(connection)
                connection.execute("COMMIT")
                # Closing does this too, but keeps it to itself if the disk fails.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            rolled_back(connection)
            connection.close()
    except StoreMalformed as exc:
        raise InvariantBroken(what="a new database is whole", found=str(exc)) from exc
    except JournalIoError as exc:
        # A draft is thrown away: nothing is in doubt, and there is nothing to resume.
        raise JournalUnreadable(path=str(path), reason=str(exc.data["reason"])) from exc
    if draft.with_name(draft.name + "-wal").exists():
        raise JournalUnreadable(path=str(path), reason="its log could not be removed")
    return draft
