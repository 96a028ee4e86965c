"""RESULTS.md: the one place where questions and answers meet.

Owns the page. Says the machine in general words: no name, no path, no address.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Answer, Goal, Of, Question, Spread, Verdict
from noodle_journal.storage.database import sqlite3

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Machine:
    """What the times depend on."""

    cores: int
    memory_gb: float
    kernel: str
    file_system: str
    python: str
    sqlite: str
    load: float

    @classmethod
    def here(cls, folder: Path) -> Machine:
        """This machine; `folder` is where the measurements write."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(
            cores=os.cpu_count() or 1,
            memory_gb=pages / 2**30,
            kernel=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
            file_system=_file_system(folder),
            python=platform.python_version(),
            sqlite=sqlite3.sqlite_version,
            load=os.getloadavg()[0],
        )

    @property
    def text(self) -> str:
        """One paragraph."""
        return (
            f"{self.cores} cores ({platform.machine()}), {self.memory_gb:.0f} GB of memory, "
            f"{self.kernel}, {self.file_system}, Python {self.python}, SQLite {self.sqlite}. "
            f"Load before the run: {self.load:.1f} (what else the machine was doing)."
        )


def _file_system(folder: Path) -> str:
    best, kind = "", "unknown"
    where = str(folder.resolve())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, name, *_ = line.split()
        inside = where == mount or where.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, name
    return kind


def number(value: float, unit: str) -> str:
    """A value for people, in its unit."""
    if unit == "syncs":
        return f"{value:.0f}"
    if unit == "MB":
        return f"{value:.0f} MB"
    if unit == "ms" and value >= 100:
        return f"{value:.0f} ms"
    digits = 3 if value < 1 else 2 if value < 10 else 1
    return f"{value:.{digits}f} {unit}"


def spread(found: Spread, unit: str) -> str:
    """A median with its spread, where there was more than one value."""
    text = number(found.median, unit)
    if found.count == 1:
        return text
    return f"{text.removesuffix(' ' + unit)} \u00b1 {number(found.distance, unit)}"


def goal_text(goal: Goal | None) -> str:
    """What is wanted, in few words."""
    if goal is None:
        return "-"
    if goal.of is Of.VALUE:
        return f"{goal.sense} {goal.limit:g} (value)"
    return f"{goal.sense} {goal.limit:g}x" + (" faster" if goal.of is Of.INVERSE else "")


def ratio_text(question: Question, answer: Answer) -> str:
    """The ratio, the way round that the goal has it."""
    if answer.ratio is None:
        return "-"
    if question.goal is not None and question.goal.of is Of.INVERSE:
        return f"{1 / answer.ratio.median:.2f}x faster"
    around = "" if answer.ratio.count == 1 else f" \u00b1 {answer.ratio.distance:.2f}"
    return f"{answer.ratio.median:.2f}x{around}"


def verdict(question: Question, answer: Answer) -> str:
    """Whether the goal is met."""
    if question.goal is None:
        return "-"
    found = question.goal.verdict(answer)
    return str(found) if found is Verdict.MET else f"**{found}**"


def row(question: Question, answer: Answer | None) -> Sequence[str]:
    """The cells of one row."""
    cells = (f"`{question.key}`", question.what)
    if answer is None:
        return (*cells, NOT_MEASURED, question.beside, "-", "-", goal_text(question.goal), "-")
    other = "-" if answer.other is None else spread(answer.other, question.unit)
    return (
        *cells,
        spread(answer.ours, question.unit),
        question.beside or "-",
        other,
        ratio_text(question, answer),
        goal_text(question.goal),
        verdict(question, answer),
    )


HEAD = ("row", "what", "Noodle", "beside", "that", "ratio", "goal", "verdict")


def render(
    sections: Mapping[str, Sequence[Question]],
    answers: Mapping[str, Answer],
    machine: Machine,
    *,
    minutes: float,
) -> str:
    """The whole page."""
    how = (
        "Written by `make bench`; do not edit. Each row is one comparison: both sides ran in the "
        "same rounds, in turns, each round in another order. A value is the median over rounds "
        "\u00b1 the median distance from it; the ratio is Noodle's value over the other's within "
        "a round, its median over rounds. Times hold for the machine below and no other; ratios "
        "carry further. A goal is undecided where the spread reaches across its limit."
    )
    lines = [
        "# What Noodle costs",
        "",
        how,
        "",
        f"Machine: {machine.text} The run took {minutes:.0f} minutes.",
        "",
    ]
    for title, questions in sections.items():
        lines += _section(title, questions, answers)
    return "\n".join(lines)


def _section(
    title: str, questions: Sequence[Question], answers: Mapping[str, Answer]
) -> Sequence[str]:
    lines = [f"## {title}", "", _cells(HEAD), _cells(["---"] * len(HEAD))]
    lines += [_cells(row(one, answers.get(one.key))) for one in questions]
    remarks: dict[str, list[str]] = {}
    reasons: dict[str, list[str]] = {}
    for one in questions:
        answer = answers.get(one.key)
        if answer is None:
            continue
        if answer.remark:
            remarks.setdefault(answer.remark, []).append(f"`{one.key}`")
        if one.goal is not None and one.goal.verdict(answer) is not Verdict.MET:
            reasons.setdefault(one.missed, []).append(f"`{one.key}`")
    notes = [f"- {', '.join(keys)}: {text}" for text, keys in remarks.items()]
    notes += [
        f"- Why {', '.join(keys)} did not clearly meet the goal: {text}"
        for text, keys in reasons.items()
    ]
    return [*lines, "", *notes, *([""] if notes else [])]


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
