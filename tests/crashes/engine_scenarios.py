"""What the real engine is struck in, and what must hold of it after any strike.

Two files, `web` and `api`, in one home. Home and targets are watched, the
journal and the keystore among them. After a strike each file is wholly one of
the versions it may have; after a resume both are on the same side, the journal
verifies and agrees with the disk, and a second resume changes nothing.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from noodle_engine import Noodle
from noodle_engine.cli.exits import RESTORED
from tests.crashes import engine_run
from tests.crashes.harness.fork_client import ForkServer
from tests.crashes.harness.point import Point
from tests.crashes.harness.run import Bench, Command, Outcome, record, run
from tests.crashes.harness.shim import KILL, Mode, Strike
from tests.crashes.harness.snapshot import Snapshot

NAMES: Final = ("web", "api")
OLD, NEW, SICK = "1.0.0", "2.0.0", "3.0.0"
MODE: Final = 0o640
OWNER: Final = (1234, 4321)
MARK: Final = b"kept\x00"
LINES: Final = 4_000
"""A payload is several writes long, so that it can be torn."""

PROGRAM: Final = (sys.executable, "-m", "noodle_engine.cli")
ROOM: Final = frozenset({"lock", "commands", "owner", "releases"})
EXPLAINED: Final = frozenset({"code", "problem", "cause", "remedy"})


def content(name: str, version: str | None) -> bytes | None:
    """The payload of a version; None for no version."""
    return None if version is None else f"{name} {version}\n".encode() * LINES


def write_releases(folder: Path) -> None:
    """Three versions of both files; the third is never healthy."""
    for name in NAMES:
        for version in (OLD, NEW, SICK):
            release = folder / "releases" / f"{name}-{version}"
            release.mkdir(parents=True)
            (release / "payload").write_bytes(content(name, version) or b"")
            mark = "never" if version == SICK else version
            (release / "noodle.toml").write_text(
                f"""format = 1
