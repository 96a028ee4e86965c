"""Opening what is to be verified, and the verdict where it cannot be opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from noodle_journal.failures import (
    DamageKind,
    JournalDamaged,
    KeystoreAbsent,
    KeystoreDamaged,
    NotAJournal,
)
from noodle_journal.keys import PUBLIC_KEY_FILE, read_public_key
from noodle_journal.keys.ring import KeyRing
from noodle_journal.opening import open_store
from noodle_journal.storage.database import Connection
from noodle_journal.storage.keystore import KEYSTORE_FILE, Keystore
from noodle_journal.verification.checker import Checker
from noodle_journal.verification.report import Report, unreadable


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
    checker: Checker | None = None
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
                read_public_key(folder / PUBLIC_KEY_FILE) if ring is None else ring.first_public_key
            )
        connection = open_store(folder, read_only=True)
        checker = Checker(
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
        return unreadable(DamageKind.KEYSTORE_DAMAGED, exc.problem)
    except NotAJournal as exc:
        if exc.data["path"] != str(folder / KEYSTORE_FILE):
            raise
        return unreadable(DamageKind.KEYSTORE_DAMAGED, exc.problem)
    except JournalDamaged as exc:
        return unreadable(exc.kind, exc.problem, seq=exc.seq)
    finally:
        if connection is not None:
            connection.close()
        if keystore is not None:
            keystore.close()
