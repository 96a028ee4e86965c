"""The steps of kind `directory`, one by one, on the real disk, in both layouts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.disk.trees.manifest import TreeManifest
from noodle_engine.disk.trees.scan import Digests, scan_tree
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import StepName
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import REPAIR_OPTION, Cost, Source
from noodle_engine.targets.directory.trees.manifests import Manifests
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.exchange import Look
from noodle_engine.targets.failures import (
    DisplacedWritten,
    ForeignFound,
    OldLost,
    PayloadChanged,
    PointLost,
    StagedLost,
    TargetChanged,
)
from tests.unit.targets.tree_site import (
    FORWARD,
    NEW,
    OLD,
    TreeSite,
    leaves,
    location_of,
    read_tree,
    write_tree,
)

CASES = [(OLD, NEW), (None, NEW), (OLD, None), (OLD, OLD)]
CASE_NAMES = ["upgrade", "first-install", "removal", "same-content"]
STRANGE = {"app.py": b"somebody else's"}


@pytest.fixture(params=["tree", "link"])
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=CASES, ids=CASE_NAMES)
def site(request: pytest.FixtureRequest, tmp_path: Path, layout: str) -> TreeSite:
    old, new = request.param
    return TreeSite(tmp_path, layout, old=old, new=new)


@pytest.fixture
def upgrade(tmp_path: Path, layout: str) -> TreeSite:
    return TreeSite(tmp_path, layout)


def test_a_committed_upgrade_leaves_the_new_and_keeps_the_old(site: TreeSite) -> None:
    site.until(StepName.SWAP)
    assert site.read() == (None if site.new is None else leaves(site.new))
    site.do(StepName.RECHECK)
    kept = site.do(StepName.POINT)
    site.do(StepName.CLEAN_COMMITTED)

    assert site.read() == (None if site.new is None else leaves(site.new))
    assert site.beside_names() == set()
    if site.old is not None:
        location = location_of(kept)
        assert location.parent == site.place.releases
        assert kept.attributes["content"] == scan_of(site, location)
    if site.new is not None:
        assert site.path.is_symlink() is (site.layout == "link")


def scan_of(site: TreeSite, location: Path) -> str:
    tree = location
    if location.is_symlink():
        tree = site.path.parent / os.readlink(location)
    assert site.old is not None
    assert read_tree(tree) == leaves(site.old)
    return scan_tree(tree).manifest.root


def test_each_step_done_twice_is_done_once(site: TreeSite) -> None:
    """G1."""
    for step in FORWARD:
        first = site.do(step)
        assert site.do(step) == first, step
    assert site.read() == (None if site.new is None else leaves(site.new))


@pytest.mark.parametrize(
    "last", [StepName.SNAPSHOT, StepName.STAGE, StepName.SWAP, StepName.RECHECK]
)
def test_taking_back_twice_from_anywhere_leaves_the_old_and_nothing_else(
    site: TreeSite, last: StepName
) -> None:
    """G1 for undo."""
    site.until(last)
    before = site.context.expected_old
    for _ in range(2):
        if last in (StepName.SWAP, StepName.RECHECK):
            site.undo(StepName.SWAP)
        site.undo(StepName.STAGE)
        site.do(StepName.CLEAN_ROLLED_BACK)

    assert site.target.observe(site.path, expected=[before]).root == before
    assert site.read() == (None if site.old is None else leaves(site.old))
    assert site.beside_names() == set()
    assert not site.place.stage(site.upgrade).exists()
    if site.place.releases.exists():
        assert list(site.place.releases.iterdir()) == []


def test_probes_say_how_far_a_step_came(site: TreeSite) -> None:
    same = site.old == site.new
    site.until(StepName.SNAPSHOT)
    if site.new is not None:
        assert site.probe(StepName.STAGE).answer is ProbeAnswer.NOT_DONE
    staged = site.do(StepName.STAGE)
    probed = site.probe(StepName.STAGE)
    assert (probed.answer, probed.observed) == (ProbeAnswer.DONE, staged)
    # Where old and new are the same there is nothing to exchange; two links differ.
    before = ProbeAnswer.DONE if same and site.layout == "tree" else ProbeAnswer.NOT_DONE
    assert site.probe(StepName.SWAP).answer is before
    site.do(StepName.SWAP)
    assert site.probe(StepName.SWAP).answer is ProbeAnswer.DONE
    site.undo(StepName.SWAP)
    assert site.probe(StepName.SWAP).answer is before


def test_a_stranger_at_the_target_is_refused_and_left(site: TreeSite) -> None:
    """G3."""
    site.until(StepName.STAGE)
    replace_by_stranger(site.path)

    with pytest.raises(ForeignFound):
        site.do(StepName.SWAP)

    assert read_tree(site.path) == STRANGE
    assert site.probe(StepName.SWAP).answer is ProbeAnswer.FOREIGN


def replace_by_stranger(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        path.rename(path.with_name("moved-away-by-a-stranger"))
    write_tree(path, STRANGE)


def test_a_file_edited_in_the_staged_tree_is_named_and_nothing_is_swapped(
    upgrade: TreeSite,
) -> None:
    upgrade.until(StepName.STAGE)
    edited = upgrade.beside / "static" / "site.css"
    edited.write_bytes(b"SAME")

    with pytest.raises(ForeignFound) as caught:
        upgrade.do(StepName.SWAP)
    assert caught.value.where == upgrade.beside
    assert upgrade.read() == leaves(OLD)

    observed = upgrade.undo(StepName.STAGE)
    assert observed.attributes["left"] == str(upgrade.beside)
    assert edited.read_bytes() == b"SAME"


def go_on(site: TreeSite, after: StepName, last: StepName) -> None:
    """Do the steps that follow on one, up to another."""
    for step in FORWARD[FORWARD.index(after) + 1 : FORWARD.index(last) + 1]:
        site.do(step)


@pytest.mark.parametrize("after", [StepName.CHECK, StepName.SNAPSHOT, StepName.STAGE])
def test_a_file_edited_in_the_old_tree_stops_the_swap(upgrade: TreeSite, after: StepName) -> None:
    """Whatever was looked at before: at the latest the look before the swap sees it."""
    upgrade.until(after)
    (upgrade.path / "app.py").write_bytes(b"hot")
    with pytest.raises(ForeignFound):
        go_on(upgrade, after, StepName.SWAP)
    assert (upgrade.path / "app.py").read_bytes() == b"hot"


def test_a_file_written_in_the_displaced_tree_stops_the_commit(upgrade: TreeSite) -> None:
    with (upgrade.path / "app.py").open("r+b") as opened:
        upgrade.until(StepName.SWAP)
        opened.write(b"OLD")
        opened.flush()
    with pytest.raises(DisplacedWritten):
        upgrade.do(StepName.RECHECK)


def test_what_programs_leave_in_a_tree_never_stops_the_way_back(upgrade: TreeSite) -> None:
    upgrade.until(StepName.SWAP)
    (upgrade.path / "static" / "app.pid").write_bytes(b"42")
    os.mkfifo(upgrade.path / "pipe")
    upgrade.back()
    assert upgrade.read() == leaves(OLD)
    assert upgrade.beside_names() == set()


def test_restore_keeps_the_stranger_and_brings_the_old_back(upgrade: TreeSite) -> None:
    upgrade.until(StepName.SWAP)
    replace_by_stranger(upgrade.path)
    with pytest.raises(ForeignFound):
        upgrade.undo(StepName.SWAP)
    upgrade.allow_restore(None)
    for _ in range(2):
        upgrade.back()

    assert upgrade.read() == leaves(OLD)
    kept = upgrade.path.with_name(f"web.foreign-{upgrade.upgrade}")
    assert read_tree(kept) == STRANGE


def test_restore_rebuilds_the_old_from_its_release(tmp_path: Path) -> None:
    upgrade = TreeSite(tmp_path, "tree")
    upgrade.until(StepName.STAGE)
    replace_by_stranger(upgrade.path)
    upgrade.allow_restore(None)
    with pytest.raises(OldLost):
        upgrade.undo(StepName.SWAP)
    upgrade.allow_restore(OLD)
    upgrade.back()

    root = upgrade.context.expected_old
    assert upgrade.target.observe(upgrade.path, expected=[root]).root == root
    assert upgrade.read() == leaves(OLD)


def test_a_staged_tree_that_somebody_removed_is_said(upgrade: TreeSite) -> None:
    upgrade.until(StepName.STAGE)
    upgrade.beside.rename(upgrade.folder / "taken")
    with pytest.raises(StagedLost):
        upgrade.do(StepName.SWAP)
    assert upgrade.read() == leaves(OLD)


def test_a_payload_that_changed_is_refused_and_nothing_is_left(upgrade: TreeSite) -> None:
    upgrade.until(StepName.SNAPSHOT)
    assert upgrade.context.source is not None
    (upgrade.context.source.path / "app.py").write_bytes(b"evil")
    with pytest.raises(PayloadChanged) as caught:
        upgrade.do(StepName.STAGE)
    assert caught.value.payload.name == "app.py"
    upgrade.undo(StepName.STAGE)
    upgrade.do(StepName.CLEAN_ROLLED_BACK)
    assert upgrade.beside_names() == set()
    assert list(upgrade.place.releases.iterdir()) == []


def committed(site: TreeSite) -> tuple[TreeSite, Path]:
    site.until(StepName.RECHECK)
    kept = site.do(StepName.POINT)
    site.do(StepName.CLEAN_COMMITTED)
    return site, location_of(kept)


def going_back(site: TreeSite, location: Path) -> TreeSite:
    """The upgrade back to what `site` has kept."""
    assert site.context.staged is not None
    content = site.target.objects(site.context, site.place).find(location).content
    return TreeSite(
        site.folder,
        site.layout,
        old=None,
        new=None,
        point=Source(location, content, point=True),
        upgrade="01JZZZZZZZZZZZZZZZZZZZZZZY",
        from_version="1.1.0",
        to_version="1.0.0",
        installed=(site.context.staged.root, site.plan.root_to),
    )


def test_going_back_to_a_point_moves_the_old_home(upgrade: TreeSite) -> None:
    inode = upgrade.path.stat().st_ino
    site, location = committed(upgrade)
    back = going_back(site, location)
    assert back.plan.needs.disk_bytes == 0
    assert back.plan.diff.bytes_copied == 0
    back, again = committed(back)

    assert back.read() == leaves(OLD)
    assert back.path.stat().st_ino == inode
    assert not os.path.lexists(location)
    forward = going_back(back, again)
    assert forward.plan.diff.added == 1


def test_going_back_taken_back_puts_the_point_where_it_was(upgrade: TreeSite) -> None:
    site, location = committed(upgrade)
    back = going_back(site, location)
    back.until(StepName.SWAP)
    back.back()
    assert back.read() == leaves(NEW)
    assert os.path.lexists(location)
    assert scan_of(site, location)


def test_a_damaged_point_is_named_and_nothing_is_changed(upgrade: TreeSite) -> None:
    """Of equal length and time: only reading it tells."""
    site, location = committed(upgrade)
    tree = location if not location.is_symlink() else site.path.parent / os.readlink(location)
    back = going_back(site, location)
    damaged = tree / "app.py"
    status = damaged.stat()
    damaged.write_bytes(b"OLD")
    os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    back.until(StepName.SNAPSHOT)
    with pytest.raises(PointLost):
        back.do(StepName.STAGE)
    assert back.read() == leaves(NEW)


def test_dropping_a_point_removes_it_and_what_is_known_of_it(upgrade: TreeSite) -> None:
    site, location = committed(upgrade)
    trees = list(site.place.releases.iterdir())
    assert site.target.drop(location) > 0 or site.layout == "link"
    assert not os.path.lexists(location)
    assert site.target.drop(location) == 0
    left = [path for path in site.place.releases.iterdir() if path.exists()]
    assert len(left) == (1 if site.layout == "link" else 0), trees
    assert [path.suffix for path in site.place.manifests.iterdir()].count(".tree") == 1
    assert site.read() == leaves(NEW)


def test_mutable_paths_are_links_to_data_that_outlasts_releases(
    tmp_path: Path, layout: str
) -> None:
    options = TreeOptions.of(
        layout=layout,
        mutable=["uploads/", "conf/site.toml"],
        unmanaged=[],
        immutable=False,
        quiesce=[],
        unquiesce=[],
    )
    new = {**NEW, "uploads/welcome.txt": b"hello", "conf/site.toml": b"first"}
    first = TreeSite(tmp_path, layout, old=None, new=new, options=options, from_version=None)
    first.until(StepName.CLEAN_COMMITTED)
    assert (first.path / "uploads" / "welcome.txt").read_bytes() == b"hello"
    (first.path / "uploads" / "mine.txt").write_bytes(b"written by the program")
    (first.path / "conf" / "site.toml").write_bytes(b"edited")
    assert first.context.staged is not None

    second = TreeSite(
        tmp_path,
        layout,
        old=None,
        new={**new, "app.py": b"third", "conf/site.toml": b"second"},
        options=options,
        upgrade="01JZZZZZZZZZZZZZZZZZZZZZZX",
        to_version="1.2.0",
        installed=(first.context.staged.root, first.plan.root_to),
    )
    second.until(StepName.SWAP)
    for _ in range(2):
        assert (first.path / "uploads" / "mine.txt").read_bytes() == b"written by the program"
        assert (first.path / "conf" / "site.toml").read_bytes() == b"edited"
        second.back()


def test_the_target_is_checked_again_once_it_is_locked(upgrade: TreeSite) -> None:
    (upgrade.path / "app.py").write_bytes(b"edited since the plan")
    with pytest.raises(TargetChanged) as caught:
        upgrade.do(StepName.CHECK)
    assert caught.value.found != upgrade.context.expected_old


def test_a_kept_old_tells_its_cost_and_who_still_works_in_it(upgrade: TreeSite) -> None:
    before = os.open(upgrade.path, os.O_RDONLY | os.O_DIRECTORY)
    site, location = committed(upgrade)
    if site.layout == "link":  # the adopted tree is not one of Noodle's: it never goes
        os.close(before)
        assert site.target.cost(location) == Cost(0, 0)
        assert site.target.users(location) == ()
        return
    assert site.target.cost(location) == Cost(own=len(b"oldsamegone soon"), shared=0)
    assert [f"process {os.getpid()}" in one for one in site.target.users(location)] == [True]
    os.close(before)
    assert site.target.users(location) == ()
    site.target.drop(location)
    assert site.target.cost(location) is None


def test_a_release_that_only_removes_files_is_not_taken_for_the_old_tree(
    tmp_path: Path, layout: str
) -> None:
    """The old tree has all that the new one names: it is the old one all the same."""
    less = {"app.py": OLD["app.py"]}
    site = TreeSite(tmp_path, layout, new=less)
    site.until(StepName.STAGE)
    assert site.probe(StepName.SWAP).answer is ProbeAnswer.NOT_DONE
    site.do(StepName.SWAP)
    assert site.read() == less
    site.back()
    assert site.read() == leaves(OLD)


def test_what_was_installed_stays_when_a_stranger_points_elsewhere(tmp_path: Path) -> None:
    site = TreeSite(tmp_path, "link")
    site.until(StepName.POINT)
    installed = site.path.resolve()
    site.path.unlink()
    site.path.symlink_to("releases/first")
    site.do(StepName.CLEAN_COMMITTED)
    assert read_tree(installed) == leaves(NEW)


def test_what_a_repair_displaced_is_set_aside_once(upgrade: TreeSite) -> None:
    """Whoever goes on after a crash finds it where it was put, and no version to go back to."""
    site = upgrade
    options = {**site.context.component.options, REPAIR_OPTION: "{}"}
    component = replace(site.context.component, options=options)
    site.context = replace(site.context, component=component)
    site.until(StepName.RECHECK)
    first, again = site.do(StepName.POINT), site.do(StepName.POINT)
    assert first == again
    assert "location" not in first.attributes
    assert read_tree(Path(first.attributes["kept"]).resolve()) == leaves(OLD)
    assert site.beside_names() == {f"web.foreign-{site.upgrade}"}


def test_a_tree_is_not_taken_for_another_whose_digests_are_more(tmp_path: Path) -> None:
    """One file is in both, with the SHA-256 in one manifest only; only that one knows its stamp."""
    tree = tmp_path / "tree"
    write_tree(tree, {"one": b"1", "two": b"2"})
    fits = scan_tree(tree).manifest
    release = scan_tree(tree, digests=Digests.BOTH)
    other = TreeManifest(
        entry._replace(path=b"three") if entry.path == b"two" else entry
        for entry in release.manifest.entries
    )
    manifests = Manifests(tmp_path / "manifests")
    manifests.keep(fits, {})
    manifests.keep(other, {b"one": release.stamps[b"one"]})
    (tree / "pid").write_bytes(b"what a program left")
    reader = Reader(tmp_path, manifests, TreeOptions(), expected=[fits.root, other.root])
    assert reader.find(tree, Look.STAMPS).root == fits.root
