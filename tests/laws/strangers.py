"""A stranger beside a directory under upgrade: what is changed when, and what became of it.

The real engine is driven act by act, as in `test_engine`; between two of its
acts somebody else changes what is on disk. `python -m tests.laws.strangers`
does every case and prints one table of outcomes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.answers.reading import upgrade_view
from noodle_engine.execute.answers.wording import sentence
from noodle_engine.execute.driving import Control, Driving
from noodle_engine.execute.engine import Engine
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.execute.planning import Planner
from noodle_engine.machine.decide import Action, ReleaseHold, Said, TurnBack
from noodle_engine.machine.failures import MessageRefused
from noodle_engine.machine.plan import Plan, StepName
from noodle_engine.machine.records import StepDone, Transition, entry_of
from noodle_engine.machine.states import TERMINAL, OnCrash, Reason, Release, State
from noodle_engine.targets.place import Place
from noodle_journal import Kind
from tests.unit.targets.tree_site import read_tree, write_tree

NAME: Final = "web"
KEPT, OLD, NEW, SICK = "1.0.0", "2.0.0", "3.0.0", "4.0.0"
MARK: Final = b"a stranger's own"
LAYOUTS: Final = ("tree", "link")
KINDS: Final = ("upgrade", "taken back", "going back")
_FORWARD: Final = (
    StepName.SNAPSHOT,
    StepName.STAGE,
    StepName.SWAP,
    StepName.HEALTH,
    StepName.RECHECK,
    StepName.POINT,
    StepName.CLEAN_COMMITTED,
)
_BACK: Final = (StepName.SWAP, StepName.STAGE, StepName.CLEAN_ROLLED_BACK)
_ACTS_MAX, _WAYS_MAX = 200, 6
Ways = tuple[Release | None, ...]
WAYS: Final[dict[str, Ways]] = {
    "restore": (Release.RESTORE,),
    "adopt": (Release.ADOPT,),
    "retry, restore": (Release.RETRY, Release.RESTORE),
    "abort, restore": (None, Release.RESTORE),
}
"""What a person says to one hold after another; None aborts. The last is said again."""


@dataclass(frozen=True)
class Spot:
    """Where the engine stands: an act is decided, or performed and not yet recorded."""

    step: StepName
    undo: bool
    performed: bool

    def __str__(self) -> str:
        undo = "undo " if self.undo else ""
        return f"{undo}{self.step.value} {'performed' if self.performed else 'decided'}"


def spots(kind: str) -> tuple[Spot, ...]:
    """The spots that an upgrade of a kind passes."""
    if kind == "taken back":
        undone = [(one, one is not StepName.CLEAN_ROLLED_BACK) for one in _BACK]
        return tuple(Spot(one, undo, done) for one, undo in undone for done in (False, True))
    return tuple(Spot(one, False, done) for one in _FORWARD for done in (False, True))


def version_tree(version: str) -> dict[str, bytes | str | None]:
    """What a version holds."""
    return {
        "app.py": f"app {version}\n".encode() * 20,
        "static/same.css": b"the same in all\n",
        f"static/only-{version}": version.encode(),
        "link": "app.py",
    }


# -- what a stranger does -------------------------------------------------------------


@dataclass
class Ground:
    """The disk around the target, for one upgrade."""

    folder: Path
    upgrade: str

    @property
    def target(self) -> Path:
        return self.folder / "srv" / NAME

    @property
    def place(self) -> Place:
        return Place(self.target)

    @property
    def beside(self) -> Path:
        return self.place.next(self.upgrade)

    @property
    def theirs(self) -> Path:
        """A folder of the stranger's own, elsewhere."""
        return self.folder / "theirs"

    def live(self) -> Path | None:
        """The tree at the target."""
        return Path(os.path.realpath(self.target)) if self.target.is_dir() else None

    def kept(self) -> Path | None:
        """The tree of the version that was kept before."""
        found = [one for one in self.place.releases.glob(f"{KEPT}-*") if one.is_dir()]
        links = [one for one in found if not one.is_symlink()]
        return links[0] if links else None

    def staged(self) -> Path | None:
        """The tree that stands beside the target, or that the link there leads to."""
        return Path(os.path.realpath(self.beside)) if self.beside.is_dir() else None


def _replace(ground: Ground, path: Path) -> None:
    """Their folder, or their link, in the place of what is at `path`."""
    linked = path.is_symlink()
    if linked:
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    write_tree(ground.theirs, {"theirs": MARK})
    if linked:
        path.symlink_to("../theirs")
    else:
        write_tree(path, {"theirs": MARK})


