"""Processes that check slices meanwhile.

Owns how one is started, told and heard. It is a new interpreter, so that no lock, thread or
SQLite connection of this process is in it, whatever this process is; it gets the master key
through a pipe, and nothing of it is in its arguments or environment. One that does not start,
or dies, is one that has found nothing: its records are checked here.
"""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
import sys
import threading

from noodle_journal.verification.slicing import (
    Found,
    Order,
    check_slice,
    found_from_json,
    found_to_json,
    order_from_json,
    order_to_json,
)

_PROGRAM = (
    "import json, sys\n"
    "sys.path[:] = json.loads(sys.argv[1])\n"
    "from noodle_journal.verification.helpers import serve\n"
    "serve()\n"
)


class ProcessHelper:
    """A process that checks one slice."""

    def __init__(self, order: Order) -> None:
        self._done = 0
        self._first = order.seam.size
        self._found: Found | None = None
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        if self._process is None:
            self._ended.set()
            return
        self._thread = threading.Thread(target=self._listen, args=(order,), daemon=True)
        self._thread.start()

    @property
    def done(self) -> int:
        """How many of its records it has checked."""
        return self._done

    def found(self, wait_s: float) -> Found | None:
        """What it came to, or None. Raises: TimeoutError."""
        if not self._ended.wait(wait_s):
            raise TimeoutError
        return self._found

    def stop(self) -> None:
        """End it, and leave nothing of it behind."""
        if self._process is None:
            return
        self._process.kill()
        self._thread.join()

    def _listen(self, order: Order) -> None:
        process = self._process
        assert process is not None  # it was started before the thread
        try:
            with process, contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                assert process.stdin is not None  # both are pipes
                assert process.stdout is not None
                process.stdin.write(json.dumps(order_to_json(order)) + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    told = json.loads(line)
                    if isinstance(told, int):
                        self._done = told - self._first
                    elif told is not None:
                        self._found = found_from_json(told)
        finally:
            self._ended.set()


def serve() -> None:
    """Be such a process: an order on standard input, numbers and an answer on standard output."""
    gc.disable()  # it makes no cycles, and ends when it has answered
    order = order_from_json(json.loads(sys.stdin.readline()))

    def tell(what: object) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    with contextlib.suppress(BrokenPipeError):
        found = check_slice(order, tell)
        tell(None if found is None else found_to_json(found))
