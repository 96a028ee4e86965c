"""Data that lies inside of a tree: copied while its writers stand still, and never lost."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.disk.failures import CopyStopped
from noodle_engine.disk.names import exchange
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import HookPoint, StepName
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import Source
from noodle_engine.targets.directory.data.carrying import Carrying
from noodle_engine.targets.directory.data.then import seen_at
from noodle_engine.targets.failures import (
    DataElsewhere,
    DataRefused,
    DisplacedWritten,
    ForeignFound,
    MutableOutside,
    StageUnproven,
)
from tests.unit.targets.tree_site import NEW, OLD, TreeSite, location_of, write_tree

INSIDE = TreeOptions.of(
    layout="tree",
    mutable=["uploads/", "conf/site.toml"],
    unmanaged=[],
    immutable=False,
    quiesce=["stop"],
    unquiesce=["start"],
)
DELIVERED = {"uploads/welcome.txt": b"hello", "conf/site.toml": b"as delivered"}
WRITTEN = {"uploads/mine.txt": b"a visitor's", "conf/site.toml": b"edited"}
LATER = {"uploads/mine.txt": b"once more", "conf/site.toml": b"edited again"}


def write(tree: Path, data: dict[str, bytes]) -> None:
    for name, content in data.items():
        (tree / name).write_bytes(content)


def read(tree: Path, data: dict[str, bytes]) -> dict[str, bytes]:
    return {name: (tree / name).read_bytes() for name in data}


def installed(folder: Path, layout: str) -> TreeSite:
    """1.0.0, with what programs wrote."""
    site = TreeSite(
        folder,
        layout,
        old=None,
        new={**OLD, **DELIVERED},
        options=INSIDE,
        from_version=None,
        to_version="1.0.0",
        upgrade="01" + "A" * 24,
    )
    site.until(StepName.CLEAN_COMMITTED)
    write(site.path, WRITTEN)
    return site


def known(site: TreeSite) -> tuple[str, str]:
    """What the journal says is installed, once `site` is committed."""
    assert site.context.staged is not None
    return site.context.staged.root, site.context.component.root


def upgrade(folder: Path, layout: str) -> TreeSite:
    """To 1.1.0; the old is what `installed` left."""
    first = installed(folder, layout)
    return TreeSite(
        folder,
        layout,
        old=None,
        new={**NEW, **DELIVERED},
        options=INSIDE,
        installed=known(first),
    )


def rollback(folder: Path, layout: str) -> TreeSite:
    """Back to the 1.0.0 that was kept, with what programs wrote since."""
    site = upgrade(folder, layout)
    site.until(StepName.RECHECK)
    kept = site.do(StepName.POINT)
    site.do(StepName.CLEAN_COMMITTED)
    write(site.path, LATER)
    return TreeSite(
        folder,
        layout,
        old=None,
        new=None,
        options=INSIDE,
        installed_options=INSIDE,
        point=Source(location_of(kept), kept.attributes["content"], point=True),
        upgrade="01" + "Z" * 24,
        from_version="1.1.0",
        to_version="1.0.0",
        installed=known(site),
    )


layouts = pytest.mark.parametrize("layout", ["tree", "link"])


@layouts
def test_a_first_install_has_the_data_of_its_release(tmp_path: Path, layout: str) -> None:
    first = installed(tmp_path, layout)
    assert (first.path / "uploads" / "welcome.txt").read_bytes() == b"hello"
    assert not first.plan.hooks  # nobody writes what is not there


@layouts
def test_the_exchange_stands_between_stopping_and_starting(tmp_path: Path, layout: str) -> None:
    site = upgrade(tmp_path, layout)
    assert [(one.at, one.command, one.undo) for one in site.plan.hooks] == [
        (HookPoint.QUIESCE, ("stop",), ("start",)),
        (HookPoint.UNQUIESCE, ("start",), ("stop",)),
    ]


@layouts
def test_data_comes_along_and_comes_back(tmp_path: Path, layout: str) -> None:
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    write(site.path, {"uploads/late.txt": b"written after staging"})
    site.do(StepName.SWAP)
    both = {**WRITTEN, "uploads/late.txt": b"written after staging"}
    assert read(site.path, both) == both
    assert (site.path / "app.py").read_bytes() == b"new!"
    write(site.path, LATER)
    site.back()
    assert (site.path / "app.py").read_bytes() == b"old"
    assert read(site.path, LATER) == LATER
    assert not site.beside_names()


@layouts
def test_a_rollback_takes_the_newest_data_to_the_kept_tree(tmp_path: Path, layout: str) -> None:
    back = rollback(tmp_path, layout)
    assert len(back.plan.hooks) == 2
    back.until(StepName.STAGE)
    back.do(StepName.SWAP)
    assert (back.path / "app.py").read_bytes() == b"old"
    assert read(back.path, LATER) == LATER
    assert back.probe(StepName.SWAP).answer is ProbeAnswer.DONE
    # And taken back once more: the newest stays the newest.
    write(back.path, {"conf/site.toml": b"last"})
    back.back()
    assert (back.path / "app.py").read_bytes() == b"new!"
    assert (back.path / "conf" / "site.toml").read_bytes() == b"last"
    assert (back.path / "uploads" / "mine.txt").read_bytes() == b"once more"


@layouts
def test_a_copy_that_never_came_to_an_exchange_does_not_come_back(
    tmp_path: Path, layout: str
) -> None:
    """Killed between the copy and the exchange: what is written after that is newer."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    objects = site.target.objects(site.context, site.place)
    objects.carry(site.beside, back=False)
    write(site.path, LATER)
    site.back()
    assert read(site.path, LATER) == LATER


