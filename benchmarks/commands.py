"""Measurement 5: what a short command costs, beside a bare interpreter and one with click.

Whole processes, from start to exit, their output thrown away. `noodle` is the
installed command.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Answer, Goal, Question, Rounds, Sense, alternate
from benchmarks.processes import ROOT, environment
from benchmarks.sizes import Sizes
from noodle_engine import Noodle

NOODLE = str(Path(sys.executable).with_name("noodle"))
CLICK = "a process that imports click and ends"
BARE = "python -c pass"
WALL_KEYS = {"help": "--help", "version": "--version", "status": "status"}
HELP_WHY = (
    "Beside click, `--help` imports the list of commands and the error codes and formats a page."
)

QUESTIONS = (
    Question(
        "command.help",
        "noodle --help",
        "ms",
        CLICK,
        Goal(Sense.AT_MOST, 1.3),
        HELP_WHY,
    ),
    Question("command.help.bare", "the same", "ms", BARE),
    Question("command.version", "noodle --version", "ms", CLICK),
    Question("command.status", "noodle status, of a home with one component", "ms", CLICK),
    Question("command.status.bare", "the same", "ms", BARE),
    Question("command.help.cpu", "CPU time of noodle --help", "ms", CLICK),
    Question("command.status.cpu", "CPU time of noodle status", "ms", CLICK),
    Question("import.engine", "python -c 'import noodle_engine'", "ms", BARE),
    Question("import.api", "python -c 'from noodle_engine import Noodle'", "ms", BARE),
)


@dataclass(slots=True)
class Command:
    """A command line that is run again and again; what its processes took, by clock and CPU."""

    argv: Sequence[str]
    home: Path
    cpu_ms: list[float]

    def once(self) -> float:
        """Run it. Milliseconds by the clock. Raises CalledProcessError if it fails."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        # No timeout: waiting with one polls, in steps larger than what is measured.
        subprocess.run(
            self.argv,
            cwd=ROOT,
            env=environment(NOODLE_HOME=str(self.home)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        took = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.cpu_ms.append(used * 1000)
        return took * 1000


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row of this measurement."""
    home = _home(folder)
    python = (sys.executable, "-c")
    lines: dict[str, Sequence[str]] = {
        "bare": (*python, "pass"),
        "click": (*python, "import click"),
        "engine": (*python, "import noodle_engine"),
        "api": (*python, "from noodle_engine import Noodle"),
        **{name: (NOODLE, word) for name, word in WALL_KEYS.items()},
    }
    commands = {name: Command(argv, home, []) for name, argv in lines.items()}
    rounds = alternate(
        {name: command.once for name, command in commands.items()}, rounds=sizes.command_rounds
    )
    cpu = Rounds(
        {name: command.cpu_ms[-sizes.command_rounds :] for name, command in commands.items()}
    )
    return [
        rounds.answer("command.help", "help", "click"),
        rounds.answer("command.help.bare", "help", "bare"),
        rounds.answer("command.version", "version", "click"),
        rounds.answer("command.status", "status", "click"),
        rounds.answer("command.status.bare", "status", "bare"),
        cpu.answer("command.help.cpu", "help", "click"),
        cpu.answer("command.status.cpu", "status", "click"),
        rounds.answer("import.engine", "engine", "bare"),
        rounds.answer("import.api", "api", "bare"),
    ]


def _home(folder: Path) -> Path:
    """A home with one component that was installed."""
    home, target = folder / "home", folder / "live" / "app"
    target.parent.mkdir(parents=True)
    release = folder / "release"
    release.mkdir()
    (release / "app").write_text("1")
    (release / "noodle.toml").write_text(
        'format = 1\n[component]\nname = "app"\nversion = "1.0.0"\nkind = "file"\n'
        f'[payload]\npath = "app"\n[target]\npath = "{target}"\n'
    )
    Noodle.init(home)
    with Noodle.open(home) as noodle:
        noodle.add(release)
        noodle.apply(["app@1.0.0"])
    if not os.access(NOODLE, os.X_OK):
        raise RuntimeError("the command `noodle` is not installed beside this Python")
    return home
