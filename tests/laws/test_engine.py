"""The real engine against a model that is obviously right, with crashes anywhere.

Laws held here
R1  old or new, never a mix: after any crash and a resume all targets of a plan
    are on one side, and the journal says which
R2  resuming is idempotent
F1  fold(records) equals the live fold
N2  no target changes before the intent of its swap is durable
A1  what a caller was told has happened is in the journal after a crash
F2  an upgrade that ended never changes
M1  the same inputs give the same records
M2  the records of each upgrade are a run of the model in specs/

The engine is the real one: real SQLite at full durability, real files, real
exchange; only the thread that drives is replaced by the rules, so that they
can end the process's life between any two of its acts. A crash drops every
descriptor without a word; kills inside the acts are tests/crashes.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.answers.wording import sentence
from noodle_engine.execute.driving import Control, Driving
from noodle_engine.execute.engine import Engine
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine, open_reader
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.execute.planning import Planner
from noodle_engine.machine.codec import encode
from noodle_engine.machine.decide import Action, ReleaseHold, Said, TurnBack
from noodle_engine.machine.failures import MessageRefused
from noodle_engine.machine.plan import Plan, StepName
from noodle_engine.machine.records import entry_of
from noodle_engine.machine.states import (
    TERMINAL,
    HoldReason,
    OnCrash,
    Reason,
    Release,
    State,
)
from noodle_engine.machine.upgrade import Fold, Upgrade, fold, fold_upgrade, requested
from noodle_engine.registry.store import ReleaseStore
from noodle_engine.targets.failures import TargetChanged
from tests.breadth import BREADTH, Breadth
from tests.crashes.harness.snapshot import Snapshot
from tests.memory import memory_folder
from tests.second_opinion import differing
from tests.traces import check_home

NAMES = ("web", "api")
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "2.0.0")
STRANGE = "a stranger's own"
WATCHED = (StepName.STAGE, StepName.SWAP, StepName.HEALTH, StepName.RECHECK, StepName.POINT)
Place = tuple[StepName, bool, bool, bool]
PLACES = st.one_of(
    st.sampled_from(
        [
            (name, undo, performed, last)
            for name, undo in (
                (StepName.SWAP, False),
                (StepName.SWAP, True),
                (StepName.STAGE, False),
            )
            for performed in (False, True)
            for last in (False, True)
        ]
    ),
    st.tuples(st.sampled_from(WATCHED), st.just(value=False), st.booleans(), st.booleans()),
)
"""Where a process may stop: step, its undo, performed and not yet recorded, last component."""
SWEEP_FULL = BREADTH is Breadth.FULL
FOREIGN_RELEASES = st.sampled_from([Release.RESTORE, Release.ADOPT, Release.RETRY])
SEEN: Counter[str] = Counter()
"""How often what the laws are about has happened, over all examples."""
SICK = "1.2.0"
"""The version whose health check fails."""
MODEL = ("committed", "promised", "ended", "strange", "had", "requests", "aborts", "upgrade")
"""What a machine itself remembers of its home."""
STEPS_MAX = 200
STORY_RECORDS = 60
RESUMES_MAX = 12


def content(name: str, version: str) -> str:
    return f"{name} {version}\n" * 3


def write_release(folder: Path, target: Path, name: str, version: str) -> Path:
    release = folder / f"{name}-{version}"
    release.mkdir(parents=True)
    (release / "payload").write_text(content(name, version))
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
path = "{target}"
[[health]]
file = "{target}"
contains = "{mark}"
passes = 1
interval = 0.01
timeout = 1.0
within = 0.02
"""
    )
    return release


@dataclass
class _Replay:
    """How far the records were replayed: the first `size`."""

    size: int = 0
    world: Fold = field(default_factory=Fold)
    upgrades: dict[str, Upgrade] = field(default_factory=dict)


