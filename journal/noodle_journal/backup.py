"""Copies of a journal: made while it is written, put back only on purpose.

Owns backup, restore and setting a damaged journal aside. Never copies keys
with the journal: `backup_keystore` is a call of its own, for another place.
Never deletes a journal.

Laws
B1. A backup is a whole journal of one moment, or no file.
B2. A restored journal is found elsewhere (another inode): it can be read, and
    written only after a take-over.
"""

from __future__ import annotations

import os
from pathlib import Path

from noodle_journal.failures import (
    DamageKind,
    JournalAbsent,
    JournalExists,
    JournalUnreadable,
    damaged,
)
from noodle_journal.keys import os_failure, sync_folder
from noodle_journal.opening import JOURNAL_FILE, open_store
from noodle_journal.storage import rows
from noodle_journal.storage.database import (
    Connection,
    StoreMalformed,
    connect,
    new_private_file,
    remove_database,
    translated,
)
from noodle_journal.storage.keystore import KEYSTORE_FILE, Keystore

BACKUP_PAGES_STEP = 1024  # pages copied at a time; a writer gets in between
BROKEN_COPIES_MAX = 1000


def backup(folder: Path, destination: Path) -> int:
    """Copy the journal to the new file `destination`, durable on return; its size.

    Works beside a live writer. Holds no keys: without keystore.db and the
    master key the copy can be verified with the public key, not read.

    Raises: JournalExists, JournalFull, JournalUnreadable, and as opening.
    """
    source = open_store(folder, read_only=True)
    try:
        return _copy(source, folder / JOURNAL_FILE, destination)
    finally:
        source.close()


def backup_keystore(folder: Path, destination: Path) -> None:
    """Copy the keystore; keep it in another place than the journal's backup.

    Raises: as `backup`, KeystoreAbsent, KeystoreDamaged.
    """
    Keystore(folder, read_only=True).close()
    path = folder / KEYSTORE_FILE
    source = _connect(path)
    try:
        _copy(source, path, destination, records=False)
    finally:
        source.close()


def restore(source: Path, folder: Path, *, set_aside: bool = False) -> int:
    """Put a backup in the place of journal.db; returns its size.

    The caller holds the home's lock. A journal that is there is refused, or
    with `set_aside` kept as `journal.db.broken-N`. After a cut the old state
    stands, or no journal is there and restoring again ends it.

    Raises: JournalExists, JournalAbsent, JournalDamaged (another log than the
    keystore's), and as opening.
    """
    target = folder / JOURNAL_FILE
    if target.exists() and not set_aside:
        remedy = "`noodle journal restore --set-aside` keeps it under another name first"
        raise JournalExists(path=str(target), remedy=remedy)
    if not source.exists():
        raise JournalAbsent(folder=str(source))
    keystore = Keystore(folder, read_only=True)
    keystore.close()
    connection = _connect(source)
    try:
        try:
            with translated(source):
                found = rows.log_id(connection)
        except StoreMalformed as exc:
            raise damaged(seq=1, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc
        if found != keystore.log_id:
            raise damaged(
                seq=0, kind=DamageKind.FOREIGN, problem="the backup is of another journal"
            )
        if target.exists():
            keep_broken(folder)
        for suffix in ("-wal", "-shm"):
            # Of the journal that is gone: they would be replayed into the backup.
            _set_aside(target.with_name(target.name + suffix))
        return _copy(connection, source, target)
    except OSError as exc:
        raise os_failure(target, exc) from exc
    finally:
        connection.close()


def restore_keystore(source: Path, folder: Path) -> None:
    """Put a keystore's backup in the place of a lost keystore.db.

    Raises: JournalExists, and as opening.
    """
    target = folder / KEYSTORE_FILE
    if target.exists():
        raise JournalExists(path=str(target))
    connection = _connect(source)
    try:
        _copy(connection, source, target, records=False)
    finally:
        connection.close()


def keep_broken(folder: Path) -> Path:
    """Rename journal.db, its -wal and -shm to `.broken-N` names; the first's name.

    No process may have the journal open. The home has no journal afterwards.

    Raises: JournalAbsent, JournalUnreadable.
    """
    path = folder / JOURNAL_FILE
    if not path.exists():
        raise JournalAbsent(folder=str(folder))
    try:
        for suffix in ("-wal", "-shm"):
            _set_aside(path.with_name(path.name + suffix))
        kept = _set_aside(path)
        sync_folder(folder)
    except OSError as exc:
        raise os_failure(path, exc) from exc
    if kept is None:
        raise JournalAbsent(folder=str(folder))
    return kept


def _set_aside(path: Path) -> Path | None:
    if not path.exists():
        return None
    for number in range(1, BROKEN_COPIES_MAX + 1):
        kept = path.with_name(f"{path.name}.broken-{number}")
        if not kept.exists():
            os.rename(path, kept)
            return kept
    raise JournalUnreadable(path=str(path), reason="too many broken copies are beside it")


def _connect(path: Path) -> Connection:
    try:
        return connect(path, read_only=True)
    except StoreMalformed as exc:
        raise damaged(seq=1, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc


def _copy(source: Connection, path: Path, destination: Path, *, records: bool = True) -> int:
    if destination.exists():
        raise JournalExists(path=str(destination), remedy="name a file that is not there yet")
    draft = destination.with_name(destination.name + ".new")
    try:
        remove_database(draft)
        new_private_file(draft)
        target = connect(draft)
        try:
            with translated(path):
                source.backup(target, pages=BACKUP_PAGES_STEP)
                target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                size = rows.size(target) if records else 0
        finally:
            target.close()
        descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(draft, destination)
        sync_folder(destination.parent)
    except StoreMalformed as exc:
        raise damaged(seq=1, kind=DamageKind.STORE_DAMAGED, problem=str(exc)) from exc
    except OSError as exc:
        raise os_failure(destination, exc) from exc
    return size
