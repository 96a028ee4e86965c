"""An anchor over HTTP: what is sent, what counts as kept, and how long it may take."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from noodle_journal import Kind, NewRecord, parse_note
from noodle_journal.anchors.bounded import Bounded, together
from noodle_journal.anchors.failures import SinkFailed
from noodle_journal.anchors.http import HttpSink
from noodle_journal.anchors.sinks import line_of
from tests.unit.journal.place import Place
from tests.unit.journal.tls import https_server

TOKEN = "a token"


class Keeper(BaseHTTPRequestHandler):
    """/notes keeps; /away redirects to it; /deaf cannot be read; /lines has them all."""

    notes: ClassVar[list[bytes]] = []
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(403, b"")
        elif self.path == "/away":
            self.answer(307, b"", location="/notes")
        else:
            self.notes.append(body)
            self.answer(204, b"")

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/deaf"):
            self.answer(405, b"")
        elif self.path.startswith("/lines"):
            self.answer(200, b"".join(line_of(note.decode()) for note in self.notes))
        else:
            self.answer(200, self.notes[-1] if self.notes else b"")

    def answer(self, status: int, body: bytes, location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Keeper.notes, Keeper.asked = [], []
    with https_server(tmp_path, Keeper) as (found, authority):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        yield found


def two_notes(place: Place) -> list[str]:
    with place.open() as journal:
        notes = []
        for text in ("one", "two"):
            journal.append([NewRecord(Kind.NOTE, None, {"text": text})])
            notes.append(str(journal.keep_head()))
    return notes


def sink(url: str) -> HttpSink:
    return HttpSink(url, {"NOODLE_ANCHOR_TOKEN": TOKEN})


def test_what_is_posted_is_got_back(address: str, place: Place) -> None:
    first, second = two_notes(place)
    log = parse_note(first).log_id.hex()
    kept = sink(f"{address}/notes?of=us")
    kept.keep(first, seconds=5)
    kept.keep(second, seconds=5)
    assert Keeper.notes == [first.encode(), second.encode()]
    assert kept.fetch(log, seconds=5, everything=False) == [second]
    assert Keeper.asked == [f"/notes?of=us&log={log}"]
    lines = sink(f"{address}/lines")
    assert lines.fetch(log, seconds=5, everything=True) == [first, second]
    assert lines.fetch(log, seconds=5, everything=False) == [second]
    assert kept.fetch("00" * 16, seconds=5, everything=True) == []
    assert sink(f"{address}/deaf").fetch(log, seconds=5, everything=False) is None


def test_only_an_answer_of_2xx_is_kept(address: str, place: Place) -> None:
    note = two_notes(place)[0]
    with pytest.raises(SinkFailed, match="403"):
        HttpSink(f"{address}/notes", {}).keep(note, seconds=5)
    with pytest.raises(SinkFailed, match="307"):
        sink(f"{address}/away").keep(note, seconds=5)
    assert Keeper.notes == []


def test_a_certificate_that_nobody_vouches_for_is_refused(
    address: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SinkFailed, match="not trusted"):
        sink(f"{address}/notes").keep(two_notes(place)[0], seconds=5)
    assert Keeper.notes == []


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
def test_a_slow_server_is_waited_for_no_longer_than_said(place: Place, *, drips: bool) -> None:
    """One says nothing at all; one sends a byte of its head again and again, for ever."""
    note, ended = two_notes(place)[0], threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while drips and not ended.wait(0.02):
                connection.sendall(b"H")
            ended.wait(30)

    thread = threading.Thread(target=serve)
    thread.start()
    kept = sink(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    began = time.monotonic()
    left: dict[str, Bounded[None]] = {}
    found = together({"it": lambda: kept.keep(note, seconds=0.3)}, 0.3, left)
    assert time.monotonic() - began < 3
    ended.set()
    thread.join()
    listener.close()
    left["it"].wait(30)
    assert isinstance(found["it"], SinkFailed)


def test_nobody_there_is_a_sink_that_fails(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SinkFailed, match="refused"):
        sink(f"http://127.0.0.1:{port}/").keep(two_notes(place)[0], seconds=5)
