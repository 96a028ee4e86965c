"""What comes before any upgrade, struck: making the home, and making releases known."""

from __future__ import annotations

import stat
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from noodle_engine import Noodle
from tests.crashes.engine_home import NAMES, OLD, Words, apply, content, write_releases
from tests.crashes.engine_judging import RECORDING, check_home, explained, read_target
from tests.crashes.harness.fork_client import ForkServer
from tests.crashes.harness.run import Bench, Command, Outcome


@dataclass(slots=True)
class Beginning:
    """What both have: a command that a user gives again."""

    name: str
    bench: Bench
    _stack: ExitStack = field(default_factory=ExitStack)
    _server: ForkServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _give(self, folder: Path, *words: str) -> Outcome:
        command = Words(self.bench, folder, words).command
        command = replace(command, roots=(self.bench.scratch,))  # there may be no home yet
        if self._server is None:
            self._server = self._stack.enter_context(ForkServer(command, self.bench))
        return self._server.run(command, RECORDING, 0)


@dataclass(slots=True)
class Initialising(Beginning):
    """`noodle init`, struck: a home is there whole, or a second `init` makes one."""

    def prepare(self, folder: Path) -> Command:
        """Nothing is there yet. The home is made beside its name: the whole folder is watched."""
        made = Words(self.bench, folder, ("init",)).command
        return replace(made, roots=(folder,))

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """What lived on explained itself, and left no half home under the name."""
        explained(outcome)
        home = folder / "home"
        assert not home.exists() or (home / "format").exists(), "half a home"
        assert outcome.returncode != 0 or home.exists(), "it said that there is a home"

    def resume(self, folder: Path) -> None:
        """A user runs it again if there is no home."""
        if (folder / "home").exists():
            return
        again = self._give(folder, "init")
        assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """A home that works, with its keys closed to others, and nothing beside it."""
        with Noodle.open(folder / "home") as noodle:
            assert noodle.audit_verify().ok
            assert not noodle.resume()
        check_home(folder / "home")
        for key in (folder / "home" / "keys").iterdir():
            wanted = 0o644 if key.suffix == ".pub" else 0o600
            assert stat.S_IMODE(key.stat().st_mode) == wanted, key.name
        left = {path.name for path in folder.iterdir()} - {"home"}
        assert not left, f"left beside the home: {left}"


@dataclass(slots=True)
class Adding(Beginning):
    """`noodle component add`, struck: the release is known whole, or given again it will be."""

    def prepare(self, folder: Path) -> Command:
        """A home that knows nothing, and releases."""
        (folder / "srv").mkdir()
        write_releases(folder)
        Noodle.init(folder / "home")
        return Words(self.bench, folder, self._words(folder)).command

    def _words(self, folder: Path) -> tuple[str, ...]:
        return ("component", "add", str(folder / "releases" / f"{NAMES[0]}-{OLD}"))

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """What lived on explained itself, and what it said is known is known."""
        explained(outcome)
        assert not (folder / "srv" / NAMES[0]).exists()
        with Noodle.open(folder / "home") as noodle:
            known = noodle.components().components
            assert noodle.audit_verify().ok
        assert outcome.returncode != 0 or [row.releases for row in known] == [(OLD,)]

    def resume(self, folder: Path) -> None:
        """A user gives it again."""
        again = self._give(folder, *self._words(folder))
        assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """It is known once, whole, and can be installed; nothing half made is left."""
        home = folder / "home"
        with Noodle.open(home) as noodle:
            (row,) = noodle.components().components
            assert row.releases == (OLD,)
        check_home(home)
        release = home / "runtime_components" / NAMES[0] / OLD
        kept = {path.name for path in release.iterdir()}
        assert kept == {"noodle.toml", "payload", "signature"}, kept
        beside = {path.name for path in release.parent.iterdir()} - {OLD}
        assert not beside, f"left beside the release: {beside}"
        apply(folder, OLD, NAMES[:1])
        assert read_target(folder, NAMES[0]) == content(NAMES[0], OLD)
        with Noodle.open(home) as noodle:
            assert noodle.audit_verify().ok
