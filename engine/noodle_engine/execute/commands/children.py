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
    running in its process group, and is not gone from it within LEAVE_MS_MAX, is
    killed then. What left the group (a daemon's own session) is not; it keeps the
    descriptors it inherited.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from noodle_engine.execute.commands.launcher import (
    DRAIN_MS_MAX,
    KILL_MS_MAX,
    CommandUnusable,
    launched,
    now_ms,
    order_of,
)
from noodle_engine.execute.commands.processes import (
    GRACE_MS,
    STEP_KEY_VARIABLE,
    ChildStays,
    Identity,
    OrphanEnd,
    end_orphan,
    identify,
)
from noodle_engine.machine.plan import Hook

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

PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the engine itself has no PATH."""

LEFT_CHARACTERS_MAX = 60
"""How much of a command is told of a process that was ended with its group."""

_OWN_VARIABLES = "NOODLE_"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Exactly one of `exit_code` and `signal` is set, unless it was stopped before
    it ran: then neither is. `output` is the end of its standard output and
    error, at most OUTPUT_BYTES_MAX bytes of UTF-8 including the line that says
    how much was cut; what is not UTF-8 is replaced. `left` names what the
    command had left running in its process group, and what was ended with it.
    """

    exit_code: int | None
    signal: int | None
    timed_out: bool
    stopped: bool
    output: str
    duration_ms: int
    left: tuple[str, ...] = ()

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
    order = order_of(program, command, environment)
    with launched(program, order, folder, inherit) as child:
        identity = identify(child.process.pid)
        if identity is None:
            raise _unreached(program)
        started(identity)
        if stop.is_set():
            return _never_ran()
        began = now_ms()
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
            duration_ms=now_ms() - began,
            left=tuple(f"{one.pid} ({one.command[:LEFT_CHARACTERS_MAX]})" for one in child.left),
        )


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