class EngineUnderCrashes(RuleBasedStateMachine):
    """Rules are what a process may do next; a crash may come before any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="noodle-law-", dir=memory_folder()))
        self.home = Home(self.folder / "home")
        self.targets = {name: self.folder / "srv" / name for name in NAMES}
        (self.folder / "srv").mkdir()
        Noodle.init(self.home.path)
        store = ReleaseStore(self.home.path)
        for name in NAMES:
            for version in VERSIONS:
                target = self.targets[name]
                store.add(write_release(self.folder / "releases", target, name, version))
        # The model: what is committed, what was promised, how ended ones ended.
        self.committed: dict[str, str | None] = dict.fromkeys(NAMES)
        self.promised: set[str] = set()
        self.ended: dict[str, State] = {}
        self.strange: set[str] = set()
        self.had: dict[str, set[str]] = {name: set() for name in NAMES}
        self.replay = _Replay()
        self.requests = 0
        self.aborts = 0
        self.crashed_twice_at = 0
        self.engine: Engine | None = None
        self.driving: Driving | None = None
        self.action: Action | None = None
        self.result: Said | None = None
        self.upgrade: str | None = None

    def teardown(self) -> None:
        self._die()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self) -> Callable[[], None]:
        """Remember home, targets and model; what is returned brings them back, with no process."""
        self._die()
        taken = Snapshot.take(self.folder)
        model = copy.deepcopy({name: getattr(self, name) for name in MODEL})

        def back() -> None:
            self._die()
            taken.restore()
            vars(self).update(copy.deepcopy(model), replay=_Replay(), crashed_twice_at=0)

        return back

    def _saw(self, what: str) -> None:
        """Count what happened, with where the act under way stands."""
        SEEN[what] += 1
        if self.action is not None:
            done = "performed" if self.result is not None else "decided"
            undo = "undo " if getattr(self.action, "undo", False) else ""
            SEEN[f"{what}: {undo}{self.action.step.name.value} {done}"] += 1

    # -- the process ------------------------------------------------------

    @initialize()
    def start(self) -> None:
        self._open()

    def _open(self) -> Engine:
        if self.engine is None:
            self.engine = open_engine(self.home, lock_file(self.home.lock_file), {})
        return self.engine

    def _die(self) -> None:
        """Drop everything that a dead process drops: descriptors, locks, memory."""
        if self.driving is not None:
            self.driving.close()
        if self.engine is not None:
            self.engine.close()
        self.engine = self.driving = self.action = self.result = None

    def _open_upgrades(self) -> list[str]:
        return list(self._open().world.upgrades)

    # -- rules ------------------------------------------------------------

    def _idle(self) -> bool:
        return self.engine is not None and self.driving is None and not self.engine.world.upgrades

    def _busy(self) -> bool:
        return self.driving is not None

    def _left_open(self) -> bool:
        return self.engine is not None and self.driving is None and bool(self.engine.world.upgrades)

    @precondition(_idle)
    @rule(
        versions=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VERSIONS), min_size=1),
        on_crash=st.sampled_from(OnCrash),
        place=PLACES,
    )
    def request(self, versions: dict[str, str], on_crash: OnCrash, place: Place) -> None:
        """Ask for an upgrade of one component or of both, and go as far as `place`."""
        wanted = [
            f"{name}@{version}"
            for name, version in sorted(versions.items())
            if (self.committed[name] or "0.0.0") < version
        ]
        if wanted:
            with self._foreign_refused():
                self._submit(self._planner().forward(wanted).plan, on_crash, place)

    @precondition(_idle)
    @rule(name=st.sampled_from(NAMES), place=PLACES)
    def remove(self, name: str, place: Place) -> None:
        """Ask for an upgrade to nothing."""
        if self.committed[name] is not None:
            with self._foreign_refused():
                self._submit(self._planner().forward([], [name]).plan, OnCrash.FORWARD, place)

    @precondition(_idle)
    @rule(name=st.sampled_from(NAMES), place=PLACES)
    def go_back(self, name: str, place: Place) -> None:
        """Ask for the newest kept old."""
        world = self._open().world
        installed = world.components.get(name)
        there = (installed.version, installed.root) if installed else None
        kept = [(point.version, point.root) for point in world.points if point.component == name]
        if any(one != there for one in kept):
            with self._foreign_refused():
                self._submit(self._planner().back(name).plan, OnCrash.FORWARD, place)

    @contextlib.contextmanager
    def _foreign_refused(self) -> Iterator[None]:
        """Planning may refuse what a stranger left, and nothing else."""
        try:
            yield
        except TargetChanged:
            assert self.strange

    def _planner(self) -> Planner:
        engine = self._open()
        return Planner(
            world=engine.world,
            releases=engine.releases,
            log_id=engine.journal.log_id,
            settings_hash="",
            now_ms=lambda: 0,
        )

    def _submit(self, plan: Plan | None, on_crash: OnCrash, place: Place) -> None:
        if plan is None:
            return
        self.requests += 1
        upgrade = new_upgrade_id(self.requests, bytes(16))
        engine = self._open()
        engine.request(
            plan,
            upgrade=upgrade,
            actor="law",
            settings={},
            settings_hash="",
            on_crash=on_crash,
        )
        self.promised.add(upgrade)
        self._drive(upgrade, resumed=False)
        self._go_to(place)

    @precondition(_left_open)
    @rule(place=PLACES)
    def resume(self, place: Place) -> None:
        """Any process takes an open upgrade up, and comes as far as `place`."""
        self._drive(self._open_upgrades()[0], resumed=True)
        self._go_to(place)

    def _drive(self, upgrade: str, *, resumed: bool) -> None:
        self.upgrade = upgrade
        self.driving = Driving(self._open(), upgrade, "law", Control())
        self.action = self.driving.begin(resumed=resumed)
        self._settle()

    @precondition(_busy)
    @rule()
    def act(self) -> None:
        """Do the action, or record the result of the one that is done."""
        assert self.driving is not None
        if self.result is not None:
            self.action, self.result = self.driving.record(self.result), None
            self._settle()
        elif self.action is not None:
            self.result = self.driving.perform(self.action)

    @precondition(_busy)
    @rule(place=PLACES)
    def go_further(self, place: Place) -> None:
        """On to another place."""
        self._go_to(place)

    def _go_to(self, place: Place) -> None:
        """On to where an act is decided, or performed and not yet recorded."""
        for _ in range(STEPS_MAX):
            if self.driving is None or self._stands_at(place):
                break
            self.act()

    def _stands_at(self, place: Place) -> bool:
        name, undo, performed, last = place
        if self.action is None or self.action.step.name is not name:
            return False
        if getattr(self.action, "undo", False) is not undo:
            return False
        upgrade = self._open().open_upgrade(self.upgrade or "")
        final = upgrade.plan.components[-1].name == self.action.step.component
        return (self.result is not None) == performed and (undo or final == last)

    def _can_abort(self) -> bool:
        """An upgrade is open; that it may be refused then is told once in a while."""
        return (self._busy() or self._left_open()) and self.aborts < self.requests + 1

    @precondition(_can_abort)
    @rule()
    def abort(self) -> None:
        """A person aborts, while it runs or after a crash. A refusal leaves it as it is."""
        self.aborts += 1
        engine = self._open()
        upgrade = self.upgrade if self.driving is not None else self._open_upgrades()[0]
        if upgrade is None or upgrade not in engine.world.upgrades:
            return
        self._saw("abort")
        before = engine.world
        try:
            engine.say(upgrade, TurnBack(Reason.CANCELLED), actor="law")
        except MessageRefused:
            assert engine.world == before

    @precondition(lambda self: self._busy() and self.requests > 1 and not self.strange)
    @rule(name=st.sampled_from(NAMES))
    def stranger(self, name: str) -> None:
        """Somebody else replaces a target in the middle of an upgrade."""
        self._saw("stranger")
        self.targets[name].unlink(missing_ok=True)
        self.targets[name].write_text(STRANGE)
        self.strange.add(name)

    @precondition(lambda self: self._busy() and self.requests > 1 and not self.strange)
    @rule(
        name=st.sampled_from(NAMES), place=PLACES, crashes=st.booleans(), release=FOREIGN_RELEASES
    )
    def stranger_found_out(
        self, name: str, place: Place, release: Release, *, crashes: bool
    ) -> None:
        """The same, on to where it is found out, and what a person says to it."""
        self._go_to(place)
        if not self._busy():
            return
        self.stranger(name)
        if crashes:
            self.crash()
            self._drive(self._open_upgrades()[0], resumed=True)
        for _ in range(STEPS_MAX):
            if self._busy():
                self.act()
        if self._held():
            self.release_hold(release)

    @precondition(_busy)
    @rule()
    def crash(self) -> None:
        """The process dies here, and another opens the home."""
        self._saw("crash")
        self._die()
        self._open()

    def _wrote(self) -> bool:
        """Something was written since two processes in a row only opened the home."""
        return self.engine is None or self.engine.journal.size != self.crashed_twice_at

    @precondition(_wrote)
    @rule()
    def crash_twice(self) -> None:
        """A process that only opened the home dies too."""
        self._die()
        self._open()
        self._die()
        self.crashed_twice_at = self._open().journal.size

    def _held(self) -> bool:
        return (
            self._left_open()
            and self._open().world.upgrades[self._open_upgrades()[0]].hold is not None
        )

    @precondition(_held)
    @rule(release=st.sampled_from(Release))
    def release_hold(self, release: Release) -> None:
        """A person ends a hold, if there is one and it can be ended so."""
        engine = self._open()
        upgrade = engine.world.upgrades[self._open_upgrades()[0]]
        if upgrade.hold is None:
            return
        self._saw(f"hold {upgrade.hold.reason.value} {release.value}")
        with contextlib.suppress(MessageRefused):
            engine.say(upgrade.id, ReleaseHold(release), actor="law")

    def _settle(self) -> None:
        """Nothing further to do: it ended or waits; the model learns how."""
        if self.action is not None or self.upgrade is None:
            return
        assert self.driving is not None
        self.driving.close()
        self.driving = None

    # -- invariants -------------------------------------------------------

    @invariant()
    def live_fold_is_the_fold_of_the_records(self) -> None:
        """F1, F2, A1: of the records since the last look, read by a reader of its own."""
        self._check_fold(whole=False)

    def _check_fold(self, *, whole: bool) -> None:
        """F1, F2, A1, and the model's own memory of who ended how; `whole` reads from the first.

        Then M2 too: whoever reads all can tell a run.
        """
        if self.engine is None:
            return
        if whole:
            check_home(self.home.path)
            if BREADTH is not Breadth.SMALL:
                assert differing(self.home.path) is None
        replayed, last = self._replay(whole=whole)
        assert replayed == self.engine.world
        assert encode(replayed) == encode(self.engine.world)
        assert self.promised <= set(last)
        for upgrade, state in last.items():
            if upgrade in self.ended:
                assert state is self.ended[upgrade]
            elif state in TERMINAL:
                self.ended[upgrade] = state

    def _replay(self, *, whole: bool) -> tuple[Fold, dict[str, State]]:
        at = _Replay() if whole else self.replay
        reader, _ = open_reader(self.home, {})
        try:
            for record in reader.read(at.size + 1):
                at.size += 1
                entry = entry_of(record.kind.label, record.body)  # type: ignore[union-attr]
                if entry is None:
                    continue
                at.world = fold(at.world, entry)
                if entry.upgrade is None:
                    continue
                if entry.upgrade in at.upgrades:
                    at.upgrades[entry.upgrade] = fold_upgrade(at.upgrades[entry.upgrade], entry)
                else:
                    at.upgrades[entry.upgrade] = requested(entry)
        finally:
            reader.close()
        return at.world, {name: upgrade.state for name, upgrade in at.upgrades.items()}

    def _story(self) -> list[str]:
        """The newest records in words, for whoever reads a failure."""
        reader, _ = open_reader(self.home, {})
        try:
            entries = [
                entry_of(record.kind.label, record.body)  # type: ignore[union-attr]
                for record in list(reader.read())[-STORY_RECORDS:]
            ]
        finally:
            reader.close()
        return [sentence(entry) for entry in entries if entry is not None]

    @invariant()
    def targets_are_old_or_new(self) -> None:
        """R1 and N2, at every moment."""
        if self.engine is None:
            return
        world = self.engine.world
        for name, path in self.targets.items():
            found = path.read_text() if path.exists() else None
            installed = world.components.get(name)
            old = content(name, installed.version) if installed and installed.version else None
            allowed = {old}
            for upgrade in world.upgrades.values():
                for component in upgrade.plan.components:
                    swap = upgrade.step(f"{StepName.SWAP.value}:{name}")
                    if component.name == name and swap.attempt > 0:
                        to = component.to_version
                        allowed.add(content(name, to) if to else None)
            if name in self.strange:
                allowed.add(STRANGE)
            assert found in allowed, (name, found, allowed)

    @invariant()
    def what_a_stranger_left_is_never_lost(self) -> None:
        """G3: it is still in the target, or kept beside it."""
        files = [path for path in (self.folder / "srv").rglob("*") if path.is_file()]
        for name in self.strange:
            assert any(name in path.name or name in str(path) for path in files)
        if self.strange:
            assert any(path.read_text() == STRANGE for path in files)

    @invariant()
    def committed_model_follows_terminal_states(self) -> None:
        """The model's versions change only when an upgrade commits."""
        if self.engine is None:
            return
        for name in NAMES:
            installed = self.engine.world.components.get(name)
            self.committed[name] = installed.version if installed else None
            if installed and installed.version:
                self.had[name].add(installed.version)

    @invariant()
    def at_rest_nothing_is_left_beside_a_target(self) -> None:
        """When no upgrade is open, no staged object is left; only an old that nobody may drop."""
        if self.engine is None or self.engine.world.upgrades:
            return
        for path in (self.folder / "srv").glob(".*.next-*"):
            name = path.name.split(".")[1]
            assert name in self.strange, (path.name, path.read_text(), self._story())
            assert path.read_text() in {STRANGE, *(content(name, one) for one in self.had[name])}


