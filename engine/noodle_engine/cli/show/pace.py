"""How fast something goes, and how long it will take still. Pure but for the clock handed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from noodle_engine.cli.show.wording import bytes_words

__all__ = ["Pace"]

_LOOKS_BACK_S: Final = 5.0
_ESTIMATES_AFTER_S: Final = 0.5
_MINUTE_S: Final = 60


class Pace:
    """The rate of one thing after another, over the last few seconds of each.

    `now_s` is a clock that never goes back; `amount` says an amount: bytes, unless told.
    """

    def __init__(
        self, now_s: Callable[[], float], amount: Callable[[int], str] = bytes_words
    ) -> None:
        self._now_s = now_s
        self._amount = amount
        self._what = ""
        self._seen: deque[tuple[float, int]] = deque()

    def words(self, what: str, done: int, total: int) -> str:
        """What is done of all, the rate, and the rest: `412 MiB of 1 GiB, 120 MiB/s, 5 s left`."""
        now = self._now_s()
        if what != self._what or (self._seen and done < self._seen[-1][1]):
            self._what = what
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _LOOKS_BACK_S:
            self._seen.popleft()
        told = f"{self._amount(done)} of {self._amount(total)}"
        then, before = self._seen[0]
        if now - then < _ESTIMATES_AFTER_S or done <= before:
            return told
        rate = (done - before) / (now - then)
        rest = (total - done) / rate
        return f"{told}, {self._amount(round(rate))}/s, {_rest(rest)} left"


def _rest(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{max(1, round(seconds))} s"
    return f"{int(seconds // _MINUTE_S)} min {int(seconds % _MINUTE_S)} s"
