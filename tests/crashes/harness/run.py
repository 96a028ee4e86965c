"""Runs one command, bare or under the shim, in a new process or through a fork server.

Owns processes: each command leads its own session, is bounded in time, and
leaves no child behind unless asked. It never judges what the command did.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crashes.harness.point import Classify, Log, Point, classify, parse_log
from tests.crashes.harness.shim import Mode, Strike

REPOSITORY: Final = Path(__file__).parents[3]
RUN_S_MAX: Final = 60.0
OUTPUT_BYTES_MAX: Final = 64 * 1024
RECORD: Final = Strike(Mode.RECORD)


class RunTooLong(AssertionError):
    """A command was still running after its time."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: `program` and `arguments` make the argv, `roots` are watched.

    `entry` ("package.module:function", called with the list of arguments) is the
    same command for a fork server; None where only a new process will do. `preload`
    names modules that the server imports too, so that no run pays for them.
    `environment` is added to a clean one. `shared_counter` counts helper
    processes too. `keep_orphans` leaves its children alive when it dies.
    `returncode` is what it ends with when nothing strikes it.
    """

    program: tuple[str, ...]
    arguments: tuple[str, ...]
    roots: tuple[Path, ...]
    folder: Path
    entry: str | None = None
    preload: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    shared_counter: bool = False
    keep_orphans: bool = False
    returncode: int = 0
    run_s_max: float = RUN_S_MAX

    @property
    def argv(self) -> tuple[str, ...]:
        """Program and arguments."""
        return self.program + self.arguments


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: exit code, or minus the signal; its output, bounded; its points."""

    returncode: int
    stdout: str
    stderr: str
    log: Log = field(default=Log((), ()))

    @property
    def killed(self) -> bool:
        """Say whether SIGKILL ended it."""
        return self.returncode == -signal.SIGKILL

    @property
    def landed(self) -> Point | None:
        """The first point that was struck, if any was."""
        return self.log.landed[0] if self.log.landed else None

    def __str__(self) -> str:
        return f"ended with {self.returncode}\nstdout: {self.stdout}\nstderr: {self.stderr}"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where runs keep what is theirs: the compiled shim, a scratch folder outside all roots."""

    shim: Path
    scratch: Path

    def files(self) -> RunFiles:
        """New, empty files for one run."""
        return RunFiles(self.scratch / f"run-{os.urandom(6).hex()}")


class RunFiles:
    """Output, log and counter of one run; made empty, removed by `close`."""

    __slots__ = ("counter", "folder", "log", "stderr", "stdout")

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.stdout = folder / "stdout"
        self.stderr = folder / "stderr"
        self.log = folder / "log"
        self.counter = folder / "counter"
        self.stdout.touch()
        self.stderr.touch()

    def outcome(self, returncode: int, classify_path: Classify) -> Outcome:
        """Read what the run left here."""
        log = self.log.read_text(errors="surrogateescape") if self.log.exists() else ""
        return Outcome(
            returncode=returncode,
            stdout=_bounded(self.stdout),
            stderr=_bounded(self.stderr),
            log=parse_log(log, classify_path),
        )

    def close(self) -> None:
        """Remove them."""
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()


def _bounded(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(OUTPUT_BYTES_MAX).decode(errors="replace")


def base_environment(command: Command) -> dict[str, str]:
    """The whole environment of a command without the shim."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "PYTHONPYCACHEPREFIX": os.environ["PYTHONPYCACHEPREFIX"],
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(REPOSITORY),
        **dict(command.environment),
    }


def shim_environment(
    bench: Bench, command: Command, files: RunFiles, strike: Strike, at: int
) -> dict[str, str]:
    """What arms the shim in a new process."""
    return {
        "LD_PRELOAD": str(bench.shim),
        "CRASH_SHIM_ROOTS": ":".join(str(root) for root in command.roots),
        "CRASH_SHIM_LOG": str(files.log),
        "CRASH_SHIM_COUNTER": str(files.counter) if command.shared_counter else "",
        "CRASH_SHIM_MODE": strike.mode.value,
        "CRASH_SHIM_AT": str(at),
        "CRASH_SHIM_ERRNO": str(strike.error_number),
        "CRASH_SHIM_REPEAT": str(strike.repeat),
        "CRASH_SHIM_GROUP": str(int(strike.whole_group)),
    }


@contextmanager
def _bounded_time(process: int, seconds_max: float) -> Iterator[None]:
    """Kill the session that `process` leads when it outlives its time.

    Raises: RunTooLong, after the body saw the process end.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        kill_session(process)

    timer = threading.Timer(seconds_max, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    if late.is_set():
        raise RunTooLong(f"still running after {seconds_max} s")


def kill_session(leader: int) -> None:
    """SIGKILL a session's first group; call it only while the leader is not reaped."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def _started(command: Command, files: RunFiles, extra: dict[str, str]) -> Iterator[int]:
    """Start a command; on leaving it is dead and reaped, with its group unless kept."""
    with files.stdout.open("wb") as stdout, files.stderr.open("wb") as stderr:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=command.folder,
            env=base_environment(command) | extra,
            start_new_session=True,
        )
    try:
        with _bounded_time(process.pid, command.run_s_max):
            yield process.pid
    finally:
        if command.keep_orphans:
            process.kill()
        else:
            kill_session(process.pid)
        process.wait()


def _wait(process: int, events: int) -> int:
    """Wait without reaping; the return code of an ended process, or -SIGSTOP of a stopped one."""
    found = os.waitid(os.P_PID, process, events | os.WNOWAIT)
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def run(
    command: Command,
    bench: Bench,
    strike: Strike | None = None,
    at: int = 0,
    *,
    classify_path: Classify = classify,
) -> Outcome:
    """Run to the end in a new process, struck at number `at`, or bare without a strike.

    Raises: RunTooLong.
    """
    files = bench.files()
    extra = shim_environment(bench, command, files, strike, at) if strike else {}
    try:
        with _started(command, files, extra) as process:
            returncode = _wait(process, os.WEXITED)
        return files.outcome(returncode, classify_path)
    finally:
        files.close()


@contextmanager
def stopped_at(
    command: Command, bench: Bench, at: int, *, classify_path: Classify = classify
) -> Iterator[Outcome]:
    """Hold a run still just before call number `at`; it is killed on leaving.

    `landed` is None when it ended before it came there.
    """
    files = bench.files()
    strike = Strike(Mode.STOP)
    extra = shim_environment(bench, command, files, strike, at)
    try:
        with _started(command, files, extra) as process:
            returncode = _wait(process, os.WEXITED | os.WSTOPPED)
            yield files.outcome(returncode, classify_path)
    finally:
        files.close()


def record(command: Command, bench: Bench, *, classify_path: Classify = classify) -> Outcome:
    """Run to the end and write down every counted call."""
    return run(command, bench, RECORD, classify_path=classify_path)