def _resume_until_rest(machine: EngineUnderCrashes) -> Iterator[str]:
    for _ in range(RESUMES_MAX):
        engine = machine._open()
        if machine.driving is None and not engine.world.upgrades:
            return
        if machine.driving is None:
            upgrade_id = machine._open_upgrades()[0]
            upgrade = engine.world.upgrades[machine._open_upgrades()[0]]
            if upgrade.hold is not None:
                foreign = upgrade.hold.reason is HoldReason.FOREIGN
                how = Release.RESTORE if foreign else Release.BACK
                engine.say(upgrade.id, ReleaseHold(how), actor="law")
            machine._drive(upgrade_id, resumed=True)
        for _ in range(STEPS_MAX):
            if machine.driving is None:
                break
            machine.act()
        yield "resumed"
    raise AssertionError("resuming does not come to rest")


class EngineComesToRest(EngineUnderCrashes):
    """After any history, resuming ends every upgrade, and a second resume changes nothing."""

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            super().teardown()

    def come_to_rest(self) -> None:
        """Let one process after the other resume, and judge the end."""
        self._die()
        if not (self.home.path / "format").exists():
            return
        for _ in _resume_until_rest(self):
            pass
        self._check_fold(whole=True)
        self.targets_are_old_or_new()
        self.at_rest_nothing_is_left_beside_a_target()
        before = self._open().journal.size
        assert not self._open().world.upgrades
        self._die()
        assert self._open().journal.size == before


