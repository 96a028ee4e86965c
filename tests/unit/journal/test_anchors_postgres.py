"""An anchor in PostgreSQL: against a real one, of this machine's packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from noodle_journal import Kind, NewRecord, parse_note
from noodle_journal.anchors import postgres
from noodle_journal.anchors.failures import SinkFailed
from noodle_journal.anchors.postgres import PostgresSink
from tests.conftest import require_system
from tests.unit.journal.place import Place

NOBODY = 65_534


def programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """A cluster in a folder of its own, whose socket lies in it, owned by nobody in particular."""
    require_system("postgresql", lambda: programs() is not None)
    there = programs()
    assert there is not None
    user = NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="noodle-pg-") as name:
        folder = Path(name)
        if user is not None:
            os.chown(folder, user, user)

        def run(*words: str) -> None:
            subprocess.run(
                words, user=user, group=user, cwd=folder, check=True, stdout=subprocess.DEVNULL
            )

        initdb = (f"{there}/initdb", "-A", "trust", "-U", "owner", "-N", "-D", f"{folder}/data")
        run(*initdb)
        options = f"-c fsync=off -c listen_addresses='' -c unix_socket_directories={folder}"
        control = (f"{there}/pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log")
        run(*control, "-o", options, "start")
        try:
            sql(folder, *table(), "CREATE ROLE noodle LOGIN")
            sql(folder, "GRANT SELECT, INSERT ON noodle_anchor TO noodle")
            yield folder
        finally:
            run(*control, "-m", "immediate", "stop")


def table() -> list[str]:
    """The statement that the module's own page tells people to run."""
    text = str(postgres.__doc__)
    return [text[text.index("CREATE TABLE") : text.index(");") + 1]]


def sql(folder: Path, *statements: str) -> None:
    import psycopg  # noqa: PLC0415 - only where a server is there

    with psycopg.connect(url(folder, "owner"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def url(folder: Path, user: str) -> str:
    return f"postgresql://{user}@/postgres?host={folder}"


def two_notes(place: Place) -> list[str]:
    with place.open() as journal:
        notes = []
        for text in ("one", "two"):
            journal.append([NewRecord(Kind.NOTE, None, {"text": text})])
            notes.append(str(journal.keep_head()))
    return notes


def test_what_is_kept_is_read_back_and_kept_once(server: Path, place: Place) -> None:
    first, second = two_notes(place)
    log = parse_note(first).log_id.hex()
    sink = PostgresSink(url(server, "noodle"))
    for note in (second, first, second):
        sink.keep(note, seconds=10)
    assert sink.fetch(log, seconds=10, everything=False) == [second]
    assert sink.fetch(log, seconds=10, everything=True) == [second, first]
    assert sink.fetch("00" * 16, seconds=10, everything=False) == []


def test_whoever_writes_anchors_cannot_take_one_away(server: Path, place: Place) -> None:
    import psycopg  # noqa: PLC0415 - only where a server is there

    PostgresSink(url(server, "noodle")).keep(two_notes(place)[0], seconds=10)
    with (
        psycopg.connect(url(server, "noodle")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(b"DELETE FROM noodle_anchor")


def test_a_server_or_table_that_is_not_there_is_a_sink_that_fails(
    server: Path, place: Place, tmp_path: Path
) -> None:
    note = two_notes(place)[0]
    with pytest.raises(SinkFailed):
        PostgresSink(url(tmp_path, "noodle")).keep(note, seconds=1)
    sql(server, "CREATE DATABASE empty")
    with pytest.raises(SinkFailed, match="42P01"):
        PostgresSink(f"postgresql://owner@/empty?host={server}").keep(note, seconds=10)


def test_without_the_extra_it_says_how_to_get_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SinkFailed, match="anchors"):
        PostgresSink("postgresql:///nowhere").keep(two_notes(place)[0], seconds=1)
