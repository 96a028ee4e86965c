"""Real journals as runs of the model: `specs/model/relation.py`, for all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_reader
from noodle_engine.machine.records import Entry, entry_of

# Last: the models' other names are nobody's business.
sys.path.append(str(Path(__file__).parents[1] / "specs" / "model"))

from journals import Journal, NoRun
from runs import check_run, check_runs

__all__ = ["Journal", "NoRun", "check_home", "check_run", "check_runs", "entries_of"]


def entries_of(home: Path) -> Iterator[Entry]:
    """The records of a home's journal that the engine has a use for, from the first."""
    reader, _ = open_reader(Home(home), {})
    try:
        for record in reader.read():
            entry = entry_of(record.kind.label, record.body)  # type: ignore[union-attr]
            if entry is not None:
                yield entry
    finally:
        reader.close()


def check_home(home: Path) -> dict[str, Journal]:
    """Where the records of each upgrade lead to. Raises NoRun if they are no run of the model."""
    return check_runs(entries_of(home))