EngineComesToRest.TestCase.settings = settings(
    max_examples={Breadth.SMALL: 75, Breadth.WIDE: 400, Breadth.FULL: 2_000}[BREADTH],
    stateful_step_count=50,
    # The same examples in each run of the suite; the full sweep tries new ones.
    derandomize=not SWEEP_FULL,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


WANTED = (
    "crash: swap decided",
    "crash: swap performed",
    "crash: undo swap performed",
    "crash: stage performed",
    "abort: swap performed",
    "stranger",
    "hold foreign restore",
    "hold foreign adopt",
)


@pytest.mark.timeout(7_200 if SWEEP_FULL else 900)  # a failure is shrunk for up to five minutes
def test_the_laws_met_what_they_are_about() -> None:
    """A run that never crashes in a swap proves nothing: what must have happened has."""
    EngineComesToRest.TestCase("runTest").runTest()
    missing = [what for what in WANTED if not SEEN[what]]
    assert not missing, f"never happened: {missing}; happened: {dict(SEEN)}"


# -- each event at each place ---------------------------------------------------

Event = tuple[str, Release | None]
EVENTS: tuple[Event, ...] = (
    ("crash", None),
    ("abort", None),
    ("crash, abort", None),
    ("stranger", Release.RESTORE),
    ("stranger", Release.ADOPT),
    ("stranger, crash", Release.RESTORE),
    ("stranger, crash", Release.ADOPT),
)
UNDONE = (StepName.SWAP, StepName.STAGE)
EACH_PLACE: tuple[Place, ...] = tuple(
    (name, undo, performed, last)
    for name in WATCHED
    for undo in (False, True)
    for performed in (False, True)
    for last in (False, True)
    if not undo or (name in UNDONE and not last)
)
KINDS = ("first install", "upgrade", "removal", "going back")


def _lead_up(machine: EngineUnderCrashes, kind: str) -> None:
    """Install what an upgrade of a kind begins from."""
    end: Place = (StepName.CHECK, True, True, True)  # no such place: on to the end
    machine.start()
    versions = [] if kind == "first install" else ["1.0.0"]
    if kind == "going back":
        versions.append("1.1.0")
    for version in versions:
        machine.request(dict.fromkeys(NAMES, version), OnCrash.FORWARD, end)
        machine.committed_model_follows_terminal_states()
    machine.requests = max(machine.requests, 1)


def _begin(machine: EngineUnderCrashes, kind: str, place: Place) -> None:
    """Bring a machine to `place` in an upgrade of a kind; a sick version for places of an undo."""
    machine.start()
    if kind == "removal":
        machine.remove(NAMES[0], place)
    elif kind == "going back":
        machine.go_back(NAMES[0], place)
    else:
        version = SICK if place[1] else "2.0.0"
        machine.request(dict.fromkeys(NAMES, version), OnCrash.FORWARD, place)


def _let_happen(machine: EngineUnderCrashes, event: Event) -> None:
    what, release = event
    for one in what.split(", "):
        if one == "stranger":
            machine.stranger(NAMES[0])
        elif one == "crash":
            machine.crash()
        else:
            machine.abort()
    if release is None:
        return
    if machine.driving is None and machine._left_open():
        machine._drive(machine._open_upgrades()[0], resumed=True)
    for _ in range(STEPS_MAX):
        if machine._busy():
            machine.act()
    if machine._held():
        machine.release_hold(release)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event[0]}-{event[1] or 'no'}")
