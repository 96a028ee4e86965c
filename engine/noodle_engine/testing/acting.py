"""One act of a target in a process of its own, which a kill ends for good.

Owns the child. It is forked, so that a kind need not be importable by name; each act
has its own, as after a crash every step has, so a kind that keeps something in memory
from one step to the next is found. The child looks at itself before and after: what
it has open, started and left running. Nothing that an act started outlives it.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import gc
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.testing.striking import Watch, watched
from noodle_journal.errors import NoodleError

__all__ = ["ACT_S_MAX", "Ended", "act"]

ACT_S_MAX: Final = 60.0
"""How long one act of a target has."""
_PR_SET_CHILD_SUBREAPER: Final = 36
_HEAD_BYTES: Final = 8
_BROKEN: Final = 70


@dataclass(frozen=True, slots=True)
class Ended:
    """How an act ended: killed, late, with a failure, or with its answer.

    `failure` names the class of what it raised, `refused` that this explains itself
    (a NoodleError), `why` says it, `trace` is the traceback. `calls` are those that may
    have changed a disk, in order. `left` is what it did not give back.
    """

    answer: Any = None
    killed: bool = False
    late: bool = False
    failure: str | None = None
    refused: bool = False
    why: str = ""
    trace: str = ""
    calls: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def act(
    work: Callable[[], Any],
    *,
    around: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    die_at: int | None = None,
    clock_s: int = 0,
    clock_of: ModuleType | None = None,
    seconds_max: float = ACT_S_MAX,
) -> Ended:
    """Do `work` in a child; its answer must be picklable.

    `around` is entered and left in the child as well, but no point is counted there.
    With `die_at` the child kills itself at that point, if it gets so far. With
    `clock_s` the clock of the package of module `clock_of` is so many seconds ahead. What it
    started is killed with it. Raises nothing that `work` raises.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of every fork beside a thread; the child starts nothing that waits.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            _child(work, around, writing, die_at, clock_s, clock_of)
        finally:
            os._exit(_BROKEN)
    os.close(writing)
    try:
        return _heard(reading, pid, seconds_max)
    finally:
        os.close(reading)


def _heard(reading: int, pid: int, seconds_max: float) -> Ended:
    ending = os.pidfd_open(pid)
    try:
        said = _message(reading, ending, time.monotonic() + seconds_max)
        late = said is None and not select.select([ending], [], [], 0)[0]
        if late:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(ending)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what it started, in the session that it made
    if said is not None:
        found = pickle.loads(said)  # noqa: S301 - from our own child, through our own pipe
        if not isinstance(found, Ended):
            raise InvariantBroken(law="acting", found=f"a child that answered {found!r}")
        return found
    if late:
        return Ended(late=True, why=f"it did not end within {seconds_max:g} s")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Ended(killed=True)
    return Ended(failure="death", why=f"its process ended with wait status {status}")


def _message(reading: int, ending: int, deadline: float) -> bytes | None:
    """What the child said, None if it ended, or the time did, before it had said all."""
    got = b""
    while len(got) < _HEAD_BYTES or len(got) < _HEAD_BYTES + int.from_bytes(got[:_HEAD_BYTES]):
        wait = max(0.0, deadline - time.monotonic())
        ready = select.select([reading, ending], [], [], wait)[0]
        if reading not in ready:
            return None
        part = os.read(reading, 1 << 16)
        if not part:
            select.select([ending], [], [], max(0.0, deadline - time.monotonic()))
            return None
        got += part
    return got[_HEAD_BYTES:]


def _child(  # noqa: PLR0917 - named in its only call
    work: Callable[[], Any],
    around: Callable[[], AbstractContextManager[object]],
    writing: int,
    die_at: int | None,
    clock_s: int,
    clock_of: ModuleType | None,
) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if clock_s and clock_of is not None:
        _set_clocks(clock_of, clock_s)
    gc.freeze()
    before, threads = _descriptors(), set(threading.enumerate())
    watch = Watch()
    said: dict[str, Any]
    try:
        with around(), watched(watch, die_at):
            said = {"answer": work()}
    except BaseException as error:  # noqa: BLE001 - whatever a kind raises is what is tested
        said = {
            "failure": type(error).__name__,
            "refused": isinstance(error, NoodleError),
            "why": str(error),
            "trace": "".join(traceback.format_exception(error)),
        }
        error.__traceback__ = None
    ended = Ended(**said, calls=tuple(watch.names), left=tuple(_left(before, threads)))
    data = pickle.dumps(ended)
    data = len(data).to_bytes(_HEAD_BYTES) + data
    while data:
        data = data[os.write(writing, data) :]
    os._exit(0)


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        with contextlib.suppress(OSError):
            found[int(name)] = str(Path(f"/proc/self/fd/{name}").readlink())
    return {number: path for number, path in found.items() if not path.endswith("/fd")}


def _left(before: dict[int, str], threads: set[threading.Thread]) -> Iterator[str]:
    gc.collect()
    for number, path in _descriptors().items():
        if before.get(number) != path:
            yield f"descriptor {number} of {path}"
    for thread in set(threading.enumerate()) - threads:
        yield f"thread {thread.name}"
    try:
        ended, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    yield "a process that runs on" if ended == 0 else "a process that nobody waited for"


def _set_clocks(module: ModuleType, seconds: int) -> None:
    """Put the clock that the modules of a package read ahead, in this process only."""
    top = module.__name__.partition(".")[0]
    shifted: dict[int, Any] = {}
    for name, unit in (("time", 1), ("time_ns", 1_000_000_000)):
        real = getattr(time, name)
        shifted[id(real)] = _ahead(real, seconds * unit)
        setattr(time, name, shifted[id(real)])
    for name in ("gmtime", "localtime", "ctime"):
        real = getattr(time, name)
        setattr(time, name, _by_default_now(real))
    strftime = time.strftime
    time.strftime = lambda text, *given: strftime(text, *(given or (time.localtime(),)))
    shifted[id(dt.datetime)] = _datetime_ahead(seconds)
    dt.datetime = shifted[id(dt.datetime)]  # type: ignore[misc]
    for name, loaded in list(sys.modules.items()):
        if name.partition(".")[0] == top:
            for word, value in list(vars(loaded).items()):
                if id(value) in shifted:
                    setattr(loaded, word, shifted[id(value)])


def _ahead(real: Callable[[], Any], by: int) -> Callable[[], Any]:
    return lambda: real() + by


def _by_default_now(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: real(*given) if given else real(time.time())


def _datetime_ahead(seconds: int) -> type[dt.datetime]:
    real = dt.datetime

    class Ahead(dt.datetime):
        """A datetime whose now is ahead."""

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            """The moment, ahead."""
            return real.now(tz) + dt.timedelta(seconds=seconds)

        @classmethod
        def utcnow(cls) -> Any:
            """The moment in UTC, ahead."""
            return cls.now(dt.UTC).replace(tzinfo=None)

    return Ahead
