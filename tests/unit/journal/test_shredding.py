"""Shredding: what is over cannot be read again, and the tree still proves what it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from noodle_journal import DamageKind, verify
from noodle_journal.failures import NothingToShred
from noodle_journal.shredding import compact_rows
from tests.attacks.second_verifier import verify as second_verify
from tests.unit.journal.place import MASTER_KEY, Place, note

RULE = "after 90 days"
SECRET = b"what nobody may read again"


def whole(place: Place) -> int:
    """Both verifiers find nothing, with the key and without; the number of records."""
    assert place.created is not None
    public = place.created.public_key
    size = 0
    for master in (MASTER_KEY, None):
        report = verify(place.folder, master_key=master, public_key=public, every_signature=True)
        assert report.ok, report.first_bad
        assert second_verify(place.folder, public, master) == (report.size, None)
        size = report.size
    return size


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def three_epochs(place: Place, *, plain: tuple[bool, bool] = (False, False)) -> None:
    """Two that ended, with a secret each, and one that is in use."""
    for number, legible in enumerate(plain):
        with place.open(plain=legible) as journal:
            journal.append([note(f"{number} {SECRET.decode()}", run=f"upgrade {number}")])
    with place.open() as journal:
        journal.append([note("in use")], head=True)


def wrapped(place: Place, epoch: int) -> tuple[bytes, bytes]:
    """An epoch's key as the keystore has it: its id, and its sealed bytes."""
    connection = sqlite3.connect(place.folder / "keystore.db")
    found = connection.execute(
        "SELECT key_id, sealed FROM wrapped_key WHERE purpose = 'data' AND epoch = ?", (epoch,)
    ).fetchone()
    connection.close()
    return bytes(found[0]), bytes(found[1])


def test_what_is_shredded_leaves_no_key_and_the_tree_still_verifies(place: Place) -> None:
    three_epochs(place)
    keys = [wrapped(place, epoch) for epoch in (1, 2)]
    assert all(key_id in files(place.folder) for key_id, _ in keys)
    with place.open() as journal:
        before = journal.size
        root = journal.root
        assert [one.number for one in journal.spans()] == [1, 2, 3]  # none is open yet
        journal.shred(2, RULE)
        assert journal.shredded == 2
        assert journal.root != root
        first = next(journal.read())
        assert first.epoch == 3
        assert list(journal.read_run("upgrade 0")) == []
        texts = [record.body.get("text") for record in journal.read_back(1000)]
        assert texts[-1:] == [None]  # the oldest that is left is the third epoch's own record
        assert "in use" in texts
    for _, sealed in keys:
        assert sealed not in files(place.folder)
    assert whole(place) > before
    report = verify(place.folder, master_key=MASTER_KEY)
    assert 0 < report.opened < report.size
    with place.open() as journal:
        assert journal.spans()[0].number == 3
        journal.append([note("on")])
    whole(place)


def test_only_whole_epochs_that_ended_are_shredded(place: Place) -> None:
    three_epochs(place)
    with place.open() as journal:
        with pytest.raises(NothingToShred):
            journal.shred(0, RULE)
        journal.append([note("in use as well")])
        last = journal.size
        journal.shred(journal.append([note("x")])[0].epoch, RULE)
        # The epoch in use stays, whatever the number says.
        assert [record.seq for record in journal.read(last, last + 1)] == [last]
    whole(place)


def test_a_key_that_was_put_back_is_deleted_at_the_next_open(place: Place) -> None:
    """X2: the order stays, however long ago it was given."""
    three_epochs(place)
    copied = sqlite3.connect(place.folder / "keystore.db")
    row = copied.execute("SELECT * FROM wrapped_key WHERE epoch = 1").fetchone()
    copied.close()
    with place.open() as journal:
        journal.shred(1, RULE)
        for _ in range(2):
            journal.rotate()
    again = sqlite3.connect(place.folder / "keystore.db")
    again.execute("INSERT INTO wrapped_key VALUES (?, ?, ?, ?, ?, ?)", row)
    again.commit()
    again.close()
    assert row[-1] in files(place.folder)
    with place.open():
        pass
    assert row[-1] not in files(place.folder)


@pytest.mark.parametrize("point", ["ordered", "keys"])
def test_cut_off_it_is_ended_by_the_next_open(place: Place, point: str) -> None:
    """The order is durable, and nothing of it is done; or the keys are gone, and no more."""
    three_epochs(place, plain=(False, True))
    journal = place.open()
    journal.append([note("open")])
    writer = journal._writer
    from noodle_journal.draft import Waiting  # noqa: PLC0415

    journal._commit_one(Waiting(writer.shred_next(2, RULE), going_back=False, head=True))
    if point == "keys":
        journal._ring.shred(2)
    journal.close()
    with place.open() as again:
        assert again.shredded == 2
        again.append([note("on")])
    assert SECRET not in files(place.folder)
    assert verify(place.folder, master_key=MASTER_KEY).ok
    with place.open() as again:
        assert again.shredded == 2
    whole(place)


def test_plain_epochs_leave_nothing_legible(place: Place) -> None:
    """Of any length: pages are split, filled anew, and overflow."""
    with place.open(plain=True) as journal:
        for number in range(300):
            length = place.entropy(2)
            text = SECRET.decode() + "x" * (int.from_bytes(length, "big") % 9000)
            journal.append([note(f"{number} {text}", run=f"upgrade {number % 7}")])
            if number % 50 == 0:
                journal._writer.checkpoint_passive()
    three_epochs(place, plain=(True, True))
    assert SECRET in files(place.folder)
    with place.open() as journal:
        journal.shred(3, RULE)
    assert SECRET not in files(place.folder)
    whole(place)


def test_compacting_leaves_hashes_and_gives_the_space_back(place: Place) -> None:
    with place.open() as journal:
        for number in range(400):
            journal.append([note(f"{number} " + "x" * 2000)])
    with place.open() as journal:
        journal.append([note("in use")])
        journal.shred(1, RULE)
        journal.checkpoint_idle()
        before = (place.folder / "journal.db").stat().st_size
        assert journal.compact() > 400
        assert (place.folder / "journal.db").stat().st_size < before / 3
        assert journal.compact() == 0
        journal.append([note("on")])
    whole(place)
    with place.open() as journal, pytest.raises(NothingToShred):
        journal.shred(1, RULE)


def test_a_row_compacted_by_somebody_else_is_named(place: Place) -> None:
    """Only what a signed record orders may be reduced to its hash."""
    three_epochs(place)
    connection = sqlite3.connect(place.folder / "journal.db")
    connection.execute("BEGIN")
    assert compact_rows(connection, 3, 3) == 1
    connection.commit()
    connection.close()
    report = verify(place.folder, master_key=MASTER_KEY)
    assert report.first_bad is not None
    assert report.first_bad.kind is DamageKind.UNRECORDED_SHRED