@layouts
def test_an_interrupted_copy_is_made_anew(tmp_path: Path, layout: str) -> None:
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    objects = site.target.objects(site.context, site.place)
    objects.carry(site.beside, back=False)
    write(site.path, LATER)
    site.do(StepName.SWAP)
    assert read(site.path, LATER) == LATER


@layouts
def test_data_that_is_written_while_it_is_copied_fails_the_step(
    tmp_path: Path, layout: str
) -> None:
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    objects = site.target.objects(site.context, site.place)
    carrying = objects._carrying()
    live = objects.tree_of(site.path)
    for path, more in ((b"uploads", "uploads/more"), (b"conf/site.toml", "conf/site.toml")):
        there = live / os.fsdecode(path)
        part = carrying._part(live, there, path)
        assert part is not None
        assert carrying._is_still(part, live, there, path)
        write(site.path, {more: b"still writing"})
        assert not carrying._is_still(part, live, there, path)


def damaged(site: TreeSite) -> None:
    """Somebody edits a file of the release in the tree that is at the target."""
    (site.path / "app.py").write_bytes(b"edited by a stranger")


@layouts
def test_a_restore_before_the_exchange_keeps_the_data(tmp_path: Path, layout: str) -> None:
    """It is in the very tree that is set aside."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    damaged(site)
    with pytest.raises(ForeignFound):
        site.do(StepName.SWAP)
    site.allow_restore({**OLD, **DELIVERED})
    site.undo(StepName.SWAP)
    assert (site.path / "app.py").read_bytes() == b"old"
    assert read(site.path, WRITTEN) == WRITTEN


@layouts
def test_a_restore_after_the_exchange_has_the_newest_data(tmp_path: Path, layout: str) -> None:
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    site.do(StepName.SWAP)
    write(site.path, LATER)
    damaged(site)
    with pytest.raises(ForeignFound):
        site.undo(StepName.SWAP)
    site.allow_restore({**OLD, **DELIVERED})
    site.undo(StepName.SWAP)
    assert (site.path / "app.py").read_bytes() == b"old"
    assert read(site.path, LATER) == LATER


@layouts
def test_what_a_program_removed_does_not_come_again(tmp_path: Path, layout: str) -> None:
    """As a database's log beside it: with a newer database it is damage."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    objects = site.target.objects(site.context, site.place)
    objects.carry(site.beside, back=False)
    (site.path / "conf" / "site.toml").unlink()  # after a copy that came to no exchange
    site.do(StepName.SWAP)
    assert not (site.path / "conf" / "site.toml").exists()
    assert (site.path / "uploads" / "mine.txt").exists()


