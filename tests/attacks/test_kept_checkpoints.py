"""Promise 4: whoever kept one signed checkpoint elsewhere finds a cut, and a second history.

Also where every head in the home was put back with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from noodle_journal import DamageKind, Note, Report, parse_note, read_public_key, verify
from noodle_journal.failures import RecordUnknown
from noodle_journal.format.checkpoints import Checkpoint, LogSigner
from noodle_journal.verification.run import Slices
from tests.attacks.tampering import (
    COMMIT_ENDS,
    SIZE,
    TINY_SLICES,
    Copies,
    Victim,
    flip,
    make_journal,
)
from tests.unit.journal.place import MASTER_KEY, Place, note

BOTH = pytest.mark.parametrize("with_key", [True, False])


def checked(
    folder: Path, *kept: Note, with_key: bool, first: int = 1, last: int | None = None
) -> Report:
    reports = [
        verify(
            folder,
            master_key=MASTER_KEY if with_key else None,
            since=kept,
            first=first,
            last=last,
            slices=slices,
        )
        for slices in (Slices(1), TINY_SLICES)
    ]
    assert reports[0] == reports[1]
    return reports[0]


def bad(report: Report) -> tuple[int, DamageKind] | None:
    return None if report.first_bad is None else (report.first_bad.seq, report.first_bad.kind)


def kept_of(victim: Victim) -> dict[int, Note]:
    """Every checkpoint, as it was kept elsewhere."""
    with victim.place().reader() as reader:
        log, key = bytes.fromhex(reader.log_id), read_public_key(victim.folder / "keys/log.pub")
        rows = reader._log.connection.execute(
            "SELECT seq, root, signature FROM record WHERE root IS NOT NULL"
        )
        return {row[0]: parse_note(Checkpoint(log, *row).note(key)) for row in rows}


@BOTH
def test_every_kept_checkpoint_is_found_in_a_journal_that_has_grown(
    victim: Victim, with_key: bool
) -> None:
    kept = kept_of(victim)
    assert tuple(kept) == COMMIT_ENDS
    with victim.place().open(adopt=True) as journal:
        journal.append([note("later")])
    for size, one in kept.items():
        report = checked(victim.folder, one, with_key=with_key)
        assert report.ok
        assert report.largest_head >= size


@BOTH
def test_a_cut_that_no_head_in_the_home_knows_of_is_a_rollback(
    victim: Victim, with_key: bool
) -> None:
    kept = kept_of(victim)
    with victim.keystore() as connection:
        connection.execute("DELETE FROM head")
    with victim.journal() as connection:
        connection.execute("DELETE FROM record WHERE seq > 7")
    assert checked(victim.folder, with_key=with_key).ok
    assert checked(victim.folder, kept[7], with_key=with_key).ok
    for size in (10, 12):
        found = bad(checked(victim.folder, kept[size], with_key=with_key))
        assert found == (8, DamageKind.ROLLBACK)


@BOTH
def test_a_loss_that_a_take_over_recorded_is_still_a_loss_to_who_kept_a_checkpoint(
    copies: Copies, with_key: bool
) -> None:
    victim, old = copies.take(), copies.take()
    with victim.place().open(adopt=True) as journal:
        journal.append([note("newer")] * 4, head=True)
    lost = kept_of(victim)
    shutil.copy(old.folder / "journal.db", victim.folder / "journal.db")
    with Place(victim.folder, seed=123).open(adopt=True) as journal:
        journal.append([note("goes on")])
        size = journal.size
    assert checked(victim.folder, with_key=with_key).ok  # the heads in the home are given up
    found = bad(checked(victim.folder, lost[max(lost)], with_key=with_key))
    assert found is not None
    assert found[1] in (DamageKind.ROLLBACK, DamageKind.FORK)
    assert found[0] in (size + 1, max(lost))


@BOTH
def test_another_history_of_the_same_size_is_a_fork(copies: Copies, with_key: bool) -> None:
    one, other = copies.take(), copies.take()
    for number, victim in enumerate((one, other)):
        with victim.place().open(adopt=True) as journal:
            journal.append([note(f"history {number}")])
    for victim in (one, other):
        with victim.keystore() as connection:
            connection.execute("DELETE FROM head")
    kept = kept_of(other)
    largest = max(kept)
    found = bad(checked(one.folder, kept[largest], with_key=with_key))
    assert found == (largest, DamageKind.FORK)
    assert checked(one.folder, kept[12], with_key=with_key).ok  # what both have alike


@BOTH
def test_a_checkpoint_that_the_log_did_not_sign_accuses_nobody(
    victim: Victim, copies: Copies, with_key: bool
) -> None:
    genuine = kept_of(victim)[10].checkpoint(read_public_key(victim.folder / "keys/log.pub"))
    assert genuine is not None
    signer = LogSigner(bytes([3]) * 32)
    forged = Checkpoint(genuine.log_id, 10, bytes(32), signer.sign(b"x")).note(signer.public_key)
    stranger = copies.take()
    shutil.rmtree(stranger.folder)
    stranger.folder.mkdir()
    make_journal(stranger.folder, seed=8)
    for kept in (parse_note(forged), kept_of(stranger)[10]):
        report = checked(victim.folder, kept, with_key=with_key)
        assert bad(report) == (10, DamageKind.HEAD_INVALID)
        assert report.first_bad is not None
        assert "public key" in report.first_bad.remedy


@BOTH
@pytest.mark.parametrize("seq", [2, 5, 11])
def test_a_range_finds_what_is_in_it_or_before_it_and_nothing_after(
    victim: Victim, seq: int, with_key: bool
) -> None:
    with victim.journal() as connection:
        sealed = connection.execute("SELECT sealed FROM record WHERE seq = ?", (seq,)).fetchone()
        changed = (flip(sealed[0], 3, 1), seq)
        connection.execute("UPDATE record SET sealed = ? WHERE seq = ?", changed)
    for first, last in [(1, 7), (4, 6), (8, 10), (8, SIZE)]:
        report = checked(victim.folder, with_key=with_key, first=first, last=last)
        opened = with_key and seq >= first
        kind = DamageKind.FORGED if opened else DamageKind.ALTERED
        assert bad(report) == ((seq, kind) if seq <= report.last else None), (first, last)


def test_a_range_beyond_the_end_is_refused(victim: Victim) -> None:
    with pytest.raises(RecordUnknown):
        verify(victim.folder, first=SIZE + 1)
