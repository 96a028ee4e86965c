"""Who works in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from noodle_engine.disk.holders import users_of


def pids(folder: Path) -> set[int]:
    return {one.pid for one in users_of(folder)}


def test_a_process_that_holds_a_folder_open_or_runs_in_it_uses_it(tmp_path: Path) -> None:
    folder, other = tmp_path / "kept", tmp_path / "kept-not"
    (folder / "in").mkdir(parents=True)
    other.mkdir()
    assert pids(folder) == set()
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert pids(folder) == {os.getpid()}
    finally:
        os.close(descriptor)
    words = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        words, cwd=folder / "in", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert pids(folder) == {child.pid}
        assert pids(other) == set()
        folder.rename(tmp_path / "moved")
        assert pids(tmp_path / "moved") == {child.pid}
        child.communicate(b"")
    assert pids(tmp_path / "moved") == set()
