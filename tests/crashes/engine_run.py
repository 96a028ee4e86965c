"""The real command, and what a fresh process finds afterwards, for the fork server.

`command` is `noodle` with the given words. `settle` is what somebody does who
comes after a crash: resume, drop what is no longer kept, resume again, verify;
it prints what it found as one JSON object. Both are the product's own code,
with nothing put in its place.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from noodle_engine import Noodle
from noodle_engine.cli.main import main

PRELOAD = (
    "noodle_engine.api",
    "noodle_engine.execute.home.holder",
    "noodle_engine.execute.planning",
    "noodle_engine.registry.publisher",
    "noodle_engine.targets.file",
    "noodle_journal.backup",
    "noodle_journal.journal",
    "noodle_journal.verification.run",
)
"""What a change imports late: no forked run pays for it again."""


def command(words: list[str]) -> int:
    """Run `noodle` with these words."""
    return main(words)


def settle(words: list[str]) -> int:
    """Resume, collect, resume again and verify; print what was found."""
    home = Path(words[0])
    with Noodle.open(home) as noodle:
        resumed = [view.upgrade for view in noodle.resume()]
        left = [one.problem for one in noodle.collect().left]
    with Noodle.open(home) as noodle:
        once = noodle.status()
        again = [view.upgrade for view in noodle.resume()]
    with Noodle.open(home) as noodle:
        twice = noodle.status()
        points = noodle.points().points
        verdict = noodle.audit_verify()
        ended = [(one.upgrade, one.state.value) for one in noodle.history().upgrades]
        views = [noodle.upgrade(upgrade) for upgrade, _ in ended]
    found: dict[str, Any] = {
        "resumed": resumed,
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
        "verified": verdict.ok,
        "problem": verdict.problem,
    }
    sys.stdout.write(json.dumps(found))
    return 0
