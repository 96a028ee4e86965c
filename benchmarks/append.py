"""Measurement 1: the durable append, beside the same cryptography and beside none.

On a warm write-ahead log (a process that has been writing for a while) and on
a fresh one (every short command), in groups of eight, and by eight threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Answer, Goal, Question, Rounds, Sense, alternate
from benchmarks.journals import BareLog, new_journal, open_journal, the_record
from benchmarks.sizes import Sizes

GROUP = 8
THREADS = 8
AT_MOST_FLOOR = Goal(Sense.AT_MOST, 1.2)
FLOOR = "same cryptography, bare loop"
SCHEMA = "same cryptography, bare loop, the journal's table, indexes and triggers"
BARE = "bare insert, no cryptography"
WHY = (
    "The journal does more for each record than the floor: it checks its lease, checks and "
    "encodes the body, and hands out the turn; the floor starts from ready bytes. Its table has "
    "an index by upgrade and triggers that refuse what is out of order (the rows beside show what "
    "they cost alone)."
)

QUESTIONS = (
    Question(
        "append.warm",
        "durable append of one record, warm write-ahead log",
        "ms",
        FLOOR,
        AT_MOST_FLOOR,
        WHY,
    ),
    Question("append.warm.schema", "the same", "ms", SCHEMA),
    Question("append.warm.bare", "the same", "ms", BARE),
    Question(
        "append.fresh",
        "durable append of one record, fresh write-ahead log",
        "ms",
        FLOOR,
        AT_MOST_FLOOR,
        WHY + " On a fresh write-ahead log each page more also makes the file longer, which the "
        "file system has to record at the sync.",
    ),
    Question("append.fresh.schema", "the same", "ms", SCHEMA),
    Question("append.fresh.bare", "the same", "ms", BARE),
    Question(
        "append.group",
        f"durable append, {GROUP} records in one commit, per record",
        "ms",
        FLOOR,
        AT_MOST_FLOOR,
        WHY + " With eight records a commit the sync no longer hides it.",
    ),
    Question("append.group.schema", "the same", "ms", SCHEMA),
    Question("append.group.bare", "the same", "ms", BARE),
    Question(
        "append.threads",
        f"durable append, {THREADS} threads at once, per record",
        "ms",
        FLOOR + ", a lock around it",
        AT_MOST_FLOOR,
        WHY,
    ),
    Question("append.threads.bare", "the same", "ms", BARE + ", a lock around it"),
)


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row of this measurement."""
    return [
        *_compared("append.warm", _warm(folder / "warm", sizes, rows=1)),
        *_compared("append.fresh", _fresh(folder / "fresh", sizes)),
        *_compared("append.group", _warm(folder / "group", sizes, rows=GROUP)),
        *_compared("append.threads", _threads(folder / "threads", sizes)),
    ]


def _compared(key: str, rounds: Rounds) -> list[Answer]:
    beside = [name for name in ("schema", "bare") if name in rounds.values]
    return [
        rounds.answer(key, "noodle", "floor"),
        *(rounds.answer(f"{key}.{name}", "noodle", name) for name in beside),
    ]


def _timed(append: Callable[[], object], *, commits: int, rows: int) -> float:
    """Milliseconds a record: the median commit of many."""
    times = []
    for _ in range(commits):
        began = time.perf_counter()
        append()
        times.append(time.perf_counter() - began)
    times.sort()
    return times[len(times) // 2] * 1000 / rows


def _warm(folder: Path, sizes: Sizes, *, rows: int) -> Rounds:
    floor, bare = BareLog(folder / "floor", crypto=True), BareLog(folder / "bare", crypto=False)
    same = BareLog(folder / "schema", crypto=True, schema=True)
    records = [the_record()] * rows
    with open_journal(new_journal(folder / "noodle")) as journal:
        commits = sizes.append_commits
        rounds = alternate(
            {
                "noodle": lambda: _timed(
                    lambda: journal.append(records), commits=commits, rows=rows
                ),
                "floor": lambda: _timed(lambda: floor.append(rows), commits=commits, rows=rows),
                "schema": lambda: _timed(lambda: same.append(rows), commits=commits, rows=rows),
                "bare": lambda: _timed(lambda: bare.append(rows), commits=commits, rows=rows),
            },
            rounds=sizes.append_rounds,
            # Twice around the automatic checkpoint, so that the log is recycled.
            warm_up_rounds=max(1, sizes.append_rounds // 3),
        )
    for log in (floor, same, bare):
        log.close()
    return rounds


def _fresh(folder: Path, sizes: Sizes) -> Rounds:
    """Open, append once (which opens the journal's epoch), then time some, then close."""
    new_journal(folder / "noodle")
    commits = sizes.append_commits // 2

    def noodle() -> float:
        with open_journal(folder / "noodle") as journal:
            journal.append([the_record()])
            return _timed(lambda: journal.append([the_record()]), commits=commits, rows=1)

    def bare(name: str, *, crypto: bool, schema: bool = False) -> float:
        log = BareLog(folder / name, crypto=crypto, schema=schema)
        try:
            log.append()
            return _timed(log.append, commits=commits, rows=1)
        finally:
            log.close()

    return alternate(
        {
            "noodle": noodle,
            "floor": lambda: bare("floor", crypto=True),
            "schema": lambda: bare("schema", crypto=True, schema=True),
            "bare": lambda: bare("bare", crypto=False),
        },
        rounds=sizes.append_rounds,
    )


def _threads(folder: Path, sizes: Sizes) -> Rounds:
    """All threads together: wall time over records."""
    floor, bare = BareLog(folder / "floor", crypto=True), BareLog(folder / "bare", crypto=False)
    commits = sizes.append_threads_commits

    def together(append: Callable[[], object]) -> float:
        start = threading.Barrier(THREADS + 1)

        def work() -> None:
            start.wait()
            for _ in range(commits // THREADS):
                append()

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        start.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - began) * 1000 / (commits // THREADS * THREADS)

    def locked(log: BareLog) -> Callable[[], None]:
        turn = threading.Lock()

        def append() -> None:
            with turn:
                log.append()

        return append

    with open_journal(new_journal(folder / "noodle")) as journal:
        rounds = alternate(
            {
                "noodle": lambda: together(lambda: journal.append([the_record()])),
                "floor": lambda: together(locked(floor)),
                "bare": lambda: together(locked(bare)),
            },
            rounds=sizes.append_rounds,
        )
    floor.close()
    bare.close()
    return rounds
