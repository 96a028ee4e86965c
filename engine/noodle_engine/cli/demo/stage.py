"""Where the demo plays: its folder, its service, and the `noodle` command it runs.

Owns everything that must be gone at the end, whatever happened: the service,
the commands that still run, the folder.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from noodle_engine.cli.demo import supervise
from noodle_engine.cli.failures import DemoFailed, UsageWrong

__all__ = ["COMMAND_S_MAX", "Stage", "set_stage", "this_noodle"]

COMMAND_S_MAX = 60.0
"""How long one command of the demo may take."""
_ANSWER_S_MAX = 5.0
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

    @property
    def home(self) -> Path:
        """The demo's own home."""
        return self.folder / "home"

    @property
    def target(self) -> Path:
        """The file that is upgraded."""
        return self.folder / "srv" / "web.py"

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
            self.commands.append(f"noodle {' '.join(words)}")
        return self._answer(self._command((*self.noodle, "--json", *words)), words, code)

    def read_back(self, *words: str) -> Any:
        """Ask again what a line is about to claim."""
        return self.run(*words, shown=False)

    def run_killed(self, *words: str) -> None:
        """Run a command that must be ended by SIGKILL, its process named in the pidfile."""
        self.commands.append(f"noodle {' '.join(words)}")
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

    def service_says(self) -> str:
        """What the running service answers now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S_MAX)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode().strip()
        except (OSError, http.client.HTTPException) as error:
            raise self.fails(f"the service does not answer: {error}") from error
        finally:
            connection.close()


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
        yield stage
    finally:
        # What is half cleared away is worse than a key pressed in vain.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        hearing = signal.signal(signal.SIGINT, signal.SIG_IGN)
        supervise.stop(stage.target.parent)
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
