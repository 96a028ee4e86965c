"""Laws J1 to J5, O1, N1, N2: writing, reading, opening."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest

from noodle_journal import Identity, Journal, Kind, NewRecord, Record, backup, restore, verify
from noodle_journal.backup import backup_keystore, keep_broken, restore_keystore
from noodle_journal.draft import Waiting, ready
from noodle_journal.failures import (
    BadRecord,
    JournalAbsent,
    JournalClosed,
    JournalDamaged,
    JournalElsewhere,
    JournalEmpty,
    JournalExists,
    JournalFormatNewer,
    JournalFormatOlder,
    JournalRollback,
    KeyMissing,
    KeystoreAbsent,
    LeaseLost,
    NotAJournal,
    WrongKey,
)
from noodle_journal.format.sealing import Tagger
from noodle_journal.storage.database import connect
from noodle_journal.writing import GROUP_RECORDS_MAX, STATE_RECORDS_MAX
from tests.unit.journal.place import MASTER_KEY, Place, note

ULID = "01JABCDEFGHJKMNPQRSTVWXYZ0"


def test_what_append_returns_is_what_is_read_back(place: Place) -> None:
    """J1."""
    with place.open() as journal:
        first = journal.append([note("one"), NewRecord(Kind.TRANSITION, ULID, {"to": "pending"})])
        second = journal.append([note("two", ULID)])
        assert [record.seq for record in (*first, *second)] == [3, 4, 5]
        assert list(journal.read(3)) == [*first, *second]
        assert list(journal.read(4, 5)) == [first[1]]
        assert list(journal.read_run(ULID)) == [first[1], second[0]]
        assert list(journal.read_back(2)) == [second[0], first[1]]
        assert place.seen == list(journal.read())
        assert first[1].run == ULID
        assert first[1].body == {"to": "pending", "upgrade": ULID}
    with place.reader() as reader:
        assert list(reader.read()) == place.seen


def test_the_first_append_opens_an_epoch_with_its_state(place: Place) -> None:
    """J5; opening alone writes no record."""
    with place.open() as journal:
        assert journal.size == 0
        assert journal.load().state is None
        journal.append([note("one")])
        assert [record.label for record in journal.read()] == ["key.epoch", "state", "note"]
    with place.open() as journal:
        assert journal.size == 3
        journal.append([note("two")])
        kinds = [(record.label, record.epoch, record.fence) for record in journal.read(4)]
        assert kinds == [("key.epoch", 2, 2), ("state", 2, 2), ("note", 2, 2)]
        assert journal.append([note("three")])[0].seq == 7


def test_an_epoch_ends_after_its_time(place: Place) -> None:
    with place.open(epoch_seconds_max=100) as journal:
        journal.append([note("one")])
        place.now_ns += 99 * 10**9
        assert journal.append([note("two")])[0].epoch == 1
        place.now_ns += 10**9
        assert journal.append([note("three")])[0].epoch == 2
    assert verify(place.folder, master_key=MASTER_KEY).epochs == 2


def test_load_gives_the_last_state_and_what_follows(place: Place) -> None:
    """O1: state plus records is everything."""
    with place.open() as journal:
        journal.append([note("one"), note("two")])
    with place.open() as journal:
        loaded = journal.load()
        assert loaded.state == {"seen": 0}
        assert [record.body.get("text") for record in loaded.records] == ["one", "two"]
        journal.append([note("three")])
        assert journal.load().state == {"seen": 4}
    with place.reader() as reader:
        loaded = reader.load()
        assert loaded.state == {"seen": 4}
        assert [record.body.get("text") for record in loaded.records] == ["three"]


def test_opening_reads_a_bounded_number_of_records(place: Place) -> None:
    """O1: a long epoch gets `state` records of its own."""
    with place.open() as journal:
        for _ in range(5):
            journal.append([note("x")] * 1000)
        states = [record.seq for record in journal.read() if record.kind is Kind.STATE]
        assert len(states) == 2
        assert journal.load().state == {"seen": states[-1] - 1}
        assert len(journal.load().records) <= STATE_RECORDS_MAX + GROUP_RECORDS_MAX
    with place.open() as journal:
        journal.append([note("y")])
    assert verify(place.folder, master_key=MASTER_KEY).ok


def test_nobody_goes_on_before_on_commit_has_seen_the_records(tmp_path: Path) -> None:
    """J1. A follower that wakes in mid-commit must not act on a fold without its record."""
    entries: list[Waiting] = []
    seen: list[tuple[bool, bool]] = []

    class Watched(Place):
        def on_commit(self, records: Sequence[Record]) -> None:
            super().on_commit(records)
            seen.extend((entry.durable, entry.done) for entry in entries)

    place = Watched(tmp_path).create()
    with place.open() as journal:
        item = ready(note("one"), tagger=Tagger(bytes(32)))
        entries += [Waiting([item], going_back=False, head=True) for _ in range(2)]
        journal._writer.commit(list(entries), list)
    assert seen == [(True, False), (True, False)]


def test_commits_of_threads_are_in_the_order_on_commit_saw(place: Place) -> None:
    """J1: group commit; each call's records stand together."""
    threads, calls = 8, 25
    returned: list[list[int]] = [[] for _ in range(threads)]
    with place.open() as journal:

        def work(number: int) -> None:
            for call in range(calls):
                got = journal.append([note(f"{number}.{call}.0"), note(f"{number}.{call}.1")])
                returned[number].extend(record.seq for record in got)
                assert got[1].seq == got[0].seq + 1
                assert place.seen[got[1].seq - 1] == got[1]  # seen before append returned

        workers = [threading.Thread(target=work, args=(at,)) for at in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        stored = list(journal.read())
    assert place.seen == stored
    assert [record.seq for record in stored] == list(range(1, len(stored) + 1))
    assert all(seqs == sorted(seqs) for seqs in returned)
    assert sorted(chain.from_iterable(returned)) == list(range(3, len(stored) + 1))
    assert verify(place.folder, master_key=MASTER_KEY, every_signature=True).ok


def test_records_that_queue_during_a_commit_join_it(place: Place) -> None:
    """J4: one commit, one signature, for the leader and its followers."""
    with place.open() as journal:
        journal.append([note("first")])
        inside, queued = threading.Event(), threading.Event()
        follower = threading.Thread(target=lambda: journal.append([note("follower")]))

        def slow_entropy(size: int) -> bytes:
            # The leader is sealing its only record: the follower arrives now.
            if not inside.is_set():
                inside.set()
                follower.start()
                while not journal._queue:
                    queued.wait(0.001)
            return place.entropy(size)

        real = journal._writer._world
        journal._writer._world = type(real)(
            real.wall_ns, slow_entropy, real.identity, real.state, real.on_commit, real.epoch_ns_max
        )
        journal.append([note("a"), note("b")])
        follower.join()
        connection = connect(place.folder / "journal.db", read_only=True)
        ends = connection.execute("SELECT seq FROM record WHERE root IS NOT NULL").fetchall()
        connection.close()
        assert [row[0] for row in ends] == [3, 6]


@pytest.mark.parametrize("kind", [Kind.KEY_EPOCH, Kind.STATE, Kind.RETENTION])
def test_the_journals_own_kinds_are_refused(place: Place, kind: Kind) -> None:
    """J2."""
    with place.open() as journal:
        with pytest.raises(BadRecord):
            journal.append([NewRecord(kind, None, {})])
        assert journal.size == 0


def test_a_bad_record_keeps_its_whole_call_out(place: Place) -> None:
    """J2."""
    with place.open() as journal:
        for record in (
            NewRecord(Kind.NOTE, None, {"x": float("nan")}),
            NewRecord(Kind.NOTE, "a", {"upgrade": "b"}),
            NewRecord(Kind.NOTE, None, {"upgrade": "b"}),
        ):
            with pytest.raises(BadRecord):
                journal.append([note("good"), record])
        assert journal.append([]) == ()
        assert journal.size == 0
        assert journal.append([note("good")])[0].seq == 3


def test_a_writer_that_lost_its_lease_writes_nothing(place: Place) -> None:
    """J2 and promise 6: the fence decides, not the lock."""
    first = place.open()
    first.append([note("one")])
    second = place.open()
    with pytest.raises(LeaseLost):
        first.append([note("late")])
    with pytest.raises(LeaseLost):
        first.append([note("late")], going_back=True)
    assert second.append([note("two")])[0].fence == 2
    with pytest.raises(LeaseLost):
        first.reopen()
    first.close()
    second.close()
    texts = [record.body.get("text") for record in place.reader().read()]
    assert "late" not in texts


def test_a_callback_that_appends_is_refused_not_deadlocked(place: Place) -> None:
    errors: list[BaseException] = []
    with place.open() as journal:

        def greedy(_records: object) -> None:
            try:
                journal.append([note("inner")])
            except JournalClosed as exc:
                errors.append(exc)

        real = journal._writer._world
        journal._writer._world = type(real)(
            real.wall_ns, real.entropy, real.identity, real.state, greedy, real.epoch_ns_max
        )
        journal.append([note("outer")])
        assert len(errors) == 1


def test_a_failing_callback_poisons_but_loses_nothing(place: Place) -> None:
    """J3: what is durable stays; the caller's memory is not trusted any more."""
    with place.open() as journal:
        journal.append([note("one")])

        def broken(_records: object) -> None:
            raise ZeroDivisionError

        real = journal._writer._world
        journal._writer._world = type(real)(
            real.wall_ns, real.entropy, real.identity, real.state, broken, real.epoch_ns_max
        )
        with pytest.raises(ZeroDivisionError):
            journal.append([note("two")])
        assert journal.poisoned is not None
        with pytest.raises(type(journal.poisoned)):
            journal.append([note("three")])
        assert journal.size == 4
    with place.reader() as reader:
        assert [record.body.get("text") for record in reader.read(3)] == ["one", "two"]


def test_a_closed_journal_refuses(place: Place) -> None:
    journal = place.open()
    journal.close()
    journal.close()
    with pytest.raises(JournalClosed):
        journal.append([note("x")])
    with pytest.raises(JournalClosed):
        list(journal.read())


def test_a_reader_works_beside_a_writer_and_opens_no_epoch(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("one")])
        with place.reader() as reader:
            assert reader.size == 3
            assert reader.root == journal.root
            assert reader.log_id == journal.log_id
            journal.append([note("two")])
            assert reader.size == 4
            assert reader.root == journal.root
            assert next(reader.read_back(1)).body["text"] == "two"
        assert journal.size == 4


