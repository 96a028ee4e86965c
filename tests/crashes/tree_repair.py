"""What a repair is struck in: a stranger has edited the tree, and it is put back.

Both sides are the installed version. Before the commit's side the target is what
the stranger left, to the last attribute; after it the release's, what he left is
beside it, and what programs wrote in the tree is where it was.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noodle_engine.disk.trees.manifest import TreeManifest
from tests.crashes.engine_home import always
from tests.crashes.harness.run import Bench, Command, Outcome
from tests.crashes.tree_home import MUTABLE, NAME, OLD, WRITTEN, LeadUp, old_installed, place_in
from tests.crashes.tree_scenarios import LAYOUTS, Tree, manifest_of, same, tree_at

EDIT = b"a stranger's\n"
EDITED = "app.py"


def edited(layout: str) -> LeadUp:
    """The old version, in use; one of its files was edited, and one is new."""

    def lead_up(bench: Bench, folder: Path) -> None:
        old_installed(layout)(bench, folder)
        target = folder / "srv" / NAME
        (target / EDITED).write_bytes(EDIT)
        (target / "mine").write_bytes(EDIT)

    return lead_up


@dataclass(slots=True)
class Repair(Tree):
    """`noodle component repair`, struck."""

    _edited: TreeManifest | None = None
    _may_stay: bool = False

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """Wholly the one or the other, to whoever reads by path."""
        Tree.crashed(self, folder, outcome)
        self._may_stay = outcome.returncode >= 0  # an error was met, and no kill

    def prepare(self, folder: Path) -> Command:
        """The home, the edited tree, and the command."""
        command = Tree.prepare(self, folder)
        tree = tree_at(folder)
        assert tree is not None
        self._edited = manifest_of(tree, self.layout)
        return command

    def _reads_as(self, folder: Path, version: str) -> bool:
        """One or the other, whole."""
        target = folder / "srv" / NAME
        is_edited = (target / EDITED).read_bytes() == EDIT
        assert (target / "mine").exists() is is_edited, "a mix of both"
        payload = folder / "releases" / version / "payload"
        assert is_edited or (target / EDITED).read_bytes() == (payload / EDITED).read_bytes()
        for name in WRITTEN:
            assert (target / name).read_bytes() == WRITTEN[name], f"{name} was lost"
        return True

    def _check_side(self, folder: Path, found: dict[str, Any], told: str | None) -> None:
        assert found["installed"].get(NAME) == OLD
        tree = tree_at(folder)
        assert tree is not None
        after = not (tree / "mine").exists()
        side = "after" if after else "before"
        assert told in (None, side), f"said {told}, ended {side}"
        aside = self._aside(folder)
        assert len(aside) == (1 if after else 0), aside
        if after:
            self._check_installed(folder, OLD)
            stranger = Path(os.path.realpath(aside[0]))
            assert (stranger / EDITED).read_bytes() == (stranger / "mine").read_bytes() == EDIT
            # A disk that refused to move it may have left it there; it is nowhere else.
            assert (stranger / "app.pid").exists() is not (tree / "app.pid").exists()
            assert (tree / "app.pid").exists() or self._may_stay, "it was not brought over"
        else:
            assert self._edited is not None
            same(self._edited, manifest_of(tree, self.layout))
            assert (tree / "app.pid").read_bytes() == b"42"

    @staticmethod
    def _aside(folder: Path) -> list[Path]:
        return sorted((folder / "srv").glob(f"{NAME}.foreign-*"))

    def _check_beside(self, folder: Path, found: dict[str, Any]) -> None:
        """What was set aside is a person's to delete; without it nothing is left."""
        place = place_in(folder)
        for path in self._aside(folder):
            tree = Path(os.path.realpath(path))
            tree.rename(folder / "set-aside")
            if path.is_symlink():
                path.unlink()
        Tree._check_beside(self, folder, found)
        assert all((place.data / name.rstrip("/")).exists() for name in MUTABLE)


def repairs(bench: Bench) -> dict[str, Repair]:
    """The repairs by their names."""
    words = always("component", "repair", NAME, "--yes")
    made = [
        # Where the disk refused the setting aside at first, what was cleaned up before stays.
        Repair(f"{layout}: repair", bench, layout, words, edited(layout), OLD, OLD, known_max=2)
        for layout in LAYOUTS
    ]
    return {one.name: one for one in made}
