"""Promise 4, law V1: each byte of each stored field is covered, and its change located.

Every case expects one exact kind of damage at the exact record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from noodle_journal import DamageKind, NoodleError, Record, verify
from noodle_journal.failures import (
    JournalDamaged,
    KeyMissing,
    KeystoreDamaged,
    WrongKey,
)
from noodle_journal.storage.database import connect
from tests.attacks.tampering import (
    COMMIT_ENDS,
    EPOCH_STARTS,
    HEADER_FIELDS,
    NOTES,
    SIZE,
    STATES,
    Copies,
    Victim,
    flip,
    flip_each,
)
from tests.unit.journal.place import MASTER_KEY

D = DamageKind
CLEAR_BIT, END_BIT = 0x02, 0x01


def every(length: int) -> range:
    return range(length)


def every_seventh(length: int) -> range:
    return range(0, length, 7)


def found(victim: Victim, *, with_key: bool) -> tuple[int, DamageKind]:
    report = victim.verify(with_key=with_key)
    assert not report.ok
    assert report.first_bad is not None
    if report.first_bad.seq:
        assert report.known_up_to < report.first_bad.seq
    assert report.first_bad.remedy
    return report.first_bad.seq, report.first_bad.kind


def expected_header(  # noqa: PLR0911 - one line for each field
    field: str, seq: int, mask: int, *, with_key: bool
) -> set[DamageKind]:
    """One kind for each field; two where the value decides which rule breaks first."""
    opens_epoch = seq in EPOCH_STARTS
    altered = D.FORGED if with_key else D.ALTERED
    if field in ("magic", "version"):
        return {D.MALFORMED}
    if field == "flags":
        if mask != END_BIT:
            return {D.MALFORMED}
        ends = seq in COMMIT_ENDS
        missing = D.CHECKPOINT_MISPLACED if ends else D.CHECKPOINT_MISSING
        return {D.FORGED} if with_key else {missing}
    if field == "kind":
        if seq in NOTES and mask == 1:
            return {altered, D.MALFORMED}  # a retention record, but without a clear part
        return {D.ORDER} if opens_epoch else {altered}
    if field == "log_id":
        return {D.FOREIGN}
    if field == "seq":
        return {D.MOVED}
    if field == "epoch":
        if not opens_epoch:
            return {D.ORDER}
        return {D.ORDER, D.KEY_MISMATCH if with_key else D.ALTERED}
    if field == "fence":
        return {D.ORDER, altered} if opens_epoch else {D.ORDER}
    if field == "previous":
        return {D.FORGED if with_key else D.CHAIN_BROKEN}
    assert field in ("at_ns", "tag")
    return {altered}


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("seq", range(1, SIZE + 1))
def test_each_byte_of_each_header_is_covered(victim: Victim, seq: int, with_key: bool) -> None:
    for field, start, length in HEADER_FIELDS:

        def positions(_: int, first: int = start, count: int = length) -> range:
            return range(first, first + count)

        for at, mask in flip_each(
            victim.folder,
            column="header",
            seq=seq,
            positions=positions,
        ):
            bad_seq, kind = found(victim, with_key=with_key)
            where = (field, at, mask, bad_seq, kind)
            assert bad_seq == seq, where
            assert kind in expected_header(field, seq, mask, with_key=with_key), where
    assert victim.verify(with_key=with_key).ok  # all was put back


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("column", ["nonce", "sealed", "root", "signature"])
def test_each_byte_of_nonce_ciphertext_root_and_signature_is_covered(
    victim: Victim, column: str, with_key: bool
) -> None:
    kinds = {
        "nonce": D.FORGED if with_key else D.ALTERED,
        "sealed": D.FORGED if with_key else D.ALTERED,
        "root": D.ROOT_MISMATCH,
        "signature": D.SIGNATURE_INVALID,
    }
    seqs = COMMIT_ENDS if column in ("root", "signature") else range(1, SIZE + 1)
    for seq in seqs:
        # Every byte of one record in mid-commit and of one at a commit's end.
        positions = every if seq in (5, 7) else every_seventh
        for at, mask in flip_each(
            victim.folder,
            column=column,
            seq=seq,
            positions=positions,
            masks=(0x01,),
        ):
            assert found(victim, with_key=with_key) == (seq, kinds[column]), (at, mask)
    assert victim.verify(with_key=with_key).ok


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("seq", [*EPOCH_STARTS, *STATES])
def test_each_byte_of_each_clear_part_is_covered(victim: Victim, seq: int, with_key: bool) -> None:
    seen: set[DamageKind] = set()
    for at, mask in flip_each(victim.folder, column="clear", seq=seq, positions=every):
        bad_seq, kind = found(victim, with_key=with_key)
        assert bad_seq == seq, (at, mask, bad_seq, kind)
        seen.add(kind)
    if seq in STATES:
        assert seen == ({D.FORGED} if with_key else {D.CLEAR_INVALID})
    elif with_key:
        # ALTERED: the key id is another one, so that nothing could be opened.
        assert seen == {D.CLEAR_INVALID, D.PUBLIC_KEY_CHANGED, D.KEY_MISMATCH, D.FORGED, D.ALTERED}
    else:
        assert seen == {D.CLEAR_INVALID, D.PUBLIC_KEY_CHANGED, D.ALTERED}
    assert victim.verify(with_key=with_key).ok


@pytest.mark.parametrize("with_key", [True, False])
def test_the_rows_outside_the_records_are_covered(victim: Victim, with_key: bool) -> None:
    with victim.journal() as connection:
        connection.execute("UPDATE log SET log_id = ?", (bytes(16),))
    assert found(victim, with_key=with_key) == (0, D.FOREIGN)
    with victim.journal() as connection:
        connection.execute("DELETE FROM log")
    assert found(victim, with_key=with_key) == (0, D.MALFORMED)


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("change", ["UPDATE writer SET fence = 1", "DELETE FROM writer"])
def test_a_fence_that_goes_back_is_found(victim: Victim, change: str, with_key: bool) -> None:
    with victim.journal() as connection:
        connection.execute(change)
    assert found(victim, with_key=with_key) == (0, D.ORDER)


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        "DROP TRIGGER record_never_changes",
        "DROP INDEX record_tag",
        "CREATE TRIGGER strange AFTER INSERT ON record BEGIN SELECT 1; END",
        "CREATE TABLE extra (a)",
    ],
)
def test_a_changed_schema_is_found(victim: Victim, change: str, with_key: bool) -> None:
    connection = connect(victim.folder / "journal.db")
    connection.execute(change)
    connection.close()
    assert found(victim, with_key=with_key) == (0, D.STORE_DAMAGED)
    with pytest.raises(JournalDamaged):
        victim.place().open()


# -- keystore -------------------------------------------------------------------

KEYSTORE_CASES = [
    # table, column, where, damage when verifying with the key, error at open
    ("store", "log_id", "id = 1", (0, D.KEYSTORE_DAMAGED), KeystoreDamaged),
    ("wrapped_key", "key_id", "purpose = 'tag'", (0, D.KEYSTORE_DAMAGED), KeystoreDamaged),
    ("wrapped_key", "key_id", "purpose = 'log'", (0, D.KEYSTORE_DAMAGED), KeystoreDamaged),
    ("wrapped_key", "key_id", "epoch = 1", (1, D.KEY_MISSING), None),
    ("wrapped_key", "key_id", "epoch = 2", (8, D.KEY_MISSING), KeyMissing),
    *(
        ("wrapped_key", column, where, damage, error)
        for column in ("nonce", "sealed", "kek_id")
        for where, damage, error in [
            ("purpose = 'tag'", (0, D.KEYSTORE_DAMAGED), KeystoreDamaged),
            ("purpose = 'log'", (0, D.KEYSTORE_DAMAGED), KeystoreDamaged),
            ("epoch = 1", (1, D.KEYSTORE_DAMAGED), None),
            ("epoch = 2", (8, D.KEYSTORE_DAMAGED), KeystoreDamaged),
        ]
    ),
    ("head", "root", "size = 3", (3, D.HEAD_INVALID), None),
    ("head", "root", "size = 10", (10, D.HEAD_INVALID), KeystoreDamaged),
    ("head", "signature", "size = 7", (7, D.HEAD_INVALID), None),
]


@pytest.mark.parametrize("case", KEYSTORE_CASES, ids=lambda case: ".".join(case[:3]))
def test_each_byte_of_the_keystore_is_covered(
    victim: Victim,
    case: tuple[str, str, str, tuple[int, DamageKind], type[NoodleError] | None],
) -> None:
    """None at open: an old epoch's key or head is not looked at, so that opening is flat."""
    table, column, where, damage, error = case
    path = victim.folder / "keystore.db"
    connection = connect(path)
    value = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()[0]
    rowid = "size" if table == "head" else "rowid"
    row = connection.execute(f"SELECT {rowid} FROM {table} WHERE {where}").fetchone()[0]
    connection.close()
    for at in range(len(value)):
        with victim.keystore() as connection:
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE {rowid} = ?", (flip(value, at, 1), row)
            )
        assert found(victim, with_key=True) == damage, at
    if error is None:
        victim.place().open().close()
    else:
        with pytest.raises(error):
            victim.place().open()


