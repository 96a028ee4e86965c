"""The tables of journal.db and keystore.db, and the steps between their formats.

Owns the SQL that makes them. Never touches a row of records. sqlite-utils is
imported only where a format is made or changed, never to open a current one.

Laws
M1. Inside SQLite no statement changes or deletes a record; triggers refuse it.
M2. A format step is one transaction with its version number, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from noodle_journal.failures import InvariantBroken
from noodle_journal.storage.database import Connection, rolled_back, sqlite3, translated

JOURNAL_FORMAT = 1
JOURNAL_APPLICATION = 0x4E444C4A  # "NDLJ"
KEYSTORE_FORMAT = 1
KEYSTORE_APPLICATION = 0x4E444C4B  # "NDLK"

RECORD_NEVER_CHANGES = """CREATE TRIGGER record_never_changes BEFORE UPDATE ON record
BEGIN SELECT RAISE(ABORT, 'a record never changes'); END"""
"""The one that shredding lifts, inside of a transaction."""

_JOURNAL_1 = (
    """CREATE TABLE log (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  log_id BLOB NOT NULL CHECK (length(log_id) = 16)
) STRICT""",
    """CREATE TABLE writer (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  fence INTEGER NOT NULL CHECK (fence >= 0)
) STRICT""",
    """CREATE TABLE record (
  seq INTEGER PRIMARY KEY CHECK (seq > 0),
  header BLOB CHECK (length(header) = 96),
  clear BLOB,
  nonce BLOB CHECK (length(nonce) = 12),
  sealed BLOB,
  leaf BLOB CHECK (length(leaf) = 32),
  root BLOB CHECK (length(root) = 32),
  signature BLOB CHECK (length(signature) = 64),
  kind BLOB GENERATED ALWAYS AS (substr(header, 7, 2)) VIRTUAL,
  epoch BLOB GENERATED ALWAYS AS (substr(header, 33, 4)) VIRTUAL,
  tag BLOB GENERATED ALWAYS AS (substr(header, 53, 12)) VIRTUAL,
  CHECK ((leaf IS NULL) = (header IS NOT NULL AND nonce IS NOT NULL AND sealed IS NOT NULL)),
  CHECK ((root IS NULL) = (signature IS NULL))
) STRICT""",
    """CREATE INDEX record_tag ON record (tag) WHERE tag <> x'000000000000000000000000'""",
    """CREATE INDEX record_epoch ON record (epoch) WHERE kind = x'0011'""",
    """CREATE INDEX record_state ON record (seq) WHERE kind = x'0012'""",
    RECORD_NEVER_CHANGES,
    """CREATE TRIGGER record_never_goes BEFORE DELETE ON record
BEGIN SELECT RAISE(ABORT, 'a record is never deleted'); END""",
    """CREATE TRIGGER record_follows BEFORE INSERT ON record
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM record)
BEGIN SELECT RAISE(ABORT, 'a record follows the last one'); END""",
    """CREATE TRIGGER fence_only_rises BEFORE UPDATE ON writer WHEN NEW.fence <= OLD.fence
BEGIN SELECT RAISE(ABORT, 'a fence only rises'); END""",
    """INSERT INTO writer (id, fence) VALUES (1, 0)""",
)

_KEYSTORE_1 = (
    """CREATE TABLE store (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  log_id BLOB NOT NULL CHECK (length(log_id) = 16),
  kek_id BLOB NOT NULL CHECK (length(kek_id) = 16)
) STRICT""",
    """CREATE TABLE wrapped_key (
  key_id BLOB PRIMARY KEY CHECK (length(key_id) = 16),
  purpose TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  kek_id BLOB NOT NULL CHECK (length(kek_id) = 16),
  nonce BLOB NOT NULL CHECK (length(nonce) = 12),
  sealed BLOB NOT NULL
) STRICT""",
    """CREATE INDEX wrapped_key_epoch ON wrapped_key (epoch)""",
    """CREATE TABLE head (
  size INTEGER NOT NULL CHECK (size > 0),
  root BLOB NOT NULL CHECK (length(root) = 32),
  signature BLOB NOT NULL CHECK (length(signature) = 64),
  PRIMARY KEY (size, root)
) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER head_never_changes BEFORE UPDATE ON head
BEGIN SELECT RAISE(ABORT, 'a head never changes'); END""",
)


@dataclass(frozen=True, slots=True)
class Format:
    """A database's application id and the steps that lead to its current format."""

    application: int
    steps: Sequence[Sequence[str]]

    @property
    def current(self) -> int:
        """The version that this Noodle writes."""
        return len(self.steps)

    @property
    def schema(self) -> frozenset[str]:
        """What sqlite_schema holds in the current format."""
        made = [statement for step in self.steps for statement in step]
        return frozenset(statement for statement in made if statement.startswith("CREATE"))


JOURNAL = Format(JOURNAL_APPLICATION, (_JOURNAL_1,))
KEYSTORE = Format(KEYSTORE_APPLICATION, (_KEYSTORE_1,))


def foreign_schema(
    connection: Connection, path: Path, format_: Format, *, with_indexes: bool = True
) -> str | None:
    """The first thing that the schema has too much or too little, or None.

    Without `with_indexes` it may lack indexes: they hold nothing that is not in the rows.

    A missing trigger lets records be changed; a strange one may act on its own.

    Raises: StoreMalformed, JournalIoError.
    """
    with translated(path):
        found = {
            str(row[0])
            for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
        }
    differing = sorted(found ^ format_.schema)
    if not with_indexes:
        differing = [one for one in differing if not _is_own_index(one, format_)]
    return differing[0].splitlines()[0] if differing else None


def _is_own_index(statement: str, format_: Format) -> bool:
    return statement.startswith("CREATE INDEX") and statement in format_.schema


def migrate(connection: Connection, path: Path, format_: Format) -> int:
    """Bring a database to its current format; returns the version it had.

    Each step is one transaction. On failure the last whole step stands.

    Raises: JournalFull, JournalIoError, JournalBusy, StoreMalformed.
    """
    # Importing it takes 70 ms.
    from sqlite_utils import Database  # noqa: PLC0415

    used = getattr(import_module("sqlite_utils.db"), "sqlite3")  # noqa: B009
    if used.connect is not sqlite3.connect:
        raise InvariantBroken(
            what="sqlite-utils and the journal use one SQLite", found=str(used.sqlite_version)
        )
    # transform() is never used: it would drop the triggers.
    database = Database(connection, execute_plugins=False)
    with translated(path):
        had = int(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.execute("PRAGMA journal_mode = WAL")
        for version in range(had + 1, format_.current + 1):
            try:
                connection.execute("BEGIN IMMEDIATE")
                database.executescript(";\n".join(format_.steps[version - 1]) + ";")
                connection.execute(f"PRAGMA application_id = {format_.application}")
                connection.execute(f"PRAGMA user_version = {version}")
                connection.execute("COMMIT")
            except BaseException:
                rolled_back(connection)
                raise
    return had
