"""What must hold of any home and its targets, whatever was struck: pure looking."""

from __future__ import annotations

import json
import signal
from itertools import count
from pathlib import Path
from typing import Any, Final

from noodle_journal.storage.reserve import RESERVE_BYTES
from tests.breadth import BREADTH, Breadth
from tests.crashes import engine_run
from tests.crashes.engine_home import NAMES, NEW, OLD, SICK, content
from tests.crashes.harness.run import Outcome
from tests.crashes.harness.shim import Mode, Strike
from tests.second_opinion import differing

RECORDING: Final = Strike(Mode.RECORD)
HOME: Final = frozenset(
    {"format", "lock", "keys", "config", "runtime_components"}
    | engine_run.STORES
    | engine_run.DISPOSABLE
)
KEYS: Final = frozenset({"master.key", "publisher.key", "log.pub"})
ROOM: Final = frozenset({"lock", "commands", "owner", "releases"})
EXPLAINED: Final = ("code", "problem", "cause", "remedy")
ENDED: Final = {"committed": "after", "rolled_back": "before"}
BUG: Final = 1


def read_target(folder: Path, name: str) -> bytes | None:
    """What the target holds; None where there is none."""
    path = folder / "srv" / name
    return path.read_bytes() if path.exists() else None


def shown(found: bytes | None) -> str:
    """A payload in a few words."""
    return "missing" if found is None else f"{len(found)} bytes beginning {found[:20]!r}"


def explained(outcome: Outcome) -> str | None:
    """Judge what a command said; the side that it said it ended on, if it did.

    A command that was killed, or held still for a power cut, may have said nothing.
    """
    assert "Traceback" not in outcome.stderr, outcome.stderr
    gone = outcome.returncode in {-signal.SIGKILL, -signal.SIGSTOP}
    assert gone or outcome.returncode >= 0, str(outcome)
    assert outcome.returncode != BUG, str(outcome)
    if gone and not outcome.stdout.endswith("}\n"):
        return None
    answer = json.loads(outcome.stdout)
    if "error" in answer:
        assert outcome.returncode != 0, str(outcome)
        assert all(answer["error"][one] for one in EXPLAINED), outcome.stdout
        return None
    upgrades = answer.get("upgrades") or [answer]
    for one in upgrades:
        backed = one.get("state") == "rolled_back" or one.get("undoing")
        assert one.get("reason") or not backed, outcome.stdout
    return ENDED.get(upgrades[0].get("state", ""))


SECOND_EVERY: Final = 6
_LOOKS: Final = count()


def check_home(home: Path) -> None:
    """A home holds what the format page names, and its reserve is whole."""
    more = {path.name for path in home.iterdir()} - HOME
    more |= {path.name for path in (home / "keys").iterdir()} - KEYS
    assert not more, f"left in the home: {more}"
    assert (home / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES, "the reserve was lost"
    if next(_LOOKS) % SECOND_EVERY == 0 or BREADTH is not Breadth.SMALL:
        said = differing(home)
        assert said is None, said


def check_beside(folder: Path, found: dict[str, Any]) -> None:
    """Beside the targets is what is documented: locks, marks, and the points that are kept."""
    srv = folder / "srv"
    # Where a disk refuses to move an old version it is kept where it stands.
    stayed = {path for path in srv.glob(".*.next-*") if str(path) in found["points"]}
    kept_now = stayed | set((srv / ".noodle").glob("*/releases/*"))
    assert {str(path) for path in kept_now} == set(found["points"]), "points are not what is kept"
    strays = {
        path.name
        for path in srv.iterdir()
        # A probe that was killed leaves empty files, which the next one removes.
        if not (path.name.startswith(".noodle-probe-") and not path.read_bytes())
    } - {*NAMES, ".noodle", *(path.name for path in stayed)}
    assert not strays, f"left beside the targets: {strays}"
    for name in NAMES:
        room = srv / ".noodle" / name
        if not room.exists():
            continue
        more = {path.name for path in room.iterdir()} - ROOM
        assert not more, f"left in the room of {name}: {more}"
        versions = {content(name, one) for one in (OLD, NEW, SICK)}
        for kept in room.glob("releases/*"):
            assert kept.read_bytes() in versions, f"{kept.name} is no version"
