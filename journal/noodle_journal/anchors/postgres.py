"""An anchor in PostgreSQL (extra `anchors`, psycopg 3).

The table is made by hand, once, by whoever owns the database; the role that Noodle comes as
needs SELECT and INSERT on it, and should have nothing else:

    CREATE TABLE noodle_anchor (
        log text NOT NULL, size bigint NOT NULL, root text NOT NULL, note text NOT NULL,
        at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (log, size, root)
    );

A password comes from PGPASSWORD, PGPASSFILE or ~/.pgpass; TLS is as the address says
(`sslmode=verify-full`). Other settings of libpq count as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

from noodle_journal.anchors.failures import SinkFailed
from noodle_journal.format.notes import parse_note

__all__ = ["PostgresSink"]

NOTES_MAX: Final = 100_000
_KEEP: Final = (
    "INSERT INTO noodle_anchor (log, size, root, note) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT DO NOTHING"
)
_ALL: Final = "SELECT note FROM noodle_anchor WHERE log = %s ORDER BY size DESC, root LIMIT %s"
_NEWEST: Final = (
    "SELECT note FROM noodle_anchor WHERE log = %s AND size = "
    "(SELECT max(size) FROM noodle_anchor WHERE log = %s)"
)


class PostgresSink:
    """One database. A connection is made for each exchange: heads are sent now and then."""

    def __init__(self, url: str) -> None:
        self._url = url

    def keep(self, note: str, *, seconds: float) -> None:
        """As `Sink`; committed durably on return."""
        said = parse_note(note)
        values = (said.log_id.hex(), said.size, said.root.hex(), note)
        self._with(seconds, lambda cursor: cursor.execute(_KEEP, values))

    def fetch(self, log_id: str, *, seconds: float, everything: bool) -> Sequence[str]:
        """As `Sink`."""

        def ask(cursor: Any) -> Sequence[str]:
            if everything:
                cursor.execute(_ALL, (log_id, NOTES_MAX))
            else:
                cursor.execute(_NEWEST, (log_id, log_id))
            return [str(row[0]) for row in cursor.fetchall()]

        found: Sequence[str] = self._with(seconds, ask)
        return found

    def _with(self, seconds: float, work: Callable[[Any], Any]) -> Any:
        try:
            library = import_module("psycopg")
        except ImportError as exc:
            raise SinkFailed(
                "psycopg is not installed: pip install 'noodle-upgrade[anchors]'"
            ) from exc
        limit_ms = max(1, round(seconds * 1000))
        try:
            with (
                library.connect(
                    self._url,
                    # libpq counts whole seconds, and takes one for two.
                    connect_timeout=max(2, round(seconds)),
                    application_name="noodle",
                ) as connection,
                connection.cursor() as cursor,
            ):
                # Whatever the server's own default is: kept is on its disk.
                cursor.execute("SET LOCAL synchronous_commit TO on")
                cursor.execute(f"SET LOCAL statement_timeout TO {limit_ms}")
                return work(cursor)
        except library.Error as exc:
            raise SinkFailed(_why(exc)) from exc


def _why(exc: Exception) -> str:
    """The server's state, and the first line of what it says; libpq puts no password there."""
    state = getattr(exc, "sqlstate", None)
    said = str(exc).strip().partition("\n")[0][:200] or type(exc).__name__
    return f"{said} ({state})" if state else said
