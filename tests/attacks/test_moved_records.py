"""Promise 4: records deleted, swapped, repeated, renumbered, spliced, forged; copies put back.

Each is located at its record, or, where the end is gone, found by a kept head
and otherwise stated as what is known.
"""

from __future__ import annotations

import shutil

import pytest

from noodle_journal import DamageKind, JournalError, verify
from noodle_journal.failures import (
    JournalDamaged,
    JournalForged,
    JournalFork,
    JournalRollback,
)
from noodle_journal.format.canonical import encode, pad
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.records import HEADER, NO_LEAF
from noodle_journal.format.sealing import EpochKeys
from noodle_journal.storage.database import Connection
from tests.attacks.tampering import COMMIT_ENDS, SIZE, Copies, Victim, make_journal
from tests.unit.journal.place import MASTER_KEY, Place, note

D = DamageKind
COLUMNS = "header, clear, nonce, sealed, root, signature"
BOTH = pytest.mark.parametrize("with_key", [True, False])


def found(victim: Victim, *, with_key: bool, every: bool = False) -> tuple[int, DamageKind]:
    report = victim.verify(with_key=with_key, every_signature=every)
    assert report.first_bad is not None
    return report.first_bad.seq, report.first_bad.kind


def row(connection: Connection, seq: int) -> tuple[bytes | None, ...]:
    values: tuple[bytes | None, ...] = connection.execute(
        f"SELECT {COLUMNS} FROM record WHERE seq = ?", (seq,)
    ).fetchone()
    return values


def put(connection: Connection, seq: int, values: tuple[bytes | None, ...]) -> None:
    connection.execute("DELETE FROM record WHERE seq = ?", (seq,))
    connection.execute(
        f"INSERT INTO record (seq, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", (seq, *values)
    )


@BOTH
@pytest.mark.parametrize("seq", range(1, SIZE))
def test_a_deleted_record_is_missing(victim: Victim, seq: int, with_key: bool) -> None:
    with victim.journal() as connection:
        connection.execute("DELETE FROM record WHERE seq = ?", (seq,))
    assert found(victim, with_key=with_key) == (seq, D.MISSING)


@BOTH
@pytest.mark.parametrize("seq", range(1, SIZE))
def test_a_deleted_record_with_the_rest_renumbered_is_found(
    victim: Victim, seq: int, with_key: bool
) -> None:
    with victim.journal() as connection:
        connection.execute("DELETE FROM record WHERE seq = ?", (seq,))
        for after in range(seq + 1, SIZE + 1):
            connection.execute("UPDATE record SET seq = ? WHERE seq = ?", (after - 1, after))
    assert found(victim, with_key=with_key) == (seq, D.MOVED)


@BOTH
@pytest.mark.parametrize(("one", "other"), [(1, 8), (2, 9), (3, 4), (4, 5), (6, 7), (3, 12)])
def test_swapped_records_are_found(victim: Victim, one: int, other: int, with_key: bool) -> None:
    with victim.journal() as connection:
        first, second = row(connection, one), row(connection, other)
        put(connection, one, second)
        put(connection, other, first)
    assert found(victim, with_key=with_key) == (one, D.MOVED)


@BOTH
@pytest.mark.parametrize("seq", range(1, SIZE + 1))
def test_a_repeated_record_is_found(victim: Victim, seq: int, with_key: bool) -> None:
    with victim.journal() as connection:
        put(connection, SIZE + 1, row(connection, seq))
    assert found(victim, with_key=with_key) == (SIZE + 1, D.MOVED)


@BOTH
@pytest.mark.parametrize("keep", range(1, SIZE))
def test_a_cut_tail_is_found_by_its_commit_or_by_a_head(
    victim: Victim, keep: int, with_key: bool
) -> None:
    with victim.journal() as connection:
        connection.execute("DELETE FROM record WHERE seq > ?", (keep,))
    report = victim.verify(with_key=with_key)
    if keep not in COMMIT_ENDS:
        assert report.first_bad is not None
        assert (report.first_bad.seq, report.first_bad.kind) == (keep, D.CUT)
    elif keep < 10:
        assert report.first_bad is not None
        assert (report.first_bad.seq, report.first_bad.kind) == (keep + 1, D.ROLLBACK)
        with pytest.raises(JournalRollback):
            victim.place().open()
        with pytest.raises(JournalRollback):
            victim.place().reader()
    else:
        # Newer than the last head: the stated gap. The report says how far it knows.
        assert report.ok
        assert (report.known_up_to, report.largest_head) == (10, 10)


@BOTH
def test_an_emptied_journal_is_a_rollback(victim: Victim, with_key: bool) -> None:
    with victim.journal() as connection:
        connection.execute("DELETE FROM record")
    assert found(victim, with_key=with_key) == (1, D.ROLLBACK)
    with pytest.raises(JournalRollback):
        victim.place().open()


