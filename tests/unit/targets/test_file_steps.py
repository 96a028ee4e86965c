"""The steps of kind `file`, one by one, on the real disk (laws G1 to G5)."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.disk.failures import CopyStopped
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import ABSENT, StepName
from noodle_engine.machine.text import path_bytes
from noodle_engine.targets.base import Source
from noodle_engine.targets.failures import (
    DisplacedWritten,
    FlipLost,
    ForeignFound,
    OldLost,
    PayloadChanged,
    PayloadUnusable,
    PointLost,
    StagedLost,
    TargetChanged,
)
from tests.unit.targets.site import FORWARD, NEW, OLD, STRANGE, Site, content

CASES = [(OLD, NEW), (None, NEW), (OLD, None), (OLD, OLD)]
CASE_NAMES = ["upgrade", "first-install", "removal", "same-content"]


@pytest.fixture(params=CASES, ids=CASE_NAMES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    old, new = request.param
    return Site(tmp_path, old=old, new=new)


@pytest.fixture
def upgrade(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_committed_upgrade_leaves_the_new_and_keeps_the_old(site: Site) -> None:
    site.until(StepName.SWAP)
    assert site.read() == site.new
    site.do(StepName.RECHECK)
    kept = site.do(StepName.POINT)
    site.do(StepName.CLEAN_COMMITTED)

    assert site.read() == site.new
    assert site.beside_names() == set()
    assert ("location" in kept.attributes) is (site.old is not None)
    if site.old is not None:
        location = Path(os.fsdecode(path_bytes(kept.attributes["location"])))
        assert location.read_bytes() == site.old
        assert kept.attributes["content"] == content(site.old)
        assert location.parent == site.place.releases
        assert location.name.startswith("1.0.0-")


def test_each_step_done_twice_is_done_once(site: Site) -> None:
    """G1."""
    for step in FORWARD:
        first = site.do(step)
        if step is StepName.CHECK:
            assert site.do(step) == first
            continue
        if step is StepName.SNAPSHOT or step is StepName.STAGE:
            assert site.do(step) == first
            continue
        assert site.do(step) == first, step
    assert site.read() == site.new


@pytest.mark.parametrize(
    "last", [StepName.SNAPSHOT, StepName.STAGE, StepName.SWAP, StepName.RECHECK]
)
def test_taking_back_twice_from_anywhere_leaves_the_old_and_nothing_else(
    site: Site, last: StepName
) -> None:
    """G1 for undo."""
    site.until(last)
    before = site.context.expected_old
    for _ in range(2):
        if last in (StepName.SWAP, StepName.RECHECK):
            site.undo(StepName.SWAP)
        site.undo(StepName.STAGE)
        site.do(StepName.CLEAN_ROLLED_BACK)

    assert site.target.observe(site.path).root == before
    assert site.beside_names() == set()
    assert not site.place.stage(site.upgrade).exists()


def test_the_new_takes_mode_owner_and_attributes_of_the_old(upgrade: Site) -> None:
    upgrade.path.chmod(0o751)
    os.setxattr(upgrade.path, "user.noodle", b"\x00kept")
    if os.geteuid() == 0:
        os.chown(upgrade.path, 12345, 54321)
        upgrade.path.chmod(0o6751)  # a change of owner took the set-id bits away
    status = upgrade.path.stat()
    site = Site(upgrade.folder)
    site.until(StepName.SWAP)

    now = site.path.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (status.st_mode, status.st_uid, status.st_gid)
    assert os.getxattr(site.path, "user.noodle") == b"\x00kept"
    site.back()
    assert site.read() == OLD


def test_a_probe_of_swap_says_how_far_it_came(site: Site) -> None:
    # Where old and new are the same there is nothing to exchange.
    before = ProbeAnswer.DONE if site.old == site.new else ProbeAnswer.NOT_DONE
    site.until(StepName.STAGE)
    assert site.probe(StepName.SWAP).answer is before
    site.do(StepName.SWAP)
    assert site.probe(StepName.SWAP).answer is ProbeAnswer.DONE
    site.undo(StepName.SWAP)
    assert site.probe(StepName.SWAP).answer is before


def test_a_probe_of_stage_answers_what_stage_answered(site: Site) -> None:
    site.until(StepName.SNAPSHOT)
    if site.new is not None:
        assert site.probe(StepName.STAGE).answer is ProbeAnswer.NOT_DONE
    staged = site.do(StepName.STAGE)
    probed = site.probe(StepName.STAGE)
    assert (probed.answer, probed.observed) == (ProbeAnswer.DONE, staged)


def test_a_stranger_at_the_target_is_refused_and_left(site: Site) -> None:
    """G3."""
    site.until(StepName.STAGE)
    site.path.write_bytes(STRANGE)

    with pytest.raises(ForeignFound) as caught:
        site.do(StepName.SWAP)

    assert site.read() == STRANGE
    assert caught.value.found == site.target.observe(site.path).root
    assert site.probe(StepName.SWAP).answer is ProbeAnswer.FOREIGN


def test_a_stranger_before_the_snapshot_is_refused_at_check_and_foreign_later(
    upgrade: Site,
) -> None:
    upgrade.path.write_bytes(STRANGE)
    with pytest.raises(TargetChanged):
        upgrade.do(StepName.CHECK)
    with pytest.raises(ForeignFound):
        upgrade.do(StepName.SNAPSHOT)
    assert upgrade.read() == STRANGE


def test_a_stranger_after_the_swap_is_refused_by_recheck_and_undo(site: Site) -> None:
    site.until(StepName.SWAP)
    site.path.write_bytes(STRANGE)
    beside = site.beside.read_bytes() if site.beside.exists() else None

    for refused, step in ((site.do, StepName.RECHECK), (site.undo, StepName.SWAP)):
        with pytest.raises(ForeignFound):
            refused(step)
        assert site.read() == STRANGE
        assert (site.beside.read_bytes() if site.beside.exists() else None) == beside


def test_restore_keeps_the_stranger_and_brings_the_old_back(site: Site) -> None:
    site.until(StepName.SWAP)
    site.path.write_bytes(STRANGE)
    site.allow_restore(None)

    for _ in range(2):
        site.back()

    assert site.read() == site.old
    kept = site.path.with_name(f"web.py.foreign-{site.upgrade}")
    assert kept.read_bytes() == STRANGE
    assert site.beside_names() == {kept.name}


def test_restore_before_the_flip_keeps_the_stranger_and_rebuilds_the_old(upgrade: Site) -> None:
    upgrade.until(StepName.STAGE)
    upgrade.path.write_bytes(STRANGE)
    with pytest.raises(ForeignFound):
        upgrade.undo(StepName.SWAP)
    upgrade.allow_restore(None)
    with pytest.raises(OldLost):
        upgrade.undo(StepName.SWAP)
    upgrade.allow_restore(OLD)
    upgrade.back()

    assert upgrade.target.observe(upgrade.path).root == upgrade.context.expected_old
    assert upgrade.beside_names() == {f"web.py.foreign-{upgrade.upgrade}"}


def test_a_folder_put_at_the_target_is_foreign_and_is_set_aside_whole(upgrade: Site) -> None:
    upgrade.until(StepName.SWAP)
    upgrade.path.unlink()
    upgrade.path.mkdir()
    (upgrade.path / "inside").write_bytes(STRANGE)
    with pytest.raises(ForeignFound):
        upgrade.undo(StepName.SWAP)
    upgrade.allow_restore(None)
    upgrade.back()

    assert upgrade.read() == OLD
    kept = upgrade.path.with_name(f"web.py.foreign-{upgrade.upgrade}")
    assert (kept / "inside").read_bytes() == STRANGE


def test_an_old_written_through_an_open_file_is_noticed_and_kept(upgrade: Site) -> None:
    with upgrade.path.open("r+b") as opened:
        upgrade.until(StepName.SWAP)
        opened.write(b"late")

    with pytest.raises(DisplacedWritten):
        upgrade.do(StepName.RECHECK)
    with pytest.raises(ForeignFound) as caught:
        upgrade.undo(StepName.SWAP)
    assert caught.value.found == upgrade.context.expected_new
    assert caught.value.where == upgrade.beside
    assert upgrade.read() == NEW
    assert upgrade.beside.read_bytes() == b"late" + OLD[4:]

    upgrade.allow_restore(OLD)
    upgrade.back()
    assert upgrade.read() == OLD
    kept = upgrade.path.with_name(f"web.py.foreign-{upgrade.upgrade}")
    assert kept.read_bytes() == b"late" + OLD[4:]


def test_a_stranger_beside_the_target_is_never_overwritten(site: Site) -> None:
    site.until(StepName.SNAPSHOT)
    site.beside.write_bytes(STRANGE)
    if site.new is not None:
        with pytest.raises(ForeignFound) as caught:
            site.do(StepName.STAGE)
        assert caught.value.where == site.beside
    else:
        site.do(StepName.STAGE)
        with pytest.raises(ForeignFound):
            site.do(StepName.SWAP)

    left = site.undo(StepName.STAGE)
    site.do(StepName.CLEAN_ROLLED_BACK)
    assert site.beside.read_bytes() == STRANGE
    assert left.attributes["left"] == str(site.beside)
    assert site.read() == site.old


def test_a_vanished_target_gets_its_old_back_by_undo(upgrade: Site) -> None:
    upgrade.until(StepName.SWAP)
    upgrade.path.unlink()
    observed = upgrade.undo(StepName.SWAP)
    assert upgrade.read() == OLD
    assert observed.attributes["recreated"] == "old"


def test_a_vanished_target_gets_its_new_back_by_recheck(upgrade: Site) -> None:
    upgrade.until(StepName.SWAP)
    upgrade.path.unlink()
    observed = upgrade.do(StepName.RECHECK)
    assert upgrade.read() == NEW
    assert observed.attributes["recreated"] == "new"
    assert observed.root == upgrade.context.expected_new


def test_a_target_that_vanished_in_a_doubtful_swap_gets_its_old_back(upgrade: Site) -> None:
    upgrade.until(StepName.SWAP)
    upgrade.path.unlink()
    assert upgrade.probe(StepName.SWAP).answer is ProbeAnswer.NOT_DONE
    with pytest.raises(StagedLost):
        upgrade.do(StepName.SWAP)
    assert upgrade.read() == OLD


def test_a_staged_file_that_vanished_fails_the_swap(upgrade: Site) -> None:
    upgrade.until(StepName.STAGE)
    upgrade.beside.unlink()
    with pytest.raises(StagedLost):
        upgrade.do(StepName.SWAP)
    upgrade.back()
    assert upgrade.read() == OLD


def test_a_target_that_is_old_again_is_not_committed(upgrade: Site) -> None:
    upgrade.until(StepName.SWAP)
    upgrade.undo(StepName.SWAP)
    with pytest.raises(FlipLost):
        upgrade.do(StepName.RECHECK)


def test_a_payload_that_changed_is_refused(upgrade: Site) -> None:
    assert upgrade.context.source is not None
    upgrade.context.source.path.write_bytes(STRANGE)
    with pytest.raises(PayloadChanged):
        upgrade.do(StepName.CHECK)
    with pytest.raises(PayloadChanged):
        upgrade.do(StepName.STAGE)
    upgrade.undo(StepName.STAGE)
    assert (upgrade.read(), upgrade.beside_names()) == (OLD, set())
    upgrade.context.source.path.unlink()
    with pytest.raises(PayloadUnusable):
        upgrade.do(StepName.STAGE)


def test_what_a_killed_stage_left_is_written_anew(upgrade: Site) -> None:
    upgrade.until(StepName.SNAPSHOT)
    stage = upgrade.place.stage(upgrade.upgrade)
    stage.mkdir(parents=True)
    (stage / "new").write_bytes(b"half")
    upgrade.do(StepName.STAGE)
    assert upgrade.beside.read_bytes() == NEW


def test_a_stop_ends_staging_early_and_leaves_the_target(upgrade: Site) -> None:
    upgrade.until(StepName.SNAPSHOT)
    stop = threading.Event()
    stop.set()
    upgrade.context = replace(upgrade.context, stop=stop)
    with pytest.raises(CopyStopped):
        upgrade.do(StepName.STAGE)
    upgrade.undo(StepName.STAGE)
    assert (upgrade.read(), upgrade.beside_names()) == (OLD, set())


def to_point(site: Site) -> Site:
    """A site that goes back to what `site` kept."""
    kept = site.until(StepName.CLEAN_COMMITTED)
    kept = site.do(StepName.POINT)
    location = Path(os.fsdecode(path_bytes(kept.attributes["location"])))
    back = Site(
        site.folder, old=None, new=None, upgrade="01JYYYYYYYYYYYYYYYYYYYYYYY", from_version="1.1.0"
    )
    source = Source(location, kept.attributes["content"], point=True)
    component = replace(back.context.component, root=source.content)
    back.context = replace(back.context, source=source, component=component, expected_new=None)
    return back


@pytest.mark.parametrize("new", [NEW, None], ids=["upgrade", "removal"])
def test_going_back_moves_the_kept_old_into_place_as_it_was(
    tmp_path: Path, new: bytes | None
) -> None:
    site = Site(tmp_path, new=new)
    old_root = site.context.expected_old
    inode = site.path.stat().st_ino
    back = to_point(site)
    back.until(StepName.CLEAN_COMMITTED)

    assert back.target.observe(back.path).root == old_root
    assert back.path.stat().st_ino == inode
    assert back.beside_names() == set()


@pytest.mark.parametrize("last", [StepName.STAGE, StepName.SWAP])
def test_going_back_given_up_puts_the_point_back_in_its_place(
    tmp_path: Path, last: StepName
) -> None:
    back = to_point(Site(tmp_path))
    assert back.context.source is not None
    back.until(last)
    assert not back.context.source.path.exists()
    for _ in range(2):
        if last is StepName.SWAP:
            back.undo(StepName.SWAP)
        back.undo(StepName.STAGE)
        back.do(StepName.CLEAN_ROLLED_BACK)

    assert back.read() == NEW
    assert back.context.source.path.read_bytes() == OLD
    assert back.beside_names() == set()


def test_a_damaged_point_is_refused_before_it_moves(tmp_path: Path) -> None:
    back = to_point(Site(tmp_path))
    assert back.context.source is not None
    back.context.source.path.write_bytes(STRANGE)
    with pytest.raises(PointLost):
        back.do(StepName.CHECK)
    with pytest.raises(PointLost):
        back.do(StepName.STAGE)
    assert back.context.source.path.read_bytes() == STRANGE
    assert back.read() == NEW


def test_two_kept_olds_of_one_version_have_two_places(tmp_path: Path) -> None:
    site = Site(tmp_path)
    first = site.until(StepName.POINT)
    site.path.unlink()
    again = Site(tmp_path, upgrade="01JXXXXXXXXXXXXXXXXXXXXXXX")
    second = again.until(StepName.POINT)
    assert first.attributes["location"] != second.attributes["location"]
    assert again.do(StepName.POINT).attributes == second.attributes


def test_absent_stays_absent_in_every_root(tmp_path: Path) -> None:
    site = Site(tmp_path, old=None)
    assert site.context.expected_old == ABSENT
    assert site.until(StepName.SNAPSHOT).root == ABSENT
