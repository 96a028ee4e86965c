"""A supervisor as small as can be: it holds the socket, and exchanges who answers on it.

    python supervise.py run RUN TARGET PORT   answer on PORT with TARGET/app.py, until stopped
    python supervise.py reload RUN            start what TARGET holds now, retire what ran
    python supervise.py stop RUN              stop it

Owns the folder RUN: `supervisor`, the supervisor's process, and `worker`, the one
that answers. The socket stays open through a reload, so no visitor is turned
away: the new process answers before the old one stops taking visitors, and
whoever is being served is served to the end.

Standard library only: an upgrade's hook runs it by its path, with no
environment to speak of. Each command may run twice, or after having been killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

START_S_MAX = 10.0
STOP_S_MAX = 5.0
_POLL_S = 0.02


def run(folder: Path, target: Path, port: int) -> int:
    """Answer on the port until SIGTERM; a reload is SIGHUP."""
    heard: list[int] = []
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: heard.append(number))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    with socket.create_server(("127.0.0.1", port), backlog=128) as listening:
        worker = _start(listening, target, folder)
        _write(folder / "supervisor", os.getpid())
        while True:
            select.select([reading], [], [], 1.0)
            os.set_blocking(reading, False)
            with contextlib.suppress(BlockingIOError):
                os.read(reading, 64)
            if signal.SIGTERM in heard or signal.SIGINT in heard:
                _retire(worker)
                return 0
            if heard:
                heard.clear()
                with contextlib.suppress(RuntimeError):  # the old one goes on
                    worker, old = _start(listening, target, folder), worker
                    _retire(old)


def _start(listening: socket.socket, target: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start what the target holds now; it is ready on return. Raises RuntimeError."""
    descriptor = listening.fileno()
    with (folder / "log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-I", "-B", str(target / "app.py"), str(descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=[descriptor],
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
    assert worker.stdout is not None
    if not select.select([worker.stdout], [], [], START_S_MAX)[0] or not worker.stdout.readline():
        worker.kill()
        worker.wait()
        raise RuntimeError("app.py does not answer")
    _write(folder / "worker", worker.pid)
    return worker


def _retire(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def reload(folder: Path) -> int:
    """Have what the target holds now answer; 0 once it does."""
    supervisor = _process(folder / "supervisor")
    if supervisor is None:
        print("nothing runs, so nothing is reloaded")  # noqa: T201 - goes into the journal
        return 0
    before = _read(folder / "worker")
    pid, handle = supervisor
    with contextlib.closing(os.fdopen(handle)):
        signal.pidfd_send_signal(handle, signal.SIGHUP)
        end = time.monotonic() + START_S_MAX
        while time.monotonic() < end:
            now = _read(folder / "worker")
            if now not in (None, before):
                print(f"process {now} answers now")  # noqa: T201
                return 0
            time.sleep(_POLL_S)
    print(f"supervisor {pid} has started nothing new: see {folder / 'log'}")  # noqa: T201
    return 1


def stop(folder: Path) -> None:
    """Stop the supervisor, and with it what it runs."""
    found = _process(folder / "supervisor")
    if found is not None:
        _, handle = found
        with contextlib.closing(os.fdopen(handle)):
            for how in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, how)
                if select.select([handle], [], [], 2 * STOP_S_MAX)[0]:
                    break
    worker = _process(folder / "worker")  # of a supervisor that was killed
    if worker is not None:
        _, handle = worker
        with contextlib.closing(os.fdopen(handle)), contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], STOP_S_MAX)
    for name in ("supervisor", "worker"):
        (folder / name).unlink(missing_ok=True)


def _process(record: Path) -> tuple[int, int] | None:
    """The process that a file names, and a descriptor of it; None if it is gone."""
    try:
        number, ticks = record.read_text().split()
        pid = int(number)
        handle = os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
    if _start_ticks(pid) != ticks:  # the number is another process's by now
        os.close(handle)
        return None
    return pid, handle


def _read(record: Path) -> int | None:
    try:
        return int(record.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _write(record: Path, pid: int) -> None:
    begun = record.with_name(f"{record.name}.next")
    begun.write_text(f"{pid} {_start_ticks(pid)}\n")
    begun.replace(record)


def _start_ticks(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "gone"


def main(words: list[str]) -> int:
    """Do what the words say."""
    match words:
        case ["run", folder, target, port]:
            return run(Path(folder), Path(target), int(port))
        case ["reload", folder]:
            return reload(Path(folder))
        case ["stop", folder]:
            stop(Path(folder))
            return 0
        case _:
            print(__doc__)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
