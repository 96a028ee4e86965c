"""A home, targets and releases for the execution layer: the real engine, and no double of it.

What runs is told by files and pipes, never by a sleep: a `Gate` is a command
that says that it was reached, and waits until it is opened.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.engine import Engine
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.execute.planning import Planner
from noodle_engine.execute.recording import Heard
from noodle_engine.execute.timing.clock import Reading
from noodle_engine.execute.timing.live_clock import LiveClock
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.records import Entry, Event, Transition, entry_of
from noodle_engine.machine.states import OnCrash, State
from noodle_engine.machine.upgrade import Upgrade
from noodle_engine.registry.store import ReleaseStore
from noodle_journal import Kind
from noodle_policies.settings.values import values_hash
from tests.conftest import require_system

WAIT_S_MAX = 30.0
"""How long a test waits for what must come; never waited out when all is well."""
NOBODY = 65_534
_SETRESUID = 117
"""The system call on x86-64: it changes the calling thread only, as glibc's function does not."""


def content(name: str, version: str) -> str:
    return f"{name} {version}\n"


def manifest(name: str, version: str, target: Path, more: str = "", component: str = "") -> str:
    return (
        f'format = 1\n[component]\nname = "{name}"\nversion = "{version}"\nkind = "file"\n'
        f'{component}\n[payload]\npath = "payload"\n[target]\npath = "{target}"\n{more}\n'
    )


@dataclass
class Clock:
    """Both clocks of the kernel, as a test sets them."""

    wall_ms: int = 1_700_000_000_000
    boot_ms: int = 5_000_000
    boot: str = "one"

    def read(self) -> Reading:
        return Reading(self.wall_ms, self.boot_ms)

    def pass_ms(self, passed_ms: int) -> None:
        self.wall_ms += passed_ms
        self.boot_ms += passed_ms


class Gate:
    """A command that tells that it was reached, and waits for `open`; both by pipes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._here = folder / f"{name}.here"
        self._go = folder / f"{name}.go"
        for path in (self._here, self._go):
            os.mkfifo(path)
        # Open for both ways: neither side waits for the other to open.
        self._reached = os.open(self._here, os.O_RDWR | os.O_CLOEXEC)
        self._opens = os.open(self._go, os.O_RDWR | os.O_CLOEXEC)

    @property
    def command(self) -> list[str]:
        return self.then("true")

    def then(self, more: str) -> list[str]:
        """The command, and what it does once it was opened."""
        return ["sh", "-c", f"echo here > {self._here}; read go < {self._go}; {more}"]

    def wait(self) -> None:
        """Until the command runs."""
        assert select.select([self._reached], [], [], WAIT_S_MAX)[0], "it was never reached"
        assert os.read(self._reached, 5) == b"here\n"

    @property
    def descriptor(self) -> int:
        """Readable once the command runs."""
        return self._reached

    @property
    def reached(self) -> bool:
        return bool(select.select([self._reached], [], [], 0)[0])

    def drain(self) -> None:
        """Forget what was told and not taken."""
        for descriptor in (self._reached, self._opens):
            while select.select([descriptor], [], [], 0)[0]:
                os.read(descriptor, 1024)

    def open(self) -> None:
        os.write(self._opens, b"go\n")

    def close(self) -> None:
        for descriptor in (self._reached, self._opens):
            with suppress(OSError):
                os.close(descriptor)


def hook(at: str, command: Sequence[str], **more: object) -> str:
    """A hook's table in a manifest."""
    lines = [f'[[hooks]]\nat = "{at}"\ncommand = {_toml(command)}']
    lines += [f"{name} = {_toml(value)}" for name, value in more.items()]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Sequence):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return str(value)


