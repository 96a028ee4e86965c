"""A bound on what is not ours: a disk that hangs, a server that says nothing, a plug-in.

Law
B1. Whoever asks a sink waits no longer than was said, whatever the sink does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from noodle_journal.anchors.failures import SinkFailed

__all__ = ["Bounded", "together"]

Made = TypeVar("Made")


class Bounded(Generic[Made]):
    """One call in a thread of its own, which is left behind if it does not end in time."""

    def __init__(self, call: Callable[[], Made]) -> None:
        self._call = call
        self._made: Made | None = None
        self._why: str | None = None
        self._thread = threading.Thread(target=self._run, name="anchor", daemon=True)

    def start(self) -> None:
        """Begin. Never raises: a machine without threads is a sink that cannot be reached."""
        try:
            self._thread.start()
        except RuntimeError as exc:
            self._why = str(exc)

    def _run(self) -> None:
        try:
            self._made = self._call()
        except SinkFailed as failure:
            self._why = str(failure)
        except Exception as failure:  # noqa: BLE001 - a plug-in may raise anything
            self._why = f"it failed with {type(failure).__name__}"

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, or the time is over."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, seconds))

    def result(self, seconds: float) -> Made | None:
        """What it gave; `seconds` is the time that it had. Raises SinkFailed."""
        if self.running:
            raise SinkFailed(f"it has not answered within {seconds:g} s")
        if self._why is not None:
            raise SinkFailed(self._why)
        return self._made


def together(
    calls: Mapping[str, Callable[[], Made]], seconds: float, left: dict[str, Bounded[Made]]
) -> dict[str, Made | SinkFailed | None]:
    """Make all calls at once, and wait for them together, at most so long (law B1).

    `left` are those of before that had not ended: whoever hangs still is not called again.
    """
    until = time.monotonic() + seconds
    begun: dict[str, Bounded[Made]] = {}
    for name, call in calls.items():
        before = left.get(name)
        if before is not None and before.running:
            continue
        left[name] = begun[name] = Bounded(call)
        begun[name].start()
    found: dict[str, Made | SinkFailed | None] = {}
    for name in calls:
        one = begun.get(name)
        if one is None:
            found[name] = SinkFailed("an earlier try has not ended yet")
            continue
        one.wait(until - time.monotonic())
        try:
            found[name] = one.result(seconds)
        except SinkFailed as failure:
            found[name] = failure
    return found
