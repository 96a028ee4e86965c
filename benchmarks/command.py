"""The command: which measurements, how large, and where the page goes.

Owns the list of measurements. A new one is a module with QUESTIONS and
`measure`, and a line here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    append,
    commands,
    memory,
    opening,
    resume,
    settings,
    syncs,
    trees,
    upgrade,
    verify,
)
from benchmarks.harness import Answer, Question
from benchmarks.report import Machine, render
from benchmarks.sizes import FULL, QUICK, Sizes

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One section of the page."""

    name: str
    title: str
    questions: Sequence[Question]
    measure: Callable[[Path, Sizes], list[Answer]]


MEASUREMENTS = (
    Measurement("append", "Durable append", append.QUESTIONS, append.measure),
    Measurement("upgrade", "A whole upgrade", upgrade.QUESTIONS, upgrade.measure),
    Measurement("syncs", "Syncs of an upgrade", syncs.QUESTIONS, syncs.measure),
    Measurement("verify", "Verification", verify.QUESTIONS, verify.measure),
    Measurement("opening", "Opening a long journal", opening.QUESTIONS, opening.measure),
    Measurement("resume", "Resuming", resume.QUESTIONS, resume.measure),
    Measurement("commands", "Short commands", commands.QUESTIONS, commands.measure),
    Measurement("memory", "Memory", memory.QUESTIONS, memory.measure),
    Measurement("trees", "A whole directory", trees.QUESTIONS, trees.measure),
    Measurement("settings", "Settings", settings.QUESTIONS, settings.measure),
)
KEYS = tuple(question.key for one in MEASUREMENTS for question in one.questions)


def check_answers(measurement: Measurement, answers: Sequence[Answer]) -> None:
    """Every answer has its question, once. Raises ValueError."""
    asked = [question.key for question in measurement.questions]
    given = [answer.key for answer in answers]
    if len(set(given)) != len(given) or not set(given) <= set(asked):
        raise ValueError(f"{measurement.name} answers {given}, asked were {asked}")


def run(names: Sequence[str], sizes: Sizes, folder: Path) -> Mapping[str, Answer]:
    """Measure, one after the other; progress goes to standard error."""
    answers: dict[str, Answer] = {}
    for measurement in MEASUREMENTS:
        if measurement.name not in names:
            continue
        began = time.monotonic()
        found = measurement.measure(folder / measurement.name, sizes)
        check_answers(measurement, found)
        answers |= {answer.key: answer for answer in found}
        took = time.monotonic() - began
        print(f"{measurement.name}: {took:.0f} s", file=sys.stderr, flush=True)
    return answers


def main(words: Sequence[str] | None = None) -> int:
    """Run it. Without options everything is measured in full and RESULTS.md is written."""
    names = [one.name for one in MEASUREMENTS]
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: only that it runs")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help="of " + ", ".join(names)
    )
    parser.add_argument("--folder", type=Path, help="where to measure (its file system counts)")
    options = parser.parse_args(words)
    whole = not options.quick and not options.only
    chosen = options.only or names
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="noodle-bench-", dir=options.folder) as scratch:
        folder = Path(scratch)
        machine = Machine.here(folder)
        began = time.monotonic()
        answers = run(chosen, QUICK if options.quick else FULL, folder)
        minutes = (time.monotonic() - began) / 60
    sections = {one.title: one.questions for one in MEASUREMENTS if one.name in chosen}
    page = render(sections, answers, machine, minutes=minutes)
    print(page)
    if whole:
        RESULTS.write_text(page)
        print(f"written: {RESULTS.name}", file=sys.stderr)
    return 0
