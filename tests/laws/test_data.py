"""Data inside of a tree, over any history of its versions.

Laws held here
C1  after each operation that ended, what a program wrote last at a path of data of its
    version is in the live tree; or the plan of the operation said that it would not be
C2  what a program wrote into old data, which it had because it was started too early after
    a crash, is kept
C3  a refusal changes nothing, and a version that comes back is whole

The engine is the real one, as in test_engine; the program is a rule that writes between any
two of its acts while nobody has stopped it. A process dies between any two acts, and inside
of the exchange before and after its names.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.disk.names import exchange
from noodle_engine.execute.answers.wording import sentence
from noodle_engine.execute.driving import Control, Driving
from noodle_engine.execute.engine import Engine
from noodle_engine.execute.failures import PointAbsent
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.execute.planning import Planner
from noodle_engine.execute.retention import Keeping, collect
from noodle_engine.machine.decide import Action, Do, ReleaseHold, Said, TurnBack
from noodle_engine.machine.failures import MessageRefused
from noodle_engine.machine.plan import ABSENT, Plan, StepName
from noodle_engine.machine.records import entry_of
from noodle_engine.machine.states import OnCrash, Reason, Release
from noodle_engine.registry.store import ReleaseStore
from noodle_engine.targets.directory import DirectoryTarget
from noodle_engine.targets.directory.data.back import carried_paths
from noodle_engine.targets.failures import DataRefused
from noodle_engine.targets.place import place_of
from tests.breadth import BREADTH, Breadth
from tests.memory import memory_folder
from tests.traces import check_home

pytestmark = pytest.mark.timeout(7_200 if BREADTH is Breadth.FULL else 900)

DATA: dict[str, tuple[str, ...]] = {
    "1.0.0": ("var/", "state"),
    "1.1.0": ("var/", "state"),
    "1.2.0": ("var/db/", "state"),
    "1.3.0": ("var/", "log/"),
    "1.4.0": (),
    "1.5.0": ("var/", "state"),
    "1.6.0": ("var/", "state", "log/"),
}
"""The versions, and what is data to each."""
SICK = "1.5.0"
"""The version whose health check fails."""
FILES = ("var/rows", "var/db/rows", "state", "log/rows")
"""What programs write."""
DELIVERED = "as delivered"
STEPS_MAX = 200
STORY_RECORDS = 60
SEEN: Counter[str] = Counter()


def is_data(name: str, version: str) -> bool:
    return any(name == path or name.startswith(path) for path in DATA[version])


class DataUnderCrashes(RuleBasedStateMachine):
    """One component; its program writes its data whenever nobody has stopped it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="noodle-law-", dir=memory_folder()))
        self.home = Home(self.folder / "home")
        self.target = self.folder / "srv" / "web"
        self.running = self.folder / "running"
        self.engine: Engine | None = None
        self.driving: Driving | None = None
        self.action: Action | None = None
        self.result: Said | None = None
        self.upgrade = ""
        self.tokens = self.requests = 0
        # The model: what was written last, by file; None is removed.
        self.newest: dict[str, str | None] = {}
        self.before: dict[str, str | None] = {}
        self.notices: tuple[str, ...] = ()
        self.stale: set[str] = set()
        self.meanwhile: dict[str, str] = {}
        self.ended: str | None = None
        self.removed = False

    @initialize(layout=st.sampled_from(["tree", "link"]))
    def start(self, layout: str) -> None:
        (self.folder / "srv").mkdir()
        Noodle.init(self.home.path)
        store = ReleaseStore(self.home.path)
        for version in DATA:
            store.add(self._release(version, layout))
        self._open()
        self._install("1.0.0")

    def _release(self, version: str, layout: str) -> Path:
        folder = self.folder / "releases" / version
        (folder / "tree").mkdir(parents=True)
        (folder / "tree" / "app").write_text(version)
        if "state" in DATA[version]:
            (folder / "tree" / "state").write_text(DELIVERED)
        quiesce = (
            f'quiesce = ["rm", "-f", "{self.running}"]\nunquiesce = ["touch", "{self.running}"]'
        )
        (folder / "noodle.toml").write_text(
            f"""format = 1
[component]
name = "web"
version = "{version}"
kind = "directory"
[payload]
path = "tree"
[target]
path = "{self.target}"
layout = "{layout}"
mutable = {list(DATA[version])}
{quiesce if DATA[version] else ""}
[[health]]
file = "{self.target}/app"
contains = "{"never" if version == SICK else version}"
passes = 1
interval = 0.01
within = {0.02 if version == SICK else 60}
""".replace("'", '"')
        )
        return folder

    def _install(self, version: str) -> None:
        self._submit(self._planner().forward([f"web@{version}"]).plan, OnCrash.FORWARD)
        self.finish()

    def teardown(self) -> None:
        try:
            if self.engine is not None:
                self.come_to_rest()
        finally:
            self._die()
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- the process ------------------------------------------------------

    def _open(self) -> Engine:
        if self.engine is None:
            self.engine = open_engine(self.home, lock_file(self.home.lock_file), {})
        return self.engine

    def _die(self) -> None:
        if self.driving is not None:
            self.driving.close()
        if self.engine is not None:
            self.engine.close()
        self.engine = self.driving = self.action = self.result = None

    def _planner(self) -> Planner:
        engine = self._open()
        return Planner(
            world=engine.world,
            releases=engine.releases,
            log_id=engine.journal.log_id,
            settings_hash="",
            now_ms=lambda: 0,
        )

    def _submit(self, plan: Plan | None, on_crash: OnCrash) -> None:
        if plan is None:
            return
        self.requests += 1
        self.upgrade = new_upgrade_id(self.requests, bytes(16))
        self.notices = plan.notices
        for name in FILES:
            if self._live_version() is not None and is_data(name, self._live_version() or ""):
                self.newest.setdefault(name, self._live(name))
        self.before = dict(self.newest)
        self._open().request(
            plan,
            upgrade=self.upgrade,
            actor="law",
            settings={},
            settings_hash="",
            on_crash=on_crash,
        )
        self._drive(resumed=False)

    def _drive(self, *, resumed: bool) -> None:
        self.driving = Driving(self._open(), self.upgrade, "law", Control())
        self.action = self.driving.begin(resumed=resumed)
        self._settle()

    def _settle(self) -> None:
        if self.action is None and self.driving is not None:
            self.driving.close()
            self.driving = None

    # -- what is on disk --------------------------------------------------

    def _live(self, name: str) -> str | None:
        path = self.target / name
        return path.read_text() if path.is_file() else None

    def _live_version(self) -> str | None:
        return self._live("app")

    # -- rules ------------------------------------------------------------

    def _idle(self) -> bool:
        return self.engine is not None and self.driving is None and not self.engine.world.upgrades

    def _busy(self) -> bool:
        return self.driving is not None

    def _left_open(self) -> bool:
        return self.engine is not None and self.driving is None and bool(self.engine.world.upgrades)

    @precondition(_idle)
    @rule(version=st.sampled_from(list(DATA)), on_crash=st.sampled_from(OnCrash))
    def request(self, version: str, on_crash: OnCrash) -> None:
        """Upgrade, or install again what was removed."""
        installed = self._open().world.components.get("web")
        if installed is not None and (installed.version or "") >= version:
            return
        try:
            plan = self._planner().forward([f"web@{version}"]).plan
        except DataRefused:  # a wider path than the installed version has
            return
        self._submit(plan, on_crash)

    @precondition(_idle)
    @rule(which=st.integers(0, 4))
    def go_back(self, which: int) -> None:
        """To any version that is kept; never refused."""
        points = self._open().world.points
        if not points:
            return
        with contextlib.suppress(PointAbsent):
            version = points[which % len(points)].version if which else None
            self._submit(self._planner().back("web", version).plan, OnCrash.FORWARD)

    @precondition(_idle)
    @rule()
    def remove(self) -> None:
        if "web" in self._open().world.components:
            self._submit(self._planner().forward([], ["web"]).plan, OnCrash.FORWARD)

    @precondition(_idle)
    @rule(points_max=st.integers(1, 3))
    def gc(self, points_max: int) -> None:
        collect(self._open(), Keeping(points_max, 1_000), actor="law")

    @precondition(_left_open)
    @rule()
    def resume(self) -> None:
        self._release_hold()
        self._drive(resumed=True)

    def _release_hold(self) -> None:
        engine = self._open()
        hold = engine.world.upgrades[self.upgrade].hold
        if hold is not None:
            SEEN[f"hold {hold.reason.value}"] += 1
            undoing = engine.world.upgrades[self.upgrade].undoing
            how = Release.RETRY if undoing else Release.BACK
            engine.say(self.upgrade, ReleaseHold(how), actor="law")

    @precondition(_busy)
    @rule(count=st.integers(1, 12))
    def act(self, count: int) -> None:
        """Do so many actions, or record the result of the one that is done."""
        for _ in range(count):
            if self.driving is None:
                return
            if self.result is not None:
                self.action, self.result = self.driving.record(self.result), None
                self._settle()
            elif self.action is not None:
                exchanging = self.action.step.name is StepName.SWAP and isinstance(self.action, Do)
                self.result = self.driving.perform(self.action)
                if exchanging:
                    self.stale = set()

    @precondition(_busy)
    @rule()
    def to_the_exchange(self) -> None:
        """On to where the names are about to be exchanged."""
        for _ in range(STEPS_MAX):
            swapping = isinstance(self.action, Do) and self.action.step.name is StepName.SWAP
            if self.driving is None or (swapping and self.result is None):
                return
            self.act(1)

    @precondition(_busy)
    @rule()
    def finish(self) -> None:
        for _ in range(STEPS_MAX):
            self.act(1)

    @precondition(lambda self: self._busy() or self._left_open())
    @rule()
    def abort(self) -> None:
        if self.upgrade in self._open().world.upgrades:
            with contextlib.suppress(MessageRefused):
                self._open().say(self.upgrade, TurnBack(Reason.CANCELLED), actor="law")

    @precondition(_busy)
    @rule(boots=st.booleans())
    def crash(self, *, boots: bool) -> None:
        """The process dies; the machine perhaps too, and starts the program again."""
        self._die()
        self._open()
        if boots and self._live_version() is not None:
            self.running.touch()

    @precondition(lambda self: self._busy() and self.result is None)
    @rule(exchanged=st.booleans(), boots=st.booleans())
    def die_in_the_exchange(self, *, exchanged: bool, boots: bool) -> None:
        """Right before the names are exchanged, or right after."""
        self.to_the_exchange()
        action, driving = self.action, self.driving
        if driving is None or not isinstance(action, Do):
            return
        upgrade = self._open().open_upgrade(self.upgrade)
        context = driving._performer()._context(upgrade, action.step, action.key)
        place = place_of(context.path)
        objects = DirectoryTarget().objects(context, place)
        beside = place.next(self.upgrade)
        old, new = context.expected_old, context.expected_new
        wanted = (new, old) if action.undo else (old, new)
        seen = (objects.find(place.path).root, objects.find(beside).root)
        if ABSENT in seen or seen != wanted or old == new:
            return  # nothing is exchanged, or no longer
        objects.carry(beside, back=action.undo)
        if exchanged:
            exchange(beside, place.path)
            point = context.source is not None and context.source.point
            if action.undo or point:
                carried = [os.fsdecode(one) for one in carried_paths(context.component.options)]
                self.stale = {name for name in FILES if any(map(name.startswith, carried))}
        SEEN[f"died {'after' if exchanged else 'before'}{' undo' if action.undo else ''}"] += 1
        self.crash(boots=boots)

    @precondition(_idle)
    @rule(
        which=st.integers(0, 4), how=st.sampled_from(["replace", "in place"]), abort=st.booleans()
    )
    def die_on_the_way_back(self, which: int, how: str, *, abort: bool) -> None:
        """Between the two exchanges, and the old program is started on its old data."""
        self.go_back(which)
        self.die_in_the_exchange(exchanged=True, boots=True)
        for name in FILES:
            if self.stale and self.running.exists():
                self.write(name, how)
        if self.stale and abort:
            self.abort()

    @precondition(lambda self: self.running.exists() and self._live_version() is not None)
    @rule(name=st.sampled_from(FILES), how=st.sampled_from(["replace", "in place", "remove"]))
    def write(self, name: str, how: str) -> None:
        """The program of the live version writes a file of its data."""
        if not is_data(name, self._live_version() or ""):
            return
        path = self.target.resolve() / name
        self.tokens += 1
        # Each of another length: a file system's clock is too slow for who writes so often.
        token: str | None = name + "+" * self.tokens
        if how == "remove":
            token = None
            path.unlink(missing_ok=True)
        else:
            if not path.parent.exists():
                path.parent.mkdir(parents=True)
            made = path.with_name("made") if how == "replace" else path
            made.write_text(token or "")
            made.rename(path)
        if name not in self.stale:
            self.newest[name] = token
        elif token is None:
            self.meanwhile.pop(name, None)
        else:
            SEEN["written into old data"] += 1
            self.meanwhile[name] = token

    # -- laws -------------------------------------------------------------

    @invariant()
    def the_newest_is_there_or_it_was_said(self) -> None:
        """C1 and C2, at the end of each operation."""
        if not self._idle() or self.ended == self.upgrade:
            return
        self.ended = self.upgrade
        committed = self._is_committed()
        version = self._live_version()
        installed = self._open().world.components.get("web")
        assert (installed.version if installed else None) == version
        if version is None:
            if not committed:
                self.newest = dict(self.before)  # an install that was taken back
            self.running.unlink(missing_ok=True)
            self.removed = self.removed or committed
        else:
            self._check_newest(committed=committed)
            self.running.touch()
        found = {path.read_text() for path in self._files()}
        assert set(self.meanwhile.values()) <= found, "what was written meanwhile is lost"
        self.meanwhile, self.stale = {}, set()
        SEEN["committed" if committed else "rolled back"] += 1

    def _check_newest(self, *, committed: bool) -> None:
        said = self.notices if committed else ()
        version = self._live_version() or ""
        for name, text in list(self.newest.items()):
            if self._live(name) == text:
                continue
            if text is None and self._live(name) == DELIVERED:
                self.newest[name] = DELIVERED  # a release brings what is not there
                continue
            if text is None and self._live(name) == self.meanwhile.get(name):
                # What was removed and then replaced, on old data: nobody can tell it from newer.
                self.newest[name] = self.meanwhile[name]
                continue
            # What is no data of the version that is there stays with the one that wrote it.
            elsewhere = (self.removed or not committed) and not is_data(name, version)
            if elsewhere or self._is_said(name, said):
                SEEN["said"] += 1
                del self.newest[name]
                continue
            raise AssertionError(f"{name} is {self._live(name)!r}, and not {text!r}; said: {said}")
        self.removed = False

    def _is_said(self, name: str, said: tuple[str, ...]) -> bool:
        """Whether a notice names the path that a file lies at."""
        for notice in said:
            if "the data at" in notice or "its data at" in notice or "will stay with" in notice:
                for path in re.findall(r"[a-z]+(?:/[a-z]+)*", notice):
                    if name == path or name.startswith(f"{path}/"):
                        return True
        return False

    def _is_committed(self) -> bool:
        view = self._open().world.components.get("web")
        return view is None or view.upgrade == self.upgrade

    def _files(self) -> Iterator[Path]:
        for path in (self.folder / "srv").rglob("*"):
            if path.suffix not in (".tree", ".stamps") and path.is_file():
                yield path

    def _story(self) -> list[str]:
        """The newest records in words, for whoever reads a failure."""
        entries = (
            entry_of(record.kind.label, record.body)  # type: ignore[union-attr]
            for record in list(self._open().journal.read())[-STORY_RECORDS:]
        )
        return [sentence(entry) for entry in entries if entry is not None]

    def come_to_rest(self) -> None:
        """Whatever happened, resuming ends it, and the law holds; its records are a model's run."""
        for _ in range(20):
            if self._idle():
                break
            if self.driving is None:
                self.resume()
            self.finish()
        assert self._idle(), self._story()
        check_home(self.home.path)
        self.the_newest_is_there_or_it_was_said()


