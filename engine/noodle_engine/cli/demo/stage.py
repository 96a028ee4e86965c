"""Where the demo plays: its folder, its shop and visitors, and the `noodle` command it runs.

Owns everything that must be gone at the end, whatever happened: the shop, the
visitors, the commands that still run, the folder.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from noodle_engine.cli.demo import supervise, visitors
from noodle_engine.cli.failures import DemoFailed, UsageWrong

__all__ = ["COMMAND_S_MAX", "Stage", "set_stage", "this_noodle"]

COMMAND_S_MAX = 60.0
"""How long one command of the demo may take."""
_ANSWER_S_MAX = 5.0
_POLL_S = 0.02
_SHOWN_CHARACTERS_MAX = 300


def this_noodle() -> tuple[str, ...]:
    """How to run the command that is running."""
    return (sys.executable, "-P", "-m", "noodle_engine.cli")


@dataclass(slots=True)
class Stage:
    """One play. `step` is what the story is at, for failures."""

    folder: Path
    noodle: tuple[str, ...]
    port: int
    kept: bool
    step: str = "set the stage"
    commands: list[str] = field(default_factory=list)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The demo's own home."""
        return self.folder / "home"

    @property
    def target(self) -> Path:
        """The directory that is upgraded."""
        return self.folder / "srv" / "shop"

    @property
    def running_in(self) -> Path:
        """Where the supervisor keeps what it runs."""
        return self.folder / "run"

    @property
    def report(self) -> Path:
        """Where the visitors write what they saw."""
        return self.folder / "visitors.json"

    @property
    def pidfile(self) -> Path:
        """Names the process that release 1.1.0 kills."""
        return self.folder / "apply.pid"

    def fails(self, problem: str) -> DemoFailed:
        """The failure of the step that the story is at."""
        return DemoFailed(
            step=self.step, problem=problem, kept=str(self.folder) if self.kept else None
        )

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Fail the demo unless what was found is what the step promises."""
        if found != wanted:
            raise self.fails(f"{what} is {found!r}, and {wanted!r} was to be seen")

    def run(self, *words: str, code: int = 0, shown: bool = True) -> Any:
        """Run `noodle --json ...`; return its answer. Fails on another exit code."""
        if shown:
            self.commands.append(f"noodle {shlex.join(words)}")
        return self._answer(self._command((*self.noodle, "--json", *words)), words, code)

    def read_back(self, *words: str) -> Any:
        """Ask again what a line is about to claim."""
        return self.run(*words, shown=False)

    def run_killed(self, *words: str) -> None:
        """Run a command that must be ended by SIGKILL, its process named in the pidfile."""
        self.commands.append(f"noodle {shlex.join(words)}")
        gate = ("/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.pidfile))
        ended = self._command((*gate, *self.noodle, "--json", *words))
        if ended.returncode != -signal.SIGKILL:
            self._told(ended)
            raise self.fails(f"it ended with {ended.returncode}, not by SIGKILL in the middle")

    def _command(self, command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise self.fails(f"it took longer than {COMMAND_S_MAX:.0f} s") from error
        except OSError as error:
            raise self.fails(f"it cannot be run: {error.strerror}") from error

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "NOODLE" not in name}
        return {**kept, "NOODLE_HOME": str(self.home)}

    def _answer(
        self, ended: subprocess.CompletedProcess[bytes], words: Sequence[str], code: int
    ) -> Any:
        if ended.returncode != code:
            raise self.fails(f"`noodle {' '.join(words)}` ended with {self._told(ended)}")
        try:
            answer = json.loads(ended.stdout)
        except ValueError as error:
            raise self.fails(f"`noodle {' '.join(words)}` did not answer in JSON") from error
        self.expect("the format of the answer", answer.get("format"), 1)
        return answer

    @staticmethod
    def _told(ended: subprocess.CompletedProcess[bytes]) -> str:
        text = (ended.stdout + ended.stderr).decode(errors="replace").strip()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            text = json.loads(ended.stdout)["error"]["problem"]
        return f"{ended.returncode}: {text[-_SHOWN_CHARACTERS_MAX:]}"

    def open_shop(self) -> None:
        """Start the shop under its supervisor, and wait until it answers."""
        self._start(supervise, "run", self.running_in, self.target, self.port)
        end = time.monotonic() + supervise.START_S_MAX
        while not (self.running_in / "worker").exists():
            if time.monotonic() > end or self.running[-1].poll() is not None:
                raise self.fails(f"the shop does not open: see {self.running_in / 'log'}")
            time.sleep(_POLL_S)

    def let_visitors_in(self) -> None:
        """Start the visitors."""
        self._start(visitors, self.port, self.report)

    def see_visitors_off(self) -> Any:
        """Stop the visitors, and read what they saw."""
        there = self.running.pop()
        there.terminate()
        try:
            there.wait(COMMAND_S_MAX)
            return json.loads(self.report.read_text())
        except (subprocess.TimeoutExpired, OSError, ValueError) as error:
            raise self.fails(f"the visitors tell nothing: {error}") from error

    def _start(self, module: object, *words: object) -> None:
        program = str(Path(str(getattr(module, "__file__", ""))).resolve())
        # A session and an environment of its own: it is nobody's step.
        started = subprocess.Popen(
            [sys.executable, "-I", "-B", program, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
        self.running.append(started)

    def shop_says(self) -> str:
        """What the first line of a page of the shop says now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S_MAX)
        try:
            connection.request("GET", "/0")
            return connection.getresponse().read().decode().partition("\n")[0]
        except (OSError, http.client.HTTPException) as error:
            raise self.fails(f"the shop does not answer: {error}") from error
        finally:
            connection.close()

    def close(self) -> None:
        """End all that runs."""
        for started in reversed(self.running):
            if started.poll() is None:
                started.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(2 * supervise.STOP_S_MAX)
            if started.poll() is None:
                started.kill()
                started.wait()
        supervise.stop(self.running_in)


@contextmanager
def set_stage(keep: Path | None, noodle: tuple[str, ...]) -> Iterator[Stage]:
    """A folder and a free port; all of it gone at the end, save a folder that is kept.

    SIGTERM ends the demo as Ctrl-C does. Raises UsageWrong for a folder that
    is not empty.
    """
    folder = _folder(keep)
    stage = Stage(folder, noodle, _free_port(), keep is not None)
    earlier = signal.signal(signal.SIGTERM, _interrupt)
    try:
        stage.target.parent.mkdir()
        stage.running_in.mkdir()
        yield stage
    finally:
        # What is half cleared away is worse than a key pressed in vain.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        hearing = signal.signal(signal.SIGINT, signal.SIG_IGN)
        stage.close()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGINT, hearing)
        signal.signal(signal.SIGTERM, earlier)


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="noodle-demo-")).resolve()
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise UsageWrong(problem=f"{keep} is not empty", command="noodle demo")
    except OSError as error:
        problem = f"{keep} cannot be used: {error.strerror}"
        raise UsageWrong(problem=problem, command="noodle demo") from error
    return keep.resolve()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