def test_an_open_reader_does_not_stop_a_writer(place: Place) -> None:
    with place.open() as journal, place.reader() as reader:
        journal.append([note("x")] * 600)
        slow = reader.read()
        next(slow)
        journal.append([note("y")] * 10)
        assert sum(1 for _ in slow) >= 601


# -- files that are not there, or not as they should be -----------------------


def test_an_absent_or_empty_journal_is_never_taken_for_a_new_one(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("one")])
    path = place.folder / "journal.db"
    path.rename(place.folder / "kept")
    (place.folder / "journal.db-wal").write_bytes(b"left over")
    with pytest.raises(JournalAbsent):
        place.open()
    with pytest.raises(JournalAbsent):
        place.create()
    (place.folder / "journal.db-wal").unlink()
    with pytest.raises(JournalAbsent):
        place.create()  # N2: its keystore was used
    path.touch()
    with pytest.raises(JournalEmpty):
        place.open()
    with pytest.raises(JournalEmpty):
        place.reader()
    with pytest.raises(JournalExists):
        place.create()
    assert path.stat().st_size == 0


def test_a_second_create_is_refused(place: Place) -> None:
    before = (place.folder / "journal.db").read_bytes()
    with pytest.raises(JournalExists):
        place.create()
    assert (place.folder / "journal.db").read_bytes() == before


