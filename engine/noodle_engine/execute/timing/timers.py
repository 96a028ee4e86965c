"""Deadlines of open upgrades, told when they are due.

Owns one thread that sleeps until the earliest deadline. Deadlines are kept in
the journal; this only wakes somebody. A deadline that passed while no process
ran is told at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

__all__ = ["Timers"]

SLEEP_S_MAX = 5.0
"""A longer sleep is cut, so that a stopped clock or a suspended host is noticed."""


class Timers:
    """The deadlines. `due` is called in the timers' thread, without any lock held."""

    def __init__(self, now_ms: Callable[[], int], due: Callable[[str, str], None]) -> None:
        self._now_ms = now_ms
        self._due = due
        self._set: dict[tuple[str, str], int] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def set(self, upgrade: str, timer: str, due_ms: int) -> None:
        """Set or move a deadline (journal time, milliseconds)."""
        with self._changed:
            self._set[upgrade, timer] = due_ms
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
                self._thread.start()
            self._changed.notify()

    def set_all(self, upgrade: str, timers: Mapping[str, int]) -> None:
        """Set the deadlines that an upgrade's records hold."""
        for timer, due_ms in timers.items():
            self.set(upgrade, timer, due_ms)

    def forget(self, upgrade: str) -> None:
        """Forget all deadlines of an upgrade that has ended."""
        with self._changed:
            self._set = {key: due for key, due in self._set.items() if key[0] != upgrade}

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                now = self._now_ms()
                passed = [key for key, due in self._set.items() if due <= now]
                for key in passed:
                    del self._set[key]
                if not passed:
                    earliest = min(self._set.values(), default=None)
                    wait_s = None if earliest is None else min(SLEEP_S_MAX, (earliest - now) / 1000)
                    self._changed.wait(wait_s)
                    continue
            for upgrade, timer in passed:
                self._due(upgrade, timer)
