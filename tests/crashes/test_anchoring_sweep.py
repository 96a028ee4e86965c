"""An upgrade whose heads are anchored to a file, killed at its calls.

What must hold at every moment: a head that the anchor has is in the keystore, so that
nothing else is ever signed for its size; and after a resume the journal is what every
anchor says, however far it came.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from noodle_engine import Noodle
from noodle_journal import parse_note
from noodle_journal.storage.keystore import Keystore
from tests.breadth import BREADTH, Breadth
from tests.crashes.engine_beginnings import Beginning
from tests.crashes.engine_home import NAMES, NEW, OLD, Words, content, old_installed, wanted
from tests.crashes.engine_judging import explained, read_target
from tests.crashes.harness.run import Bench, Command, Outcome
from tests.crashes.harness.shim import KILL
from tests.crashes.harness.sweep import Sample, Sweep
from tests.crashes.test_engine_sweep import Report

POINTS = 48
POINTS_SMALL = 4


def notes(folder: Path) -> list[str]:
    """What the anchor has whole."""
    lines = (folder / "anchors.jsonl").read_bytes().split(b"\n")
    return [json.loads(line)["note"] for line in lines if line.endswith(b"}")]


@dataclass(slots=True)
class Anchored(Beginning):
    """An upgrade of two files, each commit of it anchored."""

    def prepare(self, folder: Path) -> Command:
        """Both files at the old version, and an anchor that has nothing yet."""
        old_installed(self.bench, folder)
        anchor = folder / "anchors.jsonl"
        anchor.touch()
        own = {"anchors": [f"file:{anchor}"], "anchor_strict": True, "anchor_unreachable": "refuse"}
        (folder / "home" / "config" / "noodle.json").write_text(json.dumps({"noodle": own}))
        made = Words(self.bench, folder, wanted(NEW)(folder)).command
        return Command(
            program=made.program,
            arguments=made.arguments,
            roots=(*made.roots, anchor),
            folder=made.folder,
            entry=made.entry,
            preload=made.preload,
        )

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """Every head that was sent is kept here."""
        explained(outcome)
        keystore = Keystore(folder / "home")
        try:
            heads = {(head.size, head.root) for head in keystore.heads()}
        finally:
            keystore.close()
        assert {(note.size, note.root) for note in map(parse_note, notes(folder))} <= heads

    def resume(self, folder: Path) -> None:
        """As a user would."""
        again = self._give(folder, "resume")
        assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """One side, a journal that is whole, and an anchor that agrees with all it has."""
        found = [read_target(folder, name) for name in NAMES]
        sides = [[content(name, version) for name in NAMES] for version in (OLD, NEW)]
        assert found in sides
        with Noodle.open(folder / "home") as noodle:
            view = noodle.audit_anchors()
            assert view.ok
            assert noodle.audit_verify().ok
        assert view.anchors[0].verdict in {"agrees", "nothing"}


def test_a_kill_anywhere_leaves_no_anchor_that_the_journal_contradicts(
    bench: Bench, work: Path, report_counts: Report
) -> None:
    points = POINTS_SMALL if BREADTH is Breadth.SMALL else POINTS
    with (
        Anchored("anchored upgrade", bench) as made,
        Sweep(made, bench=bench, folder=work) as prepared,
    ):
        counts = prepared.strike(KILL, Sample(points, seed=1, every_pair=False))
    report_counts(counts)
    # Anchors are sent by a thread of their own, so that the last calls are not always as many.
    assert counts.landed >= counts.chosen * 3 / 4
