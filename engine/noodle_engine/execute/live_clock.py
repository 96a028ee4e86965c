"""The journal's clock, read from the kernel.

Owns the one place where the running engine reads clocks. A jump of the wall
clock is kept until somebody takes it for the journal.
"""

from __future__ import annotations

from collections.abc import Callable

from noodle_engine.execute.clock import JournalClock, Jump, Reading, system_clock

__all__ = ["LiveClock"]


class LiveClock:
    """Journal time in integer milliseconds, never behind the last record."""

    def __init__(self, read: Callable[[], Reading] = system_clock) -> None:
        self._read = read
        self._jump: Jump | None = None
        self.start_after(0)

    def start_after(self, last_ms: int) -> None:
        """Start anew, not behind a last record of journal time `last_ms`."""
        first = self._read()
        self._clock = JournalClock(first.wall_ms, first.boot_ms, last_ms)

    def now_ms(self) -> int:
        """The journal time now."""
        tick = self._clock.read(*self._read())
        if tick.jump is not None:
            self._jump = tick.jump
        return tick.at_ms

    def now_ns(self) -> int:
        """The journal time now, as the journal's headers have it."""
        return self.now_ms() * 1_000_000

    def take_jump(self) -> str | None:
        """What to note of a jump that nobody noted yet."""
        jump, self._jump = self._jump, None
        if jump is None:
            return None
        return f"the wall clock stepped by {jump.by_ms} ms; journal time did not"