def test_a_changed_key_id_of_the_master_key_is_a_wrong_key(victim: Victim) -> None:
    with victim.keystore() as connection:
        connection.execute("UPDATE store SET kek_id = ?", (bytes(16),))
    with pytest.raises(WrongKey):
        victim.verify(with_key=True)
    with pytest.raises(WrongKey):
        victim.place().open()


@pytest.mark.parametrize(
    ("change", "damage"),
    [
        ("UPDATE wrapped_key SET purpose = 'data' WHERE purpose = 'tag'", (0, D.KEYSTORE_DAMAGED)),
        ("UPDATE wrapped_key SET purpose = 'tag' WHERE epoch = 1", (0, D.KEYSTORE_DAMAGED)),
        ("UPDATE wrapped_key SET purpose = 'x' WHERE epoch = 1", (1, D.KEYSTORE_DAMAGED)),
        ("UPDATE wrapped_key SET epoch = 9 WHERE epoch = 1", (1, D.KEYSTORE_DAMAGED)),
        ("UPDATE head SET size = 11 WHERE size = 10", (11, D.HEAD_INVALID)),
        ("UPDATE head SET size = 99 WHERE size = 10", (99, D.HEAD_INVALID)),
        ("DELETE FROM store", (0, D.KEYSTORE_DAMAGED)),
    ],
)
def test_each_other_value_of_the_keystore_is_covered(
    victim: Victim, change: str, damage: tuple[int, DamageKind]
) -> None:
    with victim.keystore() as connection:
        connection.execute(change)
    assert found(victim, with_key=True) == damage


