"""Measurement 4: opening a home with many finished upgrades, beside one with ten.

The upgrades are real records: one upgrade is carried out by the engine, and
its records are appended again under other ids, through the journal, with the
engine's own fold behind it. Both homes have the same few upgrades after their
last `state` record, so that only what came before differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from benchmarks.harness import Answer, Goal, Of, Question, Rounds, Sense, Spread, alternate
from benchmarks.sizes import FULL, OPEN_UPGRADES_FEW, Sizes
from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine, open_reader
from noodle_engine.execute.ids import new_upgrade_id
from noodle_journal import Kind, NewRecord, Record

COMPONENTS = 10
"""Upgrades take turns between that many components."""
UPGRADES_MADE = 2
"""The first install, and the upgrade whose records are repeated."""
UPGRADES_AFTER = 5
"""Upgrades after the last `state` record."""
LONG = 100_000
AT_ONCE = 16
"""Upgrades in one commit while the journal is written; it is not what is measured."""
A_THIRD_OF_A_SECOND = Goal(Sense.AT_MOST, 350.0, Of.VALUE)
SAME_AT_ANY_LENGTH = Goal(Sense.AT_MOST, 1.2)
FEW = f"the same with {OPEN_UPGRADES_FEW}"
WHY = (
    "Opening reads the last `state` record, which holds everything alive, and every kept old "
    "version is a rollback point that is alive: nothing removes points "
    "yet, so the record grows by one point an upgrade."
)

QUESTIONS = (
    Question(
        "open.write",
        f"open to write: lock, heads, last state, fold; {FULL.open_upgrades:,} finished upgrades",
        "ms",
        FEW,
        SAME_AT_ANY_LENGTH,
        WHY,
    ),
    Question(
        "open.read",
        f"open to read and fold; {FULL.open_upgrades:,} finished upgrades",
        "ms",
        FEW,
        SAME_AT_ANY_LENGTH,
        WHY,
    ),
    Question(
        "open.write.long",
        f"open to write with {LONG:,} finished upgrades, drawn on from the rows above in a line",
        "ms",
        "",
        A_THIRD_OF_A_SECOND,
        WHY,
    ),
)


def real_upgrade(folder: Path) -> tuple[str, Sequence[Record]]:
    """Carry out one upgrade; its id and its records."""
    target = folder / "live" / "app"
    target.parent.mkdir(parents=True)
    with Noodle.open(folder / "home") as noodle:
        view = None
        for version in ("1.0.0", "1.1.0"):
            release = folder / "releases" / version
            release.mkdir(parents=True)
            (release / "app").write_text(version)
            (release / "noodle.toml").write_text(
                f'format = 1\n[component]\nname = "app"\nversion = "{version}"\nkind = "file"\n'
                f'[payload]\npath = "app"\n[target]\npath = "{target}"\n'
            )
            noodle.add(release)
            view = noodle.apply([f"app@{version}"])
        if view is None or view.state != "committed":
            raise RuntimeError(f"the upgrade ended otherwise: {view}")
        with noodle.journal as reader:
            return view.upgrade, list(reader.read_run(view.upgrade))


def again(upgrade: str, records: Sequence[Record], number: int) -> list[NewRecord]:
    """The same records, of another upgrade and component."""
    other = new_upgrade_id(1_700_000_000_000 + number, number.to_bytes(16, "big"))
    name = f"app{number % COMPONENTS}"
    made = []
    for record in records:
        text = orjson.dumps(dict(record.body)).decode()
        text = (
            text.replace(upgrade, other).replace('"app"', f'"{name}"').replace(":app", f":{name}")
        )
        text = text.replace("/live/app", f"/live/{name}")
        if not isinstance(record.kind, Kind):
            raise TypeError(f"an unknown kind: {record.kind}")
        made.append(NewRecord(record.kind, other, orjson.loads(text)))
    return made


def commits_of(records: Sequence[Record]) -> list[list[Record]]:
    """Records by the commit they came in: those of one commit have one time."""
    commits: list[list[Record]] = []
    for record in records:
        if commits and commits[-1][-1].at_ns == record.at_ns:
            commits[-1].append(record)
        else:
            commits.append([record])
    return commits


def one_real_upgrade(folder: Path) -> tuple[Home, str, Sequence[Record]]:
    """A new home in which one upgrade was carried out."""
    home = Home(folder / "home")
    Noodle.init(home.path)
    return home, *real_upgrade(folder)


def finished(folder: Path, upgrades: int) -> Home:
    """A home with that many finished upgrades, a few of them after its last `state`."""
    home, upgrade, records = one_real_upgrade(folder)
    _append(home, upgrade, records, range(UPGRADES_MADE, upgrades - UPGRADES_AFTER))
    # Another session begins with a `state` record.
    _append(home, upgrade, records, range(upgrades - UPGRADES_AFTER, upgrades))
    return home


def _append(home: Home, upgrade: str, records: Sequence[Record], numbers: range) -> None:
    engine = open_engine(home, lock_file(home.lock_file), os.environ)
    try:
        for first in range(numbers.start, numbers.stop, AT_ONCE):
            together = []
            for number in range(first, min(first + AT_ONCE, numbers.stop)):
                together += again(upgrade, records, number)
            engine.journal.append(together)
        if engine.world.upgrades:
            raise RuntimeError("an upgrade did not end")
    finally:
        engine.close()


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row of this measurement."""
    few = finished(folder / "few", OPEN_UPGRADES_FEW)
    many = finished(folder / "many", sizes.open_upgrades)
    write = alternate(
        {"many": lambda: opened_ms(many), "few": lambda: opened_ms(few)}, rounds=sizes.open_rounds
    )
    read = alternate(
        {"many": lambda: read_ms(many), "few": lambda: read_ms(few)}, rounds=sizes.open_rounds
    )
    remark = (
        f"{sizes.open_upgrades:,} finished upgrades, {journal_mb(many):.0f} MB of journal; its "
        f"last `state` record has {state_bytes(many) / 1000:,.0f} kB, with "
        f"{OPEN_UPGRADES_FEW} upgrades {state_bytes(few) / 1000:,.0f} kB"
    )
    return [
        write.answer("open.write", "many", "few", remark),
        read.answer("open.read", "many", "few"),
        Answer("open.write.long", _drawn_on(write, sizes), remark=remark),
    ]


