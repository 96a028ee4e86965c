"""Every reason why a file cannot be upgraded, told before anything is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.disk.failures import DiskReadOnly, ExchangeUnsupported, PathRefused
from noodle_engine.disk.space import free_space
from noodle_engine.machine.plan import ABSENT, Diff, StepName
from noodle_engine.targets.base import Source, TargetPlan, TargetRequest
from noodle_engine.targets.exchange.surroundings import refuse_short
from noodle_engine.targets.failures import (
    ParentUnusable,
    PayloadChanged,
    PayloadUnusable,
    PointLost,
    SpaceShort,
    TargetChanged,
    TargetFrozen,
    TargetHardLinked,
    TargetIsLink,
    TargetIsMountPoint,
    TargetOfOther,
    TargetOwned,
    TargetWrongType,
)
from noodle_engine.targets.file import FileTarget
from noodle_engine.targets.file.planning import needs_of
from tests.conftest import require_system
from tests.unit.targets.site import LOG, NEW, OLD, STRANGE, Site, content

NOBODY = 65534


def plan(
    path: Path,
    new: Source | None,
    *,
    installed_root: str | None = None,
    installed_content: str | None = None,
    take_over: bool = False,
) -> TargetPlan:
    return FileTarget().plan(
        TargetRequest(
            component="web",
            path=path,
            home_log=LOG,
            new=new,
            installed_root=installed_root,
            installed_content=installed_content,
            take_over=take_over,
        )
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def new(site: Site) -> Source:
    assert site.context.source is not None
    return site.context.source


def as_root() -> None:
    require_system("root", lambda: os.geteuid() == 0, install="run as root")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be another user for a while. The way to the files must be open to all."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def mounted(path: Path, *arguments: str) -> Iterator[None]:
    require_system("mount", "mount")
    done = subprocess.run(["mount", *arguments, str(path)], capture_output=True, check=False)
    if done.returncode != 0:
        require_system("mount", lambda: False, install="run as root, where mounting is allowed")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_planning_changes_nothing_and_names_both_roots(site: Site, new: Source) -> None:
    before = sorted(p.name for p in site.path.parent.iterdir())
    found = plan(site.path, new)

    assert found.root_from == site.target.observe(site.path).root
    assert found.root_to == content(NEW)
    assert found.diff == Diff(changed=1, bytes_copied=len(NEW))
    assert found.needs.disk_bytes >= len(NEW) * 1.1
    # .noodle, its room, lock, commands, owner, releases, stage, the file
    assert found.needs.inodes == 8
    assert sorted(p.name for p in site.path.parent.iterdir()) == before


def test_a_first_install_and_a_removal_are_planned(site: Site, new: Source) -> None:
    absent = site.path.with_name("absent.py")
    first = plan(absent, new)
    assert (first.root_from, first.diff.added) == (ABSENT, 1)
    removal = plan(site.path, None)
    assert (removal.root_to, removal.diff) == (ABSENT, Diff(removed=1))
    assert removal.needs.disk_bytes == 0


@pytest.mark.parametrize(
    "text", ["web.py", "/srv/../web.py", "/", "/a/.noodle/web.py", "/a/" + "n" * 217]
)
def test_a_path_that_is_unclear_is_refused(new: Source, text: str) -> None:
    with pytest.raises(PathRefused):
        plan(Path(text), new)


def test_a_file_this_home_did_not_install_is_old_with_a_notice(site: Site, new: Source) -> None:
    assert len(plan(site.path, new).notices) == 1
    known = site.target.observe(site.path)
    found = plan(site.path, new, installed_root=known.root, installed_content=content(OLD))
    assert found.notices == ()


def test_changed_content_is_refused_and_changed_attributes_are_a_notice(
    site: Site, new: Source
) -> None:
    known = site.target.observe(site.path)

    def plan_again() -> TargetPlan:
        return plan(site.path, new, installed_root=known.root, installed_content=content(OLD))

    site.path.chmod(0o600)
    assert len(plan_again().notices) == 1
    with pytest.raises(TargetChanged):  # of an adopted one only the root is known
        plan(site.path, new, installed_root=known.root)
    site.path.write_bytes(STRANGE)
    with pytest.raises(TargetChanged) as caught:
        plan_again()
    assert (caught.value.expected, caught.value.found) == (content(OLD), content(STRANGE))
    site.path.unlink()
    with pytest.raises(TargetChanged):
        plan_again()


def test_a_link_is_refused_wherever_it_leads(site: Site, new: Source) -> None:
    real = site.path.rename(site.path.with_name("real.py"))
    site.path.symlink_to(real)
    with pytest.raises(TargetIsLink):
        plan(site.path, new)
    site.path.unlink()
    site.path.symlink_to("/nowhere")
    with pytest.raises(TargetIsLink):
        plan(site.path, new)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_plain_file_is_refused(
    site: Site, new: Source, make: Callable[[Path], None]
) -> None:
    site.path.unlink()
    make(site.path)
    with pytest.raises(TargetWrongType):
        plan(site.path, new)


def test_a_link_in_the_parent_is_resolved_and_said(site: Site, new: Source) -> None:
    through = site.folder / "through"
    through.symlink_to(site.path.parent)
    found = plan(through / "web.py", new)
    assert any(str(site.path) in notice for notice in found.notices)
    assert found.root_from == site.target.observe(site.path).root


def test_a_hard_linked_target_is_refused(site: Site, new: Source) -> None:
    os.link(site.path, site.path.with_name("other.py"))
    with pytest.raises(TargetHardLinked):
        plan(site.path, new)


def test_a_missing_parent_is_refused(site: Site, new: Source) -> None:
    with pytest.raises(ParentUnusable):
        plan(site.folder / "nowhere" / "web.py", new)
    with pytest.raises(ParentUnusable):
        plan(site.path / "web.py", new)


def test_a_damaged_or_missing_payload_is_refused(site: Site, new: Source) -> None:
    with pytest.raises(PayloadChanged):
        plan(site.path, replace(new, content=content(STRANGE)))
    with pytest.raises(PayloadUnusable):
        plan(site.path, replace(new, path=site.folder / "nowhere"))
    with pytest.raises(PayloadUnusable):
        plan(site.path, replace(new, path=site.folder))
    with pytest.raises(PointLost):
        plan(site.path, Source(site.folder / "nowhere", content(OLD), point=True))


def test_a_payload_larger_than_the_disk_is_refused(site: Site, new: Source) -> None:
    """A sparse payload of just more than is free: it would not be sparse when written."""
    free = free_space(site.path.parent).free_bytes
    with new.path.open("r+b") as opened:
        opened.truncate(free)
    needs = needs_of(site.place, new)
    with pytest.raises(SpaceShort) as caught:
        refuse_short(site.place, needs)
    assert caught.value.needed > free


def test_another_logs_mark_is_refused_unless_taken_over(site: Site, new: Source) -> None:
    site.target.lock(site.path, "log-of-another", take_over=False).release()
    with pytest.raises(TargetOwned):
        plan(site.path, new)
    assert plan(site.path, new, take_over=True).root_to == new.content


def test_check_refuses_what_planning_refuses(site: Site) -> None:
    os.link(site.path, site.path.with_name("other.py"))
    with pytest.raises(TargetHardLinked):
        site.do(StepName.CHECK)


def test_an_immutable_target_or_folder_is_refused(site: Site, new: Source) -> None:
    as_root()
    require_system("e2fsprogs", "chattr")
    for path, flag in ((site.path, "i"), (site.path, "a"), (site.path.parent, "a")):
        subprocess.run(["chattr", f"+{flag}", path], check=True)
        try:
            with pytest.raises(TargetFrozen):
                plan(site.path, new)
        finally:
            subprocess.run(["chattr", f"-{flag}", path], check=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach; `tmp_path` is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="noodle-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_another_users_file_and_folder_are_refused(open_folder: Path) -> None:
    as_root()
    site = Site(open_folder)
    new = site.context.source
    os.chown(site.path.parent, NOBODY, NOBODY)
    with as_nobody(), pytest.raises(TargetOfOther):
        plan(site.path, new)
    os.chown(site.path, NOBODY, 12345)
    with as_nobody(), pytest.raises(TargetOfOther):  # a group that it is not in
        plan(site.path, new)
    os.chown(site.path.parent, 0, 0)
    with as_nobody(), pytest.raises(ParentUnusable):
        plan(site.path, new)


def test_a_file_that_is_new_in_anothers_folder_is_given_to_its_owner_by_root(
    tmp_path: Path,
) -> None:
    as_root()
    site = Site(tmp_path, old=None)
    os.chown(site.path.parent, NOBODY, 12345)
    assert len(plan(site.path, site.context.source).notices) == 1
    site.until(StepName.SWAP)
    assert (site.path.stat().st_uid, site.path.stat().st_gid) == (NOBODY, 12345)


def test_a_read_only_file_system_is_refused(site: Site, new: Source) -> None:
    as_root()
    with mounted(site.path.parent, "-t", "tmpfs", "-o", "ro", "none"), pytest.raises(DiskReadOnly):
        plan(site.path, new)


def test_a_file_that_is_a_mount_is_refused(site: Site, new: Source) -> None:
    as_root()
    other = site.folder / "other"
    other.write_bytes(OLD)
    with mounted(site.path, "--bind", str(other)), pytest.raises(TargetIsMountPoint):
        plan(site.path, new)


def test_a_file_system_without_exchange_is_refused(site: Site, new: Source) -> None:
    """POSIX message queues are a file system in which files are made and never renamed."""
    as_root()
    queues = site.folder / "queues"
    queues.mkdir()
    with mounted(queues, "-t", "mqueue", "none"):
        before = sorted(os.listdir(queues))
        with pytest.raises(ExchangeUnsupported):
            plan(queues / "web.py", new)
        assert sorted(os.listdir(queues)) == before


def fill(disk: Path) -> None:
    """Leave no inode and no block."""
    for size in (40_000, 1, 0):
        for number in range(1000):
            try:
                (disk / f"filler-{size}-{number}").write_bytes(b"x" * size)
            except OSError:
                break
    assert free_space(disk).free_inodes == 0


def test_taking_back_and_going_back_need_no_space(tmp_path: Path) -> None:
    as_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m,nr_inodes=40", "none"):
        site = Site(disk)
        site.until(StepName.RECHECK)
        fill(disk)
        site.undo(StepName.SWAP)
        assert site.read() == OLD
        site.do(StepName.SWAP)
        for filler in disk.glob("filler-*"):
            filler.unlink()
        kept = site.do(StepName.POINT).attributes
        fill(disk)
        point = Source(Path(kept["location"]), kept["content"], point=True)
        assert plan(site.path, point).needs.disk_bytes == 0
        back = Site(disk, old=None, new=None, upgrade="01JYYYYYYYYYYYYYYYYYYYYYYY")
        component = replace(back.context.component, root=point.content)
        back.context = replace(back.context, source=point, component=component, expected_new=None)
        back.until(StepName.RECHECK)
        assert back.read() == OLD
