"""Journal time: the only time that deadlines and records are measured in.

Owns one clock per open journal. Pure but for `system_clock`, which reads the
kernel's clocks; every reading is handed in.

Laws
T1. Journal time never goes back: not below the last record's, nor below what
    this clock gave before.
T2. It advances as CLOCK_BOOTTIME does (which counts sleep), and by nothing else.
T3. A step of the wall clock beyond the bound (`jump_ms`) against boot time is given
    out once, as a Jump, and moves journal time by nothing: no window reopens,
    no soak starts again.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "CLOCK_JUMP_MS",
    "CLOCK_JUMP_MS_MAX",
    "JournalClock",
    "Jump",
    "Reading",
    "Tick",
    "system_clock",
]

CLOCK_JUMP_MS = 60_000
"""How far the wall clock may stray from boot time before it is a jump, if nothing is set."""
CLOCK_JUMP_MS_MAX = 3_600_000
"""And at most, whatever is set."""

_APART_MS_MAX = 1_000
_READS_MAX = 5


class Reading(NamedTuple):
    """The wall clock (Unix time) and CLOCK_BOOTTIME at one moment."""

    wall_ms: int
    boot_ms: int


@dataclass(frozen=True, slots=True)
class Jump:
    """The wall clock stepped by `by_ms` (negative: back); journal time did not."""

    by_ms: int
    wall_ms: int
    journal_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A journal time, and a jump that the reading behind it showed."""

    at_ms: int
    jump: Jump | None = None


class JournalClock:
    """The clock of one open journal. Safe to share between threads."""

    def __init__(
        self,
        wall_ms: int,
        boot_ms: int,
        last_ms: int,
        *,
        last_boot_ms: int | None = None,
        known_offset_ms: int | None = None,
        jump_ms: int = CLOCK_JUMP_MS,
    ) -> None:
        """Start at a reading, after a last record of journal time `last_ms`.

        It starts at the wall clock, or at `last_ms` if the wall clock is
        behind it. With `last_boot_ms`, the boot time at which the last record
        was written in this same boot, a wall clock that has stepped since then
        is found: the clock then starts where boot time says, and the first
        reading gives the jump. Without it, a step made while no engine ran is
        seen only if it went back. `known_offset_ms` says where the wall clock
        was against boot time when somebody last looked: no jump that was given
        then is given again.
        """
        self._lock = threading.Lock()
        self._jump_ms = jump_ms
        self._boot_ms = boot_ms
        expected_ms = wall_ms
        if last_boot_ms is not None and boot_ms >= last_boot_ms:
            expected_ms = last_ms + boot_ms - last_boot_ms
        elif wall_ms < last_ms:
            expected_ms = last_ms
        strayed = abs(wall_ms - expected_ms) > jump_ms
        self._at_ms = max(expected_ms if strayed else wall_ms, last_ms)
        # Where the wall clock is against boot time, as far as it is known.
        self._offset_ms = (expected_ms if strayed else wall_ms) - boot_ms
        if known_offset_ms is not None:
            self._offset_ms = known_offset_ms

    @property
    def offset_ms(self) -> int:
        """Where the wall clock is against boot time, with all jumps that were given."""
        return self._offset_ms

    def read(self, wall_ms: int, boot_ms: int) -> Tick:
        """The journal time at a reading (laws T1 to T3)."""
        with self._lock:
            if boot_ms > self._boot_ms:
                self._at_ms += boot_ms - self._boot_ms
                self._boot_ms = boot_ms
            strayed_ms = wall_ms - boot_ms - self._offset_ms
            if abs(strayed_ms) <= self._jump_ms:
                return Tick(self._at_ms)
            self._offset_ms += strayed_ms
            return Tick(self._at_ms, Jump(strayed_ms, wall_ms, self._at_ms))


def system_clock() -> Reading:
    """Read both clocks of the kernel, at most _APART_MS_MAX apart.

    A process stopped between two readings would else show a jump that never was.
    """
    reading = Reading(0, 0)
    for _ in range(_READS_MAX):
        before_ms = _boot_ms()
        reading = Reading(time.time_ns() // 1_000_000, _boot_ms())
        if reading.boot_ms - before_ms <= _APART_MS_MAX:
            break
    return reading


def _boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
