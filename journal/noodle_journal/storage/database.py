"""The one place that opens SQLite.

Owns connections, their settings, and the translation of SQLite's errors. Never
reads a row.

Laws
D1. A SQLite that can corrupt a write-ahead log is refused before any file is opened.
D2. No sqlite3 error leaves this package.
D3. A process that has a database open never opens its files otherwise: closing
    any descriptor of them would drop the process's locks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from noodle_journal.failures import (
    JournalBusy,
    JournalFormatNewer,
    JournalFormatOlder,
    JournalFull,
    JournalIoError,
    JournalUnreadable,
    NotAJournal,
    SqliteTooOld,
)
from noodle_journal.storage.reserve import has_room

if TYPE_CHECKING:
    import sqlite3
else:
    from pysqlite3 import dbapi2 as sqlite3

__all__ = ["Connection", "StoreMalformed", "connect", "sqlite3", "translated"]

Connection = sqlite3.Connection

SQLITE_NEEDED = (3, 51, 3)  # the first with the WAL-reset fix
LOCK_WAIT_MS_MAX = 5_000
STATEMENTS_CACHED_MAX = 64

FULL = 13
BUSY = {5, 6}
DAMAGED = {11, 26}
IO_ERROR = 10
CANNOT_OPEN = {3, 8, 14, 23}


class StoreMalformed(Exception):
    """SQLite says that the file is not whole; callers add what they know."""


def check_sqlite(found: tuple[int, int, int] = sqlite3.sqlite_version_info) -> None:
    """Raises: SqliteTooOld, with how to get a good one."""
    if found < SQLITE_NEEDED:
        raise SqliteTooOld(
            found=".".join(map(str, found)), needed=".".join(map(str, SQLITE_NEEDED))
        )


def connect(path: Path, *, read_only: bool = False, create: bool = False) -> Connection:
    """A connection with the journal's settings; the file must exist unless `create`.

    SQLite needs room for the index of a log before it reads. On a full disk a
    reader does without, where there is no log and nobody writes; a writer cannot.

    Raises: SqliteTooOld, JournalUnreadable, JournalBusy, JournalFull, StoreMalformed.
    """
    check_sqlite()
    mode = "ro" if read_only else "rwc" if create else "rw"
    alone = f"{mode}&immutable=1"
    full = not has_room(path.parent)
    if full and read_only and not _has_log(path) and not _has_index(path):
        return _connected(path, alone, read_only=True)
    try:
        return _connected(path, mode, read_only=read_only)
    except (JournalIoError, JournalUnreadable) as error:
        # Nothing was written yet, so nothing is in doubt.
        if read_only and isinstance(error, JournalIoError) and not _has_log(path):
            return _connected(path, alone, read_only=True)
        if full:
            raise JournalFull(path=str(path)) from error
        raise JournalUnreadable(path=str(path), reason=str(error.data["reason"])) from error


def _has_log(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _has_index(path: Path) -> bool:
    """Whether somebody has the database open, or died while it was: a log may come."""
    return path.with_name(f"{path.name}-shm").exists()


def _connected(path: Path, mode: str, *, read_only: bool) -> Connection:
    with translated(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=LOCK_WAIT_MS_MAX / 1000,
            cached_statements=STATEMENTS_CACHED_MAX,
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            # From the first write on: a page that was split keeps copies of what moved otherwise,
            # which a later deletion, of a key or of what is shredded, does not reach.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA recursive_triggers = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA schema_version").fetchone()
        except BaseException:
            connection.close()
            raise
    return connection


def check_format(connection: Connection, path: Path, *, application: int, known: int) -> None:
    """Raises: NotAJournal, JournalFormatNewer, JournalFormatOlder, StoreMalformed."""
    with translated(path):
        found_application = connection.execute("PRAGMA application_id").fetchone()[0]
        found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found_application != application:
        raise NotAJournal(path=str(path))
    if found > known:
        raise JournalFormatNewer(path=str(path), found=found, known=known)
    if found < known:
        raise JournalFormatOlder(path=str(path), found=found, known=known)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into this package's.

    Raises: JournalFull, JournalBusy, JournalUnreadable, JournalIoError, and
    StoreMalformed where SQLite finds the file damaged.
    """
    try:
        yield
    except sqlite3.Error as exc:
        raise failure(path, exc) from exc
    except UnicodeDecodeError as exc:
        # The binding cannot even decode what SQLite quotes from a damaged schema.
        raise StoreMalformed("its schema is not text") from exc


def failure(path: Path, exc: sqlite3.Error) -> Exception:
    """The failure that stands for one of SQLite's."""
    code = getattr(exc, "sqlite_errorcode", None)
    code = code & 0xFF if isinstance(code, int) else None
    if code == FULL:
        return JournalFull(path=str(path))
    if code in BUSY:
        return JournalBusy(path=str(path), waited_ms=LOCK_WAIT_MS_MAX)
    if code == IO_ERROR:
        return JournalIoError(path=str(path), reason=str(exc))
    if code in CANNOT_OPEN:
        return JournalUnreadable(path=str(path), reason=str(exc))
    return StoreMalformed(f"{exc}")


def rolled_back(connection: Connection) -> None:
    """End an open transaction, whatever state an error left it in."""
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def new_private_file(path: Path) -> None:
    """An empty 0600 file for SQLite to fill; its -wal and -shm take the same mode."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.close(descriptor)


def remove_database(path: Path) -> None:
    """Delete a draft database and what SQLite kept beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
