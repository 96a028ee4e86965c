"""A process that waits at a gate, and becomes a program when it is opened.

Owns the launcher, the ends of its pipes and the bounds of following it. What
the program is, and what its end means, is `children`'s.

Laws
B1. The launcher becomes the program only after it read the go byte. Without
    one (the engine is gone) it ends.
B2. Neither arguments nor environment pass through a shell, a listing of
    processes, or the launcher's own environment.
B3. The leader is reaped only after its group was killed, so a number is never
    signalled that could be another's.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from noodle_engine.disk.holders import Holder, command_of, process_ids
from noodle_engine.execute.commands.processes import GRACE_MS, ChildStays
from noodle_engine.machine.records import OUTPUT_BYTES_MAX
from noodle_journal.errors import NoodleError

__all__ = [
    "DRAIN_MS_MAX",
    "KILL_MS_MAX",
    "Child",
    "CommandUnusable",
    "Tail",
    "launched",
    "now_ms",
    "order_of",
]

KILL_MS_MAX = 5_000
"""How long a child may take to be gone after SIGKILL."""
DRAIN_MS_MAX = 250
"""How long output is awaited after the child ended, if something else holds the pipe."""
LEAVE_MS_MAX = 250
"""How long what a command started may take to leave its process group."""

_STOP_LOOK_MS = 50
_LEAVE_LOOK_MS = 5
_CHUNK_BYTES = 65_536
_NOTICE_BYTES = 64
_GO = b"g"
_REACHED = b"="

# Runs isolated (-I -S), reads what to run from a sealed memory file, so that
# neither arguments nor environment pass through a shell or show in a listing.
# It answers on `report` when it is about to become the program, and the error
# number if it could not; the descriptor closes by itself when it could.
_LAUNCHER = """
import posix, sys
from _signal import SIG_DFL, SIG_SETMASK, pthread_sigmask, signal, valid_signals
gate, order, report = map(int, sys.argv[1:])
if posix.read(gate, 1) != b"g":
    posix._exit(125)
path, count, *rest = posix.pread(order, posix.fstat(order).st_size, 0).split(b"\\0")
arguments, pairs = rest[:int(count)], rest[int(count):]
for descriptor in (gate, order, report):
    posix.set_inheritable(descriptor, False)
for number in valid_signals():
    try:
        signal(number, SIG_DFL)
    except (OSError, ValueError):
        pass
pthread_sigmask(SIG_SETMASK, ())
posix.write(report, b"=")
try:
    posix.execve(path, arguments, dict(pair.split(b"=", 1) for pair in pairs))
except OSError as error:
    posix.write(report, b"%d" % error.errno)
    posix._exit(126)
