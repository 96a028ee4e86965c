"""The keys of a home, struck: another master key, and a new epoch with a new signing key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from noodle_engine import Noodle
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import settle
from noodle_engine.execute.keys.finding import master_key_of
from noodle_journal.keys import parse_master_key
from noodle_journal.keys.rewrapping import REWRAP_FILE
from tests.attacks.second_verifier import verify as second_verify
from tests.crashes.engine_beginnings import Beginning
from tests.crashes.engine_home import Words
from tests.crashes.engine_judging import check_home, explained
from tests.crashes.harness.run import Command, Outcome

_OLD_KEY: Final = "old.key"


@dataclass(slots=True)
class KeyChanging(Beginning):
    """A command that changes keys. The journal opens at every moment, and all of it verifies.

    `words` is the command; `new_master` says that it makes another master key.
    """

    words: tuple[str, ...] = field(kw_only=True)
    new_master: bool = field(kw_only=True)

    def prepare(self, folder: Path) -> Command:
        """A home that has recorded something, and a copy of its master key elsewhere."""
        home = folder / "home"
        (folder / "srv").mkdir()
        Noodle.init(home)
        with Noodle.open(home) as noodle:
            noodle.rotate_key()
        (folder / _OLD_KEY).write_bytes((home / "keys" / "master.key").read_bytes())
        return Words(self.bench, folder, self.words).command

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """It opens with the old key or the new; one that ended well has the new one."""
        explained(outcome)
        home = folder / "home"
        with Noodle.open(home) as noodle:
            assert noodle.audit_verify().ok
        if outcome.returncode == 0 and self.new_master:
            assert self._key(home) != self._old(folder)

    def resume(self, folder: Path) -> None:
        """The next change settles what was under way: nothing is asked of a user."""
        again = self._give(folder, "key", "rotate")
        assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """One key, nothing beside it, and both verifiers find the journal whole."""
        home = folder / "home"
        check_home(home)
        assert not (home / REWRAP_FILE).exists()
        left = {path.name for path in (home / "keys").iterdir()}
        assert left == {"log.pub", "master.key", "publisher.key"}, left
        key = self._key(home)
        if not self.new_master:
            assert key == self._old(folder)
        with Noodle.open(home) as noodle:
            assert noodle.audit_verify().ok
            assert noodle.key().epoch >= 2
        public = bytes.fromhex((home / "keys" / "log.pub").read_text())
        assert second_verify(home, public, key)[1] is None

    @staticmethod
    def _key(home: Path) -> bytes:
        found = Home(home)
        return master_key_of(found, {}, settle(found, {}, ()))

    @staticmethod
    def _old(folder: Path) -> bytes:
        return parse_master_key((folder / _OLD_KEY).read_text(), source=_OLD_KEY)