@BOTH
@pytest.mark.parametrize("seq", [2, 3, 5, 7, 9, 12])
def test_a_record_of_another_journal_is_foreign(copies: Copies, seq: int, with_key: bool) -> None:
    victim, other = copies.take(), copies.take()
    shutil.rmtree(other.folder)
    other.folder.mkdir()
    make_journal(other.folder, seed=8)
    with other.journal() as source, victim.journal() as connection:
        put(connection, seq, row(source, seq))
    assert found(victim, with_key=with_key) == (seq, D.FOREIGN)


@BOTH
def test_a_whole_other_journal_is_found(copies: Copies, with_key: bool) -> None:
    victim, other = copies.take(), copies.take()
    shutil.rmtree(other.folder)
    other.folder.mkdir()
    make_journal(other.folder, seed=8)
    shutil.copy(other.folder / "journal.db", victim.folder / "journal.db")
    assert found(victim, with_key=with_key) == (0, D.FOREIGN)
    with pytest.raises(JournalDamaged):
        victim.place().open()
    # With its keystore too: only the public key that was kept elsewhere tells.
    shutil.copy(other.folder / "keystore.db", victim.folder / "keystore.db")
    assert found(victim, with_key=False) == (1, D.PUBLIC_KEY_CHANGED)


def rechain(connection: Connection, start: int) -> None:
    """Make chain and roots consistent again from `start`, as one without keys can."""
    tree, previous = Frontier(), NO_LEAF
    for seq in range(1, SIZE + 1):
        header, clear, nonce, sealed, root, signature = row(connection, seq)
        assert header is not None
        if seq > start:
            header = header[:64] + previous
        previous = leaf_hash(header, clear or b"", nonce or b"", sealed or b"")
        tree.push(previous)
        if root is not None:
            root = tree.root()
        put(connection, seq, (header, clear, nonce, sealed, root, signature))


@pytest.mark.parametrize("seq", [3, 4, 5, 6, 7])
def test_a_rechained_forgery_without_the_key_is_found(victim: Victim, seq: int) -> None:
    with victim.journal() as connection:
        header, clear, nonce, sealed, root, signature = row(connection, seq)
        put(connection, seq, (header, clear, nonce, bytes(len(sealed or b"")), root, signature))
        rechain(connection, seq)
    end = min(at for at in COMMIT_ENDS if at >= seq)
    assert found(victim, with_key=True) == (seq, D.FORGED)
    assert found(victim, with_key=False) == (end, D.SIGNATURE_INVALID)
    assert found(victim, with_key=False, every=True) == (end, D.SIGNATURE_INVALID)


@BOTH
def test_stripped_signatures_are_found(victim: Victim, with_key: bool) -> None:
    with victim.journal() as connection:
        connection.execute("UPDATE record SET root = NULL, signature = NULL")
    assert found(victim, with_key=with_key) == (3, D.CHECKPOINT_MISSING)
    with pytest.raises(JournalDamaged):
        victim.place().open()


@BOTH
@pytest.mark.parametrize("seq", COMMIT_ENDS)
def test_one_stripped_signature_is_found(victim: Victim, seq: int, with_key: bool) -> None:
    with victim.journal() as connection:
        connection.execute("UPDATE record SET root = NULL, signature = NULL WHERE seq = ?", (seq,))
    assert found(victim, with_key=with_key) == (seq, D.CHECKPOINT_MISSING)


@BOTH
def test_signatures_of_other_sizes_do_not_fit(victim: Victim, with_key: bool) -> None:
    with victim.journal() as connection:
        three, six = row(connection, 3), row(connection, 6)
        put(connection, 3, (*three[:5], six[5]))
    assert found(victim, with_key=with_key, every=True) == (3, D.SIGNATURE_INVALID)


def test_an_old_epoch_resealed_with_a_newer_key_is_found(victim: Victim) -> None:
    """Who stole the key of epoch 2 still cannot write into epoch 1."""
    place = victim.place()
    with place.open() as journal:
        ring = journal._ring
        wrapped = next(key for key in ring.keystore.data_keys() if key.epoch == 2)
        stolen = EpochKeys(
            data_key=ring.master.unwrap(wrapped, log_id=ring.log_id), log_id=ring.log_id
        )
    with victim.journal() as connection:
        header, clear, _, _, root, signature = row(connection, 5)
        assert header is not None
        text, _ = encode({"step": "nothing", "upgrade": "x"})
        nonce, sealed = stolen.seal(associated=header, padded=pad(text), random16=bytes(16))
        put(connection, 5, (header, clear, nonce, sealed, root, signature))
        rechain(connection, 5)
    assert found(victim, with_key=True) == (5, D.FORGED)
    # Claiming epoch 2 for it in the header does not help either.
    with victim.journal() as connection:
        fields = list(HEADER.unpack(header))
        fields[6] = 2
        put(connection, 5, (HEADER.pack(*fields), clear, nonce, sealed, root, signature))
        rechain(connection, 5)
    assert found(victim, with_key=True) == (5, D.ORDER)


