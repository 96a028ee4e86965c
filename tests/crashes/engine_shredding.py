"""What is over being shredded, and compacted, struck: nothing of it can be read afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine
from noodle_engine.execute.timing.clock import Reading
from noodle_engine.execute.timing.live_clock import LiveClock
from noodle_engine.machine.records import Noted
from noodle_journal import read_public_key
from noodle_journal.keys import parse_master_key
from noodle_journal.storage.keystore import Keystore
from tests.attacks.second_verifier import verify as second_verify
from tests.crashes.engine_beginnings import Beginning
from tests.crashes.engine_home import Words
from tests.crashes.engine_judging import check_home, explained
from tests.crashes.harness.run import Command, Outcome

DAY_MS: Final = 86_400_000
SECRET: Final = "what nobody may read again"
SESSIONS: Final = ((400, True), (399, False), (200, False), (1, False))
"""How many days ago each was, and whether encryption was off in it."""
OVER: Final = 3
"""How many of them are over: the log of ninety days."""


@dataclass(slots=True)
class Shredding(Beginning):
    """`words` is the command; with `shredded`, `noodle gc` has run before."""

    words: tuple[str, ...] = field(kw_only=True)
    shredded: bool = field(kw_only=True)

    def prepare(self, folder: Path) -> Command:
        """A home with sessions of long ago; encryption was off in the first one."""
        (folder / "srv").mkdir()
        home = folder / "home"
        Noodle.init(home)
        for days, plain in SESSIONS:
            _session(Home(home), days, plain=plain)
        if self.shredded:
            with Noodle.open(home) as noodle:
                assert noodle.collect().shredded_records
        return Words(self.bench, folder, self.words).command

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """It verifies; one that ended well has done it."""
        explained(outcome)
        home = folder / "home"
        with Noodle.open(home) as noodle:
            assert noodle.audit_verify().ok
        if outcome.returncode == 0:
            _unreadable(home)

    def resume(self, folder: Path) -> None:
        """A user gives it again; another `gc` comes by itself, one day."""
        for words in (self.words, ("gc",)):
            again = self._give(folder, *words)
            assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """No key, no text; both verifiers find the journal whole, with the key and without."""
        home = folder / "home"
        check_home(home)
        _unreadable(home)
        with Noodle.open(home) as noodle:
            assert noodle.audit_verify().ok
            assert noodle.audit_replay().differs == ()
        key = parse_master_key((home / "keys" / "master.key").read_text(), source="the file")
        public = read_public_key(home / "keys" / "log.pub")
        for master in (key, None):
            assert second_verify(home, public, master)[1] is None


def _session(home: Home, days: int, *, plain: bool) -> None:
    at = Reading(time.time_ns() // 1_000_000 - days * DAY_MS, 5_000_000)
    options = (("encryption.enabled", "false"),) if plain else ()
    clock = LiveClock(lambda: at, lambda: str(days))
    engine = open_engine(home, lock_file(home.lock_file), {}, options, clock=clock)
    try:
        engine.append([Noted("test", SECRET, {}) for _ in range(5)], actor="test")
    finally:
        engine.close()


def _unreadable(home: Path) -> None:
    keystore = Keystore(home, read_only=True)
    try:
        epochs = [key.epoch for key in keystore.data_keys()]
    finally:
        keystore.close()
    assert min(epochs) > OVER, epochs
    for path in home.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