@dataclass
class Site:
    """A folder with a home, releases and targets."""

    folder: Path
    path: Path = Path()
    gates: list[Gate] = field(default_factory=list)
    ids: int = 0

    def __post_init__(self) -> None:
        if self.path == Path():
            self.path = self.folder / "home"
        (self.folder / "srv").mkdir()
        Noodle.init(self.path)

    @property
    def home(self) -> Home:
        return Home(self.path)

    def open(self, actor: str = "test") -> Noodle:
        return Noodle.open(self.path, actor=actor)

    def target(self, name: str) -> Path:
        return self.folder / "srv" / name

    def has(self, name: str, version: str | None) -> bool:
        """Whether a target is wholly one version; None: it is not there."""
        if version is None:
            return not self.target(name).exists()
        return self.target(name).read_text() == content(name, version)

    def release(
        self, name: str, version: str, more: str = "", component: str = "", **where: Path
    ) -> None:
        """Make a release known, as `component add` does but for its note."""
        folder = self.folder / "releases" / f"{name}-{version}"
        folder.mkdir(parents=True)
        (folder / "payload").write_text(content(name, version))
        target = where.get("target", self.target(name))
        (folder / "noodle.toml").write_text(manifest(name, version, target, more, component))
        ReleaseStore(self.path).add(folder)

    def gate(self, name: str) -> Gate:
        made = Gate(self.folder, name)
        self.gates.append(made)
        return made

    def settings(self, text: str) -> None:
        (self.path / "config" / "noodle.json").write_text(text)

    def close(self) -> None:
        for gate in self.gates:
            gate.close()


@dataclass
class Driven:
    """An engine that a test holds itself, and what its journal says."""

    site: Site
    engine: Engine

    @classmethod
    def open(cls, site: Site, clock: Clock | None = None) -> Driven:
        live = LiveClock() if clock is None else LiveClock(clock.read, lambda: clock.boot)
        lock = lock_file(site.home.lock_file)
        return cls(site, open_engine(site.home, lock, {}, clock=live))

    def plan(self, *wanted: str) -> Plan:
        plan = self.planner().forward(wanted).plan
        assert plan is not None
        return plan

    def planner(self) -> Planner:
        return Planner(
            world=self.engine.world,
            releases=self.engine.releases,
            log_id=self.engine.journal.log_id,
            settings_hash="",
            now_ms=lambda: 0,
        )

    def submit(
        self,
        plan: Plan,
        *,
        settings: Mapping[str, object] | None = None,
        on_crash: OnCrash = OnCrash.FORWARD,
        request_key: str | None = None,
    ) -> str:
        """Request a plan under some settings, and start driving it."""
        stored = dict(settings or {})
        self.site.ids += 1
        return self.engine.submit(
            plan,
            upgrade=new_upgrade_id(self.site.ids, bytes(16)),
            actor="test",
            settings=stored,
            settings_hash=values_hash(stored),
            on_crash=on_crash,
            request_key=request_key,
        )

    def apply(self, *wanted: str, **more: object) -> str:
        """Request and wait until nobody drives it."""
        upgrade = self.submit(self.plan(*wanted), **more)  # type: ignore[arg-type]
        assert self.engine.wait(upgrade, WAIT_S_MAX)
        return upgrade

    def state(self, upgrade: str) -> State:
        """Where an upgrade stands or ended, by its records."""
        moves = [
            entry.event.target
            for entry in self.entries(upgrade)
            if isinstance(entry.event, Transition)
        ]
        return moves[-1] if moves else State.PENDING

    def entries(self, upgrade: str | None = None) -> list[Entry]:
        """What the journal holds, of one upgrade or of all."""
        journal = self.engine.journal
        records = journal.read() if upgrade is None else journal.read_run(upgrade)
        entries = []
        for record in records:
            if isinstance(record.kind, Kind):
                entry = entry_of(record.kind.label, record.body)
                if entry is not None:
                    entries.append(entry)
        return entries

    def events(self, upgrade: str) -> list[Event]:
        return [entry.event for entry in self.entries(upgrade)]

    def open_one(self, upgrade: str) -> Upgrade:
        return self.engine.open_upgrade(upgrade)

    def heard(self, wanted: Callable[[Heard], bool]) -> threading.Event:
        """An event that is set once such a record is durable."""
        found = threading.Event()
        self.engine.listen(lambda one: found.set() if wanted(one) else None)
        return found

    def close(self) -> None:
        self.engine.leave()
        self.engine.drain()
        self.engine.close()


def as_user(uid: int, work: Callable[[], object]) -> object:
    """What `work` returns in a thread that runs as another user."""
    require_system("root", lambda: os.geteuid() == 0, install="run as root, to be another user")
    found: list[object] = []

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        keep = ctypes.c_long(-1)
        assert libc.syscall(_SETRESUID, keep, ctypes.c_long(uid), keep) == 0
        try:
            found.append(work())
        except BaseException as failure:  # noqa: BLE001 - the test looks at it
            found.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(WAIT_S_MAX)
    return found[0]
