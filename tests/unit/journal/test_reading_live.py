"""A journal is read while a writer writes it."""

from __future__ import annotations

import threading

from tests.unit.journal.place import Place, note

READERS = 8


def test_a_reader_never_takes_a_journal_that_grows_for_one_that_was_cut(place: Place) -> None:
    """The head that is kept meanwhile is of records that were durable before it was."""
    journal = place.open()
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            journal.append([note("one more")], head=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(READERS):
            place.reader().close()
    finally:
        ended.set()
        writer.join()
        journal.close()
