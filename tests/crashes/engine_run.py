"""The real command, and what a fresh process finds afterwards, for the fork server.

`command` is `noodle` with the given words. `settle` is what somebody does who
comes after a crash: resume, retry what was held by a failing disk, drop what is
no longer kept, resume again, verify; it prints what it found as one JSON object.
Records that are no run of the model in specs/ end it with NoRun.
Both are the product's own code, with nothing put in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from noodle_engine import Noodle
from noodle_engine.cli.main import main
from noodle_engine.machine.states import Release
from tests.traces import check_home

PRELOAD = (
    "noodle_engine.api",
    "noodle_engine.cli.commands.change",
    "noodle_engine.cli.commands.home",
    "noodle_engine.cli.commands.recover",
    "noodle_engine.cli.follow",
    "noodle_engine.cli.opening",
    "noodle_engine.cli.show.plan_words",
    "noodle_engine.cli.stopping",
    "noodle_engine.cli.waiting",
    "noodle_engine.execute.home.holder",
    "noodle_engine.execute.planning",
    "noodle_engine.registry.manifest_problems",
    "noodle_engine.registry.manifest_rules",
    "noodle_engine.registry.publisher",
    "noodle_engine.targets.exchange",
    "noodle_engine.targets.file",
    "noodle_journal.backup",
    "noodle_journal.journal",
    "noodle_journal.verification.run",
    "transitions",
)
"""What a change imports late: no forked run pays for it again."""

STORES = frozenset(
    {"socket", "reserve"}
    | {f"{name}.db{end}" for name in ("journal", "keystore") for end in ("", "-wal", "-shm")}
)
DISPOSABLE = frozenset({"cache", "logs", "diagnostics"})


def command(words: list[str]) -> int:
    """Run `noodle` with these words."""
    return main(words)


def standing(folder: Path) -> dict[str, list[object]]:
    """All that a folder holds, but for the stores of a home: what a second resume may not touch."""
    found: dict[str, list[object]] = {}
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in DISPOSABLE]
        for name in folders + [name for name in files if name not in STORES]:
            path = Path(where, name)
            facts = path.lstat()
            digest = ""
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path)] = [facts.st_ino, facts.st_mode, facts.st_mtime_ns, digest]
    return found


def settle(words: list[str]) -> int:
    """Resume, collect, resume again and verify a home; say what was found there and at targets."""
    home, *targets = map(Path, words)
    with Noodle.open(home) as noodle:
        resumed = noodle.resume()
        held = [view for view in resumed if view.hold is not None]
        for view in held:  # as its `allowed` says
            noodle.resume(view.upgrade, release=Release.RETRY)
        left = [one.problem for one in noodle.collect().left]
    before = [standing(folder) for folder in (home, *targets)]
    with Noodle.open(home) as noodle:
        once = noodle.status()
        again = [view.upgrade for view in noodle.resume()]
    after = [standing(folder) for folder in (home, *targets)]
    with Noodle.open(home) as noodle:
        twice = noodle.status()
        points = noodle.points().points
        verdict = noodle.audit_verify()
        ended = [(one.upgrade, one.state.value) for one in noodle.history().upgrades]
        views = [noodle.upgrade(upgrade) for upgrade, _ in ended]
    found: dict[str, Any] = {
        "resumed": [view.upgrade for view in resumed],
        "held": [[view.hold.detail, *view.allowed] for view in held if view.hold],
        "again": again,
        "left": left,
        "points": [row.location for row in points],
        "open": [one.upgrade for one in twice.open],
        "installed": {one.name: one.installed for one in twice.components},
        "ended": ended,
        "finished": [view.finished for view in views],
        "reasons": [view.reason.value if view.reason else None for view in views],
        "errors": [view.step.error if view.step else None for view in views],
        "sizes": [once.journal.size, twice.journal.size],
        "touched": [
            path
            for old, new in zip(before, after, strict=True)
            for path in sorted(old.keys() | new.keys())
            if old.get(path) != new.get(path)
        ],
        "runs": sorted(check_home(home)),
        "verified": verdict.ok,
        "problem": verdict.problem,
    }
    sys.stdout.write(json.dumps(found))
    return 0
