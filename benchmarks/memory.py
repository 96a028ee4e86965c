"""Measurement 7: peak memory, of processes that do one thing many times."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Answer, Goal, Of, Question, Sense, Spread
from benchmarks.processes import SideProcess
from benchmarks.sides import DBOS_STEPS
from benchmarks.sizes import Sizes
from benchmarks.upgrade import has_dbos
from benchmarks.verify import Site

HUNDRED_MB = Goal(Sense.AT_MOST, 100.0, Of.VALUE)

QUESTIONS = (
    Question("memory.append", "peak memory of a process that appends", "MB", "bare floor"),
    Question(
        "memory.verify",
        "peak memory of the processes that verify with the key",
        "MB",
        "python that has imported as much",
        HUNDRED_MB,
        "Rows are read in batches, so what grows is not the journal's; see the process beside it.",
    ),
    Question("memory.upgrade", "peak memory of a process that upgrades", "MB", "bare floor"),
    Question("memory.upgrade.dbos", "the same", "MB", f"DBOS on SQLite, {DBOS_STEPS} empty steps"),
)


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row of this measurement."""
    verified = folder / "verified"
    Site.make(verified, sizes.verify_records)
    appended = _peak("append", folder / "append", sizes.memory_appends)
    floor_appended = _peak("append-floor", folder / "append-floor", sizes.memory_appends)
    upgraded = _peak("noodle", folder / "noodle", sizes.memory_upgrades)
    floor = _peak("floor", folder / "floor", sizes.memory_upgrades)
    answers = [
        _answer("memory.append", appended, floor_appended, f"{sizes.memory_appends:,} appends"),
        _answer(
            "memory.verify",
            _peak("verify", verified, 1),
            _peak("verify", verified, 0),
            f"{sizes.verify_records:,} records",
        ),
        _answer("memory.upgrade", upgraded, floor, f"{sizes.memory_upgrades:,} upgrades"),
    ]
    if has_dbos():
        dbos = _peak("dbos", folder / "dbos", sizes.memory_upgrades)
        answers.append(_answer("memory.upgrade.dbos", upgraded, dbos))
    return answers


def _peak(side: str, folder: Path, count: int) -> float:
    with SideProcess(side, folder) as process:
        return process.run(count).peak_mb


def _answer(key: str, ours: float, other: float, remark: str = "") -> Answer:
    return Answer(key, Spread(ours, 0, 1), Spread(other, 0, 1), Spread(ours / other, 0, 1), remark)
