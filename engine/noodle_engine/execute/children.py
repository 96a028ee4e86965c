"""Running a user's command: a hook, or a health check that is a command.

Owns the start, the bounds and the end of a child process. It never parses a
command with a shell, never decides what a result means, and never touches the
journal: the caller's `started` does.

A child begins as a small launcher which waits at a gate. Only when `started`
has returned, having made the child's identity durable, is the gate opened and
the user's program put in the launcher's place (same process, same identity).

Laws
C1. No instruction of the user's program runs before `started` returns. If the
    engine dies, or `started` raises, the launcher ends without running it.
C2. The program gets exactly the given arguments, environment and descriptors,
    no terminal, default signal dispositions, and its own session.
C3. Whatever the program does, run_child returns or raises within its time-out,
    GRACE_MS, KILL_MS_MAX and DRAIN_MS_MAX, and keeps OUTPUT_BYTES_MAX of output.
C4. A command has ended when the process that was started has: what it leaves
    running in its process group is killed then. What left the group
    (a daemon's own session) is not; it keeps the descriptors it inherited.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from noodle_engine.execute.processes import (
    GRACE_MS,
    STEP_KEY_VARIABLE,
    ChildStays,
    Identity,
    OrphanEnd,
    end_orphan,
    identify,
)
from noodle_engine.machine.plan import Hook
from noodle_engine.machine.records import OUTPUT_BYTES_MAX
from noodle_journal.errors import NoodleError

__all__ = [
    "DRAIN_MS_MAX",
    "GRACE_MS",
    "KILL_MS_MAX",
    "PATH_DEFAULT",
    "ChildStays",
    "CommandUnusable",
    "Ended",
    "Identity",
    "OrphanEnd",
    "end_orphan",
    "environment_for",
    "run_child",
]

KILL_MS_MAX = 5_000
"""How long a child may take to be gone after SIGKILL."""
DRAIN_MS_MAX = 250
"""How long output is awaited after the child ended, if something else holds the pipe."""
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the engine itself has no PATH."""

_STOP_LOOK_MS = 50
_CHUNK_BYTES = 65_536
_NOTICE_BYTES = 64
_GO = b"g"
_REACHED = b"="
_OWN_VARIABLES = "NOODLE_"

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


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Exactly one of `exit_code` and `signal` is set, unless it was stopped before
    it ran: then neither is. `output` is the end of its standard output and
    error, at most OUTPUT_BYTES_MAX bytes of UTF-8 including the line that says
    how much was cut; what is not UTF-8 is replaced.
    """

    exit_code: int | None
    signal: int | None
    timed_out: bool
    stopped: bool
    output: str
    duration_ms: int

    @property
    def succeeded(self) -> bool:
        """It ended by itself, with exit code 0."""
        return self.exit_code == 0 and not self.timed_out and not self.stopped

    @property
    def how(self) -> str:
        """How it ended, in a few words."""
        if self.timed_out:
            return f"did not end within its time-out and was stopped after {self.duration_ms} ms"
        if self.stopped:
            return "was stopped on request"
        if self.signal is not None:
            return f"was ended by {_signal_name(self.signal)}"
        return f"ended with exit code {self.exit_code}"


def environment_for(
    hook: Hook | None,
    *,
    upgrade: str,
    key: str,
    from_version: str | None,
    to_version: str | None,
    base: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment of a hook's command (None: a health check's).

    PATH (PATH_DEFAULT if `base` has none), LANG and the hook's pass_env as far
    as `base` has them, and the four variables of Noodle's own; a version that
    is not there is empty. Nothing else, and nothing of Noodle's (a key, say)
    through pass_env.
    """
    found = {"PATH": base.get("PATH") or PATH_DEFAULT}
    wanted = ("LANG", *(hook.pass_env if hook is not None else ()))
    for name in wanted:
        if name in base and not name.startswith(_OWN_VARIABLES):
            found[name] = base[name]
    found["NOODLE_UPGRADE_ID"] = upgrade
    found[STEP_KEY_VARIABLE] = key
    found["NOODLE_FROM"] = from_version or ""
    found["NOODLE_TO"] = to_version or ""
    return found


