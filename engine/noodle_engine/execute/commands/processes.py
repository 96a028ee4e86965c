"""Processes by what they are, not by their number alone.

Owns the identity of a process (number, start time, boot), the end of a
command that outlived the engine which started it. It starts nothing and never
signals a process it has not identified.

Laws
O1. A process is signalled through a pidfd whose process was identified after
    the pidfd was opened: a number that was given to another process is harmless.
O2. A member of a session whose leader is gone is ours only if its environment
    carries a step key; anybody else's is left alone.
"""

from __future__ import annotations

import functools
import os
import re
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Self

from noodle_engine.disk.holders import process_ids
from noodle_engine.machine.failures import RecordUnreadable
from noodle_journal.errors import NoodleError

__all__ = [
    "GRACE_MS",
    "STEP_KEY_VARIABLE",
    "ChildStays",
    "Identity",
    "OrphanEnd",
    "boot_id",
    "end_orphan",
    "identify",
]

GRACE_MS = 2_000
"""How long a process may take to end after SIGTERM, before SIGKILL."""

STEP_KEY_VARIABLE = "NOODLE_STEP_KEY"

_PROC = Path("/proc")
_SCANS_MAX = 1_000
_POLL_MS = 20
_IDENTITY = re.compile(
    r"([1-9][0-9]{0,9}):(0|[1-9][0-9]{0,19}):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)


class ChildStays(NoodleError):
    """A command's process could not be ended; it may still be acting."""

    code: ClassVar[str] = "child_stays"
    exit_code: ClassVar[int] = 5

    def __init__(self, *, pid: int, cause: str) -> None:
        super().__init__(
            problem=f"process {pid}, started for an upgrade's step, does not end",
            cause=cause,
            remedy=f"end it by hand (`kill -KILL {pid}` as its owner or root), then resume",
            data={"pid": pid},
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process, on this machine, since this boot."""

    pid: int
    start_ticks: int
    boot_id: str

    @property
    def text(self) -> str:
        """Its stored form, PID:START:BOOT."""
        return f"{self.pid}:{self.start_ticks}:{self.boot_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The identity stored as `text`. Raises RecordUnreadable if it is none."""
        match = _IDENTITY.fullmatch(text)
        if match is None:
            raise RecordUnreadable(kind="note", found=f"{text!r} is no process identity")
        return cls(int(match[1]), int(match[2]), match[3])


class OrphanEnd(StrEnum):
    """What became of a recorded process."""

    GONE = "gone"
    """It had ended already, and so had everything it started."""
    ENDED = "ended"
    """It, or something it started, was running and has been ended."""
    OTHER_BOOT = "other_boot"
    """It ran before the machine was last started, so it is gone."""
    NOT_OURS = "not_ours"
    """Its number is another process's now, so it is gone; nothing was signalled."""


@dataclass(frozen=True, slots=True)
class _Stat:
    """What /proc says of a process."""

    pid: int
    live: bool
    session: int
    start_ticks: int


@functools.cache
def boot_id() -> str:
    """The identifier the kernel made up when the machine was last started."""
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identify(pid: int) -> Identity | None:
    """The identity of process `pid`; None if there is none."""
    stat = _stat(pid)
    return None if stat is None else Identity(pid, stat.start_ticks, boot_id())


def end_orphan(identity: Identity, *, wait_ms_max: int) -> OrphanEnd:
    """End a recorded process and everything in its session, and say what was found.

    SIGTERM, then after GRACE_MS (or half of `wait_ms_max`, if that is less)
    SIGKILL. On return nothing of it runs, but for what left its session or
    dropped its step key; that still shows as a holder of the target's lock.

    Raises ChildStays if something is alive after `wait_ms_max`, or may not be
    signalled; it then runs on.
    Source: laws O1 and O2; pidfd_open(2), proc_pid_stat(5).
    """
    if identity.boot_id != boot_id():
        return OrphanEnd.OTHER_BOOT
    found = _stat(identity.pid)
    if found is not None and found.start_ticks != identity.start_ticks:
        return OrphanEnd.NOT_OURS
    began = time.monotonic_ns() // 1_000_000
    kill_at = began + min(GRACE_MS, wait_ms_max // 2)
    asked: set[tuple[int, int]] = set()
    for _ in range(_SCANS_MAX):
        with ExitStack() as opened:
            members = list(_members(identity, opened))
            if not members:
                return OrphanEnd.ENDED if asked else OrphanEnd.GONE
            now = time.monotonic_ns() // 1_000_000
            if now >= began + wait_ms_max and asked:
                raise ChildStays(
                    pid=members[0][1].pid, cause=f"it was alive {wait_ms_max / 1000} s later"
                )
            for pidfd, stat in members:
                if now >= kill_at:
                    _signal(pidfd, stat.pid, signal.SIGKILL)
                elif (stat.pid, stat.start_ticks) not in asked:
                    _signal(pidfd, stat.pid, signal.SIGTERM)
                asked.add((stat.pid, stat.start_ticks))
            until = kill_at if now < kill_at else now + _POLL_MS
            _wait_any([pidfd for pidfd, _ in members], max(1, until - now))
    raise ChildStays(pid=identity.pid, cause="it starts processes faster than they can be ended")


def _stat(pid: int) -> _Stat | None:
    try:
        raw = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command in field 2 may hold blanks and brackets: what counts starts
    # after its last bracket, with field 3.
    fields = raw[raw.rindex(b")") + 2 :].split()
    return _Stat(
        pid=pid,
        live=fields[0] not in (b"Z", b"X", b"x"),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def _members(identity: Identity, opened: ExitStack) -> Iterator[tuple[int, _Stat]]:
    """The live processes of the identity's session, each with a pidfd (laws O1, O2)."""
    leader = _stat(identity.pid)
    led = leader is not None and leader.live and leader.start_ticks == identity.start_ticks
    for pid in process_ids():
        before = _stat(pid)
        if before is None or not before.live or before.session != identity.pid:
            continue
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue  # gone meanwhile
        opened.callback(os.close, pidfd)
        after = _stat(pid)
        if after != before or after.start_ticks < identity.start_ticks:
            continue
        if led or _has_step_key(pid):
            yield pidfd, after


def _has_step_key(pid: int) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    wanted = STEP_KEY_VARIABLE.encode() + b"="
    return any(item.startswith(wanted) for item in environment.split(b"\0"))


def _signal(pidfd: int, pid: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
    except PermissionError as exc:
        raise ChildStays(pid=pid, cause="it runs as another user") from exc


def _wait_any(pidfds: list[int], wait_ms: int) -> None:
    poller = select.poll()
    for pidfd in pidfds:
        poller.register(pidfd, select.POLLIN)
    poller.poll(wait_ms)
