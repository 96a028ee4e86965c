"""Measurement 2: a whole upgrade of one file, beside the bare floor and beside DBOS.

Each side is a process of its own; they take turns. A file of 64 KiB, no health
check, no hooks. DBOS runs a workflow of seven empty steps: it copies no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness import Answer, Goal, Of, Question, Rounds, Sense, alternate
from benchmarks.processes import Ran, SideProcess
from benchmarks.sides import DBOS_STEPS, FLOOR_COMMITS, PAYLOAD_BYTES
from benchmarks.sizes import Sizes

SIX_TIMES_DBOS = Goal(Sense.AT_LEAST, 6.0, Of.INVERSE)
FILE = f"one file of {PAYLOAD_BYTES // 1024} KiB"
DBOS = f"DBOS on SQLite, {DBOS_STEPS} empty steps"
WHY = (
    "Most of an upgrade's time is Python and not the disk (see the rows of CPU time and of the "
    "plan): planning verifies the release and looks at target and file system; each record is "
    "encoded, sealed and folded; each step looks at its target before and after; the answer at "
    "the end is read back from the journal. DBOS moves no file here and proves nothing of one: "
    "the rows of the records alone are the like for its empty steps."
)

QUESTIONS = (
    Question(
        "upgrade.floor",
        f"whole upgrade of {FILE}: plan, apply, committed",
        "ms",
        f"staged copy, sync, rename, sync of the folder, {FLOOR_COMMITS} bare durable commits",
    ),
    Question("upgrade.dbos", "the same", "ms", DBOS, SIX_TIMES_DBOS, WHY),
    Question(
        "upgrade.dbos.wal",
        "the same",
        "ms",
        f"{DBOS}, its file set to WAL",
        SIX_TIMES_DBOS,
        WHY,
    ),
    Question("upgrade.plan", "its planning alone", "ms", "the whole upgrade"),
    Question(
        "records.floor",
        "only the records of such an upgrade, in the commits it made: sealed, durable, folded; "
        "no plan, no file",
        "ms",
        f"{FLOOR_COMMITS} bare durable commits and the file work",
    ),
    Question("records.dbos", "the same", "ms", DBOS),
    Question("records.dbos.wal", "the same", "ms", f"{DBOS}, its file set to WAL"),
    Question("upgrade.cpu", "CPU time of such an upgrade", "ms", "the same floor"),
    Question("upgrade.cpu.dbos", "the same", "ms", f"{DBOS}, its file set to WAL"),
)
DBOS_KEYS = frozenset(one.key for one in QUESTIONS if "dbos" in one.key)


def has_dbos() -> bool:
    """Whether DBOS is installed; `make bench` installs it."""
    return find_spec("dbos") is not None


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row of this measurement; without DBOS those beside it are left out."""
    names = ["noodle", "plan", "records", "floor", *(["dbos", "dbos-wal"] if has_dbos() else [])]
    with ExitStack() as stack:
        sides = {name: stack.enter_context(SideProcess(name, folder / name)) for name in names}
        ran: dict[str, list[Ran]] = {name: [] for name in names}

        def run(name: str) -> float:
            ran[name].append(sides[name].run(sizes.upgrades_a_round))
            return ran[name][-1].median_ms

        rounds = alternate(
            {name: lambda name=name: run(name) for name in names},  # type: ignore[misc]
            rounds=sizes.upgrade_rounds,
            warm_up_rounds=2,
        )
        sizes_of_it = "{records} records in {commits} commits".format(**sides["records"].facts)
        facts = {name: durability(side.facts) for name, side in sides.items()}
    cpu = Rounds(
        {
            name: [one.cpu_ms for one in found[-sizes.upgrade_rounds :]]
            for name, found in ran.items()
        }
    )
    answers = [
        rounds.answer("upgrade.floor", "noodle", "floor", f"both: {facts['noodle']}"),
        rounds.answer("upgrade.plan", "plan", "noodle"),
        rounds.answer("records.floor", "records", "floor", sizes_of_it),
        cpu.answer("upgrade.cpu", "noodle", "floor"),
    ]
    if has_dbos():
        ours = f"Noodle: {facts['noodle']}; DBOS: "
        for key, side in (("upgrade.dbos", "dbos"), ("upgrade.dbos.wal", "dbos-wal")):
            over = rounds.ratio(side, "floor").median
            remark = (
                f"{ours}{facts[side]}. DBOS takes {over:.1f} times the bare floor here; what is "
                f"{SIX_TIMES_DBOS.limit:g} times faster than it takes "
                f"{over / SIX_TIMES_DBOS.limit:.2f} times the floor"
            )
            answers.append(rounds.answer(key, "noodle", side, remark))
        answers += [
            rounds.answer("records.dbos", "records", "dbos"),
            rounds.answer("records.dbos.wal", "records", "dbos-wal"),
            cpu.answer("upgrade.cpu.dbos", "noodle", "dbos-wal"),
        ]
    return answers


def durability(facts: Mapping[str, object]) -> str:
    """How durable a side says it is, in words."""
    levels = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
    level = levels.get(int(str(facts["synchronous"])), "unknown")
    return f"SQLite {facts['sqlite']}, {facts['journal_mode']}, synchronous {level}"