def run_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout_ms: int,
    stop: threading.Event,
    inherit: Sequence[int],
    started: Callable[[Identity], None],
) -> Ended:
    """Run `command` to its end in `folder`, and tell how it ended (laws C1 to C4).

    `started` is called once, with the identity of the process that will be the
    program; it returns when that is durable, and what it raises is raised here,
    nothing having run. The program inherits the descriptors `inherit` under
    their own numbers. `timeout_ms` counts from the opened gate; then, or when
    `stop` is set, the process group gets SIGTERM, and after GRACE_MS SIGKILL.

    Raises CommandUnusable (nothing ran; `started` may have been called) and
    ChildStays (it could not be killed and runs on).
    """
    if stop.is_set():
        return _never_ran()
    program = _resolve(command, environment.get("PATH", ""), folder)
    order = _order(program, command, environment)
    with _launched(program, order, folder, inherit) as child:
        identity = identify(child.process.pid)
        if identity is None:
            raise _unreached(program)
        started(identity)
        if stop.is_set():
            return _never_ran()
        began = _now_ms()
        child.open_gate()
        child.follow(stop, began + timeout_ms)
        if not child.reached and not (child.timed_out or child.stopped):
            raise _unreached(program)
        if child.error is not None:
            raise _refused(program, child.error)
        code = child.process.returncode
        return Ended(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=child.timed_out,
            stopped=child.stopped,
            output=child.tail.text(),
            duration_ms=_now_ms() - began,
        )


class _Tail:
    """The end of a stream, in bounded memory."""

    __slots__ = ("_kept", "_taken")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._taken = 0

    def take(self, chunk: bytes) -> None:
        self._taken += len(chunk)
        self._kept += chunk
        if len(self._kept) > 4 * OUTPUT_BYTES_MAX:
            del self._kept[:-OUTPUT_BYTES_MAX]

    def text(self) -> str:
        # A replaced byte takes three: what counts is the size of the text.
        whole = self._kept[-OUTPUT_BYTES_MAX:].decode("utf-8", "replace").encode()
        if self._taken <= OUTPUT_BYTES_MAX and len(whole) <= OUTPUT_BYTES_MAX:
            return whole.decode()
        end = whole[-(OUTPUT_BYTES_MAX - _NOTICE_BYTES) :]
        kept = end.decode("utf-8", "ignore").lstrip("\ufffd")
        return f"[{self._taken} bytes of output; this is the end]\n{kept}"


