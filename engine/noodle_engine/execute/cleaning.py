"""What a process that stays clears away by itself.

Owns when: old versions every `rollback_manager.cleanup.cleanup_interval`, records that are over
every hour. Both at the start as well. A failure is told, and stops nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from noodle_journal.errors import NoodleError

if TYPE_CHECKING:
    from noodle_engine.execute.operations import Operations

__all__ = ["SHRED_S", "Cleaner"]

SHRED_S: Final = 3600.0
"""How often it looks for records that are over."""


class Cleaner:
    """Call `tick` now and then; `monotonic` is in seconds, `tell` hears what failed."""

    def __init__(
        self, operations: Operations, monotonic: Callable[[], float], tell: Callable[[str], None]
    ) -> None:
        self._operations = operations
        self._monotonic = monotonic
        self._tell = tell
        self._collected: float | None = None
        self._shredded: float | None = None

    def tick(self) -> None:
        """Do what is due. Settings are asked each time: they count at once."""
        now = self._monotonic()
        interval = self._operations.cleanup_interval()
        if interval is not None and _due(self._collected, now, interval):
            self._collected = now
            self._try("old versions were not dropped", self._collect)
        if _due(self._shredded, now, SHRED_S):
            self._shredded = now
            self._try("records that are over were not shredded", self._operations.shred)

    def _collect(self) -> None:
        view = self._operations.collect(actor="engine")
        for one in view.left:
            self._tell(f"kept old versions of {one.component}: {one.problem}; {one.remedy}")

    def _try(self, what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except NoodleError as failure:
            self._tell(f"{what}: {failure.problem}; {failure.remedy}")


def _due(last: float | None, now: float, every: float) -> bool:
    return last is None or now - last >= every