def test_a_create_that_was_cut_short_runs_again(place: Place) -> None:
    """N1: what is left without a journal.db."""
    (place.folder / "journal.db").unlink()
    place.create()
    with place.open() as journal:
        journal.append([note("one")])
    assert verify(place.folder, master_key=MASTER_KEY).ok


def test_new_files_are_private(place: Place) -> None:
    modes = {
        path.name: path.stat().st_mode & 0o777 for path in place.folder.rglob("*") if path.is_file()
    }
    assert modes == {
        "journal.db": 0o600,
        "keystore.db": 0o600,
        "reserve": 0o600,
        "log.pub": 0o644,
    }
    with place.open() as journal:
        journal.append([note("x")])
        assert (place.folder / "journal.db-wal").stat().st_mode & 0o777 == 0o600


def test_newer_and_older_formats_are_refused_by_name(place: Place) -> None:
    for name, error, version in [
        ("journal.db", JournalFormatNewer, 2),
        ("journal.db", JournalFormatOlder, 0),
        ("keystore.db", JournalFormatNewer, 2),
    ]:
        connection = connect(place.folder / name)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        with pytest.raises(error):
            place.open()
        with pytest.raises(error):
            place.reader()
        connection = connect(place.folder / name)
        connection.execute("PRAGMA user_version = 1")
        connection.close()
    place.open().close()