"""


class CommandUnusable(NoodleError):
    """A command could not be started: none of it ran."""

    code: ClassVar[str] = "command_unusable"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, program: str, cause: str, remedy: str) -> None:
        super().__init__(
            problem=f"the command {program!r} cannot be started",
            cause=cause,
            remedy=remedy,
            data={"program": program},
        )


class Tail:
    """The end of a stream, in bounded memory."""

    __slots__ = ("_kept", "_taken")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._taken = 0

    def take(self, chunk: bytes) -> None:
        """Add what came; keep its end."""
        self._taken += len(chunk)
        self._kept += chunk
        if len(self._kept) > 4 * OUTPUT_BYTES_MAX:
            del self._kept[:-OUTPUT_BYTES_MAX]

    def text(self) -> str:
        """The end as text, at most OUTPUT_BYTES_MAX bytes; a first line tells of a cut."""
        # A replaced byte takes three: what counts is the size of the text.
        whole = self._kept[-OUTPUT_BYTES_MAX:].decode("utf-8", "replace").encode()
        if self._taken <= OUTPUT_BYTES_MAX and len(whole) <= OUTPUT_BYTES_MAX:
            return whole.decode()
        end = whole[-(OUTPUT_BYTES_MAX - _NOTICE_BYTES) :]
        kept = end.decode("utf-8", "ignore").lstrip("\ufffd")
        return f"[{self._taken} bytes of output; this is the end]\n{kept}"


class Child:
    """One launched process: its gate, its report and its output."""

    def __init__(
        self, process: subprocess.Popen[bytes], *, gate: int, report: int, output: int
    ) -> None:
        self.process = process
        self.gate = gate
        self.report = report
        self.output = output
        self.tail = Tail()
        self.reached = False
        self.error: int | None = None
        self.timed_out = False
        self.stopped = False
        self.left: tuple[Holder, ...] = ()
        self._said = b""
        self._lost = False

    def open_gate(self) -> None:
        """Let the launcher become the program."""
        with suppress(BrokenPipeError):  # it is gone: the report will be missing
            os.write(self.gate, _GO)

    def follow(self, stop: threading.Event, deadline_ms: int) -> None:
        """Read output until the process ended, ending it where its bounds say so."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            self._follow(pidfd, stop, deadline_ms)
        finally:
            os.close(pidfd)
        self.left = self._staying()
        self.end()
        self._drain()
        self._read_report()

    def _follow(self, pidfd: int, stop: threading.Event, deadline_ms: int) -> None:
        poller = select.poll()
        for descriptor in (pidfd, self.output):
            poller.register(descriptor, select.POLLIN)
        kill_at: int | None = None
        lost_at = deadline_ms + GRACE_MS + KILL_MS_MAX
        while True:
            ready = {descriptor for descriptor, _ in poller.poll(_STOP_LOOK_MS)}
            if self.output in ready and not self._take():
                poller.unregister(self.output)
            if pidfd in ready:
                return
            now = now_ms()
            if kill_at is None and (stop.is_set() or now >= deadline_ms):
                self.stopped, self.timed_out = stop.is_set(), not stop.is_set()
                self._signal_group(signal.SIGTERM)
                kill_at, lost_at = now + GRACE_MS, now + GRACE_MS + KILL_MS_MAX
            elif kill_at is not None and now >= kill_at:
                self._signal_group(signal.SIGKILL)
            if now >= lost_at:
                self._lost = True
                raise _stays(self.process.pid)

    def end(self) -> None:
        """Kill what is left of the process group and reap the leader.

        The leader is not reaped before, so its number is still its own.
        """
        if self.process.returncode is not None or self._lost:
            return
        self._signal_group(signal.SIGKILL)
        try:
            self.process.wait(KILL_MS_MAX / 1000)
        except subprocess.TimeoutExpired as exc:
            raise _stays(self.process.pid) from exc

    def _staying(self) -> tuple[Holder, ...]:
        """What stays in the group; who is on its way out of it gets LEAVE_MS_MAX for that.

        As with `setsid --fork`, which ends before the child that it made has left.
        """
        until = now_ms() + LEAVE_MS_MAX
        hurried = self.timed_out or self.stopped
        while found := tuple(self._group()):
            if hurried or now_ms() >= until:
                break
            select.poll().poll(_LEAVE_LOOK_MS)
        return found

    def _group(self) -> Iterator[Holder]:
        """What the ended process left running in its group."""
        for pid in process_ids():
            with suppress(ProcessLookupError, PermissionError):
                if pid != self.process.pid and os.getpgid(pid) == self.process.pid:
                    yield Holder(pid, command_of(pid))

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _take(self) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            chunk = os.read(self.output, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        self.tail.take(chunk)
        return bool(chunk)

    def _drain(self) -> None:
        """Take what was written before the end, without waiting for strangers."""
        until = now_ms() + DRAIN_MS_MAX
        poller = select.poll()
        poller.register(self.output, select.POLLIN)
        while (left := until - now_ms()) > 0:
            if poller.poll(left) and not self._take():
                return

    def _read_report(self) -> None:
        with suppress(BlockingIOError):
            self._said = os.read(self.report, 64)
        self.reached = self._said.startswith(_REACHED)
        number = self._said[len(_REACHED) :]
        self.error = int(number) if number else None


@contextmanager
def launched(program: str, order: bytes, folder: Path, inherit: Sequence[int]) -> Iterator[Child]:
    """A launcher waiting at its gate; on leaving, nothing of it is left.

    Raises CommandUnusable if no process could be made, ChildStays on leaving.
    """
    with ExitStack() as ours:
        try:
            child = _launch(order, folder, inherit, ours)
        except OSError as exc:
            raise CommandUnusable(
                program=program,
                cause=f"no process for it in {folder}: {os.strerror(exc.errno or 0)}",
                remedy="check the folder and the limits of processes and memory, then resume",
            ) from exc
        try:
            yield child
        finally:
            child.end()


def _launch(order: bytes, folder: Path, inherit: Sequence[int], ours: ExitStack) -> Child:
    with ExitStack() as theirs:
        gate_out, gate_in = _pipe(theirs, ours)
        report_out, report_in = _pipe(ours, theirs)
        output_out, output_in = _pipe(ours, theirs)
        memory = os.memfd_create("noodle-command")
        theirs.callback(os.close, memory)
        _write_all(memory, order)
        for descriptor in (report_out, output_out):
            os.set_blocking(descriptor, False)
        own = (gate_out, memory, report_in)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _LAUNCHER, *map(str, own)],
            stdin=subprocess.DEVNULL,
            stdout=output_in,
            stderr=output_in,
            cwd=folder,
            env=_launcher_environment(),
            pass_fds=(*inherit, *own),
            start_new_session=True,
        )
    return Child(process, gate=gate_in, report=report_out, output=output_out)


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    out, into = os.pipe2(os.O_CLOEXEC)
    reader.callback(os.close, out)
    writer.callback(os.close, into)
    return out, into


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _launcher_environment() -> dict[str, str]:
    # What the interpreter may need to start; the program gets none of it.
    kept = "LD_LIBRARY_PATH"
    return {kept: os.environ[kept]} if kept in os.environ else {}


def order_of(program: str, command: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """What the launcher reads: path, arguments and variables, parted by zero bytes.

    Raises CommandUnusable for what the kernel's interface cannot carry.
    """
    pairs = [f"{name}={value}" for name, value in environment.items()]
    fields = [program, str(len(command)), *command, *pairs]
    named = all(name and "=" not in name for name in environment)
    try:
        encoded = [os.fsencode(field) for field in fields]
    except UnicodeEncodeError:
        encoded = [b"\0"]
    if not named or any(b"\0" in field for field in encoded):
        raise CommandUnusable(
            program=program,
            cause="an argument or a variable holds what none can hold",
            remedy="correct the command in noodle.toml",
        )
    return b"\0".join(encoded)


def _stays(pid: int) -> ChildStays:
    return ChildStays(pid=pid, cause="it is another user's, or waits for a device")


def now_ms() -> int:
    """A clock that only goes on, for bounds and durations."""
    return time.monotonic_ns() // 1_000_000