def _replace_target(ground: Ground) -> bool:
    _replace(ground, ground.target)
    return True


def _replace_by_file(ground: Ground) -> bool:
    if ground.target.is_symlink():
        ground.target.unlink()
    elif ground.target.exists():
        shutil.rmtree(ground.target)
    ground.target.write_bytes(MARK)
    return True


def _edit(tree: Path | None) -> bool:
    if tree is None or not (tree / "app.py").exists():
        return False
    with (tree / "app.py").open("ab") as file:
        file.write(MARK)
    return True


def _delete(tree: Path | None) -> bool:
    if tree is None or not (tree / "app.py").exists():
        return False
    (tree / "app.py").unlink()
    return True


def _remove_release(ground: Ground) -> bool:
    live = ground.live()
    if not ground.target.is_symlink() or live is None:
        return False
    shutil.rmtree(live)
    return True


def _take_beside(ground: Ground) -> bool:
    _replace(ground, ground.beside)
    return True


def _fill_stage(ground: Ground) -> bool:
    write_tree(ground.place.stage(ground.upgrade), {"theirs": MARK})
    return True


CHANGES: Final[dict[str, Callable[[Ground], bool]]] = {
    "target replaced": _replace_target,
    "target a file": _replace_by_file,
    "live tree edited": lambda ground: _edit(ground.live()),
    "tree beside edited": lambda ground: _edit(ground.staged()),
    "kept file edited": lambda ground: _edit(ground.kept()),
    "kept file deleted": lambda ground: _delete(ground.kept()),
    "release removed": _remove_release,
    "name beside taken": _take_beside,
    "stage folder filled": _fill_stage,
}
"""What a stranger does; False if there is nothing to do it to."""


# -- the engine, act by act -----------------------------------------------------------


@dataclass
class Outcome:
    """What became of one case."""

    stops: list[str] = field(default_factory=list)
    """What each step said that failed."""
    holds: list[str] = field(default_factory=list)
    """What each hold said, after its reason."""
    ways: list[tuple[str, ...]] = field(default_factory=list)
    """The commands that each hold named."""
    adopted: bool = False
    """Whether a person said that what is there counts."""
    opened: bool = False
    """Whether it is open still."""
    end: State | None = None
    new: str = ""
    """The version it goes to."""
    at_target: str = ""
    """`nothing`, a version, `stranger's`, or what it is else."""
    wrote: list[Path] = field(default_factory=list)
    """Where the stranger's bytes were when they had been written."""
    marks: list[Path] = field(default_factory=list)
    """Where they are at the end."""
    names: list[str] = field(default_factory=list)
    """What is beside the target at the end, besides what always is."""
    story: list[str] = field(default_factory=list)


class Stage:
    """A home that has installed one version after another, put back before each case."""

    def __init__(self, layout: str) -> None:
        self.layout = layout
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = Path(tempfile.mkdtemp(prefix="noodle-law-", dir=memory))
        self.folder = self.root / "work"
        self._saved = self.root / "saved"
        self._make()

    def close(self) -> None:
        shutil.rmtree(self.root)

    def _make(self) -> None:
        (self.folder / "srv").mkdir(parents=True)
        for version in (KEPT, OLD, NEW, SICK):
            release = self.folder / "releases" / version
            write_tree(release / "payload", version_tree(version))
            mark = "never" if version == SICK else "app"
            asked = release / "payload" / "app.py"
            (release / "noodle.toml").write_text(
                f'format = 1\n[component]\nname = "{NAME}"\nversion = "{version}"\n'
                f'kind = "directory"\n[payload]\npath = "payload"\n'
                f'[target]\npath = "{self.folder / "srv" / NAME}"\nlayout = "{self.layout}"\n'
                f'[[health]]\nfile = "{asked}"\n'
                f'contains = "{mark}"\npasses = 1\ninterval = 0.01\ntimeout = 1.0\nwithin = 0.02\n'
            )
        Noodle.init(self.folder / "home")
        with Noodle.open(self.folder / "home") as noodle:
            for release in sorted((self.folder / "releases").iterdir()):
                noodle.add(release)
            for version in (KEPT, OLD):
                view = noodle.apply([f"{NAME}@{version}"])
                assert view is not None
                assert view.state is State.COMMITTED, view
        shutil.copytree(self.folder, self._saved, symlinks=True)

    def again(self) -> None:
        """Put all of it back; the journal stays the same file, for a copy is not written to."""
        journal = self.folder / "home" / "journal.db"
        journal.rename(self.root / "journal.db")
        shutil.rmtree(self.folder)
        shutil.copytree(self._saved, self.folder, symlinks=True)
        data = journal.read_bytes()
        journal.unlink()
        (self.root / "journal.db").rename(journal)
        journal.write_bytes(data)

    def version_of(self, tree: dict[str, bytes | str | None]) -> str:
        for version in (KEPT, OLD, NEW, SICK):
            if tree == version_tree(version):
                return version
        return ""


