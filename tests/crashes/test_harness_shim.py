"""The shim proved call by call: what counts, and that a strike really does what it is called."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.crashes import standin
from tests.crashes.harness.point import Point, names
from tests.crashes.harness.run import Bench, Command, Outcome, record, run, stopped_at
from tests.crashes.harness.shim import (
    DISK_FULL,
    EIO,
    ENOSPC,
    KILL,
    KILL_AFTER,
    SHORT,
    TORN,
    Mode,
    Strike,
)
from tests.crashes.harness.snapshot import Snapshot
from tests.crashes.standin_scenario import Upgrading

EVERY_CALL = """
import ctypes, os, sys
root = sys.argv[1]
def at(name): return os.path.join(root, name)
fd = os.open(at("a"), os.O_RDWR | os.O_CREAT, 0o600)
os.open(at("a"), os.O_RDONLY)                      # changes nothing: not counted
os.write(fd, b"x" * 100)
os.pwrite(fd, b"y" * 100, 100)
os.writev(fd, [b"1" * 10, b"2" * 10])
os.pwritev(fd, [b"3" * 10, b"4" * 10], 50)
other = os.open(at("b"), os.O_RDWR | os.O_CREAT, 0o600)
os.copy_file_range(fd, other, 10, 0, 0)
os.sendfile(other, fd, 0, 10)
os.fsync(fd); os.fdatasync(fd)
os.ftruncate(fd, 10); os.truncate(at("a"), 5)
os.posix_fallocate(fd, 0, 4096)
os.chmod(at("a"), 0o600); os.fchmod(fd, 0o600)
os.chown(at("a"), os.getuid(), os.getgid()); os.fchown(fd, os.getuid(), os.getgid())
os.utime(at("a")); os.utime(fd)
os.setxattr(at("a"), "user.k", b"v"); os.removexattr(at("a"), "user.k")
os.setxattr(fd, "user.k", b"v"); os.removexattr(fd, "user.k")
os.link(at("a"), at("c")); os.symlink("a", at("d"))
os.mkdir(at("e")); os.rename(at("c"), at("e/c"))
folder = os.open(root, os.O_RDONLY)
os.rename("b", "e/b", src_dir_fd=folder, dst_dir_fd=folder)
os.unlink(at("e/b")); os.remove(at("e/c")); os.rmdir(at("e"))
libc = ctypes.CDLL(None)
libc.syncfs(fd)
libc.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(0), 2)
open(at("f"), "w").close(); open(at("f"), "w").close()  # created, then emptied
exchange = (-100, at("a").encode(), -100, at("f").encode(), 2)
libc.renameat2(*exchange); libc.syscall(316, *exchange)
libc.renameat2(-100, at("f").encode(), -100, at("g").encode(), 1)
open(at("x-shm"), "w").write("never counted")
os.chdir(root); open("h", "w").close(); open("../" + os.path.basename(root) + "/h2", "w").close()
outside = open(sys.argv[2], "w"); outside.write("not under the root"); outside.close()
"""
EXPECTED = (
    *("open", "write", "pwrite", "writev", "pwritev", "open", "copy_file_range", "sendfile"),
    *("fsync", "fdatasync", "ftruncate", "truncate", "fallocate"),
    *("chmod", "fchmod", "chown", "fchown", "utimens", "utimens"),
    *("setxattr", "removexattr", "fsetxattr", "fremovexattr"),
    *("link", "symlink", "mkdir", "rename", "rename", "unlink", "unlink", "rmdir"),
    *("syncfs", "sync_file_range", "open", "open"),
    *("rename_exchange", "rename_exchange", "rename_noreplace", "open", "open"),
)
CALLS = 28 + 2 * (os.geteuid() == 0)
"""Of the stand-in's upgrade; as root, SQLite gives each new log the owner of its database."""


def script(text: str, root: Path, *arguments: str, shared: bool = False) -> Command:
    """A program given as text; its root is its first argument."""
    root.mkdir()
    return Command(
        program=(sys.executable, "-c", text),
        arguments=(str(root), *arguments),
        roots=(root,),
        folder=root.parent,
        shared_counter=shared,
    )


def struck(bench: Bench, folder: Path, strike: Strike, call: str, nth: int = 0) -> Outcome:
    """The stand-in's upgrade, struck at the nth call of a name."""
    folder.mkdir()
    command = Upgrading(bench).prepare(folder)
    snapshot = Snapshot.take(folder)
    points = [p for p in record(command, bench).log.recorded if p.call == call]
    snapshot.restore()
    return run(command, bench, strike, points[nth].number)