DataUnderCrashes.TestCase.settings = settings(
    max_examples={Breadth.SMALL: 2, Breadth.WIDE: 60, Breadth.FULL: 1_000}[BREADTH],
    stateful_step_count=40,
    derandomize=BREADTH is not Breadth.FULL,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestData = DataUnderCrashes.TestCase

Rule = tuple[str, dict[str, object]]
WANTED = ("committed", "rolled back", "died before", "died after", "written into old data", "said")


def _write(name: str, how: str = "replace") -> Rule:
    return "write", {"name": name, "how": how}


def _request(version: str) -> Rule:
    return "request", {"version": version, "on_crash": OnCrash.FORWARD}


FINISH: tuple[Rule, ...] = (("resume", {}), ("finish", {}))
HISTORY: tuple[Rule, ...] = (
    _write("var/rows"),
    _write("state", "in place"),
    _request("1.1.0"),
    ("die_in_the_exchange", {"exchanged": False, "boots": True}),
    _write("var/rows"),
    *FINISH,
    _write("state", "remove"),
    ("die_on_the_way_back", {"which": 0, "how": "replace", "abort": False}),
    *FINISH,
    _write("state"),
    ("die_on_the_way_back", {"which": 0, "how": "in place", "abort": True}),
    *FINISH,
    _request("1.2.0"),
    ("finish", {}),
    _write("var/db/rows"),
    _request(SICK),
    ("finish", {}),
    _request("1.4.0"),
    ("finish", {}),
    ("go_back", {"which": 0}),
    ("finish", {}),
    ("remove", {}),
    ("finish", {}),
    _request("1.6.0"),
    ("finish", {}),
    _write("log/rows"),
)
"""One of each that the laws are about, for a run that is too small to come upon them."""


@pytest.mark.parametrize("layout", ["tree", "link"])
def test_one_history_in_which_all_of_it_happens(layout: str) -> None:
    machine = DataUnderCrashes()
    SEEN.clear()
    try:
        machine.start(layout)
        for name, arguments in HISTORY:
            if name != "resume" or machine._left_open():
                getattr(machine, name)(**arguments)
            machine.the_newest_is_there_or_it_was_said()
    finally:
        machine.teardown()
    missing = [what for what in WANTED if not SEEN[what]]
    assert not missing, f"never happened: {missing}; happened: {dict(SEEN)}"
