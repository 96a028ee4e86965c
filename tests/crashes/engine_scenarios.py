"""What the real engine is struck in, and what must hold of it after any strike.

Two files in one home. Home and targets are watched, the journal and the
keystore among them. After a strike each file is wholly one of the versions it
may have; after a resume both are on the same side, the journal verifies and
agrees with the disk, what a command said is so, and a second resume changes
nothing.
"""

from __future__ import annotations

import json
import os
import random
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from noodle_engine.cli.exits import NEEDS_PERSON, RESTORED
from tests.crashes import engine_run
from tests.crashes.engine_beginnings import Adding, AddingTree, Initialising
from tests.crashes.engine_home import (
    MARK,
    MODE,
    NAMES,
    NEW,
    OLD,
    OWNER,
    PROGRAM,
    RAN,
    SICK,
    Words,
    abort_the_open,
    always,
    content,
    half_swapped,
    half_undone,
    many_kept,
    new_installed,
    nothing_installed,
    old_installed,
    old_installed_with_hooks,
    wanted,
)
from tests.crashes.engine_judging import (
    ENDED,
    RECORDING,
    check_beside,
    check_home,
    explained,
    read_target,
    shown,
)
from tests.crashes.engine_keys import KeyChanging
from tests.crashes.engine_shredding import Shredding
from tests.crashes.harness.fork_client import ForkServer
from tests.crashes.harness.run import Bench, Command, Outcome
from tests.crashes.harness.shim import KILL, Strike

SECOND_STRIKE_MAX: Final = 90
"""Up to which call of a resume the second strike falls; most resumes have more."""


