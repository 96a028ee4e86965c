"""What an anchor says against the journal.

Laws
C1. A note accuses only where a key of the journal signed it.
C2. A note is fetched before the journal's size is read: a journal that grows is not accused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from noodle_journal.format.checkpoints import Checkpoint
from noodle_journal.format.notes import NotANote, Note, parse_note, signed_checkpoint
from noodle_journal.keys.ring import KeyRing
from noodle_journal.opening import Log, open_store, reading
from noodle_journal.storage import rows
from noodle_journal.storage.keystore import Head, Keystore

__all__ = ["Compared", "Verdict", "compare", "remember", "sizes_of", "worst"]


class Verdict(StrEnum):
    """What the journal is to a note."""

    AGREES = "agrees"
    GIVEN_UP = "given_up"
    UNSIGNED = "unsigned"
    FORK = "fork"
    ROLLBACK = "rollback"


class Compared(NamedTuple):
    """A note and what the journal is to it; `head` where a key of the journal signed it."""

    size: int
    root: bytes
    verdict: Verdict
    head: Head | None


_ORDER = tuple(Verdict)


def worst(found: Sequence[Compared]) -> Compared | None:
    """What accuses most, and among equals the largest size."""
    return max(found, key=lambda one: (_ORDER.index(one.verdict), one.size), default=None)


def compare(log: Log, notes: Iterable[str]) -> list[Compared]:
    """Hold notes against the journal. Those of other logs, and what is no note, are left out.

    Raises: JournalDamaged, JournalUnreadable.
    """
    keys = [key.signer.public_key for key in log.ring.log_keys]
    gaps: list[tuple[int, int]] | None = None
    found = []
    for note in _notes(notes):
        if note.log_id != log.log_id:
            continue
        signed = signed_checkpoint(note, keys)
        verdict = _verdict(log, note, signed)
        if verdict in (Verdict.ROLLBACK, Verdict.FORK):
            gaps = log.given_up() if gaps is None else gaps
            if any(after < note.size <= to for after, to in gaps):
                verdict = Verdict.GIVEN_UP
        head = None if signed is None else Head(note.size, note.root, signed.signature)
        found.append(Compared(note.size, note.root, verdict, head))
    return found


def _notes(texts: Iterable[str]) -> Iterable[Note]:
    for text in texts:
        try:
            yield parse_note(text)
        except NotANote:
            continue


def _verdict(log: Log, note: Note, signed: Checkpoint | None) -> Verdict:
    if signed is None:
        return Verdict.UNSIGNED
    if note.size > log.size():
        return Verdict.ROLLBACK
    return Verdict.AGREES if log.root_at(note.size) == note.root else Verdict.FORK


def remember(folder: Path, notes: Iterable[str], *, master_key: bytes) -> None:
    """Keep the heads of notes that the journal is behind of, as if they had been kept here.

    From then on opening finds the loss by itself, and a take-over records it. The caller
    holds the home's lock. Raises: as `Journal.open`, without what heads say.
    """
    keystore = Keystore(folder)
    try:
        ring = KeyRing(keystore=keystore, master_key=master_key)
        log = Log(folder=folder, connection=open_store(folder, read_only=True), ring=ring)
        try:
            for one in compare(log, notes):
                if one.verdict is Verdict.ROLLBACK and one.head is not None:
                    keystore.add_head(one.head)
        finally:
            log.close()
    finally:
        keystore.close()


def sizes_of(folder: Path) -> tuple[int, int]:
    """How many records a journal has, and of how many the largest head is that lies beside it.

    Needs no key. Raises: JournalAbsent, JournalUnreadable, JournalDamaged, KeystoreAbsent,
    KeystoreDamaged and their kin.
    """
    connection = open_store(folder, read_only=True)
    try:
        with reading(folder, 1):
            size = rows.size(connection)
    finally:
        connection.close()
    keystore = Keystore(folder, read_only=True)
    try:
        head = keystore.last_head()
    finally:
        keystore.close()
    return size, 0 if head is None else head.size
