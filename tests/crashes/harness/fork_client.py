"""The harness's side of the fork server: the same runs as `run`, three to five times as fast.

Owns the server process. For kills, failing calls and torn writes; a run that
must be stopped, and every resume, takes a new process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.crashes.harness.fork_server import Request
from tests.crashes.harness.point import Classify, classify
from tests.crashes.harness.run import (
    Bench,
    Command,
    Outcome,
    RunFiles,
    RunTooLong,
    base_environment,
    kill_session,
    shim_environment,
)
from tests.crashes.harness.shim import Strike

SERVER: Final = Path(__file__).with_name("fork_server.py")


class ForkServerDied(AssertionError):
    """The server ended, or never started: its own words say why."""


class ForkServer:
    """A process that has imported `entry` once; use it as a context manager, from one thread."""

    def __init__(self, command: Command, bench: Bench) -> None:
        if command.entry is None:
            raise ValueError("this command has no entry to fork")
        self._bench = bench
        self._errors = bench.files()
        with self._errors.stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), str(bench.shim), command.entry, *command.preload],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=base_environment(command) | {"LD_PRELOAD": str(bench.shim)},
                text=True,
                start_new_session=True,
            )
        self._entry = command.entry
        try:
            self._answer()
        except ForkServerDied:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ForkServerDied(self._errors.stderr.read_text())
        return int(line)

    def run(
        self, command: Command, strike: Strike, at: int, *, classify_path: Classify = classify
    ) -> Outcome:
        """Run to the end in a forked child, struck at number `at`.

        Raises: RunTooLong, ForkServerDied.
        """
        if command.entry != self._entry:
            raise ValueError("this server was started for another entry")
        files = self._bench.files()
        try:
            self._ask(command, files, strike, at)
            child = self._answer()
            late = threading.Event()

            def end() -> None:
                late.set()
                kill_session(child)

            timer = threading.Timer(command.run_s_max, end)
            timer.start()
            try:
                returncode = self._answer()
            finally:
                timer.cancel()
                timer.join()
            if late.is_set():
                raise RunTooLong(f"still running after {command.run_s_max} s")
            return files.outcome(returncode, classify_path)
        finally:
            files.close()

    def _ask(self, command: Command, files: RunFiles, strike: Strike, at: int) -> None:
        environment = base_environment(command)
        if command.shared_counter:  # for the helpers it starts; the run itself is armed by call
            environment |= shim_environment(self._bench, command, files, strike, at)
        request = Request(
            entry=self._entry,
            arguments=list(command.arguments),
            folder=str(command.folder),
            environment=environment,
            stdout=str(files.stdout),
            stderr=str(files.stderr),
            roots=":".join(str(root) for root in command.roots),
            log=str(files.log),
            counter=str(files.counter) if command.shared_counter else "",
            mode=strike.mode.value,
            at=at,
            error_number=strike.error_number,
            repeat=strike.repeat,
            whole_group=strike.whole_group,
            keep_orphans=command.keep_orphans,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
