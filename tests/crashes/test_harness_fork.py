"""The fork server proved: a forked run is the same run, and what cannot be forked is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crashes.harness.fork_client import ForkServer, ForkServerDied
from tests.crashes.harness.point import names
from tests.crashes.harness.run import RECORD, Bench, Command, RunTooLong, record, run
from tests.crashes.harness.shim import KILL
from tests.crashes.harness.snapshot import Snapshot
from tests.crashes.standin_scenario import Upgrading


def helper(arguments: list[str]) -> int:
    """An entry that makes a folder, has a child make one, and exits with three."""
    os.mkdir(f"{arguments[0]}/1")
    child = "import os, sys; os.mkdir(sys.argv[1] + '/2')"
    subprocess.run([sys.executable, "-c", child, arguments[0]], check=True)
    return 3


def endless(arguments: list[str]) -> int:
    """An entry that never ends."""
    while True:
        os.getppid()


def entry_command(name: str, root: Path) -> Command:
    """A command of this module; its program is never used."""
    root.mkdir()
    return Command(
        program=("false",),
        arguments=(str(root),),
        roots=(root,),
        folder=root,
        entry=f"{__name__}:{name}",
    )


def test_a_forked_run_makes_the_same_calls_as_a_new_process(bench: Bench, tmp_path: Path) -> None:
    command = Upgrading(bench).prepare(tmp_path)
    snapshot = Snapshot.take(tmp_path)
    new = record(command, bench)
    with ForkServer(command, bench) as server:
        for _ in range(2):
            snapshot.restore()
            forked = server.run(command, RECORD, 0)
            assert names(forked.log.recorded) == names(new.log.recorded)
            assert (forked.returncode, forked.stdout) == (new.returncode, new.stdout)
        snapshot.restore()
        assert server.run(command, KILL, 5).killed
        assert run(command, bench).returncode == 0


def test_helpers_of_a_forked_run_count_with_a_shared_counter(bench: Bench, tmp_path: Path) -> None:
    alone = entry_command("helper", tmp_path / "alone")
    together = replace(entry_command("helper", tmp_path / "together"), shared_counter=True)
    with ForkServer(alone, bench) as server:
        assert len(server.run(alone, RECORD, 0).log.recorded) == 1
        outcome = server.run(together, RECORD, 0)
    assert [point.number for point in outcome.log.recorded] == [1, 2]
    assert outcome.returncode == 3


def test_a_run_that_never_ends_is_ended(bench: Bench, tmp_path: Path) -> None:
    command = replace(entry_command("endless", tmp_path / "root"), run_s_max=0.2)
    with ForkServer(command, bench) as server, pytest.raises(RunTooLong):
        server.run(command, RECORD, 0)
    program = (sys.executable, "-c", "while True: pass")
    with pytest.raises(RunTooLong):
        run(replace(command, program=program), bench)


def test_an_entry_that_starts_a_thread_when_imported_is_refused(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "def main(arguments): return 0\n"
    )
    command = replace(
        entry_command("helper", tmp_path / "root"),
        entry="threaded:main",
        environment=(("PYTHONPATH", str(tmp_path)),),
    )
    with pytest.raises(ForkServerDied, match="started a thread"):
        ForkServer(command, bench)
