"""A supervisor for one process, as small as can be: it restarts the demo's service.

    python supervise.py restart FOLDER PORT    (re)start FOLDER/web.py
    python supervise.py stop FOLDER            stop it

Owns FOLDER/web.pid. Standard library only: an upgrade's hook runs it by its
path, with no environment to speak of. Either command may run twice, or after
having been killed half way.
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


def restart(folder: Path, port: int) -> int:
    """Stop what runs and start FOLDER/web.py, if there is one; 0 once it accepts."""
    stop(folder)
    program = folder / "web.py"
    if not program.exists():
        print("nothing to start: web.py is absent")  # noqa: T201 - goes into the journal
        return 0
    with (folder / "web.log").open("ab") as log:
        # A session and an environment of its own: it is nobody's step.
        started = subprocess.Popen(
            [sys.executable, "-I", str(program), str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
    (folder / "web.pid").write_text(f"{started.pid} {_start_ticks(started.pid)}\n")
    end = time.monotonic() + START_S_MAX
    while time.monotonic() < end:
        if started.poll() is not None:
            print(f"web.py ended with {started.returncode}")  # noqa: T201
            return 1
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            print(f"web.py runs as process {started.pid}")  # noqa: T201
            return 0
        time.sleep(_POLL_S)
    print(f"web.py does not accept on port {port}")  # noqa: T201
    return 1


def stop(folder: Path) -> None:
    """Stop the process that web.pid names, and forget it."""
    record = folder / "web.pid"
    try:
        number, ticks = record.read_text().split()
        pid = int(number)
        handle = os.pidfd_open(pid)
    except (OSError, ValueError):
        record.unlink(missing_ok=True)
        return
    try:
        if _start_ticks(pid) == ticks:  # else the number is another process's by now
            for how in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, how)
                if select.select([handle], [], [], STOP_S_MAX)[0]:
                    break
    finally:
        os.close(handle)
    record.unlink(missing_ok=True)


def _start_ticks(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "gone"


def main(words: list[str]) -> int:
    """Do what the words say."""
    match words:
        case ["restart", folder, port]:
            return restart(Path(folder), int(port))
        case ["stop", folder]:
            stop(Path(folder))
            return 0
        case _:
            print(__doc__)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
