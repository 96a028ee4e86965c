"""What is free, where mounts are, and which paths may be targets."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from noodle_engine.disk.failures import (
    DiskDenied,
    DiskError,
    DiskFailed,
    DiskFault,
    DiskFull,
    DiskReadOnly,
    PathRefused,
    explained,
)
from noodle_engine.disk.paths import NAME_BYTES_MAX, inside, target_path
from noodle_engine.disk.space import Mount, free_space, mount_of, mounts


def test_free_space_is_what_the_kernel_says(tmp_path: Path) -> None:
    space = free_space(tmp_path)
    assert space.free_bytes > 0
    assert space.block_bytes == os.statvfs(tmp_path).f_frsize
    assert space.read_only is False
    with pytest.raises(DiskFailed):
        free_space(tmp_path / "nowhere")


def test_mounts_are_read_with_their_escapes(tmp_path: Path) -> None:
    source = tmp_path / "mountinfo"
    source.write_bytes(
        b"22 1 8:1 / / rw,noatime shared:1 - ext4 /dev/root rw\n"
        b"30 22 0:5 / /with\\040space ro - tmpfs none ro\n"
        b"31 22 0:6 / /with\\040space rw - btrfs none rw\n"
    )
    found = mounts(source)
    assert found[1] == Mount(Path("/with space"), "tmpfs", ("ro",))
    deepest = mount_of(Path("/with space/file"), found)
    assert deepest is not None
    assert deepest.fstype == "btrfs"  # the last one made is on top
    assert mount_of(Path("/elsewhere"), found) == found[0]
    assert mount_of(tmp_path) is not None


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, DiskReadOnly),
        (errno.EACCES, DiskDenied),
        (errno.EPERM, DiskDenied),
        (errno.EIO, DiskFault),
        (errno.EMFILE, DiskFailed),
    ],
)
def test_each_errno_becomes_the_failure_that_names_it(number: int, kind: type[DiskError]) -> None:
    with pytest.raises(DiskError) as caught, explained("write", Path("/x\n")):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
    assert caught.value.data == {"path": "/x%0A", "errno": errno.errorcode[number]}


def test_a_parent_is_resolved_and_the_last_name_is_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "through").symlink_to("real")
    (tmp_path / "real" / "link").symlink_to("/etc/hostname")
    assert target_path(tmp_path / "through" / "link") == tmp_path / "real" / "link"
    assert target_path(str(tmp_path / "no" / "where")) == tmp_path / "no" / "where"


def test_unclear_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".noodle").mkdir()
    (tmp_path / "through").symlink_to(".noodle")
    long = "/" + "é" * (NAME_BYTES_MAX // 2 + 1)
    for text in ("", "a", "/a/..", "/a/../b", "/a/", "/a/.", "/", "/a\0b", "/.noodle/x", long):
        with pytest.raises(PathRefused):
            target_path(text)
    with pytest.raises(PathRefused):
        target_path(tmp_path / "through" / "x")
    longest = "/" + "n" * NAME_BYTES_MAX
    assert target_path(longest) == Path(longest)


def test_a_relative_path_stays_inside_or_is_none(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    (root / "round").symlink_to("in")
    assert inside(root, "in/file") == root / "in" / "file"
    assert inside(root, "round/file") == root / "in" / "file"
    for text in ("", ".", "../x", "/etc/hostname", "out/x", "in/../../x", "a\0"):
        assert inside(root, text) is None
