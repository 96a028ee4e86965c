"""An engine killed while a hook runs: the hook that is left is ended, and runs again by its key."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

WAIT_S_MAX: Final = 30.0
HOOK: Final = """\
import os, sys
with open(sys.argv[1], "a") as log:
    log.write(os.environ["NOODLE_STEP_KEY"] + " " + str(os.getpid()) + "\\n")
with open(sys.argv[2], "rb") as gate:  # waits until somebody opens the other end
    gate.read()
"""


class Site:
    """A home with one component whose hook waits at a gate, once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "live" / "web"
        self.log = folder / "log"
        self.gate = folder / "gate"
        self.log.touch()
        os.mkfifo(self.gate)
        self.target.parent.mkdir()
        (folder / "hook.py").write_text(HOOK)
        assert self.noodle("init")[0] == 0
        for version in ("1.0.0", "2.0.0"):
            self._release(version)

    def _release(self, version: str) -> None:
        release = self.folder / version
        release.mkdir()
        (release / "payload").write_text(version)
        hook = [sys.executable, str(self.folder / "hook.py"), str(self.log), str(self.gate)]
        hooks = f'[[hooks]]\nat = "after-swap"\ncommand = {json.dumps(hook)}\n'
        (release / "noodle.toml").write_text(
            'format = 1\n[component]\nname = "web"\n'
            f'version = "{version}"\nkind = "file"\n[payload]\npath = "payload"\n'
            f'[target]\npath = "{self.target}"\n{hooks if version == "2.0.0" else ""}'
        )
        code, answer = self.noodle("component", "add", str(release))
        assert code == 0, answer

    def started(self, *words: str) -> subprocess.Popen[str]:
        """A command that runs in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "noodle_engine.cli", "--json", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "NOODLE_HOME": str(self.folder / "home")},
        )

    def noodle(self, *words: str) -> tuple[int, dict[str, Any]]:
        """A command's exit code and answer."""
        with self.started(*words) as process:
            out, error = process.communicate(timeout=WAIT_S_MAX)
        assert "Traceback" not in error
        answer: dict[str, Any] = json.loads(out)
        return process.returncode, answer

    def hook_begins(self) -> int:
        """Open the gate's other end, which waits until the hook is at it; the descriptor."""
        return os.open(self.gate, os.O_WRONLY)

    def runs(self) -> list[tuple[str, int]]:
        """The step key and process of each run of the hook."""
        return [(key, int(pid)) for key, pid in map(str.split, self.log.read_text().splitlines())]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended; it is nobody's child here."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    assert poller.poll(WAIT_S_MAX * 1000)
    os.close(pidfd)


@pytest.mark.parametrize("way", ["resume", "abort"])
def test_a_hook_whose_engine_was_killed_is_ended_and_runs_again_with_its_key(
    way: str, tmp_path: Path
) -> None:
    site = Site(tmp_path)
    assert site.noodle("apply", "web@1.0.0", "--yes")[0] == 0
    engine = site.started("apply", "web@2.0.0", "--yes")
    gate = site.hook_begins()
    engine.send_signal(signal.SIGKILL)
    engine.communicate()
    ((key, orphan),) = site.runs()
    assert alive(orphan)
    assert site.target.read_text() == "2.0.0"

    _, answer = site.noodle("status")
    upgrade = answer["open"][0]["upgrade"]
    if way == "abort":
        code, answer = site.noodle("abort", upgrade)
        assert (code, answer["state"]) == (0, "rolled_back"), answer
        assert site.target.read_text() == "1.0.0"
        assert len(site.runs()) == 1
    else:
        resuming = site.started("resume", upgrade)
        wait_for_end(orphan)
        os.close(gate)
        os.close(site.hook_begins())  # the second one may end at once
        out, _ = resuming.communicate(timeout=WAIT_S_MAX)
        assert resuming.returncode == 0, out
        assert site.target.read_text() == "2.0.0"
        assert [one for one, _ in site.runs()] == [key, key]
    assert not alive(orphan)
    assert site.noodle("audit", "verify")[1]["ok"]
