"""A small upgrader, the harness' self test: a journal in a second thread, one file exchanged.

Run as `standin.py [prepare|upgrade|resume] FOLDER [ORDER]`. ORDER is `right`, or
the name of a mistake that the harness must catch.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Final

import pysqlite3.dbapi2 as sqlite3

OLD: Final = b"old\n" * 3000
NEW: Final = b"NEW!\n" * 4000
AT_FDCWD: Final = -100
RENAME_EXCHANGE: Final = 2
CALL_FAILED: Final = 4
COMMIT_FAILED: Final = 5

ORDERS: Final = (
    "right",
    "in_place",  # writes over the target: mixed after a kill
    "remove_first",  # takes the target away before the new one is there: missing
    "early_done",  # records what has not happened yet
    "one_write",  # takes a short write for a whole one
    "ignores_errors",  # goes on after a failed fsync or write
    "unsynced",  # renames a file never flushed: only a power cut shows it
)


class Journal:
    """One row for each step, committed by a thread of its own before `add` returns."""

    def __init__(self, home: Path) -> None:
        self._queue: Queue[str | None] = Queue()
        self._answers: Queue[Exception | None] = Queue()
        self._home = home
        self._writer = threading.Thread(target=self._write)
        self._writer.start()

    def _write(self) -> None:
        connection = None
        while (text := self._queue.get()) is not None:
            try:
                connection = connection or connect(self._home)
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO step(text) VALUES (?)", (text,))
                connection.execute("COMMIT")
                self._answers.put(None)
            except sqlite3.Error as problem:
                self._answers.put(problem)
        if connection is not None:
            connection.close()

    def add(self, text: str) -> None:
        """Return when the step is durable."""
        self._queue.put(text)
        problem = self._answers.get()
        if problem is not None:
            raise problem

    def close(self) -> None:
        self._queue.put(None)
        self._writer.join()


def connect(home: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(home / "journal.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS step(seq INTEGER PRIMARY KEY, text TEXT)")
    return connection


def steps(home: Path) -> list[str]:
    """What the journal says, in order."""
    connection = connect(home)
    try:
        return [row[0] for row in connection.execute("SELECT text FROM step ORDER BY seq")]
    finally:
        connection.close()


def exchange(first: Path, second: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(
        AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(first))


def flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, data: bytes, *, whole: bool = True) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        while data:
            written = os.write(descriptor, data[:8192])
            data = data[written if whole else 8192 :]
    finally:
        os.close(descriptor)


class Upgrade:
    """The one upgrade of a folder: home/ and srv/web."""

    def __init__(self, folder: Path, order: str) -> None:
        self.home = folder / "home"
        self.target = folder / "srv" / "web"
        self.staged = folder / "srv" / ".web.next-01"
        self.order = order
        self.done_before = steps(self.home)  # before the thread: one order of calls in each run
        self.journal = Journal(self.home)

    def tolerant(self, call: Callable[[], None]) -> None:
        """Make a call; one order does not look at its failure."""
        try:
            call()
        except OSError:
            if self.order != "ignores_errors":
                raise

    def stage(self) -> None:
        self.tolerant(lambda: write(self.staged, NEW, whole=self.order != "one_write"))
        self.tolerant(lambda: flush(self.staged))
        self.tolerant(lambda: flush(self.staged.parent))
        self.journal.add("staged")

    def flip(self) -> None:
        exchange(self.staged, self.target)
        flush(self.target.parent)

    def forward(self) -> None:
        self.journal.add("intent")
        match self.order:
            case "in_place":
                write(self.target, NEW)
            case "remove_first":
                self.stage()
                self.target.unlink()
                self.staged.rename(self.target)
                flush(self.target.parent)
            case "early_done":
                self.stage()
                self.journal.add("done")
                self.flip()
                return
            case "unsynced":
                write(self.staged, NEW)
                self.staged.rename(self.target)
                flush(self.target.parent)
            case _:
                self.stage()
                self.flip()
        self.journal.add("done")

    def run(self) -> int:
        """Do what is left to do; run twice it does nothing twice."""
        try:
            done = self.done_before
            if "done" not in done:
                if "staged" in done and self.target.read_bytes() == NEW:
                    flush(self.target.parent)
                    self.journal.add("done")
                else:
                    self.forward()
            sys.stdout.write("done\n")
        except OSError as problem:
            sys.stderr.write(f"{problem}\n")
            return CALL_FAILED
        except sqlite3.Error as problem:
            sys.stderr.write(f"{problem}\n")
            return COMMIT_FAILED
        finally:
            self.journal.close()
        return 0


def prepare(folder: Path) -> int:
    (folder / "home").mkdir()
    (folder / "srv").mkdir()
    (folder / "srv" / "web").write_bytes(OLD)
    connect(folder / "home").close()
    return 0


def main(arguments: list[str]) -> int:
    command, folder, *order = arguments
    if order == ["stops_at_marker"] and Path(os.environ.get("STANDIN_MARKER", "absent")).exists():
        return 0
    if command == "prepare":
        return prepare(Path(folder))
    try:
        upgrade = Upgrade(Path(folder), order[0] if order else "right")
    except sqlite3.Error as problem:
        sys.stderr.write(f"{problem}\n")
        return COMMIT_FAILED
    return upgrade.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
