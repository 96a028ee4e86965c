"""Where the rows come from that are verified: a journal, or an export of one.

Owns the reading of a journal's rows in batches. Never interprets one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from noodle_journal.format.records import Row
from noodle_journal.storage import rows
from noodle_journal.storage.database import Connection, StoreMalformed, translated
from noodle_journal.storage.rows import ROWS_FETCHED_MAX

RawRow = tuple[Any, ...]
"""The values of a `Row`, in its order, unchecked."""


class Source(Protocol):
    """Rows by number. Methods raise StoreMalformed, and what reading raises."""

    def begin(self) -> tuple[bytes | None, int, int]:
        """Log id (None where it is gone), number of the last row, fence of the last writer."""

    def batch(self, at: int, end: int) -> Sequence[RawRow]:
        """Some rows with at <= seq < end, in order; the first alone where not all can be read."""

    def rows_from(self, at: int, end: int) -> Sequence[Row]:
        """Some rows with at <= seq < end, in order."""

    def last_checkpoint(self, *, above: int, up_to: int) -> tuple[int, bytes, bytes] | None:
        """Size, root and signature of the last commit's end in above < seq <= up_to."""

    def commit_end_from(self, start: int) -> int | None:
        """The first seq >= start that has a root."""

    def retention_after(self, after: int) -> Sequence[Row]:
        """Every `retention` row with seq > after."""

    def problem(self) -> str | None:
        """What is wrong with the store itself, when all its rows were read."""


class StoreSource:
    """An open journal.db."""

    def __init__(self, path: Path, connection: Connection, *, with_indexes: bool = True) -> None:
        self.path = path
        self.connection = connection
        self._with_indexes = with_indexes

    def begin(self) -> tuple[bytes | None, int, int]:
        """Log id, size, fence."""
        with translated(self.path):
            return (
                rows.log_id(self.connection),
                rows.size(self.connection),
                rows.fence(self.connection),
            )

    def batch(self, at: int, end: int) -> Sequence[RawRow]:
        """Some rows; the first alone where not all of them can be read."""
        try:
            with translated(self.path):
                return rows.raw_rows_from(self.connection, at, end, ROWS_FETCHED_MAX)
        except StoreMalformed:
            with translated(self.path):
                return rows.raw_rows_from(self.connection, at, end, 1)

    def rows_from(self, at: int, end: int) -> Sequence[Row]:
        """Some rows."""
        with translated(self.path):
            return rows.rows_from(self.connection, at, end, ROWS_FETCHED_MAX)

    def last_checkpoint(self, *, above: int, up_to: int) -> tuple[int, bytes, bytes] | None:
        """The last commit's end in a range."""
        with translated(self.path):
            return rows.last_checkpoint(self.connection, above=above, up_to=up_to)

    def commit_end_from(self, start: int) -> int | None:
        """Where a commit ends."""
        with translated(self.path):
            return rows.commit_end_from(self.connection, start)

    def retention_after(self, after: int) -> Sequence[Row]:
        """Later `retention` rows."""
        with translated(self.path):
            return list(rows.retention_after(self.connection, after))

    def problem(self) -> str | None:
        """What SQLite says of its pages and indexes.

        An index that hides a record would hide it from whoever asks for one upgrade.
        """
        if not self._with_indexes:
            return None
        try:
            with translated(self.path):
                found = self.connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except StoreMalformed as exc:
            return str(exc)
        return None if found == "ok" else str(found)
