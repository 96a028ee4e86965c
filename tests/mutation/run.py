"""Try each mutant against the tests that run its function: one of them has to fail.

    python -m tests.mutation.run [--seconds-max N] [--write] [machine | journal]

The tests are collected once. A first child runs them all, to learn which functions
each comes to and that they pass. Then each mutant has a child of its own, forked with
everything imported: it gives the function its changed code and runs those tests, the
shortest first, until one fails.

Exit code 1: fewer than KILLED_PERCENT_MIN of those tried were killed, or a survivor
has no reason in `reasons.py`. Bounded by `--seconds-max`: then a part of the mutants is
tried, chosen by a fixed seed from all files.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

import hypothesis
import pytest

from tests.mutation.mutants import Key, Mutant, mutants_of, outermost
from tests.mutation.page import PAGE, write
from tests.mutation.reasons import REASONS

ROOT: Final = Path(__file__).resolve().parents[2]
PARTS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "machine": (
        ("engine/noodle_engine/machine",),
        ("tests/unit/machine", "tests/laws/test_table.py", "tests/unit/cli/test_pages.py"),
    ),
    "journal": (
        (
            "journal/noodle_journal/format",
            "journal/noodle_journal/soundness.py",
            "journal/noodle_journal/draft.py",
        ),
        (
            "tests/unit/journal",
            "tests/unit/execute/test_auditing.py",
            "tests/attacks/test_exports.py",
        ),
    ),
}
"""Of each part the files that are changed, and the tests that have to see it."""
KILLED_PERCENT_MIN: Final = 85
TESTS_S_MAX: Final = 20.0
"""Of tests that come to a function, as many as take so long together; the shortest first."""
CHILD_S_MAX: Final = 60
AT_ONCE: Final = os.cpu_count() or 1
SEED: Final = 6
CONTROLS: Final = 4
SURVIVED, KILLED, BROKEN, NOT_APPLIED = 0, 1, 3, 4


def files(part: str) -> Iterator[str]:
    """The files that are changed, from the root."""
    for place in PARTS[part][0]:
        path = ROOT / place
        for one in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            yield str(one.relative_to(ROOT))


class Runner:
    """A pytest plugin that runs the tests in its own way."""

    def __init__(self, part: str, *, seconds_max: float | None) -> None:
        self.part = part
        self.seconds_max = seconds_max
        self.mutants = [mutant for path in files(part) for mutant in mutants_of(ROOT, path)]
        self.killed: list[Mutant] = []
        self.survived: list[Mutant] = []
        self.unrun: list[Mutant] = []
        self.not_applied: list[Mutant] = []
        self.left = 0
        self.items: list[pytest.Item] = []
        self.reached: dict[tuple[str, Key], list[int]] = {}
        self.seconds: list[float] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of pytest's own loop."""
        if session.testsfailed:
            raise pytest.UsageError("the tests cannot be collected")
        self.items = session.items
        self._learn(session)
        order = list(self.mutants)
        random.Random(SEED).shuffle(order)
        self._control(session, order)
        began = time.monotonic()
        running: dict[int, Mutant] = {}
        while order or running:
            over = self.seconds_max is not None and time.monotonic() - began > self.seconds_max
            while order and len(running) < AT_ONCE and not over:
                mutant = order.pop()
                chosen = self._tests_of(mutant)
                if not chosen:
                    self.unrun.append(mutant)
                    continue
                running[self._try(session, mutant, chosen)] = mutant
            if not running:
                break
            child, status = os.wait()
            mutant = running.pop(child)
            code = os.waitstatus_to_exitcode(status)
            if code == BROKEN:
                raise pytest.UsageError(f"its function is not there: {mutant.name}")
            if code == NOT_APPLIED:
                self.not_applied.append(mutant)
                continue
            (self.survived if code == SURVIVED else self.killed).append(mutant)
            if code == SURVIVED:
                say(f"survives, line {mutant.line}: {mutant.name}")
        self.left = len(order)
        return True

    def _tests_of(self, mutant: Mutant) -> list[pytest.Item]:
        numbers = self.reached.get((str(ROOT / mutant.path), mutant.key), [])
        chosen: list[pytest.Item] = []
        taken = 0.0
        for number in sorted(numbers, key=lambda number: self.seconds[number]):
            taken += self.seconds[number]
            if chosen and taken > TESTS_S_MAX:
                break
            chosen.append(self.items[number])
        return chosen

    def _learn(self, session: pytest.Session) -> None:
        """Run all tests once, in a child, for what they reach; this process stays as it is."""
        with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
            child = os.fork()
            if child == 0:
                _silence()
                found = Reaching(session, self.part).run()
                Path(answer.name).write_text(json.dumps(found), encoding="utf-8")
                os._exit(0)
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
                raise pytest.UsageError("the tests could not be run")
            found = json.load(answer)
        if found["failed"]:
            raise pytest.UsageError(f"tests fail as they are: {found['failed']}")
        self.seconds = found["seconds"]
        for file, name, line, numbers in found["reached"]:
            self.reached[file, (name, line)] = numbers

    def _control(self, session: pytest.Session, order: Sequence[Mutant]) -> None:
        """A function with its own code has to survive: else a child fails by itself."""
        for mutant in [one for one in order if self._tests_of(one)][:CONTROLS]:
            same = replace(mutant, number=-1)
            _, status = os.waitpid(self._try(session, same, self._tests_of(mutant)), 0)
            if os.waitstatus_to_exitcode(status) != SURVIVED:
                raise pytest.UsageError(f"unchanged, and a test fails: {mutant.function}")

    def _try(self, session: pytest.Session, mutant: Mutant, chosen: Sequence[pytest.Item]) -> int:
        child = os.fork()
        if child:
            return child
        _silence()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_S_MAX)  # one that hangs is found, too
        os.setpgid(0, 0)
        code = BROKEN
        try:
            if _apply(mutant):
                code = SURVIVED
        except ValueError:
            code = NOT_APPLIED  # without the call of `super` it is another kind of function
        finally:
            if code != SURVIVED:
                os._exit(code)
        try:
            if _first_failed(session, chosen) is not None:
                code = KILLED
        except BaseException:  # noqa: BLE001 - whatever it breaks, it is seen
            code = KILLED
        os._exit(code)


