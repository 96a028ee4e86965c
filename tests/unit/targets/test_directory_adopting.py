"""Adopting a deployed directory: nothing is copied, and taking it back is identity."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.disk.trees.scan import scan_tree
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import PlanComponent, StepName
from noodle_engine.machine.records import Observation
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import StepContext, TargetPlan, TargetRequest
from noodle_engine.targets.directory import DirectoryTarget
from noodle_engine.targets.failures import ForeignFound, TreeHasSpecials, TreeNotAdopted
from noodle_engine.targets.place import place_of
from tests.conftest import require_system
from tests.unit.execute.site import NOBODY, as_user
from tests.unit.targets.tree_site import FORWARD, LOG, UPGRADE, Tree, leaves, read_tree, write_tree

DEPLOYED: Tree = {
    "app.py": b"code",
    "static/site.css": b"css",
    "uploads/one.txt": b"data",
    "conf/site.toml": b"settings",
    "conf/other.toml": b"of the release",
    "here": "static/site.css",
}
MUTABLE = ["uploads/", "conf/site.toml"]


class Adopting:
    """One adoption, driven step by step."""

    def __init__(self, folder: Path, had: str, layout: str, mutable: list[str]) -> None:
        self.target = DirectoryTarget()
        self.path = folder / "srv" / "web"
        deployed = self.path if had == "tree" else folder / "srv" / "releases" / "5"
        if not deployed.exists():
            write_tree(deployed, DEPLOYED)
        if had == "link":
            self.path.symlink_to("releases/5")
        self.tree = self.path.resolve()
        self.options = TreeOptions.of(
            layout=layout,
            mutable=mutable,
            unmanaged=["*.pid"],
            immutable=False,
            quiesce=[],
            unquiesce=[],
        )

    def begin(self) -> Adopting:
        self.plan = self.target.plan(
            TargetRequest(
                component="web",
                path=self.path,
                home_log=LOG,
                new=None,
                options=self.options.to_text(),
                adopt=True,
            )
        )
        component = PlanComponent(
            name="web",
            kind="directory",
            target=str(self.path),
            root_from=self.plan.root_from,
            root=self.plan.root_to,
            to_version="1.0.0",
            options=dict(self.plan.options or {}),
        )
        self.context = StepContext(
            upgrade=UPGRADE,
            key="",
            component=component,
            path=self.path,
            home_log=LOG,
            source=None,
            expected_old=self.plan.root_from,
            expected_new=None,
            snapshot=None,
            from_version=None,
        )
        return self

    def do(self, step: StepName) -> Observation:
        observed = self.target.do(step, self.context)
        if step is StepName.SNAPSHOT:
            self.context = replace(self.context, snapshot=observed, expected_old=observed.root)
        if step is StepName.STAGE:
            self.context = replace(self.context, staged=observed, expected_new=observed.root)
        return observed

    def until(self, last: StepName) -> None:
        for step in FORWARD:
            self.do(step)
            if step is last:
                return

    def back(self) -> None:
        self.target.undo(StepName.SWAP, self.context)
        self.target.undo(StepName.STAGE, self.context)
        self.target.do(StepName.CLEAN_ROLLED_BACK, self.context)


@pytest.fixture(params=[("tree", "tree"), ("tree", "link"), ("link", "link")], ids="-to-".join)
def layouts(request: pytest.FixtureRequest) -> tuple[str, str]:
    found: tuple[str, str] = request.param
    return found


@pytest.fixture(params=[[], MUTABLE], ids=["all-managed", "mutable"])
def adopting(request: pytest.FixtureRequest, tmp_path: Path, layouts: tuple[str, str]) -> Adopting:
    return Adopting(tmp_path, *layouts, request.param).begin()


def through(folder: Path) -> dict[str, bytes | None]:
    """What a reader finds by paths, links followed."""
    return {name: (folder / name).read_bytes() for name in DEPLOYED}


def test_adopting_changes_nothing_that_a_reader_finds(adopting: Adopting) -> None:
    before = through(adopting.path)
    inodes = {name: (adopting.path / name).stat().st_ino for name in DEPLOYED}
    with (adopting.path / "uploads" / "one.txt").open("ab") as writer:
        for step in FORWARD:
            adopting.do(step)
            assert through(adopting.path) == before
        writer.write(b" more")
    assert (adopting.path / "uploads" / "one.txt").read_bytes() == b"data more"
    assert {name: (adopting.path / name).stat().st_ino for name in DEPLOYED} == inodes
    assert adopting.path.is_symlink() is (adopting.options.layout == "link")
    for path in adopting.options.mutable:
        assert (adopting.path / os.fsdecode(path)).is_symlink()
    assert not place_of(adopting.path).stage(UPGRADE).exists()


def test_the_root_is_what_was_planned(adopting: Adopting) -> None:
    adopting.until(StepName.CLEAN_COMMITTED)
    found = adopting.target.observe(adopting.path, expected=[adopting.plan.root_to])
    assert found.root == adopting.context.expected_new
    assert adopting.context.expected_new is not None
    (adopting.path / "app.pid").write_bytes(b"42")
    assert (
        adopting.target.observe(adopting.path, expected=[adopting.plan.root_to]).root
        == adopting.context.expected_new
    )


@pytest.mark.parametrize("last", [StepName.SNAPSHOT, StepName.STAGE, StepName.SWAP])
def test_taking_it_back_is_identity(adopting: Adopting, last: StepName) -> None:
    was = scan_tree(adopting.tree).manifest
    link = os.readlink(adopting.path) if adopting.path.is_symlink() else None
    adopting.until(last)
    for _ in range(2):
        adopting.back()
    assert scan_tree(adopting.tree).manifest == was
    assert (os.readlink(adopting.path) if adopting.path.is_symlink() else None) == link
    room = place_of(adopting.path).room
    assert {path.name for path in room.iterdir()} <= {"manifests", "owner", "releases"}


def test_each_step_done_twice_is_done_once(adopting: Adopting) -> None:
    before = through(adopting.path)
    for step in FORWARD:
        first = adopting.do(step)
        if step is not StepName.CHECK:
            assert adopting.do(step) == first
    assert through(adopting.path) == before


def test_a_swap_that_was_interrupted_goes_on_or_back(tmp_path: Path) -> None:
    for way in ("on", "back"):
        folder = tmp_path / way
        (folder / "srv").mkdir(parents=True)
        adopting = Adopting(folder, "tree", "link", MUTABLE).begin()
        was = scan_tree(adopting.tree).manifest
        adopting.until(StepName.STAGE)
        adoption = adopting.target._adoption(adopting.context)
        first = next(iter(adoption._pieces(adoption._find())))
        os.rename(adopting.path, folder / "srv" / "aside")
        os.rename(first.outside, adopting.path)
        os.rename(folder / "srv" / "aside", first.outside)  # one exchange of three
        assert adopting.target.probe(StepName.SWAP, adopting.context).answer is ProbeAnswer.NOT_DONE
        if way == "on":
            adopting.do(StepName.SWAP)
            assert adopting.target.probe(StepName.SWAP, adopting.context).answer is ProbeAnswer.DONE
            assert through(adopting.path) == {n: _data(n) for n in DEPLOYED}
        else:
            adopting.back()
            assert scan_tree(adopting.path).manifest == was


def _data(name: str) -> bytes:
    what = DEPLOYED[name]
    return what if isinstance(what, bytes) else b"css"


def test_a_stranger_is_foreign_and_is_left(adopting: Adopting) -> None:
    adopting.until(StepName.STAGE)
    (adopting.path / "app.py").write_bytes(b"a stranger's")
    with pytest.raises(ForeignFound):
        adopting.do(StepName.SWAP)
    assert (adopting.path / "app.py").read_bytes() == b"a stranger's"
    assert adopting.target.probe(StepName.SWAP, adopting.context).answer is ProbeAnswer.FOREIGN


def test_what_cannot_be_adopted_is_refused_by_name(tmp_path: Path) -> None:
    adopting = Adopting(tmp_path, "tree", "link", ["uploads/"])
    os.mkfifo(adopting.path / "pipe")
    with pytest.raises(TreeHasSpecials, match="fifo pipe"):
        adopting.begin()
    (adopting.path / "pipe").unlink()
    (adopting.path / "shared").symlink_to("../shared")
    with pytest.raises(TreeNotAdopted, match="shared is a link"):
        adopting.begin()
    (adopting.path / "shared").unlink()
    (adopting.path / "uploads" / "out").symlink_to("../app.py")
    with pytest.raises(TreeNotAdopted, match="uploads/out"):
        adopting.begin()
    (adopting.path / "uploads" / "out").unlink()
    adopting.options = replace(adopting.options, mutable=(b"upload",))
    with pytest.raises(TreeNotAdopted, match="there is no upload"):
        adopting.begin()
    assert read_tree(adopting.path) == leaves(DEPLOYED)
    assert not place_of(adopting.path).room.exists()


def test_who_could_not_come_to_data_before_cannot_after(
    tmp_path: Path, layouts: tuple[str, str]
) -> None:
    """The folders that data moves into may be entered as those that it was in."""
    made = Adopting(tmp_path, *layouts, ["uploads/", "conf/site.toml"])
    group = os.getegid() if os.geteuid() else 33
    made.tree.chmod(0o700)
    (made.tree / "conf").chmod(0o750)
    os.chown(made.tree / "conf", -1, group)
    made.begin().until(FORWARD[-1])
    data = Path(os.path.realpath(made.path / "uploads")).parent
    assert data.stat().st_mode & 0o777 == 0o700
    conf = Path(os.path.realpath(made.path / "conf" / "site.toml")).parent
    assert (conf.stat().st_mode & 0o777, conf.stat().st_gid) == (0o750, group)


def test_what_was_adopted_once_and_forgotten_is_adopted_again(adopting: Adopting) -> None:
    """Planning and looking agree on what it is: the links to its data are its own."""
    before = through(adopting.path)
    adopting.until(FORWARD[-1])
    again = adopting.begin()
    expected = (again.plan.root_from, again.plan.root_to)
    options = again.plan.options or {}
    looked = again.target.observe(again.path, expected=expected, options=options)
    assert looked.root == again.plan.root_from
    again.until(FORWARD[-1])
    assert through(again.path) == before


def test_data_of_an_earlier_time_is_in_the_way_before_anything(
    tmp_path: Path, layouts: tuple[str, str]
) -> None:
    """As when a forgotten tree was copied over by hand: nothing is written over."""
    adopting = Adopting(tmp_path, *layouts, ["uploads/"]).begin()
    adopting.until(FORWARD[-1])
    (adopting.path / "uploads").unlink()
    write_tree(adopting.path, {"uploads/other.txt": b"of a copy"})
    with pytest.raises(TreeNotAdopted, match="data/uploads already"):
        adopting.begin()


def test_what_another_user_may_not_move_is_refused_before_anything_is_done() -> None:
    """And a tree that he could never drop is told."""
    require_system("root", lambda: os.geteuid() == 0, install="run as root, to be another user")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        srv = folder / "srv"
        write_tree(srv / "web", {"app.py": b"old", "var/data": b"of root"})
        for path in (srv, srv / "web", srv / "web" / "app.py"):
            os.chown(path, NOBODY, os.getegid())

        def plan(*mutable: str) -> object:
            options = TreeOptions.of(
                layout="tree",
                mutable=mutable,
                unmanaged=(),
                immutable=False,
                quiesce=(),
                unquiesce=(),
            )
            request = TargetRequest(
                component="web",
                path=srv / "web",
                home_log=LOG,
                new=None,
                adopt=True,
                options=options.to_text(),
            )
            return as_user(NOBODY, lambda: DirectoryTarget().plan(request))

        assert isinstance(plan("var"), TreeNotAdopted)
        planned = plan()
        assert isinstance(planned, TargetPlan), planned
        assert any("var" in notice for notice in planned.notices)
        assert sorted(path.name for path in srv.iterdir()) == ["web"]