def landing(outcome: Outcome) -> Point:
    """The struck point; there must be one."""
    assert outcome.landed is not None, str(outcome)
    return outcome.landed


def test_every_call_that_changes_a_root_counts_once_and_no_other(
    bench: Bench, tmp_path: Path
) -> None:
    command = script(EVERY_CALL, tmp_path / "root", str(tmp_path / "outside"))
    outcome = record(command, bench)
    assert outcome.returncode == 0, str(outcome)
    assert tuple(point.call for point in outcome.log.recorded) == EXPECTED
    assert [point.number for point in outcome.log.recorded] == list(range(1, len(EXPECTED) + 1))
    assert all(place.root == 0 for point in outcome.log.recorded for place in point.places)
    assert [p.places[0].path for p in outcome.log.recorded[-2:]] == ["h", "h2"]


def test_a_program_under_the_idle_or_recording_shim_does_the_same(
    bench: Bench, tmp_path: Path
) -> None:
    bare = script(EVERY_CALL, tmp_path / "bare", str(tmp_path / "outside"))
    watched = script(EVERY_CALL, tmp_path / "watched", str(tmp_path / "outside"))
    assert run(bare, bench).returncode == record(watched, bench).returncode == 0
    for path in (tmp_path / "bare").iterdir():
        twin = tmp_path / "watched" / path.name
        assert twin.is_symlink() or twin.read_bytes() == path.read_bytes()