class Case:
    """One upgrade, one change at one spot, and what a person says to it."""

    def __init__(self, stage: Stage, kind: str) -> None:
        self.stage, self.kind = stage, kind
        stage.again()
        home = Home(stage.folder / "home")
        self.engine: Engine = open_engine(home, lock_file(home.lock_file), {})
        self.upgrade = new_upgrade_id(900, bytes(16))
        self.ground = Ground(stage.folder, self.upgrade)
        self.action: Action | None = None
        self.result: Said | None = None
        self.driving: Driving | None = None

    def close(self) -> None:
        if self.driving is not None:
            self.driving.close()
        self.engine.close()

    def run(self, spot: Spot, change: str, ways: Ways) -> Outcome | None:
        """None if the upgrade does not pass the spot, or there is nothing to change."""
        self._begin(self._plan())
        while self.driving is not None and not self._stands_at(spot):
            self._act()
        before = self._tree()
        if self.driving is None or not CHANGES[change](self.ground):
            return None
        strange = self._tree()
        new = {"upgrade": NEW, "taken back": SICK}.get(self.kind, KEPT)
        outcome = Outcome(new=new, wrote=self._marks())
        self._to_rest()
        for number in range(_WAYS_MAX):
            found = self.engine.world.upgrades.get(self.upgrade)
            if found is None:
                break
            outcome.ways.append(upgrade_view(self.engine.journal, found).allowed)
            self._say(ways[min(number, len(ways) - 1)])
            self._drive(resumed=True)
            self._to_rest()
        outcome.opened = self.upgrade in self.engine.world.upgrades
        self._judge(outcome, strange if strange != before else None)
        return outcome

    # -- driving

    def _plan(self) -> Plan:
        planner = Planner(
            world=self.engine.world,
            releases=self.engine.releases,
            log_id=self.engine.journal.log_id,
            settings_hash="",
            now_ms=lambda: 0,
        )
        wanted = {"upgrade": NEW, "taken back": SICK}.get(self.kind)
        view = planner.back(NAME) if wanted is None else planner.forward([f"{NAME}@{wanted}"])
        assert view.plan is not None
        return view.plan

    def _begin(self, plan: Plan) -> None:
        self.engine.request(
            plan,
            upgrade=self.upgrade,
            actor="law",
            settings={},
            settings_hash="",
            on_crash=OnCrash.FORWARD,
        )
        self._drive(resumed=False)

    def _drive(self, *, resumed: bool) -> None:
        self.driving = Driving(self.engine, self.upgrade, "law", Control())
        self.result = None
        self.action = self.driving.begin(resumed=resumed)
        self._settle()

    def _act(self) -> None:
        assert self.driving is not None
        if self.result is not None:
            self.action, self.result = self.driving.record(self.result), None
            self._settle()
        elif self.action is not None:
            self.result = self.driving.perform(self.action)

    def _settle(self) -> None:
        if self.action is None and self.driving is not None:
            self.driving.close()
            self.driving = None

    def _stands_at(self, spot: Spot) -> bool:
        if self.action is None or self.action.step.name is not spot.step:
            return False
        undo = getattr(self.action, "undo", False)
        return undo is spot.undo and (self.result is not None) == spot.performed

    def _to_rest(self) -> None:
        for _ in range(_ACTS_MAX):
            if self.driving is None:
                return
            self._act()
        raise AssertionError("it does not come to rest")

    def _say(self, way: Release | None) -> None:
        upgrade = self.engine.world.upgrades[self.upgrade]
        with contextlib.suppress(MessageRefused):
            if way is None:
                self.engine.say(self.upgrade, TurnBack(Reason.CANCELLED), actor="law")
            elif upgrade.hold is not None:
                self.engine.say(self.upgrade, ReleaseHold(way), actor="law")

    # -- judging

    def _tree(self) -> object:
        """What is at the target, as a value that can be compared."""
        target = self.ground.target
        link = os.readlink(target) if target.is_symlink() else None
        if target.is_dir():
            return (link, read_tree(Path(os.path.realpath(target))))
        if target.is_file():
            return (link, target.read_bytes())
        return (link, None)

    def _judge(self, outcome: Outcome, strange: object) -> None:
        for record in self.engine.journal.read_run(self.upgrade):
            if not isinstance(record.kind, Kind):
                continue
            entry = entry_of(record.kind.label, record.body)
            if entry is None:
                continue
            outcome.story.append(sentence(entry))
            if isinstance(entry.event, StepDone) and entry.event.error is not None:
                outcome.stops.append(entry.event.error)
            elif isinstance(entry.event, Transition) and entry.event.hold is not None:
                outcome.holds.append(f"{entry.event.hold.value}: {entry.event.detail}")
            if isinstance(entry.event, Transition):
                outcome.adopted |= entry.event.how is Release.ADOPT
                if entry.event.target in TERMINAL:
                    outcome.end = entry.event.target
        there = self._tree()
        assert isinstance(there, tuple)
        tree = there[1]
        if isinstance(tree, dict) and self.stage.version_of(tree):
            outcome.at_target = self.stage.version_of(tree)
        elif strange is not None and there == strange:
            outcome.at_target = "stranger's"
        else:
            outcome.at_target = "nothing" if tree is None else f"neither: {there}"
        outcome.marks = self._marks()
        usual = {NAME, ".noodle"}
        outcome.names = sorted({one.name for one in self.ground.target.parent.iterdir()} - usual)

    def _marks(self) -> list[Path]:
        return sorted(marked(self.ground.target.parent))