def _drawn_on(rounds: Rounds, sizes: Sizes) -> Spread:
    """What opening would take at LONG upgrades, if each adds as much as those measured."""
    pairs = zip(rounds.values["few"], rounds.values["many"], strict=True)
    times = LONG / sizes.open_upgrades
    return Spread.of([few + max(0.0, many - few) * times for few, many in pairs])


def opened_ms(home: Home) -> float:
    """Open as the engine. It writes no record, so both homes stay as they are."""

    def act() -> Callable[[], None]:
        return open_engine(home, lock_file(home.lock_file), os.environ).close

    return _timed(act)


def read_ms(home: Home) -> float:
    """Open as `noodle status` does."""

    def act() -> Callable[[], None]:
        reader, live = open_reader(home, os.environ)
        live()
        return reader.close

    return _timed(act)


def _timed(act: Callable[[], Callable[[], None]]) -> float:
    began = time.perf_counter()
    close = act()
    took = (time.perf_counter() - began) * 1000
    close()
    return took


def journal_mb(home: Home) -> float:
    """The size of the journal's file."""
    return (home.path / "journal.db").stat().st_size / 1_000_000


def state_bytes(home: Home) -> int:
    """The size of the last `state` record's body."""
    reader, _ = open_reader(home, os.environ)
    try:
        return len(orjson.dumps(dict(reader.load().state or {})))
    finally:
        reader.close()