def test_another_database_is_not_a_journal(place: Place) -> None:
    connection = connect(place.folder / "journal.db")
    connection.execute("PRAGMA application_id = 1")
    connection.close()
    with pytest.raises(NotAJournal):
        place.open()


def test_text_in_place_of_a_database_is_damage(place: Place) -> None:
    (place.folder / "journal.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(JournalDamaged):
        place.open()


def test_keys_that_are_wrong_or_missing_fail_closed(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("one")])
    place.master_key = bytes(32)
    with pytest.raises(WrongKey):
        place.open()
    with pytest.raises(WrongKey):
        place.reader()
    place.master_key = MASTER_KEY
    connection = connect(place.folder / "keystore.db")
    connection.execute("DELETE FROM wrapped_key WHERE purpose = 'data'")
    connection.close()
    with pytest.raises(KeyMissing):
        place.open()
    (place.folder / "keystore.db").unlink()
    with pytest.raises(KeystoreAbsent):
        place.open()
    with pytest.raises(KeystoreAbsent):
        place.reader()


def test_a_key_that_no_epoch_names_is_deleted_at_the_next_open(place: Place) -> None:
    """J5: a crash between the two files leaves a key that sealed nothing."""
    journal = place.open()
    journal.append([note("one")])
    journal._writer._prepare_epoch()  # the keystore's commit, without the journal's
    journal.close()
    with place.open() as again:
        keys = again._ring.keystore.data_keys()
        assert [key.epoch for key in keys] == [1]
        assert again.append([note("two")])[0].epoch == 2
    assert verify(place.folder, master_key=MASTER_KEY).ok


# -- places ---------------------------------------------------------------------


def test_a_journal_found_elsewhere_is_read_only_until_it_is_adopted(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("one")])
    with place.open(machine="machine-b") as moved:
        assert moved.fence == 0
        assert isinstance(moved.elsewhere, JournalElsewhere)
        with pytest.raises(JournalElsewhere):
            moved.append([note("no")])
        with pytest.raises(JournalElsewhere):
            moved.append([note("no")], going_back=True)
        assert len(list(moved.read())) == 3
    with place.open(machine="machine-b", adopt=True) as adopted:
        assert adopted.elsewhere is None
        assert adopted.size == 5  # key.epoch and state, at once
        assert next(adopted.read(4, 5)).body["adopted"] is True
        adopted.append([note("two")])
    with place.open() as back:
        assert back.elsewhere is not None
    assert verify(place.folder, master_key=MASTER_KEY).ok


def test_adopting_a_journal_in_its_own_place_writes_nothing(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("one")])
    with place.open(adopt=True) as journal:
        assert journal.size == 3


def test_places_compare_by_volume_where_both_know_it() -> None:
    one = Identity("m", 1, 2, "uuid-a")
    assert one.is_same_place(Identity("m", 9, 2, "uuid-a"))  # a renumbered device
    assert one.is_same_place(Identity("m", 1, 2, None))  # an older kernel
    assert not one.is_same_place(Identity("m", 1, 2, "uuid-b"))
    assert not one.is_same_place(Identity("n", 1, 2, "uuid-a"))
    assert not one.is_same_place(Identity("m", 1, 3, "uuid-a"))
    assert not Identity("m", 1, 2).is_same_place(Identity("m", 9, 2))
    assert Identity.from_json(one.to_json()) == one
    assert Identity.from_json({"inode": 1}) is None
    assert Identity.from_json(None) is None