def test_two_recordings_agree_and_both_threads_are_in_them(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    command = Upgrading(bench).prepare(tmp_path / "w")
    snapshot = Snapshot.take(tmp_path / "w")
    first = record(command, bench).log.recorded
    snapshot.restore()
    second = record(command, bench).log.recorded
    assert names(first) == names(second)
    assert len(first) == CALLS
    assert len({point.thread for point in first}) == 2
    assert {point.file_class for point in first} == {
        "journal.db",
        "journal.db-wal",
        "parent directory",
        "staged",
        "staged+target",
    }


def test_a_kill_ends_the_process_before_the_named_call(bench: Bench, tmp_path: Path) -> None:
    outcome = struck(bench, tmp_path / "w", KILL, "rename_exchange")
    assert outcome.returncode == -signal.SIGKILL
    assert landing(outcome).call == "rename_exchange"
    assert (tmp_path / "w/srv/web").read_bytes() == standin.OLD


def test_a_kill_after_the_call_leaves_its_effect(bench: Bench, tmp_path: Path) -> None:
    outcome = struck(bench, tmp_path / "w", KILL_AFTER, "rename_exchange")
    assert outcome.returncode == -signal.SIGKILL
    assert (tmp_path / "w/srv/web").read_bytes() == standin.NEW


def test_a_kill_reaches_the_thread_that_commits(bench: Bench, tmp_path: Path) -> None:
    outcome = struck(bench, tmp_path / "w", KILL, "pwrite", nth=3)
    assert outcome.killed
    assert landing(outcome).file_class == "journal.db-wal"
    assert landing(outcome).thread != landing(outcome).process


@pytest.mark.parametrize(
    ("strike", "number"), [(EIO, errno.EIO), (ENOSPC, errno.ENOSPC)], ids=["EIO", "ENOSPC"]
)
def test_a_failing_call_is_not_made_and_its_error_arrives(
    strike: Strike, number: int, bench: Bench, tmp_path: Path
) -> None:
    outcome = struck(bench, tmp_path / "w", strike, "rename_exchange")
    assert outcome.returncode == standin.CALL_FAILED
    assert f"[Errno {number}]" in outcome.stderr
    assert (tmp_path / "w/srv/web").read_bytes() == standin.OLD


def test_a_failing_commit_arrives_as_the_databases_error(bench: Bench, tmp_path: Path) -> None:
    outcome = struck(bench, tmp_path / "w", EIO, "pwrite", nth=3)
    assert outcome.returncode == standin.COMMIT_FAILED


def test_a_torn_write_leaves_its_first_half_and_a_dead_process(
    bench: Bench, tmp_path: Path
) -> None:
    outcome = struck(bench, tmp_path / "w", TORN, "write")
    assert outcome.killed
    assert landing(outcome).bytes_asked == 8192
    assert (tmp_path / "w/srv/.web.next-01").read_bytes() == standin.NEW[:4096]


def test_a_torn_gather_write_is_cut_inside_a_piece(bench: Bench, tmp_path: Path) -> None:
    text = "import os, sys; fd = os.open(sys.argv[1] + '/a', os.O_WRONLY | os.O_CREAT)\n"
    text += "os.writev(fd, [b'abcdef', b'ghij'])"
    outcome = run(script(text, tmp_path / "root"), bench, TORN, 2)
    assert outcome.killed
    assert (tmp_path / "root/a").read_bytes() == b"abcde"


def test_a_short_write_answers_half_and_the_process_goes_on(bench: Bench, tmp_path: Path) -> None:
    text = "import os, sys; fd = os.open(sys.argv[1] + '/a', os.O_WRONLY | os.O_CREAT)\n"
    text += "print(os.write(fd, b'abcdefgh'))"
    outcome = run(script(text, tmp_path / "root"), bench, SHORT, 2)
    assert (outcome.returncode, outcome.stdout) == (0, "4\n")
    assert (tmp_path / "root/a").read_bytes() == b"abcd"


def test_a_full_disk_refuses_what_needs_space_and_nothing_else(
    bench: Bench, tmp_path: Path
) -> None:
    text = """
import os, sys
root = sys.argv[1]
open(root + "/a", "w").close()
for call in (lambda: open(root + "/b", "w"), lambda: os.mkdir(root + "/c"),
             lambda: os.truncate(root + "/a", 0), lambda: os.unlink(root + "/a")):
    try:
        call(); print("made")
    except OSError as problem:
        print(problem.errno)
"""
    outcome = run(script(text, tmp_path / "root"), bench, DISK_FULL, 2)
    assert outcome.stdout.split() == [str(errno.ENOSPC)] * 2 + ["made"] * 2


def test_an_error_repeats_as_often_as_asked(bench: Bench, tmp_path: Path) -> None:
    text = """
import os, sys
for name in "abcd":
    try:
        os.mkdir(sys.argv[1] + "/" + name); print("made")
    except OSError as problem:
        print(problem.errno)
"""
    twice = Strike(Mode.ERROR, errno.EIO, repeat=2)
    outcome = run(script(text, tmp_path / "root"), bench, twice, 2)
    assert outcome.stdout.split() == ["made", "5", "5", "made"]


def test_a_stop_holds_every_thread_before_the_call(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    command = Upgrading(bench).prepare(folder)
    snapshot = Snapshot.take(folder)
    points = record(command, bench).log.recorded
    snapshot.restore()
    exchange = next(point for point in points if point.call == "rename_exchange")
    with stopped_at(command, bench, exchange.number) as outcome:
        assert outcome.returncode == -signal.SIGSTOP
        assert landing(outcome).name == exchange.name
        for status in Path(f"/proc/{landing(outcome).process}/task").glob("*/stat"):
            assert status.read_text().rpartition(")")[2].split()[0] == "T"
        assert (folder / "srv/web").read_bytes() == standin.OLD


HELPER = """
import os, subprocess, sys
os.mkdir(sys.argv[1] + "/1")
subprocess.run([sys.executable, "-c", "import os, sys; os.mkdir(sys.argv[1] + '/2')", sys.argv[1]])
os.mkdir(sys.argv[1] + "/3")
"""


def test_helper_processes_count_only_with_a_shared_counter(bench: Bench, tmp_path: Path) -> None:
    alone = record(script(HELPER, tmp_path / "alone"), bench).log.recorded
    assert [point.places[0].path for point in alone] == ["1", "3"]
    together = record(script(HELPER, tmp_path / "together", shared=True), bench).log.recorded
    assert [(point.number, point.places[0].path) for point in together] == [
        (1, "1"),
        (2, "2"),
        (3, "3"),
    ]


def test_a_strike_in_a_helper_kills_it_alone_or_the_whole_group(
    bench: Bench, tmp_path: Path
) -> None:
    alone = run(script(HELPER, tmp_path / "alone", shared=True), bench, KILL, 2)
    assert alone.returncode == 0
    assert sorted(path.name for path in (tmp_path / "alone").iterdir()) == ["1", "3"]
    group = Strike(Mode.KILL, whole_group=True)
    together = run(script(HELPER, tmp_path / "together", shared=True), bench, group, 2)
    assert together.killed
    assert [path.name for path in (tmp_path / "together").iterdir()] == ["1"]


def test_a_missing_root_is_refused_and_not_a_run_without_points(
    bench: Bench, tmp_path: Path
) -> None:
    command = script("print('ran')", tmp_path / "root")
    (tmp_path / "root").rmdir()
    outcome = record(command, bench)
    assert outcome.returncode == -signal.SIGABRT
    assert outcome.stdout == ""
