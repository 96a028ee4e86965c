"""Removing a tree, and making one durable (laws D1, D2)."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from noodle_engine.disk.failures import DiskDenied, DiskError, DiskFailed, DiskFault, DiskFull
from noodle_engine.disk.trees.reach import DEPTH_MAX
from noodle_engine.disk.trees.remove import remove_tree
from noodle_engine.disk.trees.scan import scan_tree
from noodle_engine.disk.trees.syncing import ended_within, fsync_tree, sync_file_system
from tests.conftest import require_system
from tests.unit.disk.grounds import (
    as_nobody,
    deep,
    full_of_oddities,
    image,
    mounted,
    need_root,
    odd_for_root,
    run,
    special_files,
    tmpfs,
)


def refuse() -> None:
    """Fail: what should have been no fall back was one."""
    raise AssertionError("the fall back ran")


def test_all_of_a_tree_is_removed_and_what_it_led_to_is_not(tmp_path: Path) -> None:
    """D1."""
    root, outside = tmp_path / "tree", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    full_of_oddities(root)
    special_files(root, devices=os.geteuid() == 0)
    if os.geteuid() == 0:
        odd_for_root(root)
    (root / "out").symlink_to(outside)
    os.link(outside / "kept", root / "kept too")
    assert remove_tree(root) > 0
    assert os.listdir(tmp_path) == ["outside"]
    assert (outside / "kept").read_bytes() == b"kept"


def test_the_bytes_are_those_of_files_that_had_no_other_name(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "in").mkdir(parents=True)
    (root / "one").write_bytes(b"x" * 5000)
    (root / "in" / "two").write_bytes(b"x" * 70)
    (root / "shared").write_bytes(b"x" * 300)
    os.link(root / "shared", tmp_path / "other name")
    with (root / "hole").open("wb") as opened:
        opened.truncate(1 << 30)
    (root / "pair").write_bytes(b"x" * 11)
    os.link(root / "pair", root / "in" / "pair")
    assert remove_tree(root) == 5000 + 70 + 11
    assert (tmp_path / "other name").stat().st_size == 300


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    assert remove_tree(tmp_path / "nowhere") == 0
    assert remove_tree(tmp_path / "no" / "where") == 0


@pytest.mark.parametrize("what", ["file", "link", "fifo"])
def test_what_is_no_folder_is_left(tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_bytes(b"")
    path = tmp_path / what
    if what == "file":
        path.write_bytes(b"")
    elif what == "link":
        path.symlink_to("folder")
    else:
        os.mkfifo(path)
    with pytest.raises(DiskFailed):
        remove_tree(path)
    assert os.path.lexists(path)
    assert (tmp_path / "folder" / "kept").exists()


@pytest.mark.parametrize(("levels", "name"), [(200, b"n" * 40), (DEPTH_MAX * 5, b"n")])
def test_a_tree_is_removed_however_deep_it_is(tmp_path: Path, levels: int, name: bytes) -> None:
    """D2. The second has more folders one in the other than a process has descriptors."""
    if levels > 1000:  # made in pieces: the maker keeps each folder open
        deep(tmp_path / "tree", 0)
        for part in range(levels // DEPTH_MAX):
            (tmp_path / "tree").rename(tmp_path / "inner")
            bottom = deep(tmp_path / "tree", DEPTH_MAX, name)
            here = os.open(tmp_path, os.O_RDONLY)
            within = os.open(tmp_path / "tree" / os.fsdecode(bottom), os.O_RDONLY)
            os.rename("inner", f"part {part}", src_dir_fd=here, dst_dir_fd=within)
            os.close(here)
            os.close(within)
    else:
        deep(tmp_path / "tree", levels, name)
    before = os.listdir("/proc/self/fd")
    assert remove_tree(tmp_path / "tree") == len(b"down here") * (1 if levels == 200 else 6)
    assert os.listdir("/proc/self/fd") == before
    assert os.listdir(tmp_path) == []


def test_folders_that_their_owner_may_not_write_or_read_are_opened(tmp_path: Path) -> None:
    need_root()
    root = tmp_path / "tree"
    for mode in (0o500, 0o000, 0o300, 0o111):
        folder = root / f"{mode:o}"
        (folder / "in").mkdir(parents=True)
        (folder / "in" / "file").write_bytes(b"123")
    run("chown", "-R", "65534:65534", root)
    for mode in (0o500, 0o000, 0o300, 0o111):
        (root / f"{mode:o}" / "in").chmod(mode)
        (root / f"{mode:o}").chmod(mode)
    root.chmod(0)
    with as_nobody(tmp_path):
        assert remove_tree(Path("tree")) == 12
    assert not root.exists()


def test_what_another_user_owns_is_denied_and_named(tmp_path: Path) -> None:
    need_root()
    root = tmp_path / "tree"
    (root / "roots").mkdir(parents=True)
    (root / "roots" / "file").write_bytes(b"")
    os.chown(root, 65534, 65534)
    with as_nobody(tmp_path), pytest.raises(DiskDenied) as caught:
        remove_tree(Path("tree"))
    assert caught.value.path == Path("tree/roots/file")
    assert (root / "roots" / "file").exists()


def test_what_is_immutable_is_named_and_a_second_call_goes_on(tmp_path: Path) -> None:
    need_root()
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    (root / "a" / "held").write_bytes(b"held")
    run("chattr", "+i", root / "a" / "held")
    try:
        with pytest.raises(DiskDenied) as caught:
            remove_tree(root)
        assert caught.value.path == root / "a" / "held"
    finally:
        run("chattr", "-i", root / "a" / "held")
    assert remove_tree(root) == 4
    assert not root.exists()


@pytest.mark.parametrize("kind", ["other", "same", "file"])
def test_a_mount_in_a_tree_is_refused_before_anything_is_removed(tmp_path: Path, kind: str) -> None:
    """D1. Another file system, a bind mount of the same one, a bind mount of a file."""
    need_root()
    root, outside = tmp_path / "tree", tmp_path / "outside"
    full_of_oddities(root)
    outside.mkdir()
    (outside / "kept").write_bytes(b"")
    before = scan_tree(root).manifest
    (tmp_path / "by link").symlink_to(tmp_path)
    point = root / "a" / "b"
    if kind == "other":
        mount = tmpfs(point)
    elif kind == "same":
        mount = mounted(point, "--bind", outside)
    else:
        mount = mounted(root / "plain", "--bind", outside / "kept")
    with mount, pytest.raises(DiskFailed) as caught:
        remove_tree(tmp_path / "by link" / "tree")
    assert caught.value.number == errno.EBUSY
    assert (outside / "kept").exists()
    assert scan_tree(root).manifest == before


def test_removing_stops_in_a_tree_that_is_written_into_all_the_time(tmp_path: Path) -> None:
    """It ends, whichever of the two wins."""
    root = tmp_path / "tree"
    root.mkdir()
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            try:
                (root / str(number)).write_bytes(b"")
            except OSError:
                return
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        remove_tree(root)
    except DiskFailed as error:
        assert error.number in (errno.ENOTEMPTY, errno.EEXIST)  # noqa: PT017 - either may win
    finally:
        ended.set()
        writer.join()
    remove_tree(root)
    assert not root.exists()


def test_a_tree_is_synced_file_by_file(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    full_of_oddities(root)
    special_files(root, devices=os.geteuid() == 0)
    deep(root / "deep", 200)
    fsync_tree(root)
    with pytest.raises(DiskError):
        fsync_tree(tmp_path / "nowhere")
    run("rm", "-rf", root / "deep")


def test_a_fall_back_syncs_each_file_and_folder_once(tmp_path: Path) -> None:
    """What the kernel saw: one fsync of each, by path."""
    require_system("strace", "strace")
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (root / name).write_bytes(b"")
    (root / "link").symlink_to("one")
    program = (
        "import sys; from pathlib import Path;"
        "from noodle_engine.disk.trees.syncing import fsync_tree; fsync_tree(Path(sys.argv[1]))"
    )
    traced = subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-y",
            "-e",
            "trace=fsync",
            sys.executable,
            "-c",
            program,
            str(root),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    synced = sorted(
        line.split("<")[1].split(">")[0] for line in traced.stderr.splitlines() if "fsync" in line
    )
    names = ("", "/a", "/a/b", "/a/b/three", "/a/two", "/one")
    assert synced == [f"{root}{name}" for name in names]


def test_one_sync_of_the_file_system_needs_no_fall_back(tmp_path: Path) -> None:
    sync_file_system(tmp_path, fall_back=refuse)
    held = os.open(tmp_path, os.O_RDONLY)
    try:
        sync_file_system(tmp_path, fall_back=refuse, opened=held)
        os.fstat(held)  # it is the caller's, and still open
    finally:
        os.close(held)
    with pytest.raises(DiskFailed):
        sync_file_system(tmp_path / "nowhere", fall_back=refuse)


def test_a_sync_that_fails_is_told(tmp_path: Path) -> None:
    """A file system whose device has no room for what was written to it: `write` went well."""
    need_root()
    with tmpfs(tmp_path / "small", "size=6m") as small:
        disk_image = image(small / "image", "ext4", 16, "-O", "^has_journal")
        with mounted(tmp_path / "disk", "-o", "loop", disk_image) as disk:
            (disk / "file").write_bytes(os.urandom(9 << 20))
            with pytest.raises((DiskFault, DiskFull)):
                sync_file_system(disk, fall_back=refuse)


def test_past_the_deadline_the_fall_back_runs(tmp_path: Path) -> None:
    """What does not end is waited for no longer than was said."""
    held = threading.Event()

    def wait() -> None:
        held.wait()

    assert ended_within(wait, 0.0) is False
    held.set()
    assert ended_within(wait, 60.0) is True
