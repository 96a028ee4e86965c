"""Locks are held by descriptors, and their files stay (laws L1, L2)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from noodle_engine.disk.failures import DiskError, LockHeld
from noodle_engine.disk.locks import lock_file, lock_holder, read_mark, write_mark
from noodle_engine.disk.whole import read_whole, write_whole

HOLD = """\
import sys
from pathlib import Path
from noodle_engine.disk.locks import lock_file
lock = lock_file(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_holder_is_named_by_its_process_id(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(LockHeld) as caught:
        lock_file(path)
    assert caught.value.holder == lock_holder(path) == child.pid
    child.communicate(b"")
    lock_file(path).release()
    assert lock_holder(path) is None


def test_waiting_for_a_lock_ends_when_it_is_free_or_the_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock_file(path)
    began_ms = time.monotonic() * 1000
    with pytest.raises(LockHeld) as caught:
        lock_file(path, wait_ms_max=30)
    assert time.monotonic() * 1000 - began_ms >= 30
    assert caught.value.data["waited_ms"] == 30

    waiting = threading.Event()
    got: list[int] = []

    def wait() -> None:
        waiting.set()
        lock = lock_file(path, wait_ms_max=60_000)
        got.append(lock.descriptor)
        lock.release()

    waiter = threading.Thread(target=wait)
    waiter.start()
    waiting.wait()
    held.release()
    waiter.join()
    assert len(got) == 1


def test_a_lock_file_that_was_removed_meanwhile_is_not_held(tmp_path: Path) -> None:
    """L2: whoever locks afterwards locks the file that has the name."""
    path = tmp_path / "lock"
    first = lock_file(path)
    path.unlink()
    second = lock_file(path)
    assert os.fstat(first.descriptor).st_ino != os.fstat(second.descriptor).st_ino
    with pytest.raises(LockHeld):
        lock_file(path)
    first.release()
    with pytest.raises(LockHeld):
        lock_file(path)
    second.release()


def test_a_link_is_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskError):
        lock_file(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


def test_a_mark_is_written_once_and_replaced_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    assert read_mark(path) is None
    assert write_mark(path, "one", replace=False) is True
    assert write_mark(path, "two", replace=False) is False
    assert read_mark(path) == "one"
    assert write_mark(path, "two", replace=True) is True
    assert read_mark(path) == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["owner"]


def test_what_a_killed_writer_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".file.next").write_bytes(b"half")
    assert write_whole(tmp_path / "file", b"whole", 0o640, replace=False) is True
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["file"]


def test_reading_is_bounded_and_follows_no_link(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read_whole(path, bytes_max=4) is None
    path.write_bytes(b"four")
    assert read_whole(path, bytes_max=4) == b"four"
    (tmp_path / "link").symlink_to(path)
    for wrong, limit in ((path, 3), (tmp_path / "link", 9), (tmp_path, 9)):
        with pytest.raises(DiskError):
            read_whole(wrong, bytes_max=limit)