def test_a_changed_schema_of_the_keystore_is_found(victim: Victim) -> None:
    connection = connect(victim.folder / "keystore.db")
    connection.execute("DROP TRIGGER head_never_changes")
    connection.close()
    assert found(victim, with_key=True) == (0, D.KEYSTORE_DAMAGED)
    with pytest.raises(KeystoreDamaged):
        victim.place().open()


def test_a_raised_epoch_number_never_gets_a_key_deleted(victim: Victim) -> None:
    """A key that seems unnamed is deleted at open only where its row is authentic."""
    victim.place().open(adopt=True).close()
    with victim.keystore() as connection:
        connection.execute("UPDATE wrapped_key SET epoch = 9 WHERE epoch = 1")
    with pytest.raises(KeystoreDamaged):
        victim.place().open()
    with victim.keystore() as connection:
        assert connection.execute("SELECT count(*) FROM wrapped_key").fetchone()[0] == 5


def test_keys_exchanged_between_epochs_are_found(victim: Victim) -> None:
    """The commitment of an epoch holds, whoever can write both rows."""
    with victim.keystore() as connection:
        rows = dict(
            connection.execute("SELECT epoch, key_id FROM wrapped_key WHERE epoch > 0").fetchall()
        )
        connection.execute("UPDATE wrapped_key SET key_id = zeroblob(16) WHERE epoch = 1")
        connection.execute("UPDATE wrapped_key SET key_id = ? WHERE epoch = 2", (rows[1],))
    assert found(victim, with_key=True) == (1, D.KEYSTORE_DAMAGED)


# -- raw bytes of the files -----------------------------------------------------------


@pytest.mark.parametrize(("name", "step"), [("journal.db", 61), ("keystore.db", 31)])
def test_a_changed_byte_of_a_file_never_changes_what_is_read(
    copies: Copies, name: str, step: int
) -> None:
    """Whatever SQLite makes of it: damage, a refusal, or the same records."""
    victim = copies.take()
    path = victim.folder / name
    data = path.read_bytes()
    with victim.place().reader() as reader:
        good = list(reader.read())
    outcomes: Counter[str] = Counter()
    for at in range(0, len(data), step):
        path.write_bytes(flip(data, at, 0xFF))
        outcomes[_outcome(victim, good)] += 1
        for left in (*victim.folder.glob("*-wal"), *victim.folder.glob("*-shm")):
            left.unlink()
    assert outcomes["damage"] > 10, outcomes
    assert set(outcomes) <= {"damage", "refused", "same"}, outcomes


def _outcome(victim: Victim, good: Sequence[Record]) -> str:
    try:
        report = verify(victim.folder, master_key=MASTER_KEY)
    except NoodleError as exc:
        return "refused" if exc.exit_code in (3, 6) else exc.code
    if not report.ok:
        return "damage"
    with victim.place().reader() as reader:
        return "same" if list(reader.read()) == good else "CHANGED"
