"""The server's side: imports once, then forks a struck run for each request.

Run as a script under the preloaded shim, which stays idle here. One JSON line
asks, two answer: the child's process id, then how it ended. It must never have
a second thread or an open connection of its own: a fork would copy them half.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, TypedDict


class Request(TypedDict):
    """What the harness asks for; `fork_client.py` writes it."""

    entry: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    stdout: str
    stderr: str
    roots: str
    log: str
    counter: str
    mode: str
    at: int
    error_number: int
    repeat: int
    whole_group: bool
    keep_orphans: bool


Entry = Callable[[list[str]], int | None]


def load(entry: str) -> Entry:
    """Import `package.module:function`."""
    module, _, function = entry.partition(":")
    loaded: Entry = getattr(importlib.import_module(module), function)
    return loaded


def threads() -> int:
    """Count the threads the kernel knows of, not only Python's."""
    return len(os.listdir("/proc/self/task"))


def arm(shim: ctypes.CDLL, request: Request) -> None:
    """Set the shim of this process on its run."""
    bad = shim.noodle_crash_configure(
        os.fsencode(request["roots"]),
        os.fsencode(request["log"]),
        os.fsencode(request["counter"]),
    )
    bad |= shim.noodle_crash_arm(
        request["mode"].encode(),
        ctypes.c_ulong(request["at"]),
        request["error_number"],
        ctypes.c_ulong(request["repeat"]),
        int(request["whole_group"]),
    )
    if bad:
        raise ValueError("the shim refused its roots, counter or mode")


def become(request: Request, entry: Entry, shim: ctypes.CDLL) -> NoReturn:
    """Be the run in the forked child; never returns into the server."""
    code = 1
    try:
        os.setsid()
        append = os.O_WRONLY | os.O_APPEND
        files = (
            (os.devnull, os.O_RDONLY),
            (request["stdout"], append),
            (request["stderr"], append),
        )
        for descriptor, (path, flags) in enumerate(files):
            opened = os.open(path, flags)
            os.dup2(opened, descriptor)
            os.close(opened)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        arm(shim, request)
        code = entry(request["arguments"]) or 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - a fork must end here whatever happens
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer(value: int) -> None:
    """Write one line of the reply."""
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


def serve(shim_path: str, entry_name: str, preload: list[str]) -> None:
    """Answer requests until the input ends."""
    shim = ctypes.CDLL(shim_path)
    entry = load(entry_name)
    for module in preload:
        importlib.import_module(module)
    if threads() != 1:
        raise RuntimeError("an import started a thread: this entry cannot be forked")
    gc.freeze()  # what is loaded is never garbage: no child walks it, and copies its pages
    answer(os.getpid())
    for line in sys.stdin:
        request: Request = json.loads(line)
        child = os.fork()
        if child == 0:
            become(request, entry, shim)
        answer(child)
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        if not request["keep_orphans"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # not reaped yet: its id cannot be another's
        os.waitpid(child, 0)
        answer(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3:])