@layouts
def test_what_the_new_removed_is_not_there_on_the_way_back(tmp_path: Path, layout: str) -> None:
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    site.do(StepName.SWAP)
    (site.path / "conf" / "site.toml").unlink()
    site.back()
    assert not (site.path / "conf" / "site.toml").exists()
    assert (site.path / "app.py").read_bytes() == b"old"


@layouts
def test_a_lost_note_loses_no_data(tmp_path: Path, layout: str) -> None:
    for number, junk in enumerate((None, b"no note", b'{"uploads": 1}')):
        folder = tmp_path / str(number)
        folder.mkdir()
        site = upgrade(folder, layout)
        site.until(StepName.STAGE)
        site.do(StepName.SWAP)
        write(site.path, LATER)
        note = site.place.stage(site.upgrade) / "carried"
        note.unlink()
        if junk is not None:
            note.write_bytes(junk)
        site.undo(StepName.SWAP)
        assert read(site.path, LATER) == LATER
        assert (site.path / "app.py").read_bytes() == b"old"


@layouts
def test_folders_of_another_owner_are_no_obstacle_on_the_way_back(
    tmp_path: Path, layout: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives folders to others")
    site = upgrade(tmp_path, layout)
    os.chown(site.place.parent / "web" / "uploads", 33, 33)
    site.until(StepName.STAGE)
    site.do(StepName.SWAP)
    write(site.path, LATER)
    site.back()
    assert read(site.path, LATER) == LATER


@layouts
@pytest.mark.parametrize("what", ["a fifo", "a link on the way", "the installed one's own"])
def test_data_that_cannot_be_carried_is_refused_before_anything(
    tmp_path: Path, layout: str, what: str
) -> None:
    first = installed(tmp_path, layout)
    new = {**NEW, **DELIVERED}
    options = INSIDE
    match what:
        case "a fifo":
            os.mkfifo(first.path / "uploads" / "pipe")
        case "a link on the way":
            new = {**NEW, "uploads/welcome.txt": b"hello", "conf": "/etc"}
        case _:
            options = replace(INSIDE, mutable=(b"static",), mutable_folders=frozenset())
    with pytest.raises(DataRefused):
        TreeSite(
            tmp_path,
            layout,
            old=None,
            new=new,
            options=options,
            installed=known(first),
        )


@layouts
def test_data_outside_of_the_old_tree_is_not_taken_in(tmp_path: Path, layout: str) -> None:
    outside = replace(INSIDE, quiesce=(), unquiesce=())
    first = TreeSite(
        tmp_path,
        layout,
        old=None,
        new={**OLD, **DELIVERED},
        options=outside,
        from_version=None,
        to_version="1.0.0",
        upgrade="01" + "A" * 24,
    )
    first.until(StepName.CLEAN_COMMITTED)
    with pytest.raises(MutableOutside) as caught:
        TreeSite(
            tmp_path,
            layout,
            old=None,
            new={**NEW, **DELIVERED},
            options=INSIDE,
            installed=known(first),
        )
    assert "uploads" in caught.value.problem


@layouts
def test_the_size_of_the_data_counts(tmp_path: Path, layout: str) -> None:
    first = installed(tmp_path, layout)
    write(first.path, {"uploads/large": bytes(8_000_000)})
    site = TreeSite(
        tmp_path,
        layout,
        old=None,
        new={**NEW, **DELIVERED},
        options=INSIDE,
        installed=known(first),
    )
    assert site.plan.needs.disk_bytes > 8_000_000


@layouts
def test_data_that_the_old_release_did_not_know_comes_back_with_its_folders(
    tmp_path: Path, layout: str
) -> None:
    """And its name may be any bytes."""
    odd = os.fsdecode(b"var/od\xffd")
    first = TreeSite(
        tmp_path,
        layout,
        old=None,
        new=OLD,
        from_version=None,
        to_version="1.0.0",
        upgrade="01" + "A" * 24,
    )
    first.until(StepName.CLEAN_COMMITTED)
    site = TreeSite(
        tmp_path,
        layout,
        old=None,
        new=NEW,
        options=replace(INSIDE, mutable=(os.fsencode(odd),), mutable_folders=frozenset()),
        installed=known(first),
    )
    site.until(StepName.STAGE)
    site.do(StepName.SWAP)
    (site.path / odd / "written").write_bytes(b"by the new")
    site.back()
    assert (site.path / "app.py").read_bytes() == b"old"
    assert (site.path / odd / "written").read_bytes() == b"by the new"


@layouts
def test_objects_are_known_without_their_device(tmp_path: Path, layout: str) -> None:
    """A device may have another number after a mount, an inode has not."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    site.do(StepName.SWAP)
    noted = json.loads((site.place.stage(site.upgrade) / "carried").read_text())["data"]
    displaced = site.target.objects(site.context, site.place).tree_of(site.beside)
    inodes = {name: inode for name, (inode, _) in noted.items()}
    names = ("uploads", "conf/site.toml")
    assert inodes == {name: (displaced / name).stat().st_ino for name in names}


@layouts
def test_what_is_written_between_the_two_exchanges_back_is_kept_aside(
    tmp_path: Path, layout: str
) -> None:
    """Killed in between; the machine starts the old program, on its data of then."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    site.do(StepName.SWAP)
    write(site.path, LATER)
    exchange(site.beside, site.path)
    assert read(site.path, WRITTEN) == WRITTEN
    write(site.path, {"uploads/meanwhile": b"by the old program"})
    site.back()
    assert read(site.path, LATER) == LATER
    aside = [path for path in site.path.parent.iterdir() if ".foreign-" in path.name]
    assert [(path / "meanwhile").read_bytes() for path in aside] == [b"by the old program"]


@layouts
def test_a_version_that_kept_its_data_unmanaged_gets_the_newest_on_the_way_back(
    tmp_path: Path, layout: str
) -> None:
    """As one that was adopted, or that knew fewer paths of data."""
    plain = replace(INSIDE, mutable=(), unmanaged=("uploads/", "conf/site.toml"))
    plain = replace(plain, quiesce=(), unquiesce=(), mutable_folders=frozenset())
    first = TreeSite(
        tmp_path,
        layout,
        old=None,
        new={**OLD, "conf/other": b""},
        options=plain,
        from_version=None,
        to_version="1.0.0",
        upgrade="01" + "A" * 24,
    )
    first.until(StepName.CLEAN_COMMITTED)
    (first.path / "uploads").mkdir()
    write(first.path, WRITTEN)
    site = TreeSite(
        tmp_path,
        layout,
        old=None,
        new={**NEW, **DELIVERED},
        options=INSIDE,
        installed=known(first),
    )
    site.until(StepName.RECHECK)
    kept = site.do(StepName.POINT)
    site.do(StepName.CLEAN_COMMITTED)
    write(site.path, LATER)
    back = TreeSite(
        tmp_path,
        layout,
        old=None,
        new=None,
        options=plain,
        installed_options=INSIDE,
        point=Source(location_of(kept), kept.attributes["content"], point=True),
        upgrade="01" + "Z" * 24,
        from_version="1.1.0",
        to_version="1.0.0",
        installed=known(site),
    )
    assert len(back.plan.hooks) == 2
    back.until(StepName.SWAP)
    assert (back.path / "app.py").read_bytes() == b"old"
    assert read(back.path, LATER) == LATER


@layouts
def test_what_a_program_replaced_between_the_two_exchanges_back_is_kept_aside(
    tmp_path: Path, layout: str
) -> None:
    """As most programs write a file: a new one takes its name. The newest is the displaced."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    site.do(StepName.SWAP)
    write(site.path, LATER)
    exchange(site.beside, site.path)
    (site.path / "conf" / "next").write_bytes(b"by the old program")
    (site.path / "conf" / "next").rename(site.path / "conf" / "site.toml")
    told = site.undo(StepName.SWAP)
    assert read(site.path, LATER) == LATER
    aside = [path for path in site.path.parent.iterdir() if ".foreign-" in path.name]
    assert [path.read_bytes() for path in aside] == [b"by the old program"]
    assert str(aside[0]) in told.attributes["kept_data"]


@layouts
def test_of_a_rollback_that_is_taken_back_half_way_the_newest_stays(
    tmp_path: Path, layout: str
) -> None:
    """Killed between the two exchanges, the old program replaced its file; then it goes back."""
    back = rollback(tmp_path, layout)
    back.until(StepName.STAGE)
    exchange(back.beside, back.path)
    (back.path / "conf" / "next").write_bytes(b"by the old program")
    (back.path / "conf" / "next").rename(back.path / "conf" / "site.toml")
    back.back()
    assert (back.path / "app.py").read_bytes() == b"new!"
    assert read(back.path, LATER) == LATER


@layouts
def test_a_rollback_writes_nothing_beside_the_target(tmp_path: Path, layout: str) -> None:
    """The disk may be full: what it has to know is in the journal."""
    back = rollback(tmp_path, layout)
    back.until(StepName.STAGE)
    was = set(back.path.parent.rglob("*"))
    back.do(StepName.SWAP)
    assert not set((back.path.parent / ".noodle").rglob("stage-*"))
    assert len(set(back.path.parent.rglob("*"))) == len(was)
    assert read(back.path, LATER) == LATER


class Meanwhile(Carrying):
    """Carrying, while somebody writes what was copied first once the second is copied."""

    __slots__ = ()

    def _copied(self, live: Path, there: Path, path: bytes, begun: Path) -> None:
        super()._copied(live, there, path, begun)
        if path == self.paths[-1]:
            (live / "uploads" / "mine.txt").write_bytes(b"still writing")


@layouts
def test_what_is_written_while_another_path_is_copied_fails_the_step(
    tmp_path: Path, layout: str
) -> None:
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    objects = site.target.objects(site.context, site.place)
    one = objects._carrying()
    carrying = Meanwhile(one.target, one.paths, objects.stage(), one.stop)
    with pytest.raises(StageUnproven) as caught:
        carrying.copy(objects.tree_of(site.path), objects.tree_of(site.beside))
    assert "uploads" in caught.value.cause


@layouts
def test_data_that_is_written_in_the_displaced_tree_fails_the_upgrade(
    tmp_path: Path, layout: str
) -> None:
    """By a file that stayed open: what it wrote is kept, and told."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    with (site.path / "uploads" / "mine.txt").open("ab") as opened:
        site.do(StepName.SWAP)
        opened.write(b", and more")
    with pytest.raises(DisplacedWritten) as caught:
        site.do(StepName.RECHECK)
    assert "uploads" in caught.value.cause
    write(site.path, LATER)
    told = site.undo(StepName.SWAP)
    assert read(site.path, LATER) == LATER
    assert "uploads" in told.attributes["kept_data"]
    aside = [path for path in site.path.parent.iterdir() if ".foreign-" in path.name]
    assert [(path / "mine.txt").read_bytes() for path in aside] == [b"a visitor's, and more"]


@layouts
def test_links_and_empty_folders_are_data_too(tmp_path: Path, layout: str) -> None:
    """Somebody who makes only such in the data of then has written it."""
    site = upgrade(tmp_path, layout)
    uploads = site.path.resolve() / "uploads"
    seen = seen_at(uploads)
    (uploads / "latest").symlink_to("mine.txt")
    linked = seen_at(uploads)
    (uploads / "spool").mkdir()
    assert len({seen, linked, seen_at(uploads)}) == 3


@layouts
def test_a_file_with_several_names_in_data_keeps_them(tmp_path: Path, layout: str) -> None:
    """What is written by one of them is read by the other, in the copy too."""
    site = upgrade(tmp_path, layout)
    uploads = site.path / "uploads"
    os.link(uploads / "mine.txt", uploads / "same.txt")
    os.link(site.path / "app.py", uploads / "outside.py")  # it has one name in the data
    site.until(StepName.SWAP)
    assert (uploads / "same.txt").samefile(uploads / "mine.txt")
    assert (uploads / "outside.py").stat().st_nlink == 1


@layouts
def test_a_pipe_that_comes_after_the_plan_fails_the_step(tmp_path: Path, layout: str) -> None:
    """A copy would be without it."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    os.mkfifo(site.path / "uploads" / "pipe")
    with pytest.raises(StageUnproven) as caught:
        site.do(StepName.SWAP)
    assert "a fifo in uploads" in caught.value.cause


@layouts
def test_an_abort_ends_the_copying(tmp_path: Path, layout: str) -> None:
    """Its writers stand still: nobody waits for a copy that nobody wants."""
    site = upgrade(tmp_path, layout)
    site.until(StepName.STAGE)
    site.context.cut_short.set()
    with pytest.raises(CopyStopped):
        site.do(StepName.SWAP)
    assert (site.path / "app.py").read_bytes() == b"old"
    site.context.cut_short.clear()
    site.back()
    assert read(site.path, WRITTEN) == WRITTEN
    assert not site.beside_names()


def test_data_on_another_file_system_is_not_carried(tmp_path: Path) -> None:
    """A way back could not bring it to its tree by an exchange."""
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(prefix="noodle-data-", dir="/dev/shm") as folder:
        write_tree(Path(folder) / "deployed", {**OLD, **DELIVERED})
        (tmp_path / "srv").mkdir()
        (tmp_path / "srv" / "web").symlink_to(Path(folder) / "deployed")
        with pytest.raises(DataElsewhere) as caught:
            TreeSite(tmp_path, "link", old=None, new={**NEW, **DELIVERED}, options=INSIDE)
        assert folder in caught.value.problem


def test_of_a_tree_that_goes_nobody_is_started(tmp_path: Path) -> None:
    first = installed(tmp_path, "tree")
    site = TreeSite(
        tmp_path,
        "tree",
        old=None,
        new=None,
        options=INSIDE,
        installed=known(first),
    )
    assert [one.at for one in site.plan.hooks] == [HookPoint.QUIESCE]


@layouts
def test_data_outlasts_a_removal(tmp_path: Path, layout: str) -> None:
    """Installed again, a component has the data that was removed with it."""
    first = installed(tmp_path, layout)
    gone = TreeSite(
        tmp_path,
        layout,
        old=None,
        new=None,
        options=INSIDE,
        installed=known(first),
        to_version=None,
    )
    assert any("goes with it" in one for one in gone.plan.notices)
    gone.until(StepName.CLEAN_COMMITTED)
    assert not gone.path.exists()
    write_tree(gone.place.releases / "zz-a-stranger's", {"uploads/mine.txt": b"not this"})
    again = TreeSite(
        tmp_path,
        layout,
        old=None,
        new={**NEW, **DELIVERED},
        options=INSIDE,
        from_version=None,
        upgrade="01" + "Z" * 24,
    )
    assert any("comes from the version kept last" in one for one in again.plan.notices)
    again.until(StepName.CLEAN_COMMITTED)
    assert (again.path / "app.py").read_bytes() == b"new!"
    assert read(again.path, WRITTEN) == WRITTEN


@layouts
def test_an_older_version_than_the_removed_one_comes_with_its_own_data_and_says_so(
    tmp_path: Path, layout: str
) -> None:
    site = upgrade(tmp_path, layout)
    site.until(StepName.RECHECK)
    kept = site.do(StepName.POINT)
    site.do(StepName.CLEAN_COMMITTED)
    write(site.path, LATER)
    gone = TreeSite(
        tmp_path,
        layout,
        old=None,
        new=None,
        options=INSIDE,
        installed=known(site),
        from_version="1.1.0",
        upgrade="01" + "Y" * 24,
    )
    gone.until(StepName.RECHECK)
    removed = gone.do(StepName.POINT)
    told = {}
    for one in (kept, removed):
        again = TreeSite(
            tmp_path,
            layout,
            old=None,
            new=None,
            options=INSIDE,
            point=Source(location_of(one), one.attributes["content"], point=True),
            from_version=None,
            upgrade="01" + "Z" * 24,
        )
        told[location_of(one)] = any("comes as it was kept" in text for text in again.plan.notices)
        again.until(StepName.STAGE)
        again.back()  # to nothing, as it was
        assert not again.path.exists()
        assert os.path.lexists(location_of(one))
    assert told == {location_of(kept): True, location_of(removed): False}
