"""An export that is killed is whole, or not there; the next one leaves nothing of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from noodle_engine import Noodle
from noodle_engine.execute.auditing.exporting import checked_export, export_journal
from noodle_journal import load_master_key, read_public_key
from noodle_journal.exports.manifest import Form
from tests.breadth import BREADTH, Breadth, sampled
from tests.crashes.harness.run import Bench, Command, Outcome
from tests.crashes.harness.shim import ENOSPC, KILL, TORN
from tests.crashes.harness.sweep import Sample, sweep

Report = Callable[[object], None]
PROGRAM: Final = (sys.executable, "-P", "-m", "noodle_engine.cli")
PRELOAD: Final = (
    "noodle_engine.api",
    "noodle_engine.cli.commands.audit.group",
    "noodle_engine.cli.follow",
    "noodle_engine.execute.auditing.exporting",
)


@dataclass(frozen=True, slots=True)
class Exporting:
    """`audit export` to a place beside the home."""

    place: str

    @property
    def name(self) -> str:
        """Which place."""
        return f"export to {self.place}"

    def prepare(self, folder: Path) -> Command:
        """A home, and the folder that the export goes to."""
        folder.mkdir(exist_ok=True)
        Noodle.init(folder / "home")
        with Noodle.open(folder / "home") as noodle:
            noodle.rotate_key()
        (folder / "out").mkdir()
        return Command(
            program=PROGRAM,
            arguments=(
                *("--home", str(folder / "home"), "--json"),
                *("audit", "export", str(folder / "out" / self.place), "--form", "redacted"),
            ),
            roots=(folder / "out",),
            folder=folder,
            entry="tests.crashes.engine_run:command",
            preload=PRELOAD,
        )

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """Whole, or not there; and there if it was said to be."""
        out = folder / "out" / self.place
        assert "Traceback" not in outcome.stderr, outcome.stderr
        if out.exists():
            self.check(folder)
        else:
            assert '"size"' not in outcome.stdout, outcome.stdout

    def resume(self, folder: Path) -> None:
        """Export again, if it is not there."""
        home, out = folder / "home", folder / "out" / self.place
        if not out.exists():
            key = load_master_key(variable=None, file=home / "keys" / "master.key")
            export_journal(home, out, form=Form.REDACTED, master_key=key, environment={})
            assert [one.name for one in (folder / "out").iterdir()] == [self.place]

    def check(self, folder: Path) -> None:
        """It verifies."""
        key = read_public_key(folder / "home" / "keys" / "log.pub")
        verdict = checked_export(folder / "out" / self.place, key)
        assert verdict.ok, verdict


STRIKES: Final = {"kill": KILL, "torn": TORN, "ENOSPC": ENOSPC}
PAIRS: Final = [(place, strike) for place in ("export", "export.tar") for strike in STRIKES]
SMALL: Final = [("export", "kill"), ("export.tar", "torn")]


@pytest.mark.parametrize(("place", "strike"), SMALL if BREADTH is Breadth.SMALL else PAIRS)
def test_an_export_is_whole_or_absent(
    place: str, strike: str, bench: Bench, work: Path, report_counts: Report
) -> None:
    points = Sample(points=sampled(24))
    counts = sweep(Exporting(place), STRIKES[strike], points, bench=bench, folder=work)
    report_counts(counts)
    assert counts.landed == counts.chosen > 0
