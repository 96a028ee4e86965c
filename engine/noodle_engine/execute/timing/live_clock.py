"""The journal's clock, read from the kernel.

Owns the one place where the running engine reads clocks, and what it keeps for
the next engine of the same boot. A jump of the wall clock is kept until
somebody takes it for the journal.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import orjson

from noodle_engine.execute.commands.processes import boot_id
from noodle_engine.execute.timing.clock import (
    CLOCK_JUMP_MS,
    JournalClock,
    Jump,
    Reading,
    system_clock,
)

__all__ = ["ClockMark", "LiveClock"]

MARK_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class ClockMark:
    """Where journal time and the wall clock stood against boot time, in one boot.

    It is of use in that boot only, so it need not outlast a power cut: it is
    written without a sync, and one that cannot be read is none.
    """

    boot: str
    journal_offset_ms: int
    wall_offset_ms: int

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The mark at `path`, or None if there is none that makes sense."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            with path.open("rb") as file:
                found = orjson.loads(file.read(MARK_BYTES_MAX))
            numbers = found["journal_offset_ms"], found["wall_offset_ms"]
            if all(type(one) is int for one in numbers):
                return cls(str(found["boot"]), *numbers)
        return None

    def write(self, path: Path) -> None:
        """Put it at `path` (0600), or not, where that cannot be."""
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
                file.write(orjson.dumps(self))


class LiveClock:
    """Journal time in integer milliseconds, never behind the last record."""

    def __init__(
        self,
        read: Callable[[], Reading] = system_clock,
        boot: Callable[[], str] = boot_id,
        *,
        jump_ms: int = CLOCK_JUMP_MS,
    ) -> None:
        self._read = read
        self._jump_ms = jump_ms
        self._boot = boot
        self._guard = threading.Lock()
        self._jump: Jump | None = None
        self.start_after(0)

    def start_after(self, last_ms: int, mark: ClockMark | None = None) -> None:
        """Start anew, not behind a last record of journal time `last_ms`.

        With the `mark` of an engine of this boot, a step of the wall clock that
        was made while no engine ran is found (law T3 of `clock`).
        """
        first = self._read()
        same = mark if mark is not None and last_ms and mark.boot == self._boot() else None
        self._clock = JournalClock(
            first.wall_ms,
            first.boot_ms,
            last_ms,
            last_boot_ms=None if same is None else last_ms - same.journal_offset_ms,
            known_offset_ms=None if same is None else same.wall_offset_ms,
            jump_ms=self._jump_ms,
        )
        self.now_ms()

    @property
    def mark(self) -> ClockMark | None:
        """What the next engine of this boot needs; None while a jump is not noted yet."""
        reading = self._read()
        at_ms = self._at_ms(reading)
        if self._jump is not None:
            return None
        offset_ms = at_ms - reading.boot_ms
        return ClockMark(self._boot(), offset_ms, self._clock.offset_ms)

    def now_ms(self) -> int:
        """The journal time now."""
        return self._at_ms(self._read())

    def _at_ms(self, reading: Reading) -> int:
        tick = self._clock.read(*reading)
        if tick.jump is not None:
            with self._guard:
                before = self._jump.by_ms if self._jump is not None else 0
                self._jump = replace(tick.jump, by_ms=before + tick.jump.by_ms)
        return tick.at_ms

    def now_ns(self) -> int:
        """The journal time now, as the journal's headers have it."""
        return self.now_ms() * 1_000_000

    def take_jump(self) -> str | None:
        """What to note of the jumps that nobody noted yet."""
        with self._guard:
            jump, self._jump = self._jump, None
        if jump is None:
            return None
        return f"the wall clock stepped by {jump.by_ms} ms; journal time did not"
