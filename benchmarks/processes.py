"""Sides that run as processes, and what is counted from outside.

Owns the children: each is ended by closing its input, and killed if it stays.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
ENDS_S_MAX = 30.0


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would send a side to somebody's own home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NOODLE", "PYTHON", "DBOS", "COVERAGE"))
    }
    return {**kept, **more}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a side answered to one line."""

    ms: Sequence[float]
    cpu_ms: float
    peak_mb: float

    @property
    def median_ms(self) -> float:
        """Of the single times."""
        return statistics.median(self.ms)


class SideProcess:
    """One side in a process of its own. Use it as a context manager."""

    def __init__(self, side: str, folder: Path, *, before: Sequence[str] = ()) -> None:
        """`before` is a program to run it under, such as a tracer."""
        self._child = subprocess.Popen(
            [*before, sys.executable, "-m", "benchmarks.sides", side, str(folder)],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.side = side
        try:
            self.facts: Mapping[str, Any] = self._answer()
        except BaseException:
            self._child.kill()
            self._child.wait()
            raise

    def _ask(self, word: str, count: int) -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{word} {count}\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the side {self.side} ended early: {self._child.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def prepare(self, count: int) -> None:
        """Let it get ready to do that many."""
        self._ask("prepare", count)

    def run(self, count: int) -> Ran:
        """Let it do that many, after getting ready where it is not."""
        found = self._ask("run", count)
        return Ran(found["ms"], found["cpu_ms"], found["peak_mb"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(ENDS_S_MAX)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
