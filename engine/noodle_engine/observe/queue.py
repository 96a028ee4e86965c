"""The thread that tells: what it is given, it does later, in order.

Owns the queue between those who have something to tell and the files. Whoever tells never
waits; where the queue is full, what is told is lost and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

__all__ = ["FLUSH_S_MAX", "QUEUE_MAX", "Later"]

QUEUE_MAX: Final = 10_000
"""How much may wait to be told."""
FLUSH_S_MAX: Final = 2.0
"""How long an end waits for what is still to be told."""

Work = Callable[[], None]


class Later:
    """Does work in one thread of its own, in order. Safe to use from several threads."""

    def __init__(self, *, queue_max: int = QUEUE_MAX) -> None:
        self._queue_max = queue_max
        self._waiting: deque[Work] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closed = False
        self._lost = 0

    def do(self, work: Work) -> None:
        """Do this later. Returns at once, whatever the state of disks."""
        with self._changed:
            if self._closed or len(self._waiting) >= self._queue_max:
                self._lost += 1
                return
            self._waiting.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="telling", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the machine has no thread left
                    self._thread = None
                    self._lost += len(self._waiting)
                    self._waiting.clear()
            self._changed.notify_all()

    def take_lost(self) -> int:
        """How much was lost since this was asked last."""
        with self._changed:
            lost, self._lost = self._lost, 0
            return lost

    def flush(self, wait_s_max: float = FLUSH_S_MAX) -> bool:
        """Wait until all that was given is done; False if it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._busy), wait_s_max)

    def close(self, wait_s_max: float = FLUSH_S_MAX) -> bool:
        """Take nothing more, and wait for what was given; False if something is left undone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        return self.flush(wait_s_max)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait()
                work = self._waiting.popleft()
                self._busy = True
            with suppress(Exception):  # telling fails alone
                work()