class _Child:
    """One launched process: its gate, its report and its output."""

    def __init__(
        self, process: subprocess.Popen[bytes], *, gate: int, report: int, output: int
    ) -> None:
        self.process = process
        self.gate = gate
        self.report = report
        self.output = output
        self.tail = _Tail()
        self.reached = False
        self.error: int | None = None
        self.timed_out = False
        self.stopped = False
        self._said = b""

    def open_gate(self) -> None:
        with suppress(BrokenPipeError):  # it is gone: the report will be missing
            os.write(self.gate, _GO)

    def follow(self, stop: threading.Event, deadline_ms: int) -> None:
        """Read output until the process ended, ending it where its bounds say so."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            self._follow(pidfd, stop, deadline_ms)
        finally:
            os.close(pidfd)
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
            now = _now_ms()
            if kill_at is None and (stop.is_set() or now >= deadline_ms):
                self.stopped, self.timed_out = stop.is_set(), not stop.is_set()
                self._signal_group(signal.SIGTERM)
                kill_at, lost_at = now + GRACE_MS, now + GRACE_MS + KILL_MS_MAX
            elif kill_at is not None and now >= kill_at:
                self._signal_group(signal.SIGKILL)
            if now >= lost_at:
                raise ChildStays(
                    pid=self.process.pid, cause="it is another user's, or waits for a device"
                )

    def end(self) -> None:
        """Kill what is left of the process group and reap the leader.

        The leader is not reaped before, so its number is still its own.
        """
        if self.process.returncode is not None:
            return
        self._signal_group(signal.SIGKILL)
        try:
            self.process.wait(KILL_MS_MAX / 1000)
        except subprocess.TimeoutExpired as exc:
            raise ChildStays(
                pid=self.process.pid, cause="it is another user's, or waits for a device"
            ) from exc

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
        until = _now_ms() + DRAIN_MS_MAX
        poller = select.poll()
        poller.register(self.output, select.POLLIN)
        while (left := until - _now_ms()) > 0:
            if poller.poll(left) and not self._take():
                return

    def _read_report(self) -> None:
        with suppress(BlockingIOError):
            self._said = os.read(self.report, 64)
        self.reached = self._said.startswith(_REACHED)
        number = self._said[len(_REACHED) :]
        self.error = int(number) if number else None


@contextmanager
def _launched(program: str, order: bytes, folder: Path, inherit: Sequence[int]) -> Iterator[_Child]:
    """A launcher waiting at its gate; on leaving, nothing of it is left."""
    with ExitStack() as ours, ExitStack() as theirs:
        gate_out, gate_in = _pipe(theirs, ours)
        report_out, report_in = _pipe(ours, theirs)
        output_out, output_in = _pipe(ours, theirs)
        memory = os.memfd_create("noodle-command")
        theirs.callback(os.close, memory)
        _write_all(memory, order)
        for descriptor in (report_out, output_out):
            os.set_blocking(descriptor, False)
        own = (gate_out, memory, report_in)
        try:
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
        except OSError as exc:
            raise CommandUnusable(
                program=program,
                cause=f"no process for it in {folder}: {os.strerror(exc.errno or 0)}",
                remedy="check the folder, the limits of processes and memory, then resume",
            ) from exc
        theirs.close()
        child = _Child(process, gate=gate_in, report=report_out, output=output_out)
        try:
            yield child
        finally:
            child.end()


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


def _order(program: str, command: Sequence[str], environment: Mapping[str, str]) -> bytes:
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


def _resolve(command: Sequence[str], search: str, folder: Path) -> str:
    """The program's absolute path. Relative entries of PATH are not searched."""
    if not command or not command[0]:
        raise CommandUnusable(
            program="", cause="it is empty", remedy="correct the command in noodle.toml"
        )
    name = command[0]
    if "/" in name:
        candidates = [folder.absolute() / name]
        cause, where = "there is no such file", str(candidates[0])
    else:
        candidates = [Path(entry) / name for entry in search.split(":") if entry.startswith("/")]
        cause, where = "no folder of PATH has it", search
    for candidate in candidates:
        try:
            mode = candidate.stat().st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode) and os.access(candidate, os.X_OK, effective_ids=True):
            return str(candidate)
        cause, where = "it is not an executable file", str(candidate)
    raise CommandUnusable(
        program=name,
        cause=f"{cause} ({where})",
        remedy="install the program, make it executable, or name it by its whole path",
    )


def _unreached(program: str) -> CommandUnusable:
    return CommandUnusable(
        program=program,
        cause=f"its launcher ({sys.executable}) ended before it",
        remedy="run `noodle doctor`, then resume",
    )


def _refused(program: str, number: int) -> CommandUnusable:
    cause = os.strerror(number)
    if number == errno.ENOEXEC:
        cause = "it is neither a program nor a script that begins with #!"
    elif number == errno.ENOENT:
        cause = "the interpreter that its first line names is not there"
    return CommandUnusable(
        program=program,
        cause=f"the kernel refuses it: {cause}",
        remedy="run it once by hand as the user that runs noodle, correct it, then resume",
    )


def _never_ran() -> Ended:
    return Ended(
        exit_code=None, signal=None, timed_out=False, stopped=True, output="", duration_ms=0
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
