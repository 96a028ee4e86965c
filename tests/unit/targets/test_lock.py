"""Who may act on a target: the lock and the owner mark."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from noodle_engine.disk.failures import FolderUnsafe
from noodle_engine.targets.base import TargetLock
from noodle_engine.targets.failures import TargetBusy, TargetOwned
from noodle_engine.targets.file import FileTarget


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "web.py"
    path.write_bytes(b"")
    return path


def lock(path: Path, log: str = "log-1", *, take_over: bool = False) -> TargetLock:
    return FileTarget().lock(path, log, take_over=take_over)


def test_a_lock_makes_the_room_and_the_mark_with_their_modes(target: Path) -> None:
    held = lock(target)
    room = target.parent / ".noodle" / "web.py"
    modes = {
        name: stat.S_IMODE((room / name).stat().st_mode) for name in (".", "..", "lock", "owner")
    }
    assert modes == {".": 0o755, "..": 0o755, "lock": 0o600, "owner": 0o600}
    assert (room / "owner").read_text() == "log-1\n"
    held.release()
    lock(target).release()


def test_two_never_hold_one_target(target: Path) -> None:
    held = lock(target)
    with pytest.raises(TargetBusy) as caught:
        lock(target)
    assert caught.value.holder == os.getpid()
    held.release()
    held.release()
    lock(target).release()


WAITING = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def test_a_command_whose_end_is_not_known_keeps_others_out_until_it_ends(target: Path) -> None:
    held = lock(target)
    command = held.for_command()
    child = subprocess.Popen(WAITING, stdin=subprocess.PIPE, pass_fds=[command.descriptor])
    command.release()  # as a killed engine does
    held.release()
    with pytest.raises(TargetBusy) as caught:
        lock(target)
    assert caught.value.holder == child.pid
    child.communicate(b"")
    lock(target).release()


def test_what_a_command_left_running_is_in_nobodys_way(target: Path) -> None:
    held = lock(target)
    command = held.for_command()
    child = subprocess.Popen(WAITING, stdin=subprocess.PIPE, pass_fds=[command.descriptor])
    command.free()  # its end is known: the child is a service that it started
    again = held.for_command()
    again.free()
    held.release()
    lock(target).release()
    child.communicate(b"")


def test_no_child_holds_the_engines_own_lock(target: Path) -> None:
    held = lock(target)
    child = subprocess.Popen(WAITING, stdin=subprocess.PIPE, close_fds=False)
    held.release()
    lock(target).release()
    child.communicate(b"")


def test_another_logs_target_is_refused_and_taken_over_only_when_told(target: Path) -> None:
    lock(target).release()
    with pytest.raises(TargetOwned) as caught:
        lock(target, "log-2")
    assert caught.value.owner == "log-1"
    lock(target).release()  # the refusal left nothing held and the mark as it was
    lock(target, "log-2", take_over=True).release()
    with pytest.raises(TargetOwned):
        lock(target, "log-1")


def test_who_claims_nothing_leaves_the_mark_as_it_is(target: Path) -> None:
    mark = target.parent / ".noodle" / "web.py" / "owner"
    FileTarget().lock(target, "log-1", take_over=False, claim=False).release()
    assert not mark.exists()
    lock(target).release()
    FileTarget().lock(target, "log-2", take_over=True, claim=False).release()
    assert mark.read_text() == "log-1\n"


def test_a_mark_half_written_by_a_stranger_is_nobodys_and_refused(target: Path) -> None:
    lock(target).release()
    (target.parent / ".noodle" / "web.py" / "owner").write_bytes(b"")
    with pytest.raises(TargetOwned):
        lock(target)


def test_a_link_where_the_room_should_be_is_refused(target: Path) -> None:
    elsewhere = target.parent / "elsewhere"
    elsewhere.mkdir()
    (target.parent / ".noodle").symlink_to(elsewhere)
    with pytest.raises(FolderUnsafe):
        lock(target)
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_the_parent_leads_to_the_same_lock(target: Path) -> None:
    through = target.parent / "through"
    through.symlink_to(target.parent)
    held = lock(target)
    with pytest.raises(TargetBusy):
        lock(through / "web.py")
    held.release()