def marked(folder: Path) -> Iterator[Path]:
    """Where under a folder the stranger's bytes, or their link, are."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            if "theirs" in os.readlink(path):
                yield path
        elif path.is_file() and MARK in path.read_bytes():
            yield path


def cases(
    stage: Stage, kind: str, change: str, *, full: bool = True
) -> Iterator[tuple[Spot, str, Outcome]]:
    """Every spot that there is for a change, each with every way on.

    Not `full`: one way on each, and every other spot; the next change has the others.
    """
    turn = 0 if full else list(CHANGES).index(change) % 2
    for number, spot in list(enumerate(spots(kind)))[turn :: 1 if full else 2]:
        names = list(WAYS) if full else [list(WAYS)[number // 2 % len(WAYS)]]
        for way in names:
            case = Case(stage, kind)
            try:
                outcome = case.run(spot, change, WAYS[way])
            finally:
                case.close()
            if outcome is None:
                break
            yield spot, way if outcome.ways else "", outcome
            if not outcome.ways:
                break  # nobody was asked: every way is the same


def problems(outcome: Outcome) -> Iterator[str]:
    """What breaks the law; nothing if all is well."""
    if outcome.opened or outcome.end is None:
        yield f"it is open still, after {outcome.ways}"
    sides = {State.COMMITTED: outcome.new, State.ROLLED_BACK: OLD}
    wholly = {sides.get(outcome.end or State.PENDING), "stranger's"}
    if outcome.adopted:
        wholly.add(outcome.new)  # the hold was about what stood beside it
    if outcome.at_target not in wholly:
        yield f"{outcome.end} and the target is {outcome.at_target}"
    if bool(outcome.wrote) > bool(outcome.marks):
        yield f"lost: {outcome.wrote}"
    told = "\n".join((*outcome.story, *outcome.stops, *outcome.holds))
    for path in outcome.marks:
        if path not in outcome.wrote and not any(
            str(one) in told for one in (path, *path.parents[: len(path.parents) - 4])
        ):
            yield f"nobody was told of {path}"
    for words in outcome.holds:
        if "/srv/" not in words:
            yield f"a hold names no path: {words}"
    for ways in outcome.ways:
        if not ways:
            yield "a hold names no way on"


def main() -> int:
    """Print the table."""
    widths = (5, 11, 20, 28, 15, 12, 11)
    for layout in LAYOUTS:
        stage = Stage(layout)
        for kind, change in itertools.product(KINDS, CHANGES):
            for spot, way, outcome in cases(stage, kind, change):
                end = outcome.end.value if outcome.end else "open"
                row = (layout, kind, change, str(spot), way, end, outcome.at_target[:11])
                cells = [f"{one:<{width}}" for one, width in zip(row, widths, strict=True)]
                where = "in place" if outcome.wrote == outcome.marks else "set aside"
                wrong = "; ".join(problems(outcome))
                cells.append(where if outcome.marks else "nothing")
                sys.stdout.write(f"{' '.join(cells)} {wrong}\n")
        stage.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
