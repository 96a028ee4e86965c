"""Measurement 6: how often an upgrade waits for the disk, counted from outside.

Each side runs under strace, once with few upgrades and once with more; the
difference is what one costs, so that opening, closing and making releases known
do not count. Files are told by name: what is no database is a target, its folder
or what lies beside it, or (DBOS) the folder of the database.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

from benchmarks.harness import Answer, Question, Spread
from benchmarks.processes import SideProcess
from benchmarks.sides import DBOS_STEPS, FLOOR_COMMITS
from benchmarks.sizes import Sizes
from benchmarks.upgrade import has_dbos

CALLS = "fsync,fdatasync,sync_file_range,syncfs,sync"
_CALL = re.compile(r"\b(fsync|fdatasync|sync_file_range|syncfs|sync)\((?:\d+<([^>]*)>)?")

QUESTIONS = (
    Question(
        "syncs.floor",
        "syncs of one whole upgrade",
        "syncs",
        f"the bare floor: 1 file, 1 folder, {FLOOR_COMMITS} commits",
    ),
    Question(
        "syncs.dbos", "the same", "syncs", f"DBOS on SQLite, {DBOS_STEPS} empty steps, its default"
    ),
    Question("syncs.dbos.wal", "the same", "syncs", "the same, its file set to WAL"),
)


def has_strace() -> bool:
    """Whether strace is installed; without it these rows are left out."""
    return shutil.which("strace") is not None


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row of this measurement."""
    if not has_strace():
        return []
    noodle = counted(folder, "noodle", sizes.syncs_upgrades)
    answers = [_answer("syncs.floor", noodle, counted(folder, "floor", sizes.syncs_upgrades))]
    if has_dbos():
        for key, side in (("syncs.dbos", "dbos"), ("syncs.dbos.wal", "dbos-wal")):
            answers.append(_answer(key, noodle, counted(folder, side, sizes.syncs_upgrades)))
    return answers


def _answer(key: str, noodle: Counter[str], other: Counter[str]) -> Answer:
    ours, theirs = sum(noodle.values()), sum(other.values())
    remark = f"Noodle: {_words(noodle)}; other: {_words(other)}"
    return Answer(
        key, Spread(ours, 0, 1), Spread(theirs, 0, 1), Spread(ours / theirs, 0, 1), remark
    )


def _words(found: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items()))


def counted(folder: Path, side: str, upgrades: int) -> Counter[str]:
    """The syncs of one, by what was made durable."""
    few = _traced(folder / f"{side}-few", side, upgrades, prepared=2 * upgrades)
    many = _traced(folder / f"{side}-many", side, 2 * upgrades, prepared=2 * upgrades)
    one: Counter[str] = Counter()
    for name in sorted(few | many):
        # Odd ones out (a checkpoint in one of the runs) are rounded away.
        one[name] = round((many[name] - few[name]) / upgrades)
    return +one


def _traced(folder: Path, side: str, upgrades: int, *, prepared: int) -> Counter[str]:
    folder.mkdir(parents=True)
    output = folder / "strace"
    tracer = (
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-e",
        f"trace={CALLS}",
        "-e",
        "signal=none",
        "-o",
        str(output),
    )
    with SideProcess(side, folder / side, before=tracer) as process:
        process.prepare(prepared)
        process.run(upgrades)
    found: Counter[str] = Counter()
    for line in output.read_text(errors="replace").splitlines():
        call = _CALL.search(line)
        if call is not None:
            found[f"{call[1]} of {_kind(call[2] or '')}"] += 1
    return found


def _kind(path: str) -> str:
    """What a path is, without its name."""
    name = path.rpartition("/")[2]
    if name.startswith("keystore.db"):
        return "the keystore"
    if name.endswith(("-wal", "-journal", ".db", ".sqlite")):
        return "the database"
    if not path:
        return "something"
    return "other files and folders"
