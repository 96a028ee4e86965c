"""The snapshot puts a folder back, whatever happened to it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crashes.harness.snapshot import NotRestorable, Snapshot
from tests.crashes.standin import exchange


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files, a folder in a folder, a link, an extended attribute, odd modes and times."""
    made = tmp_path / "made"
    (made / "a/b").mkdir(parents=True)
    (made / "a/b/deep").write_bytes(b"deep")
    (made / "one").write_bytes(b"one")
    (made / "two").write_bytes(b"two")
    (made / "link").symlink_to("one")
    os.setxattr(made / "one", "user.color", b"red")
    (made / "two").chmod(0o640)
    os.utime(made / "one", ns=(1, 1_000_000_007))
    os.utime(made / "a", ns=(1, 2_000_000_009))
    return made


def file_for_folder(folder: Path) -> None:
    """A name that was a folder is a file."""
    shutil.rmtree(folder / "a")
    (folder / "a").touch()


def folder_for_file(folder: Path) -> None:
    """A name that was a file is a folder."""
    (folder / "one").unlink()
    (folder / "one").mkdir()


def turn_link(folder: Path) -> None:
    """A link leads elsewhere."""
    (folder / "link").unlink()
    (folder / "link").symlink_to("x")


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": Path.stat,
    "content": lambda folder: (folder / "one").write_bytes(b"longer than before"),
    "exchange": lambda folder: exchange(folder / "one", folder / "two"),
    "moved away": lambda folder: (folder / "one").rename(folder / "a/b/elsewhere"),
    "replaced": lambda folder: (folder / "two").rename(folder / "one"),
    "unlinked": lambda folder: (folder / "one").unlink(),
    "linked": lambda folder: (folder / "three").hardlink_to(folder / "one"),
    "added": lambda folder: (folder / "a/new/er").mkdir(parents=True),
    "folder gone": lambda folder: shutil.rmtree(folder / "a"),
    "folder moved": lambda folder: (folder / "a").rename(folder / "z"),
    "file for folder": file_for_folder,
    "folder for file": folder_for_file,
    "link turned": turn_link,
    "mode": lambda folder: (folder / "two").chmod(0o600),
    "attribute": lambda folder: os.setxattr(folder / "two", "user.new", b"1"),
    "attribute changed": lambda folder: os.setxattr(folder / "one", "user.color", b"blue"),
    "attribute gone": lambda folder: os.removexattr(folder / "one", "user.color"),
}
KEEPS_INODES = frozenset(CHANGES) - {
    *("replaced", "unlinked", "folder gone", "file for folder", "folder for file", "link turned")
}


def state(folder: Path) -> list[tuple[object, ...]]:
    """All that is promised, without the inodes."""
    return [
        (e.path, e.mode, e.owner, e.group, e.modified_ns, e.content, e.attributes)
        for e in Snapshot.take(folder).entries
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_a_restored_folder_is_what_it_was(change: str, folder: Path) -> None:
    taken = Snapshot.take(folder)
    before = state(folder)
    for _ in range(2):
        CHANGES[change](folder)
        if change != "nothing":
            assert state(folder) != before
        taken.restore()
        assert state(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["made"]


@pytest.mark.parametrize("change", sorted(KEEPS_INODES))
def test_an_inode_that_still_exists_is_kept(change: str, folder: Path) -> None:
    taken = Snapshot.take(folder)
    CHANGES[change](folder)
    taken.restore()
    assert Snapshot.take(folder).entries == taken.entries


def test_a_socket_is_left_out_and_a_pipe_is_refused(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    taken = Snapshot.take(folder)
    assert "socket" not in [entry.path for entry in taken.entries]
    taken.restore()
    assert not (folder / "socket").exists()
    os.mkfifo(folder / "pipe")
    with pytest.raises(NotRestorable):
        Snapshot.take(folder)