[component]
name = "{name}"
version = "{version}"
kind = "file"
[payload]
path = "payload"
[target]
path = "{folder / "srv" / name}"
[[health]]
file = "{folder / "srv" / name}"
contains = "{mark}"
passes = 1
interval = 0.01
timeout = 1.0
within = 0.02
"""
            )


def make_home(folder: Path) -> None:
    """A home that knows all releases, and a folder for the targets."""
    (folder / "srv").mkdir()
    write_releases(folder)
    Noodle.init(folder / "home")
    with Noodle.open(folder / "home") as noodle:
        for release in sorted((folder / "releases").iterdir()):
            noodle.add(release)


def apply(folder: Path, version: str) -> None:
    """Both files at `version`, with attributes of their own."""
    with Noodle.open(folder / "home") as noodle:
        views = noodle.apply([f"{name}@{version}" for name in NAMES])
    assert views is not None
    assert views.state.value == "committed"
    for name in NAMES:
        target = folder / "srv" / name
        if stat.S_IMODE(target.stat().st_mode) != MODE:
            os.chown(target, *OWNER)
            target.chmod(MODE)
            os.setxattr(target, "user.mark", MARK)


@dataclass(frozen=True, slots=True)
class Words:
    """One command: the words after `noodle --home HOME`."""

    bench: Bench
    folder: Path
    words: tuple[str, ...]

    @property
    def command(self) -> Command:
        """It as the harness runs it: JSON, no questions."""
        return Command(
            program=PROGRAM,
            arguments=("--home", str(self.folder / "home"), "--json", *self.words),
            roots=(self.folder / "home", self.folder / "srv"),
            folder=self.folder,
            entry="tests.crashes.engine_run:command",
            preload=engine_run.PRELOAD,
        )


@dataclass(slots=True)
class Engine:
    """A scenario of the real engine. Use it as a context manager.

    `lead_up` prepares the folder; `words` is what is struck; `before` and
    `after` are the versions on the two sides, None for no file. `names` are the
    files that it is about. `sides` says on which it may end.
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
    _server: ForkServer | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _found: dict[str, Any] = field(default_factory=dict)

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

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """Each file wholly one of its versions; a process that lived on explained itself."""
        for name in self.names:
            found = self._read(folder, name)
            allowed = {content(name, self.before), content(name, self.after)}
            assert found in allowed, f"{name} is neither old nor new: {_shown(found)}"
        assert "Traceback" not in outcome.stderr, outcome.stderr
        if outcome.returncode <= 0:  # done, killed, or held still for a power cut
            return
        answer = json.loads(outcome.stdout)
        failed = answer.get("error") or answer
        told = answer.keys() & {"state", "upgrades", "dropped"}
        assert told or failed.keys() >= EXPLAINED, outcome.stdout
        assert outcome.returncode != 1, outcome.stdout  # 1 is a bug

    def _read(self, folder: Path, name: str) -> bytes | None:
        path = folder / "srv" / name
        return path.read_bytes() if path.exists() else None

    def resume(self, folder: Path) -> None:
        """Resume twice in a fresh process, and remember what it found."""
        settling = Command(
            program=PROGRAM,
            arguments=(str(folder / "home"),),
            roots=(self.bench.scratch,),
            folder=folder,
            entry="tests.crashes.engine_run:settle",
            preload=engine_run.PRELOAD,
        )
        if self._server is None:
            self._server = self._stack.enter_context(ForkServer(settling, self.bench))
        outcome = self._server.run(settling, RECORDING, 0)
        assert outcome.returncode == 0, str(outcome)
        self._found = json.loads(outcome.stdout)

    def check(self, folder: Path) -> None:
        """Both files on one side, as the journal says; all of it verified and at rest."""
        if not self._found:
            self.resume(folder)
        found, self._found = self._found, {}
        assert found["verified"], found["problem"]
        assert found["open"] == found["again"] == [], found
        assert found["sizes"][0] == found["sizes"][1], "a second resume wrote to the journal"
        assert all(found["finished"]), found
        assert not found["left"], found
        rooms = (folder / "srv" / ".noodle").glob("*/releases/*")
        assert {str(path) for path in rooms} == set(found["points"]), "points are not what is kept"
        assert len(found["points"]) <= self.points_max
        sides = {self._side(folder, name, found) for name in self.names}
        assert len(sides) == 1, f"a mix: {sides}"
        assert sides <= self.sides, f"ended {sides}, and not {set(self.sides)}: {found}"
        for name in NAMES:
            self._check_place(folder, name)

    def _side(self, folder: Path, name: str, found: dict[str, Any]) -> str:
        now = self._read(folder, name)
        installed = found["installed"].get(name)
        assert now == content(name, installed), f"{name}: the journal says {installed}"
        return "after" if installed == self.after else "before"

    def _check_place(self, folder: Path, name: str) -> None:
        target = folder / "srv" / name
        if self.before is not None and target.exists():
            facts = target.stat()
            assert (facts.st_uid, facts.st_gid) == OWNER, "the owner was lost"
            assert stat.S_IMODE(facts.st_mode) == MODE, "the mode was lost"
            assert os.getxattr(target, "user.mark") == MARK, "an attribute was lost"
        strays = {
            path.name
            for path in (folder / "srv").iterdir()
            # A probe that was killed leaves empty files, which the next one removes.
            if not (path.name.startswith(".noodle-probe-") and not path.read_bytes())
        } - {*NAMES, ".noodle"}
        assert not strays, f"left beside the targets: {strays}"
        room = folder / "srv" / ".noodle" / name
        if room.exists():
            more = {path.name for path in room.iterdir()} - ROOM
            assert not more, f"left in the room of {name}: {more}"
            for kept in room.glob("releases/*"):
                versions = {content(name, one) for one in (OLD, NEW, SICK)}
                assert kept.read_bytes() in versions, f"{kept.name} is no version"


def _shown(found: bytes | None) -> str:
    return "missing" if found is None else f"{len(found)} bytes beginning {found[:20]!r}"


RECORDING: Final = Strike(Mode.RECORD)


def crashed_in_swap(bench: Bench, folder: Path, words: tuple[str, ...]) -> None:
    """Leave an upgrade of both files killed right after its first exchange."""
    command = Words(bench, folder, words).command
    taken = Snapshot.take(folder)
    recorded = record(command, bench).log.recorded
    taken.restore()
    exchanges = [point for point in recorded if _is_exchange(point)]
    assert exchanges, "no exchange was recorded"
    outcome = run(command, bench, KILL, exchanges[-1].number)
    assert outcome.killed, str(outcome)


