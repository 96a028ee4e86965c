"""Changing names: one step, nothing replaced, nothing followed (laws N1, N2)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from noodle_engine.disk.failures import DiskFailed, FolderUnsafe
from noodle_engine.disk.locks import lock_file
from noodle_engine.disk.names import (
    PROBE_NAMES_MAX,
    exchange,
    fsync_folder,
    make_folder,
    prove_exchange,
    remove_folder,
    rename_noreplace,
    unlink_quietly,
)
from tests.conftest import require_system


def test_exchange_swaps_what_two_names_name(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1")
    second.mkdir()
    exchange(first, second)
    assert first.is_dir()
    assert second.read_bytes() == b"1"


def test_exchange_with_nothing_fails_and_changes_nothing(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_bytes(b"1")
    with pytest.raises(DiskFailed):
        exchange(first, tmp_path / "second")
    assert os.listdir(tmp_path) == ["first"]


@pytest.mark.parametrize("taken", ["file", "folder", "dangling", "hard-link"])
def test_rename_noreplace_leaves_whatever_is_there(tmp_path: Path, taken: str) -> None:
    """N1. A plain rename onto a hard link of itself would do nothing and say it did."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"1")
    match taken:
        case "file":
            target.write_bytes(b"2")
        case "folder":
            target.mkdir()
        case "dangling":
            target.symlink_to("nowhere")
        case _:
            os.link(source, target)
    before = os.lstat(target).st_ino
    assert rename_noreplace(source, target) is False
    assert os.lstat(target).st_ino == before
    assert source.read_bytes() == b"1"
    assert rename_noreplace(source, tmp_path / "free") is True


def test_a_folder_gets_exactly_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_folder(tmp_path / "made", 0o755)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o755
    (tmp_path / "made").chmod(0o700)
    make_folder(tmp_path / "made", 0o755)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700  # it was there: it stays


def test_a_folder_that_is_another_users_a_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(FolderUnsafe):
            make_folder(tmp_path / name, 0o700)
    require_system("root", lambda: os.geteuid() == 0, install="run as root")
    (tmp_path / "others").mkdir()
    os.chown(tmp_path / "others", 12345, 12345)
    with pytest.raises(FolderUnsafe):
        make_folder(tmp_path / "others", 0o700)
    make_folder(tmp_path / "others" / "ours", 0o700)
    os.chown(tmp_path / "others" / "ours", 12345, 12345)
    make_folder(tmp_path / "others" / "ours", 0o700)  # the parent's owner could do worse


def test_removing_a_folder_follows_no_link_and_spares_folders(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"")
    (folder / "link").symlink_to(outside)
    assert remove_folder(folder) is True
    assert (outside / "kept").exists()
    assert remove_folder(folder) is False

    (folder / "inner").mkdir(parents=True)
    assert remove_folder(folder) is False
    assert (folder / "inner").exists()


def test_unlinking_twice_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert unlink_quietly(tmp_path / "file") is True
    assert unlink_quietly(tmp_path / "file") is False


def test_proving_the_exchange_steps_over_what_is_not_its_own_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    left = [tmp_path / f".noodle-probe-{os.getpid()}-{n}" for n in range(PROBE_NAMES_MAX - 2)]
    for path in left:
        path.write_bytes(b"not mine")
    prove_exchange(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(left)
    (tmp_path / f".noodle-probe-{os.getpid()}-{PROBE_NAMES_MAX - 1}").write_bytes(b"nor this")
    with pytest.raises(DiskFailed):
        prove_exchange(tmp_path)
    assert all(path.read_bytes() == b"not mine" for path in left)


def test_proving_the_exchange_removes_what_killed_probes_left_and_no_live_ones(
    tmp_path: Path,
) -> None:
    killed, live = tmp_path / ".noodle-probe-1-0", tmp_path / ".noodle-probe-1-1"
    killed.write_bytes(b"")
    live.write_bytes(b"")
    lock = lock_file(live)
    prove_exchange(tmp_path)
    assert list(tmp_path.iterdir()) == [live]
    lock.release()
    prove_exchange(tmp_path)
    assert not list(tmp_path.iterdir())


def test_syncing_a_missing_folder_fails_by_name(tmp_path: Path) -> None:
    fsync_folder(tmp_path)
    with pytest.raises(DiskFailed) as caught:
        fsync_folder(tmp_path / "nowhere")
    assert caught.value.data["errno"] == "ENOENT"