# -- backup and restore ------------------------------------------------------------


def test_a_backup_is_whole_and_restores_to_a_journal_that_must_be_adopted(
    place: Place, tmp_path: Path
) -> None:
    """B1 and B2."""
    copy = tmp_path / "copy.db"
    with place.open() as journal:
        journal.append([note("one")])
        assert backup(place.folder, copy) == 3
        with pytest.raises(JournalExists):
            backup(place.folder, copy)
        journal.append([note("two")], head=True)
    with pytest.raises(JournalExists):
        restore(copy, place.folder)
    kept = keep_broken(place.folder)
    assert kept.name == "journal.db.broken-1"
    with pytest.raises(JournalAbsent):
        place.open()
    assert restore(copy, place.folder) == 3
    with pytest.raises(JournalRollback):  # the keystore knows size 4
        place.open()
    assert not verify(place.folder, master_key=MASTER_KEY).ok
    with place.open(adopt=True) as journal:
        assert journal.size == 5
        journal.append([note("after")], head=True)
    report = verify(place.folder, master_key=MASTER_KEY)
    assert report.ok, report.first_bad  # the loss is on record
    with place.open() as journal:
        assert journal.elsewhere is None
        # The lost epoch's number is not used again, so its key is still there.
        assert journal.append([note("more")])[0].epoch == 3
    assert verify(place.folder, master_key=MASTER_KEY).ok


def test_restoring_over_a_journal_keeps_it_aside_and_only_for_a_copy_of_its_own(
    place: Place, tmp_path: Path
) -> None:
    other = Place(tmp_path / "other", seed=2)
    other.folder.mkdir()
    other.create()
    copy, strange = tmp_path / "copy.db", tmp_path / "strange.db"
    backup(other.folder, strange)
    with place.open() as journal:
        journal.append([note("one")])
        backup(place.folder, copy)
    before = (place.folder / "journal.db").read_bytes()
    with pytest.raises(JournalDamaged):
        restore(strange, place.folder, set_aside=True)
    assert (place.folder / "journal.db").read_bytes() == before
    assert restore(copy, place.folder, set_aside=True) == 3
    assert (place.folder / "journal.db.broken-1").read_bytes() == before


def test_a_backup_of_another_journal_is_refused(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other", seed=2)
    other.folder.mkdir()
    other.create()
    copy = tmp_path / "copy.db"
    backup(other.folder, copy)
    keep_broken(place.folder)
    with pytest.raises(JournalDamaged):
        restore(copy, place.folder)
    with pytest.raises(JournalAbsent):
        restore(tmp_path / "nothing", place.folder)


def test_a_keystore_is_backed_up_and_restored_apart(place: Place, tmp_path: Path) -> None:
    with place.open() as journal:
        journal.append([note("one")])
        backup_keystore(place.folder, tmp_path / "keys.db")
    with pytest.raises(JournalExists):
        restore_keystore(tmp_path / "keys.db", place.folder)
    (place.folder / "keystore.db").unlink()
    restore_keystore(tmp_path / "keys.db", place.folder)
    assert verify(place.folder, master_key=MASTER_KEY).ok


# -- what commands pay for ------------------------------------------------------------


def test_importing_the_journal_stays_light() -> None:
    """Lazy as findings.md asks: opening a current journal loads no migration tool."""
    code = (
        "import sys; import noodle_journal, noodle_journal.errors; "
        "assert 'cryptography' not in sys.modules and 'orjson' not in sys.modules; "
        "from noodle_journal import Journal, Kind, verify; "
        "heavy = {'sqlite_utils', 'pydantic', 'asyncio', 'click', 'rich'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})


def test_all_public_names_are_there() -> None:
    import noodle_journal  # noqa: PLC0415

    assert all(getattr(noodle_journal, name) is not None for name in noodle_journal.__all__)
    with pytest.raises(AttributeError):
        noodle_journal.no_such_name  # noqa: B018
    assert Journal.read_only is not None
