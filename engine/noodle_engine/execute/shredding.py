"""Which records of the journal are over, and their being shredded.

Owns the rule. `security.audit_logging.log_retention_days` alone makes records unreadable; other
settings of history only bound what is listed. It never runs on an upgrade's path.

Laws
Y1. An epoch is shredded once every record in it is older than that, nothing older is left
    unshredded, and no open upgrade has a record in it. What is alive is in the state that the
    newest epochs begin with, and stays.
Y2. Never by one reading of a clock alone: an earlier epoch's own end must be that much later
    as well. A clock that was set wrong, and right again, shreds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from noodle_engine.execute.timing.limits import DAY_MS

if TYPE_CHECKING:
    from noodle_engine.execute.engine import Engine  # who only looks does not pay for it
    from noodle_journal.shredding import EpochSpan

__all__ = ["RETENTION_KEY", "Spanned", "due", "shred", "to_shred"]

RETENTION_KEY: Final = "security.audit_logging.log_retention_days"
_DAY_NS: Final = DAY_MS * 1_000_000


class Spanned(Protocol):
    """A journal, as far as the rule asks."""

    def spans(self) -> Sequence[EpochSpan]:
        """The ended epochs that are not shredded, oldest first."""

    def first_of(self, run: str) -> int | None:
        """The number of an upgrade's first record."""


def due(
    spans: Sequence[EpochSpan], *, now_ns: int, days: int, first_live: int | None
) -> Sequence[EpochSpan]:
    """The epochs that are over (laws Y1, Y2), oldest first.

    `spans` are those that have ended; `first_live` is the first record of an open upgrade.
    """
    if not spans:
        return ()
    end = min(now_ns, spans[-1].at_ns) - days * _DAY_NS
    over = 0
    for span in spans:
        if span.at_ns >= end or (first_live is not None and span.last >= first_live):
            break
        over += 1
    return spans[:over]


def to_shred(
    journal: Spanned, open_upgrades: Iterable[str], *, now_ns: int, days: int
) -> Sequence[EpochSpan]:
    """The epochs of a journal that are over. Raises JournalDamaged."""
    firsts = [first for run in open_upgrades if (first := journal.first_of(run)) is not None]
    first_live = min(firsts, default=None)
    return due(journal.spans(), now_ns=now_ns, days=days, first_live=first_live)


def shred(engine: Engine, *, days: int) -> int:
    """Shred what is over; how many records that were. Raises what the journal raises."""
    with engine.alone():
        over = to_shred(
            engine.journal, engine.world.upgrades, now_ns=engine.clock.now_ns(), days=days
        )
        if not over:
            return 0
        engine.journal.shred(over[-1].number, f"{RETENTION_KEY}={days}")
        return sum(span.last - span.first + 1 for span in over)