# -- whole files --------------------------------------------------------------------


@BOTH
def test_an_old_copy_put_back_is_a_rollback(victim: Victim, with_key: bool) -> None:
    old = (victim.folder / "journal.db").read_bytes()
    with victim.place().open(adopt=True) as journal:  # a copy has another inode
        journal.append([note("newer")])
    (victim.folder / "journal.db").write_bytes(old)
    assert found(victim, with_key=with_key) == (SIZE + 1, D.ROLLBACK)
    with pytest.raises(JournalRollback):
        victim.place().open()


@BOTH
def test_an_old_copy_that_was_continued_is_a_fork(copies: Copies, with_key: bool) -> None:
    """Cut, then continued with the real keys on another machine, then put back."""
    victim, other = copies.take(), copies.take()
    for number, one in enumerate((victim, other)):
        place = Place(one.folder, seed=100 + number)
        with place.open(adopt=True) as journal:  # copies have other inodes
            journal.append([note(f"history {number}")], head=True)
    shutil.copy(other.folder / "journal.db", victim.folder / "journal.db")
    assert found(victim, with_key=with_key)[1] is D.FORK
    with pytest.raises(JournalError) as caught:
        victim.place().open()
    assert isinstance(caught.value, JournalFork)


def live_files(copies: Copies) -> Victim:
    """Files as they are while a writer has them open: most of it is in the -wal."""
    source, victim = copies.take(), copies.take()
    with source.place().open(adopt=True) as journal:
        journal.append([note("in the write-ahead log")] * 3, head=True)
        journal.append([note("after the head")])
        shutil.rmtree(victim.folder)
        shutil.copytree(source.folder, victim.folder)
    assert (victim.folder / "journal.db-wal").stat().st_size > 0
    return victim


@BOTH
def test_a_removed_write_ahead_log_is_a_rollback(copies: Copies, with_key: bool) -> None:
    victim = live_files(copies)
    assert victim.verify(with_key=with_key).ok
    victim = live_files(copies)
    for path in victim.folder.glob("journal.db-*"):
        path.unlink()
    assert found(victim, with_key=with_key)[1] is D.ROLLBACK


def test_a_changed_write_ahead_log_loses_whole_commits_at_most(copies: Copies) -> None:
    """SQLite drops a frame whose sum is wrong and all after it; a head notices."""
    victim = live_files(copies)
    path = victim.folder / "journal.db-wal"
    data = path.read_bytes()
    database = (victim.folder / "journal.db").read_bytes()
    kinds: set[str] = set()
    for at in range(40, len(data), 977):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        (victim.folder / "journal.db").write_bytes(database)
        (victim.folder / "journal.db-shm").unlink(missing_ok=True)
        report = victim.verify(with_key=True)
        if report.ok:
            assert report.size >= report.largest_head >= 17
            kinds.add("gap")
        else:
            assert report.first_bad is not None
            kinds.add(report.first_bad.kind)
    assert D.ROLLBACK in kinds
    assert kinds <= {D.ROLLBACK, "gap"}, kinds


# -- keys -------------------------------------------------------------------------------


def test_the_wrong_public_key_is_always_found(victim: Victim) -> None:
    wrong = make_other_key(victim)
    for key in (None, MASTER_KEY):
        report = verify(victim.folder, master_key=key, public_key=wrong)
        assert report.first_bad is not None
        assert report.first_bad.kind is D.PUBLIC_KEY_CHANGED


def make_other_key(victim: Victim) -> bytes:
    other = victim.folder / "other"
    other.mkdir()
    created = make_journal(other, seed=8).created
    assert created is not None
    return created.public_key


def test_forged_records_are_never_handed_out(victim: Victim) -> None:
    """Reading one record checks it, whether or not anybody verifies."""
    with victim.journal() as connection:
        header, clear, nonce, sealed, root, signature = row(connection, 5)
        put(connection, 5, (header, clear, nonce, bytes(len(sealed or b"")), root, signature))
    with victim.place().reader() as reader:
        assert len(list(reader.read(1, 5))) == 4
        with pytest.raises(JournalForged) as caught:
            list(reader.read())
    assert caught.value.seq == 5


def test_nothing_readable_is_in_any_file(victim: Victim) -> None:
    """Promise 5, on the raw bytes."""
    secrets = (b"swap", b"validated", b"terminal", b"01JATTACK", b"machine-a", MASTER_KEY)
    for path in victim.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [secret for secret in secrets if secret in data], path