def test_each_event_at_each_place_comes_to_rest(kind: str, event: Event) -> None:
    """Not by chance: every place that the upgrade passes, each event there.

    A small run takes every other place, those that the event before it leaves out.
    """
    passed, part = 0, 1 if BREADTH is not Breadth.SMALL else 2
    first = (KINDS.index(kind) + EVENTS.index(event)) % part
    machine = EngineComesToRest()
    try:
        _lead_up(machine, kind)
        back = machine.keep()
        for place in (one for at, one in enumerate(EACH_PLACE) if at // 2 % part == first):
            back()
            _begin(machine, kind, place)
            wanted: State | None = None
            if machine._busy():
                passed += 1
                wanted = _wanted_end(machine, event)
                _let_happen(machine, event)
                machine.live_fold_is_the_fold_of_the_records()
                machine.targets_are_old_or_new()
                machine.what_a_stranger_left_is_never_lost()
            machine.come_to_rest()
            assert wanted is None or machine.ended[machine.upgrade or ""] is wanted, place
    finally:
        machine.teardown()
    assert passed >= PLACES_PASSED_MIN[kind] // (part * part)


def _wanted_end(machine: EngineUnderCrashes, event: Event) -> State | None:
    """Where it must end: a crash alone changes nothing of that. None: it depends on a person."""
    assert machine.upgrade is not None
    upgrade = machine._open().open_upgrade(machine.upgrade)
    if upgrade.state in TERMINAL:
        return upgrade.state
    if event[1] is not None:
        return None
    aborted = "abort" in event[0] or upgrade.undoing
    return State.ROLLED_BACK if aborted else State.COMMITTED


PLACES_PASSED_MIN = {"first install": 16, "upgrade": 16, "removal": 8, "going back": 8}
