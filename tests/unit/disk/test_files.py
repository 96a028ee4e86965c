"""One file's content and attributes: read, copied, proved (laws C1 to C3)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from noodle_engine.disk.failures import (
    AttributesNotKept,
    CopyStopped,
    DiskError,
    DiskFailed,
    DiskFull,
)
from noodle_engine.disk.files import (
    CHUNK_BYTES,
    FileFacts,
    ObjectKind,
    Owner,
    facts_of,
    kind_of,
    owner_for_new,
    stage_file,
)
from tests.conftest import require_system

HERE = Owner(os.geteuid(), os.getegid())


def staged(source: Path, target: Path, *, mode: int = 0o644, **attributes: bytes) -> FileFacts:
    xattrs = {f"user.{name}": value for name, value in attributes.items()}
    return stage_file(source, target, mode=mode, owner=HERE, xattrs=xattrs)


@pytest.mark.parametrize("size", [0, 1, 4096, CHUNK_BYTES + 1])
def test_a_copy_is_whole_and_has_exactly_its_attributes(tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    data = os.urandom(size)
    source.write_bytes(data)
    facts = staged(source, tmp_path / "staged", mode=0o4711, note=b"\x00\xff")

    assert (tmp_path / "staged").read_bytes() == data
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert (facts.size, facts.mode, facts.owner) == (size, 0o4711, HERE)
    assert facts.xattrs == {"user.note": b"\x00\xff"}


def test_a_copy_across_file_systems_is_whole(tmp_path: Path) -> None:
    """Neither blocks nor copy_file_range can be shared with procfs: bytes go through memory."""
    facts = staged(Path("/proc/self/mountinfo"), tmp_path / "staged")
    assert facts.size > 0
    assert (tmp_path / "staged").read_bytes() == Path("/proc/self/mountinfo").read_bytes()


def test_a_sparse_source_is_copied_whole(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as opened:
        opened.truncate(3 * 1024 * 1024)
        opened.seek(1024 * 1024)
        opened.write(b"middle")
    assert staged(source, tmp_path / "staged").sha256 == facts_of(source).sha256


def test_staging_never_overwrites_and_follows_no_link(tmp_path: Path) -> None:
    """C1, C3."""
    source = tmp_path / "source"
    source.write_bytes(b"new")
    (tmp_path / "taken").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "payload-link").symlink_to(source)
    for target in ("taken", "link"):
        with pytest.raises(DiskFailed) as caught:
            staged(source, tmp_path / target)
        assert caught.value.number == errno.EEXIST
    with pytest.raises(DiskError):
        staged(tmp_path / "payload-link", tmp_path / "free")
    assert (tmp_path / "taken").read_bytes() == b"kept"
    assert not (tmp_path / "elsewhere").exists()


def test_a_copy_reports_its_progress_and_stops_when_told(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3 * CHUNK_BYTES)
    seen: list[tuple[int, int]] = []
    stage_file(
        source,
        tmp_path / "whole",
        mode=0o600,
        owner=HERE,
        xattrs=None,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (3 * CHUNK_BYTES, 3 * CHUNK_BYTES)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)

    stop = threading.Event()
    stop.set()
    with pytest.raises(CopyStopped):
        stage_file(source, tmp_path / "part", mode=0o600, owner=HERE, xattrs=None, stop=stop)
    with pytest.raises(CopyStopped):
        facts_of(source, stop=stop)


def test_attributes_that_cannot_be_kept_are_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"")
    with pytest.raises(AttributesNotKept) as caught:
        stage_file(source, tmp_path / "staged", mode=0o600, owner=HERE, xattrs={"nonsense.x": b"1"})
    assert caught.value.attribute == "attribute nonsense.x"


def test_an_acl_is_kept_and_one_that_the_folder_gives_is_taken_off(tmp_path: Path) -> None:
    require_system("acl", "setfacl")
    source, with_acl = tmp_path / "source", tmp_path / "with-acl"
    source.write_bytes(b"")
    with_acl.write_bytes(b"")
    subprocess.run(["setfacl", "-m", "u:12345:r--", with_acl], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:54321:rwx", tmp_path], check=True)
    kept = facts_of(with_acl)
    assert "system.posix_acl_access" in kept.xattrs

    made = stage_file(
        source, tmp_path / "one", mode=kept.mode, owner=kept.owner, xattrs=kept.xattrs
    )
    assert (made.mode, made.xattrs) == (kept.mode, kept.xattrs)
    plain = stage_file(source, tmp_path / "two", mode=0o640, owner=HERE, xattrs={})
    assert (plain.mode, plain.xattrs) == (0o640, {})
    given = stage_file(source, tmp_path / "three", mode=0o640, owner=HERE, xattrs=None)
    assert "system.posix_acl_access" in given.xattrs


def test_capabilities_outlive_a_change_of_owner(tmp_path: Path) -> None:
    require_system("root", lambda: os.geteuid() == 0, install="run as root")
    require_system("libcap2-bin", "setcap")
    capable, source = tmp_path / "capable", tmp_path / "source"
    capable.write_bytes(b"")
    source.write_bytes(b"")
    subprocess.run(["setcap", "cap_net_bind_service=ep", capable], check=True)
    kept = facts_of(capable)
    assert "security.capability" in kept.xattrs
    made = stage_file(
        source, tmp_path / "staged", mode=0o755, owner=Owner(12345, 12345), xattrs=kept.xattrs
    )
    assert made.xattrs == kept.xattrs


def test_a_full_disk_shows_before_a_byte_is_copied(tmp_path: Path) -> None:
    require_system("root", lambda: os.geteuid() == 0, install="run as root")
    source, disk = tmp_path / "source", tmp_path / "disk"
    source.write_bytes(b"x" * 2 * 1024 * 1024)
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    try:
        with pytest.raises(DiskFull):
            staged(source, disk / "staged")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_kinds_are_told_apart_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "other")
    for kind in ObjectKind:
        assert kind_of(tmp_path / kind.value) is kind


def test_reading_what_is_no_file_fails_and_never_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/hostname")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "link", tmp_path / "nowhere"):
        with pytest.raises(DiskError):
            facts_of(path)


def test_a_new_file_gets_the_runners_owner_or_for_root_the_folders(tmp_path: Path) -> None:
    assert owner_for_new(tmp_path) == HERE
    require_system("root", lambda: os.geteuid() == 0, install="run as root")
    os.chown(tmp_path, 12345, 54321)
    assert owner_for_new(tmp_path) == Owner(12345, 54321)
    tmp_path.chmod(0o2775)
    os.chown(tmp_path, 0, 54321)
    os.seteuid(65534)
    try:
        assert owner_for_new(Path("/")) == Owner(65534, os.getegid())
    finally:
        os.seteuid(0)
    assert stat.S_IMODE(tmp_path.stat().st_mode) & stat.S_ISGID
