"""Epochs: opened on demand, plain where encryption is off, signed by the key that they name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from noodle_journal import DamageKind, backup, restore, verify
from noodle_journal.failures import JournalError, JournalRollback
from noodle_journal.format.checkpoints import LogVerifier
from tests.attacks.second_verifier import verify as second_verify
from tests.unit.journal.place import MASTER_KEY, Place, note

SECRET = "the words of a record"


def whole(place: Place) -> None:
    """Both verifiers, with the key and without, find nothing."""
    assert place.created is not None
    for master in (MASTER_KEY, None):
        report = verify(
            place.folder,
            master_key=master,
            public_key=place.created.public_key,
            every_signature=True,
        )
        assert report.ok, report.first_bad
        assert second_verify(place.folder, place.created.public_key, master) == (report.size, None)


def raw(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("journal.db*")))


# -- rotation -------------------------------------------------------------------


def test_after_a_rotation_nothing_more_is_sealed_under_the_key_before(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("one")])
        journal.rotate()
        assert journal.append([note("two")])[0].epoch == 2
        assert journal.public_key == journal.first_public_key
    whole(place)


def test_a_new_log_key_is_signed_by_the_one_before(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("one")])
        before = journal.checkpoint
        for _ in range(2):
            journal.rotate(log_key=True)
        journal.append([note("two")], head=True)
        after = journal.checkpoint
        first, last = journal.first_public_key, journal.public_key
    assert before is not None
    assert after is not None
    assert first != last
    assert LogVerifier(first).accepts(before.text.encode(), before.signature)
    assert LogVerifier(last).accepts(after.text.encode(), after.signature)
    assert not LogVerifier(first).accepts(after.text.encode(), after.signature)
    whole(place)
    # The key that its last epoch names goes on signing after a restart.
    with place.open() as again:
        assert again.public_key == last
        again.append([note("three")], head=True)
    with place.reader() as reader:
        assert [record.body.get("text") for record in reader.read_back(1)] == ["three"]
    whole(place)


def test_a_log_key_that_no_epoch_names_is_deleted_at_the_next_open(place: Place) -> None:
    journal = place.open()
    journal.append([note("one")])
    journal._writer.rotate_next(log_key=True)
    journal._writer._next_epoch()  # the keystore's commits, without the journal's
    journal.close()
    with place.open() as again:
        assert len(again._ring.log_keys) == 1
        assert again.append([note("two")])[0].epoch == 2
        assert again.public_key == again.first_public_key
    whole(place)


def test_a_copy_from_before_a_new_log_key_hands_over_to_it_when_taken_over(
    place: Place, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    with place.open() as journal:
        journal.append([note("one")])
        backup(place.folder, copy)
        journal.rotate(log_key=True)
        newest = journal.public_key
        journal.append([note("lost")], head=True)
    restore(copy, place.folder, set_aside=True)
    place.seen.clear()
    with pytest.raises(JournalRollback):
        place.open()
    with place.open(adopt=True) as journal:
        assert journal.public_key == newest
        journal.append([note("on")], head=True)
    whole(place)


def test_a_log_key_that_nobody_handed_over_to_is_found(place: Place, tmp_path: Path) -> None:
    """An epoch that names a key of a stranger, in a keystore that has it."""
    assert place.created is not None
    with place.open() as journal:
        journal.append([note("one")])
        kept = tmp_path / "kept"
        shutil.copytree(place.folder, kept)
        journal.rotate(log_key=True)
    # The keystore of before: the journal's last epoch is signed with a key it has not.
    for path in place.folder.glob("keystore.db*"):
        path.unlink()
    for path in kept.glob("keystore.db*"):
        shutil.copy(path, place.folder / path.name)
    with pytest.raises(JournalError) as caught:
        place.reader()
    assert caught.value.exit_code == 6


# -- encryption off ----------------------------------------------------------------


def test_a_plain_epoch_is_legible_and_says_so_in_each_checkpoint(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("sealed " + SECRET)])
        assert journal.checkpoint is not None
        assert not journal.checkpoint.plain
    assert SECRET.encode() not in raw(place.folder)
    with place.open(plain=True) as journal:
        journal.append([note(SECRET, run="an-upgrade")], head=True)
        assert journal.checkpoint is not None
        assert journal.checkpoint.plain
        assert journal.checkpoint.text.endswith("cipher none\n")
        assert [record.body["text"] for record in journal.read_run("an-upgrade")] == [SECRET]
    assert SECRET.encode() in raw(place.folder)
    with place.open() as journal:
        journal.append([note("sealed again")])
    whole(place)
    assert verify(place.folder, master_key=MASTER_KEY).plain_epochs == 1
    # Without the key the plain ones are read, and only they.
    report = verify(place.folder)
    assert 0 < report.opened < report.records


@pytest.mark.parametrize("part", ["text", "tag"])
def test_a_changed_plain_record_is_known_by_its_tag(place: Place, part: str) -> None:
    """Whoever reads it alone, without the tree, is not deceived either."""
    with place.open(plain=True) as journal:
        journal.append([note(SECRET)])
        last = journal.size
    import sqlite3  # noqa: PLC0415

    connection = sqlite3.connect(place.folder / "journal.db")
    (sealed,) = connection.execute("SELECT sealed FROM record WHERE seq = ?", (last,)).fetchone()
    at = sealed.index(b"words") if part == "text" else len(sealed) - 1
    changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
    connection.execute("DROP TRIGGER record_never_changes")
    connection.execute("UPDATE record SET sealed = ? WHERE seq = ?", (changed, last))
    connection.execute(TRIGGER)
    connection.commit()
    connection.close()
    report = verify(place.folder, master_key=MASTER_KEY)
    assert report.first_bad is not None
    assert (report.first_bad.seq, report.first_bad.kind) == (last, DamageKind.FORGED)
    assert verify(place.folder).first_bad is not None


TRIGGER = """CREATE TRIGGER record_never_changes BEFORE UPDATE ON record
BEGIN SELECT RAISE(ABORT, 'a record never changes'); END"""
