"""Anchors: where signed heads are kept elsewhere, and what they say against the journal."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from noodle_journal import Kind, NewRecord, parse_note
from noodle_journal.anchors.bounded import Bounded, together
from noodle_journal.anchors.comparing import Verdict, remember, worst
from noodle_journal.anchors.failures import SinkFailed
from noodle_journal.anchors.sinks import FileSink, StreamSink, newest
from noodle_journal.failures import JournalRollback
from tests.unit.journal.place import MASTER_KEY, Place

FILES = ("journal.db", "keystore.db")


def written(place: Place, *texts: str) -> list[str]:
    """A note after each record that is written."""
    notes = []
    with place.open() as journal:
        for text in texts:
            journal.append([NewRecord(Kind.NOTE, None, {"text": text})])
            note = journal.keep_head()
            assert note is not None
            notes.append(note)
    return notes


def verdicts(place: Place, *notes: str) -> list[Verdict]:
    with place.open() as journal:
        return [one.verdict for one in journal.compare(notes)]


def copied(place: Place) -> dict[str, bytes]:
    """Journal and keystore as they are, to be put back block for block."""
    return {name: (place.folder / name).read_bytes() for name in FILES}


def put_back(place: Place, copy: dict[str, bytes]) -> None:
    """The same files with older contents: no other inode, no other place."""
    for name, content in copy.items():
        for more in ("-wal", "-shm"):
            (place.folder / f"{name}{more}").unlink(missing_ok=True)
        with (place.folder / name).open("r+b") as file:
            file.truncate(0)
            file.write(content)


def test_a_head_is_kept_here_before_it_is_handed_out(place: Place) -> None:
    (note,) = written(place, "one")
    said = parse_note(note)
    with place.open() as journal:
        heads = journal._ring.keystore.heads_of(said.size)
    assert [head.root for head in heads] == [said.root]


def test_an_older_copy_with_its_keystore_is_found_by_the_note_alone(place: Place) -> None:
    """The attack that no head in the home finds: everything put back, block for block."""
    written(place, "one")
    old = copied(place)
    (note,) = written(place, "two")
    put_back(place, old)
    with place.open() as journal:  # nothing in the home says so
        assert worst(journal.compare([note])).verdict is Verdict.ROLLBACK  # type: ignore[union-attr]
    written(place, "another", "and another", "and one more")
    assert verdicts(place, note) == [Verdict.FORK]


def test_what_was_found_once_is_found_by_every_later_opening(place: Place) -> None:
    written(place, "one")
    old = copied(place)
    (note,) = written(place, "two")
    put_back(place, old)
    remember(place.folder, [note], master_key=MASTER_KEY)
    with pytest.raises(JournalRollback):
        place.open()
    with place.open(adopt=True) as journal:
        assert journal.size
    assert verdicts(place, note) == [Verdict.GIVEN_UP]


def test_a_note_that_the_journal_did_not_sign_is_told_and_accuses_of_nothing(
    place: Place, tmp_path: Path
) -> None:
    (note,) = written(place, "one")
    said = parse_note(note)
    forged = note.replace(f"\n{said.size}\n", f"\n{said.size + 5}\n", 1)
    other = Place(tmp_path, seed=2).create()
    (strange,) = written(other, "one")
    assert verdicts(place, note, forged, strange, "no note") == [Verdict.AGREES, Verdict.UNSIGNED]


def test_a_file_keeps_notes_and_gives_back_the_newest(place: Place, tmp_path: Path) -> None:
    notes = written(place, "one", "two", "three")
    path = tmp_path / "anchors.jsonl"
    path.touch()
    sink = FileSink(path)
    for note in (notes[0], notes[2], notes[1]):
        sink.keep(note, seconds=1)
    log = parse_note(notes[0]).log_id.hex()
    assert sink.fetch(log, seconds=1, everything=False) == [notes[2]]
    assert sink.fetch(log, seconds=1, everything=True) == [notes[0], notes[2], notes[1]]
    assert sink.fetch("00" * 16, seconds=1, everything=True) == []


def test_a_torn_line_is_passed_over_and_nothing_is_joined_to_it(
    place: Place, tmp_path: Path
) -> None:
    first, second = written(place, "one", "two")
    path = tmp_path / "anchors.jsonl"
    path.touch()
    sink = FileSink(path)
    sink.keep(first, seconds=1)
    path.write_bytes(path.read_bytes()[:-20])
    sink.keep(second, seconds=1)
    log = parse_note(first).log_id.hex()
    assert sink.fetch(log, seconds=1, everything=True) == [second]


def test_a_missing_mount_is_not_reached_and_nothing_is_made_there(tmp_path: Path) -> None:
    for path in (tmp_path / "anchors.jsonl", tmp_path / "gone" / "anchors.jsonl"):
        with pytest.raises(SinkFailed, match="mount is missing"):
            FileSink(path).keep("", seconds=1)
        assert not path.exists()
        assert not path.parent.exists() or path.parent == tmp_path


def test_a_pipe_or_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(SinkFailed):
            FileSink(tmp_path / name).keep("", seconds=1)


def test_a_stream_gets_one_line_a_note(place: Place) -> None:
    (note,) = written(place, "one")
    reads, writes = os.pipe()
    try:
        StreamSink(writes).keep(note, seconds=1)
        assert note.encode().splitlines()[1] in os.read(reads, 4096)
    finally:
        os.close(writes)
        os.close(reads)


def test_two_notes_of_one_size_are_both_the_newest(place: Place, tmp_path: Path) -> None:
    notes = written(place, "one", "two")
    other = Place(tmp_path, seed=2).create()
    twins = written(other, "one", "two")
    assert newest([*notes, *twins, "no note"]) == [notes[1], twins[1]]


def test_whoever_hangs_is_waited_for_no_longer_than_said_and_not_called_again() -> None:
    """Law B1."""
    go = threading.Event()
    calls = {"hangs": go.wait, "answers": lambda: True}
    left: dict[str, Bounded[bool]] = {}
    first = together(calls, 0.05, left)
    second = together(calls, 0.05, left)
    go.set()
    assert first["answers"] is True
    assert second["answers"] is True
    assert "not answered" in str(first["hangs"])
    assert "not ended yet" in str(second["hangs"])


def test_what_a_plug_in_raises_is_a_failure_of_its_sink_and_shows_no_text() -> None:
    def leaks() -> None:
        raise ValueError("token=hunter2")

    found = together({"one": leaks}, 5, {})["one"]
    assert isinstance(found, SinkFailed)
    assert "hunter2" not in str(found)
