"""Laws J2, J3, J6: full disks, failing commits, what survives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noodle_journal import Journal, verify
from noodle_journal.failures import (
    JournalBusy,
    JournalFull,
    JournalIoError,
    SqliteTooOld,
)
from noodle_journal.storage import database
from noodle_journal.storage.database import sqlite3
from noodle_journal.storage.reserve import RESERVE_BYTES, free_reserve, make_reserve
from tests.conftest import require_system
from tests.unit.journal.place import MASTER_KEY, Place, note

IO_ERROR_FSYNC = 10 | (4 << 8)


class FailingCommits:
    """A connection whose next COMMIT reports an I/O error, before or after it took place."""

    def __init__(self, real: sqlite3.Connection, *, survives: bool) -> None:
        self.real = real
        self.survives = survives

    def execute(self, statement: str, *values: Any) -> Any:
        if statement != "COMMIT":
            return self.real.execute(statement, *values)
        if self.survives:
            self.real.execute(statement)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = IO_ERROR_FSYNC
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def fail_commits(journal: Journal, *, survives: bool) -> None:
    writer = journal._writer
    double: Any = FailingCommits(writer._connection, survives=survives)
    writer._connection = double


def is_poisoned(journal: Journal) -> bool:
    return isinstance(journal.poisoned, JournalIoError)


@pytest.mark.parametrize("survives", [True, False])
@pytest.mark.parametrize("first_of_session", [True, False])
def test_after_a_failed_commit_reopening_tells_what_survived(
    place: Place, survives: bool, first_of_session: bool
) -> None:
    """J3: never two copies, never a lost one, whichever way it went."""
    with place.open() as journal:
        if not first_of_session:
            journal.append([note("before")])
        before = journal.size
        fail_commits(journal, survives=survives)
        with pytest.raises(JournalIoError):
            journal.append([note("unsure")])
        assert is_poisoned(journal)
        assert journal.size == before
        with pytest.raises(JournalIoError):
            journal.append([note("refused")], going_back=True)
        survivors = journal.reopen()
        texts = [record.body["text"] for record in survivors if "text" in record.body]
        assert texts == (["unsure"] if survives else [])
        assert not is_poisoned(journal)
        assert journal.size == before + len(survivors)
        journal.append([note("after")])
        stored = [record.body["text"] for record in journal.read() if "text" in record.body]
        wanted = [] if first_of_session else ["before"]
        assert stored == [*wanted, *(["unsure"] if survives else []), "after"]
    assert verify(place.folder, master_key=MASTER_KEY, every_signature=True).ok
    with place.open() as again:
        again.append([note("next session")])
        keys = [key.epoch for key in again._ring.keystore.data_keys()]
    report = verify(place.folder, master_key=MASTER_KEY)
    assert report.ok
    assert len(keys) == report.epochs  # no key is left of an epoch that never came to be


def test_a_locked_database_is_named_and_nothing_is_written(place: Place) -> None:
    with place.open() as journal:
        journal.append([note("one")])
        other = database.connect(place.folder / "journal.db")
        other.execute("BEGIN IMMEDIATE")
        journal._writer._connection.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(JournalBusy):
            journal.append([note("two")])
        other.execute("ROLLBACK")
        other.close()
        assert journal.append([note("three")])[0].seq == 4


def test_a_full_database_refuses_before_anything_is_written(place: Place) -> None:
    """J2, by SQLite's own limit; the reserve cannot help against that one."""
    with place.open() as journal:
        journal.append([note("one")])
        connection = journal._writer._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalFull):
            journal.append([note("x" * 20_000)])
        with pytest.raises(JournalFull):
            journal.append([note("x" * 20_000)], going_back=True)
        assert journal.poisoned is None
        assert journal.size == 3
        connection.execute("PRAGMA max_page_count = 100000")
        assert journal.append([note("y")])[0].seq == 4
    assert verify(place.folder, master_key=MASTER_KEY).ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    require_system(
        "util-linux", lambda: os.geteuid() == 0, install="run as root, to mount a small disk"
    )
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return ballast


@pytest.mark.parametrize("first_of_session", [True, False])
def test_going_back_finds_space_on_a_full_disk(small_disk: Path, first_of_session: bool) -> None:
    """J6: the reserve is freed for it, and for nothing else."""
    place = Place(small_disk).create()
    with place.open() as journal:
        if not first_of_session:
            journal.append([note("one")])
        size = journal.size
        ballast = fill(small_disk)
        refused = False
        for _ in range(100):  # room in the files may take some
            try:
                size = journal.append([note("x" * 2000)])[-1].seq
            except JournalFull:
                refused = True
                break
        assert refused
        assert journal.size == size
        assert (small_disk / "reserve").stat().st_size == RESERVE_BYTES
        back = journal.append([note("back" * 2000)], going_back=True)
        assert back[-1].seq > size
        assert (small_disk / "reserve").stat().st_size == 0
        assert not journal.restore_reserve()
        ballast.unlink()
        assert journal.restore_reserve()
        assert journal.restore_reserve()
        journal.append([note("two")], head=True)
        assert not journal.head_owed
        keys = [key.epoch for key in journal._ring.keystore.data_keys()]
    report = verify(small_disk, master_key=MASTER_KEY)
    assert report.ok
    assert len(keys) == report.epochs == 1


def test_the_reserve_is_blocks_not_a_size(tmp_path: Path) -> None:
    make_reserve(tmp_path)
    path = tmp_path / "reserve"
    assert path.stat().st_blocks * 512 >= RESERVE_BYTES
    assert free_reserve(tmp_path)
    assert path.stat().st_blocks == 0
    assert not free_reserve(tmp_path)
    os.truncate(path, RESERVE_BYTES)  # sparse
    make_reserve(tmp_path)
    assert path.stat().st_blocks * 512 >= RESERVE_BYTES
    path.unlink()
    assert not free_reserve(tmp_path)


def test_a_sqlite_that_corrupts_is_refused_by_number() -> None:
    """D1: the numbers, not the module that is loaded."""
    assert sqlite3.sqlite_version_info >= database.SQLITE_NEEDED > (3, 51, 2)
    database.check_sqlite()
    with pytest.raises(SqliteTooOld):
        database.check_sqlite(found=(3, 51, 2))
