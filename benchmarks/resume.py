"""Measurement 8: taking up many pending upgrades after a crash.

Each is the first install of a small file of its own. What was requested and
never driven is what a crash just after the requests leaves. The other side
applies as many, one after the other.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.harness import Answer, Goal, Of, Question, Sense, alternate
from benchmarks.sizes import Sizes
from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine, settle
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.states import OnCrash
from noodle_policies.settings.values import values_hash

QUESTIONS = (
    Question(
        "resume.pending",
        "resume of pending upgrades until all are committed, an upgrade (for 1,000: 3 s)",
        "ms",
        "as many applied one after the other",
        Goal(Sense.AT_MOST, 3.0, Of.VALUE),
        "Resuming carries the upgrades out, file and all: each costs about what an upgrade costs, "
        "most of it Python, which runs on one core at a time.",
    ),
)


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """The row of this measurement."""
    homes = (folder / str(number) for number in itertools.count())
    count = sizes.resume_upgrades
    rounds = alternate(
        {
            "noodle": lambda: resumed_ms(next(homes), count),
            "apply": lambda: applied_ms(next(homes), count),
        },
        rounds=sizes.resume_rounds,
        warm_up_rounds=0,
    )
    return [rounds.answer("resume.pending", "noodle", "apply", f"{count} pending upgrades")]


def wanted(folder: Path, count: int) -> Iterator[str]:
    """Make a home with that many releases of as many components; their names."""
    Noodle.init(folder / "home")
    (folder / "live").mkdir()
    with Noodle.open(folder / "home") as noodle:
        for number in range(count):
            name = f"app{number}"
            release = folder / "releases" / name
            release.mkdir(parents=True)
            (release / "app").write_text(name)
            (release / "noodle.toml").write_text(
                f'format = 1\n[component]\nname = "{name}"\nversion = "1.0.0"\nkind = "file"\n'
                f'[payload]\npath = "app"\n[target]\npath = "{folder / "live" / name}"\n'
            )
            noodle.add(release)
            yield f"{name}@1.0.0"


def applied_ms(folder: Path, count: int) -> float:
    """One after the other, an upgrade."""
    names = list(wanted(folder, count))
    began = time.perf_counter()
    with Noodle.open(folder / "home") as noodle:
        for name in names:
            view = noodle.apply([name])
            if view is None or view.state != "committed":
                raise RuntimeError(f"the upgrade ended otherwise: {view}")
    return (time.perf_counter() - began) * 1000 / count


def resumed_ms(folder: Path, count: int) -> float:
    """From opening the home to the last one's end, an upgrade."""
    names = list(wanted(folder, count))
    with Noodle.open(folder / "home") as noodle:
        plans = [noodle.plan([name]).plan for name in names]
    request_all(Home(folder / "home"), [plan for plan in plans if plan is not None])
    began = time.perf_counter()
    with Noodle.open(folder / "home") as noodle:
        states = [view.state for view in noodle.resume()]
    took = (time.perf_counter() - began) * 1000 / count
    if states != ["committed"] * count:
        raise RuntimeError(f"not all were taken up and committed: {states}")
    return took


def request_all(home: Home, plans: Sequence[Plan]) -> None:
    """Record the requests and drive none."""
    stored = settle(home, os.environ, ()).must().stored()
    engine = open_engine(home, lock_file(home.lock_file), os.environ)
    try:
        for plan in plans:
            engine.request(
                plan,
                upgrade=new_upgrade_id(engine.clock.now_ms(), os.urandom(16)),
                actor="bench",
                settings=stored,
                settings_hash=values_hash(stored),
                on_crash=OnCrash.FORWARD,
            )
    finally:
        engine.close()
