"""The stand-in as a scenario: what must hold of it after any strike."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.crashes import standin
from tests.crashes.harness.run import Bench, Command, Outcome, run

PROGRAM: Final = (sys.executable, str(Path(standin.__file__)))


@dataclass(frozen=True, slots=True)
class Upgrading:
    """An upgrade by the stand-in, in one of its orders."""

    bench: Bench
    order: str = "right"
    forked: bool = True

    @property
    def name(self) -> str:
        """The order under test."""
        return f"stand-in {self.order}"

    def command(self, verb: str, folder: Path) -> Command:
        """One verb of the stand-in; roots are the home and the target's folder."""
        return Command(
            program=PROGRAM,
            arguments=(verb, str(folder), self.order),
            roots=(folder / "home", folder / "srv"),
            folder=folder,
            entry="tests.crashes.standin:main" if self.forked else None,
        )

    def prepare(self, folder: Path) -> Command:
        """Make home, journal and the old target."""
        prepared = run(self.command("prepare", folder), self.bench)
        assert prepared.returncode == 0, str(prepared)
        return self.command("upgrade", folder)

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """Old or new, and new where it is recorded or said to be done."""
        target = folder / "srv" / "web"
        assert target.exists(), "missing"
        content = target.read_bytes()
        assert content in {standin.OLD, standin.NEW}, "mixed"
        assert "Traceback" not in outcome.stderr, outcome.stderr
        recorded = "done" in standin.steps(folder / "home")
        assert content == standin.NEW or not recorded, "recorded as done, and old"
        assert recorded or "done" not in outcome.stdout, "said to be done, and not recorded"

    def resume(self, folder: Path) -> None:
        """Resume once; `check` would see a second "done" of a run that repeats itself."""
        resumed = run(self.command("resume", folder), self.bench)
        assert resumed.returncode == 0, str(resumed)

    def check(self, folder: Path) -> None:
        """New, recorded once."""
        assert (folder / "srv" / "web").read_bytes() == standin.NEW, "not new"
        assert standin.steps(folder / "home").count("done") == 1
