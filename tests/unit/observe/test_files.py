"""L1, L2, L3: lines are whole, whoever writes and however full the disk is."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from noodle_engine.observe.files import FILES_KEPT, FULL, LineFile
from tests.conftest import require_system
from tests.unit.execute.site import NOBODY

LINE = b"0123456789abcde\n"
WRITER = """
import sys
from pathlib import Path
from noodle_engine.observe.files import LineFile
file = LineFile(Path(sys.argv[1]), bytes_max=20_000, rotate=True)
file.open()
for number in range(int(sys.argv[3])):
    line = f"{sys.argv[2]} {number:05d} ".encode()
    assert file.write(line + sys.argv[2].encode() * (7 + number % 50) + b"\\n")
"""


def opened(path: Path, bytes_max: int, *, rotate: bool = True) -> LineFile:
    made = LineFile(path, bytes_max=bytes_max, rotate=rotate, full=f'"{FULL}"\n'.encode())
    made.open()
    return made


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    file = opened(tmp_path / "log", 2 * len(LINE))
    for _ in range(2 * (FILES_KEPT + 3)):
        assert file.write(LINE)
    names = {f"log.{number}" for number in range(1, FILES_KEPT + 1)} | {"log"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {2 * LINE}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_without_rotation_it_ends_at_its_size_with_one_word(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file, other = opened(path, 100, rotate=False), opened(path, 100, rotate=False)
    wrote = [file.write(LINE) for _ in range(10)] + [other.write(LINE)]
    assert wrote == [True] * 5 + [False] * 6
    assert file.is_full and other.is_full  # noqa: PT018
    assert path.read_bytes() == 5 * LINE + f'"{FULL}"\n'.encode()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    path.write_bytes(b"")
    assert file.write(LINE)
    assert not file.is_full


def test_processes_that_write_and_rotate_at_once_lose_and_tear_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    count = 600
    writers = [
        subprocess.Popen([sys.executable, "-P", "-c", WRITER, str(path), name, str(count)])
        for name in "ab"
    ]
    assert [one.wait(60) for one in writers] == [0, 0]
    files = sorted(tmp_path.iterdir(), key=lambda one: -one.stat().st_mtime_ns)
    lines = [line for one in files for line in one.read_bytes().splitlines(keepends=True)]
    assert len(files) > 2
    for line in lines:
        name, number, letters = line.split(b" ")
        assert letters == name * (7 + int(number) % 50) + b"\n"
    assert len(lines) == len(set(lines)) == 2 * count
    assert max(one.stat().st_size for one in files) <= 20_000


def test_a_file_that_another_process_removed_is_made_again(tmp_path: Path) -> None:
    file = opened(tmp_path / "log", 1000)
    file.write(LINE)
    (tmp_path / "log").unlink()
    assert file.write(LINE)
    assert (tmp_path / "log").read_bytes() == LINE


def test_a_full_disk_takes_whole_lines_only(tmp_path: Path) -> None:
    """On a disk that really fills: what of a line did not fit is taken away."""
    require_system("root", lambda: os.geteuid() == 0, install="run as root, to mount a tmpfs")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    try:
        file = opened(disk / "log", 10**9)
        line = b"x" * 2_999 + b"\n"
        wrote = 0
        while file.write(line):
            wrote += 1
        assert 0 < wrote < 30
        assert (disk / "log").read_bytes() == wrote * line
        assert not file.write(line)
        (disk / "log").write_bytes(b"")
        assert file.write(LINE)
        assert (disk / "log").read_bytes() == LINE
        file.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("what", ["folder", "absent", "link", "second name"])
def test_what_is_no_file_is_an_error_at_once(tmp_path: Path, what: str) -> None:
    path = tmp_path / "log"
    other = tmp_path / "other"
    other.touch()
    if what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to(other)
    elif what == "second name":
        path.hardlink_to(other)
    else:
        path = path / "deeper"
    with pytest.raises(OSError, match=r"Errno"):
        opened(path, 100)
    assert other.read_bytes() == b""


def test_a_file_behind_a_device_is_written_and_never_put_aside(tmp_path: Path) -> None:
    """As /dev/stderr is where somebody leads it into a file. No device is made, either."""
    into = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    try:
        file = opened(Path(f"/dev/fd/{into}"), len(LINE))
        assert file.write(LINE)
        assert file.write(LINE)
        file.close()
    finally:
        os.close(into)
    assert (tmp_path / "out").read_bytes() == LINE * 2
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    with pytest.raises(FileNotFoundError):
        opened(Path("/dev/fd/100000"), 10)


def test_nobody_waits_for_a_pipe_that_nobody_reads(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match=r"Errno"):
        opened(path, 10)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        size = fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        file = opened(path, 10)
        assert file.write(LINE)
        assert not file.write(b"x" * size + b"\n")
        assert os.read(reader, len(LINE)) == LINE
    finally:
        os.close(reader)


def test_what_root_begins_in_the_home_of_another_is_theirs(tmp_path: Path) -> None:
    require_system("root", lambda: os.geteuid() == 0, install="run as root, to make it theirs")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    file = opened(theirs / "log", 2 * len(LINE))
    for _ in range(5):
        assert file.write(LINE)
    assert {path.stat().st_uid for path in theirs.iterdir()} == {NOBODY}
    assert len(list(theirs.iterdir())) > 1


def test_lines_that_fit_nowhere_are_lost_and_nothing_else(tmp_path: Path) -> None:
    file = opened(tmp_path / "log", 20)
    assert not file.write(b"x" * 30 + b"\n")
    assert file.write(LINE)
    assert (tmp_path / "log").read_bytes() == LINE