def _is_exchange(point: Point) -> bool:
    return point.call == "rename_exchange" and "staged" in point.file_class


# -- the scenarios --------------------------------------------------------------


def nothing_installed(_bench: Bench, folder: Path) -> None:
    """A home that knows the releases."""
    make_home(folder)


def old_installed(_bench: Bench, folder: Path) -> None:
    """Both files at the old version."""
    make_home(folder)
    apply(folder, OLD)


def new_installed(_bench: Bench, folder: Path) -> None:
    """Both files at the new version, the old ones kept."""
    make_home(folder)
    apply(folder, OLD)
    apply(folder, NEW)


def many_kept(_bench: Bench, folder: Path) -> None:
    """Several old versions of one file kept, of which the settings keep one."""
    make_home(folder)
    apply(folder, OLD)
    apply(folder, NEW)
    with Noodle.open(folder / "home") as noodle:
        noodle.rollback("web")
        noodle.apply([f"web@{NEW}"])
        assert len(noodle.points("web").points) == 2
    file = folder / "home" / "config" / "runtime_upgrade_config.json"
    settings = json.loads(file.read_text())
    settings["runtime_upgrade"] = {"rollback": {"max_rollback_points": 1}}
    file.write_text(json.dumps(settings))


def half_swapped(bench: Bench, folder: Path) -> None:
    """Both files half way from old to new, the engine killed."""
    old_installed(bench, folder)
    crashed_in_swap(bench, folder, wanted(NEW)(folder))


def wanted(version: str) -> Callable[[Path], tuple[str, ...]]:
    """The words that apply a version of both."""
    words = ("apply", *(f"{name}@{version}" for name in NAMES), "--yes")
    return lambda _folder: words


def always(*words: str) -> Callable[[Path], tuple[str, ...]]:
    """The same words for each folder."""
    return lambda _folder: words


def abort_the_open(folder: Path) -> tuple[str, ...]:
    """The words that abort what is open."""
    with Noodle.open(folder / "home") as noodle:
        (only,) = noodle.status().open
    return ("abort", only.upgrade)


def scenarios(bench: Bench) -> dict[str, Engine]:
    """Every scenario by its name."""
    both = frozenset({"before", "after"})
    old = frozenset({"before"})
    made = (
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
        Engine("resume", bench, always("resume"), half_swapped, OLD, NEW, sides=both),
        Engine("abort", bench, abort_the_open, half_swapped, OLD, NEW, sides=both),
    )
    return {one.name: one for one in made}


@dataclass(slots=True)
class Initialising:
    """`noodle init`, struck: a home is there whole, or a second `init` makes one."""

    bench: Bench
    name: str = "init"

    def prepare(self, folder: Path) -> Command:
        """Nothing is there yet. The home is made beside its name: the whole folder is watched."""
        made = Words(self.bench, folder, ("init",)).command
        return replace(made, roots=(folder,))

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """What lived on explained itself, and left no half home under the name."""
        assert "Traceback" not in outcome.stderr, outcome.stderr
        if outcome.returncode > 0:
            assert json.loads(outcome.stdout)["error"].keys() >= EXPLAINED, outcome.stdout
        home = folder / "home"
        assert not home.exists() or (home / "format").exists(), "half a home"

    def resume(self, folder: Path) -> None:
        """A user runs it again if there is no home."""
        if (folder / "home").exists():
            return
        again = run(Words(self.bench, folder, ("init",)).command, self.bench)
        assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """A home that works, with its keys closed to others, and nothing beside it."""
        with Noodle.open(folder / "home") as noodle:
            assert noodle.audit_verify().ok
            noodle.doctor(folder / "home")
        for key in (folder / "home" / "keys").iterdir():
            wanted = 0o644 if key.suffix == ".pub" else 0o600
            assert stat.S_IMODE(key.stat().st_mode) == wanted, key.name
        left = {path.name for path in folder.iterdir()} - {"home"}
        assert not left, f"left beside the home: {left}"