@dataclass(slots=True)
class Engine:
    """A scenario of the real engine. Use it as a context manager.

    `lead_up` prepares the folder; `words` is what is struck; `before` and
    `after` are the versions on the two sides, None for no file. `names` are the
    files that it is about. `sides` says on which it may end. With `again`, the
    first resume is struck too, at a call that chance chooses.
    """

    name: str
    bench: Bench
    words: Callable[[Path], tuple[str, ...]]
    lead_up: Callable[[Bench, Path], None]
    before: str | None
    after: str | None
    names: tuple[str, ...] = NAMES
    sides: frozenset[str] = frozenset({"before", "after"})
    returncode: int = 0
    points_max: int = 10
    again: Strike | None = None
    struck_again: int = 0
    _second: str = ""
    _told: str | None = None
    _held: bool = False
    _servers: dict[str, ForkServer] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _found: dict[str, Any] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random("second"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def prepare(self, folder: Path) -> Command:
        """Make the home and what leads up to the struck command."""
        self.lead_up(self.bench, folder)
        command = Words(self.bench, folder, self.words(folder)).command
        return replace(command, returncode=self.returncode)

    # -- at once ------------------------------------------------------------

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """Each file wholly one of its versions; a process that lived on explained itself."""
        self._second = ""
        self._told, self._held = None, False
        self._judge(folder, outcome)

    def _judge(self, folder: Path, outcome: Outcome) -> None:
        for name in self.names:
            found = read_target(folder, name)
            allowed = {content(name, self.before), content(name, self.after)}
            assert found in allowed, f"{name} is neither old nor new: {shown(found)}"
        self._told = explained(outcome) or self._told
        self._held = self._held or outcome.returncode == NEEDS_PERSON

    # -- a fresh process ----------------------------------------------------

    def resume(self, folder: Path) -> None:
        """Resume twice in a fresh process, and remember what it found."""
        if self.again is not None:
            resuming = Words(self.bench, folder, ("resume",)).command
            at = self._chance.randrange(SECOND_STRIKE_MAX) + 1
            outcome = self._run(resuming, self.again, at)
            self._second = f"its resume struck at {at}: {outcome.landed}, {outcome}"
            self.struck_again += outcome.landed is not None
            self._judge(folder, outcome)
        settling = Command(
            program=PROGRAM,
            arguments=(str(folder / "home"), str(folder / "srv")),
            roots=(self.bench.scratch,),
            folder=folder,
            entry="tests.crashes.engine_run:settle",
            preload=engine_run.PRELOAD,
        )
        outcome = self._run(settling, RECORDING, 0)
        assert outcome.returncode == 0, f"{outcome} {self._second}"
        self._found = json.loads(outcome.stdout)

    def _run(self, command: Command, strike: Strike, at: int) -> Outcome:
        assert command.entry is not None
        if command.entry not in self._servers:
            started = self._stack.enter_context(ForkServer(command, self.bench))
            self._servers[command.entry] = started
        return self._servers[command.entry].run(command, strike, at)

    # -- the end ------------------------------------------------------------

    def check(self, folder: Path) -> None:
        """Both files on one side, as the journal says; all of it verified and at rest."""
        if not self._found:
            self.resume(folder)
        found, self._found = self._found, {}
        told, self._told = self._told, None
        try:
            self._check_journal(found)
            self._check_sides(folder, found, told)
            check_home(folder / "home")
            check_beside(folder, found)
            for name in NAMES:
                self._check_attributes(folder / "srv" / name)
            self._check_hooks(folder, found)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\nfound: {found}\n{self._second}") from problem

    def _check_journal(self, found: dict[str, Any]) -> None:
        assert found["verified"], found["problem"]
        assert {upgrade for upgrade, _ in found["ended"]} <= set(found["runs"])
        assert found["open"] == found["again"] == []
        assert found["sizes"][0] == found["sizes"][1], "a second resume wrote to the journal"
        assert not found["touched"], "a second resume touched the disk"
        for detail, *allowed in found["held"]:
            assert self._held, "on hold, and nobody was told"
            assert detail
            assert any(words.endswith(" --retry") for words in allowed)
        assert all(found["finished"])
        assert not found["left"]
        assert len(found["points"]) <= self.points_max
        for (upgrade, state), reason in zip(found["ended"], found["reasons"], strict=True):
            assert state in ENDED, f"{upgrade} has not ended"
            assert state == "committed" or reason, f"{upgrade} was taken back for no reason"

    def _check_sides(self, folder: Path, found: dict[str, Any], told: str | None) -> None:
        for name in NAMES:
            installed = found["installed"].get(name)
            now = read_target(folder, name)
            assert now == content(name, installed), f"{name}: the journal says {installed}"
        sides = {
            "after" if found["installed"].get(name) == self.after else "before"
            for name in self.names
        }
        assert len(sides) == 1, f"a mix: {sides}"
        assert sides <= self.sides, f"ended {sides}, and not {set(self.sides)}"
        assert told is None or {told} == sides, f"said {told}, ended {sides}"

    def _check_attributes(self, target: Path) -> None:
        if self.before is None or not target.exists():
            return
        facts = target.stat()
        assert (facts.st_uid, facts.st_gid) == OWNER, "the owner was lost"
        assert stat.S_IMODE(facts.st_mode) == MODE, "the mode was lost"
        assert os.getxattr(target, "user.mark") == MARK, "an attribute was lost"

    def _check_hooks(self, folder: Path, found: dict[str, Any]) -> None:
        """Each hook ran under one key; of an upgrade that was taken back, so was its hook."""
        if not (folder / RAN).exists():
            return
        ran = [line.split() for line in (folder / RAN).read_text().splitlines()]
        for name in self.names:
            words = [word for word, whose, _ in ran if whose == name]
            for word in set(words):
                keys = {key for one, whose, key in ran if (one, whose) == (word, name)}
                assert len(keys) == 1, f"the hook of {name} ran under {keys}"
            if found["installed"].get(name) == self.after:
                assert words[-1:] == ["do"], f"the hook of {name}: {words}"
            else:
                assert words[-1:] in ([], ["undo"]), f"the hook of {name}: {words}"


# -- the scenarios --------------------------------------------------------------


Scenario = Engine | Initialising | Adding | AddingTree | KeyChanging | Shredding


def scenarios(bench: Bench) -> dict[str, Scenario]:
    """Every scenario by its name. Use each as a context manager."""
    old = frozenset({"before"})
    made: tuple[Scenario, ...] = (
        Engine("first install", bench, wanted(OLD), nothing_installed, None, OLD),
        Engine("upgrade", bench, wanted(NEW), old_installed, OLD, NEW),
        Engine(
            "unhealthy upgrade",
            bench,
            wanted(SICK),
            old_installed,
            OLD,
            SICK,
            sides=old,
            returncode=RESTORED,
        ),
        Engine("upgrade with hooks", bench, wanted(NEW), old_installed_with_hooks, OLD, NEW),
        Engine(
            "unhealthy upgrade with hooks",
            bench,
            wanted(SICK),
            old_installed_with_hooks,
            OLD,
            SICK,
            sides=old,
            returncode=RESTORED,
        ),
        Engine(
            "removal",
            bench,
            always("apply", "--remove", "web", "--remove", "api", "--yes"),
            old_installed,
            OLD,
            None,
        ),
        Engine(
            "rollback",
            bench,
            always("rollback", "web", "--yes"),
            new_installed,
            NEW,
            OLD,
            names=("web",),
        ),
        Engine(
            "gc",
            bench,
            always("gc"),
            many_kept,
            NEW,
            NEW,
            names=("web",),
            points_max=2,  # one of web, and the one of api
        ),
        Engine("resume", bench, always("resume"), half_swapped, OLD, NEW),
        Engine("abort", bench, abort_the_open, half_swapped, OLD, NEW),
        Engine("resume of an abort", bench, always("resume"), half_undone, OLD, NEW, sides=old),
        Engine(
            "upgrade whose resume is killed",
            bench,
            wanted(NEW),
            old_installed,
            OLD,
            NEW,
            again=KILL,
        ),
        Engine(
            "unhealthy upgrade whose resume is killed",
            bench,
            wanted(SICK),
            old_installed,
            OLD,
            SICK,
            sides=old,
            returncode=RESTORED,
            again=KILL,
        ),
        Initialising("init", bench),
        Adding("component add", bench),
        AddingTree("component add of a tree", bench),
        Shredding("gc that shreds", bench, words=("gc",), shredded=False),
        Shredding("journal compact", bench, words=("journal", "compact"), shredded=True),
        KeyChanging("key rewrap", bench, words=("key", "rewrap"), new_master=True),
        KeyChanging("key rotate", bench, words=("key", "rotate", "--log-key"), new_master=False),
    )
    return {one.name: one for one in made}
