"""The rows of journal.db.

Owns the statements over `record`, `log` and `writer`. Never interprets a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from noodle_journal.format.records import NO_TAG, Row
from noodle_journal.storage.database import Connection

ROWS_FETCHED_MAX = 256
_ROWS = "SELECT seq, header, clear, nonce, sealed, leaf, root, signature FROM record "

INSERT = (
    "INSERT INTO record (seq, header, clear, nonce, sealed, root, signature) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
COMPACT = (
    "UPDATE record SET header = NULL, clear = NULL, nonce = NULL, sealed = NULL, leaf = ? "
    "WHERE seq = ?"
)
FENCE = "SELECT fence FROM writer WHERE id = 1"
# The index over tags leaves out records of no upgrade; its condition must be repeated.
_TAGGED = "WHERE tag <> x'" + NO_TAG.hex() + "' "


def log_id(connection: Connection) -> bytes | None:
    """The log's id, or None where its row is gone."""
    row = connection.execute("SELECT log_id FROM log WHERE id = 1").fetchone()
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def size(connection: Connection) -> int:
    """The last sequence number; 0 for an empty log."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()[0])


def fence(connection: Connection) -> int:
    """The fence of the last writer."""
    row = connection.execute(FENCE).fetchone()
    return row[0] if row is not None and isinstance(row[0], int) else 0


def row_at(connection: Connection, seq: int) -> Row | None:
    """One row."""
    return _first(connection, _ROWS + "WHERE seq = ?", seq)


def last_state(connection: Connection) -> Row | None:
    """The newest `state` record."""
    return _first(
        connection,
        _ROWS + "WHERE kind = x'0012' ORDER BY seq DESC LIMIT 1",
    )


def last_epoch(connection: Connection) -> Row | None:
    """The newest `key.epoch` record."""
    return _first(
        connection,
        _ROWS + "WHERE kind = x'0011' ORDER BY epoch DESC LIMIT 1",
    )


def epoch_at(connection: Connection, epoch: int) -> Row | None:
    """The `key.epoch` record that opened an epoch."""
    return _first(
        connection,
        _ROWS + "WHERE kind = x'0011' AND epoch = ?",
        epoch.to_bytes(4, "big"),
    )


def epochs(connection: Connection, *, after: int = 0) -> Iterator[Row]:
    """The `key.epoch` records of the epochs after that number, oldest first."""
    yield from map(
        Row._make,
        connection.execute(
            _ROWS + "WHERE kind = x'0011' AND epoch > ? ORDER BY epoch",
            (after.to_bytes(4, "big"),),
        ),
    )


def latest_ns(connection: Connection, first: int, last: int) -> int:
    """The latest time among some rows' headers; 0 where all of them are compacted."""
    found = connection.execute(
        "SELECT max(substr(header, 45, 8)) FROM record WHERE seq BETWEEN ? AND ?", (first, last)
    ).fetchone()
    return int.from_bytes(found[0] or b"", "big")


def first_tagged(connection: Connection, tag: bytes) -> int | None:
    """The first row of one tag."""
    found = rows_tagged(connection, tag, 1, 1)
    return found[0].seq if found else None


def rows_from(connection: Connection, start: int, stop: int, limit: int) -> list[Row]:
    """At most `limit` rows with start <= seq < stop."""
    cursor = connection.execute(
        _ROWS + "WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
        (start, stop, limit),
    )
    return list(map(Row._make, cursor))


def raw_rows_from(
    connection: Connection, start: int, stop: int, limit: int
) -> list[tuple[Any, ...]]:
    """As `rows_from`, as bare tuples: a million of them cost half a second less."""
    found: list[tuple[Any, ...]] = connection.execute(
        _ROWS + "WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?", (start, stop, limit)
    ).fetchall()
    return found


def state_from(connection: Connection, start: int) -> Row | None:
    """The first `state` record with seq >= start."""
    return _first(
        connection, _ROWS + "WHERE kind = x'0012' AND seq >= ? ORDER BY seq LIMIT 1", start
    )


def commit_end_from(connection: Connection, start: int) -> int | None:
    """The first seq >= start that has a root."""
    found = connection.execute(
        "SELECT seq FROM record WHERE seq >= ? AND root IS NOT NULL ORDER BY seq LIMIT 1", (start,)
    ).fetchone()
    return None if found is None else int(found[0])


def retention_after(connection: Connection, after: int) -> Iterator[Row]:
    """Every `retention` record with seq > after; looks at each row."""
    yield from map(
        Row._make,
        connection.execute(_ROWS + "WHERE seq > ? AND +kind = x'0014' ORDER BY seq", (after,)),
    )


def rows_back(
    connection: Connection, before: int, limit: int, kind: int | None = None
) -> list[Row]:
    """At most `limit` rows with seq < before, newest first; of one kind, or of all."""
    wanted = None if kind is None else kind.to_bytes(2, "big")
    # The plus keeps the planner from an index that holds another kind's rows only.
    of_kind = "" if wanted is None else "AND +kind = ? "
    values = (before, limit) if wanted is None else (before, wanted, limit)
    cursor = connection.execute(
        _ROWS + "WHERE seq < ? " + of_kind + "ORDER BY seq DESC LIMIT ?", values
    )
    return list(map(Row._make, cursor))


def rows_tagged(connection: Connection, tag: bytes, start: int, limit: int) -> list[Row]:
    """At most `limit` rows of one tag with seq >= start."""
    cursor = connection.execute(
        _ROWS + _TAGGED + "AND tag = ? AND seq >= ? ORDER BY seq LIMIT ?",
        (tag, start, limit),
    )
    return list(map(Row._make, cursor))


def last_checkpoint(
    connection: Connection, *, above: int, up_to: int
) -> tuple[int, bytes, bytes] | None:
    """Size, root and signature of the last commit's end in above < seq <= up_to."""
    found = connection.execute(
        "SELECT seq, root, signature FROM record "
        "WHERE seq > ? AND seq <= ? AND root IS NOT NULL ORDER BY seq DESC LIMIT 1",
        (above, up_to),
    ).fetchone()
    return None if found is None else (int(found[0]), bytes(found[1]), bytes(found[2]))


def _first(connection: Connection, statement: str, *values: object) -> Row | None:
    found = connection.execute(statement, values).fetchone()
    return None if found is None else Row._make(found)