class Reaching:
    """Which functions each test comes to, and how long it takes."""

    def __init__(self, session: pytest.Session, part: str) -> None:
        self.session = session
        self.outer = {
            str(ROOT / path): outermost(
                compile((ROOT / path).read_text(encoding="utf-8"), str(ROOT / path), "exec")
            )
            for path in files(part)
        }
        self.seen: set[CodeType] = set()

    def _called(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            self.seen.add(frame.f_code)

    def run(self) -> dict[str, Any]:
        """Run all tests; what was found, as JSON."""
        reached: dict[tuple[str, Key], list[int]] = {}
        seconds: list[float] = []
        failed: list[str] = []
        for number, item in enumerate(self.session.items):
            self.seen.clear()
            _forget()
            began = time.monotonic()
            sys.setprofile(self._called)
            if _first_failed(self.session, [item]) is not None:
                failed.append(item.nodeid)
            sys.setprofile(None)
            seconds.append(time.monotonic() - began)
            keys = set()
            for code in self.seen:
                own = self.outer.get(code.co_filename, {})
                key = own.get((code.co_name, code.co_firstlineno))
                if key is not None:
                    keys.add((code.co_filename, key))
            for one in keys:
                reached.setdefault(one, []).append(number)
        rows = [[file, name, line, at] for (file, (name, line)), at in reached.items()]
        return {"reached": rows, "seconds": seconds, "failed": failed}


def _first_failed(session: pytest.Session, items: Sequence[pytest.Item]) -> pytest.Item | None:
    for item in items:
        before = session.testsfailed
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        if session.testsfailed > before:
            return item
    return None


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _forget() -> None:
    """What functions remember from earlier calls would hide a change, or who reaches it."""
    gc.unfreeze()  # what is frozen is not among the objects
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper):
            module = getattr(one, "__module__", None) or ""
            if module.startswith("noodle_"):
                one.cache_clear()


def _apply(mutant: Mutant) -> bool:
    _forget()
    found = False
    file = str(ROOT / mutant.path)
    changed = mutant.code(ROOT)
    for one in gc.get_objects():
        if not isinstance(one, FunctionType):
            continue
        code = one.__code__
        if code.co_filename == file and (code.co_name, code.co_firstlineno) == mutant.key:
            one.__code__ = changed
            found = True
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Run it; 1 if too few are killed, or one survives without a reason."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--seconds-max", type=float, help="begin no further mutant after so long")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("part", choices=PARTS, nargs="?", help="only this part")
    options = parser.parse_args(words)
    os.chdir(ROOT)
    if options.part is None:
        # A process for each: what one has imported and changed is none of the other's.
        own = [sys.executable, "-m", "tests.mutation.run", *(words or sys.argv[1:])]
        return max([subprocess.run([*own, part], check=False).returncode for part in PARTS])
    hypothesis.settings.register_profile(
        "mutation",
        database=None,
        derandomize=True,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )
    hypothesis.settings.load_profile("mutation")
    runner = Runner(options.part, seconds_max=options.seconds_max)
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-o", "addopts="]
    arguments = ["-q", "-s", *quiet, "-p", "no:cacheprovider", "-o", "timeout=0"]
    began = time.monotonic()
    code = pytest.main([*arguments, *PARTS[options.part][1]], plugins=[runner])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return 1
    bad, figures = report(runner, time.monotonic() - began)
    if options.write:
        write(options.part, figures)
    return bad


def report(runner: Runner, seconds: float) -> tuple[int, str]:
    """Say what was killed, and which survivor has no reason; the figures for the page."""
    lived = runner.survived + runner.unrun
    killed, tried = len(runner.killed), len(runner.killed) + len(lived)
    percent = 100 * killed / max(tried, 1)
    for mutant in runner.unrun:
        say(f"no test comes to it, line {mutant.line}: {mutant.name}")
    unexplained = sorted({one.name for one in lived} - REASONS.keys())
    for name in unexplained:
        say(f"survives for no reason: {name}")
    say(
        f"{runner.part}: {len(runner.mutants)} mutants, {tried} tried, {killed} killed, "
        f"{percent:.1f} %; {len(unexplained)} survive for no reason, "
        f"{len(runner.not_applied)} cannot be applied, {seconds:.0f} s"
    )
    bad = percent < KILLED_PERCENT_MIN or unexplained
    return int(bool(bad)), f"{len(runner.mutants)} | {tried} | {killed} | {percent:.1f} %"


if __name__ == "__main__":
    sys.exit(main())
