"""The verdict of a verification, as values."""

from __future__ import annotations

from dataclasses import dataclass

from noodle_journal.failures import REMEDIES, REMEDY_OTHER, DamageKind
from noodle_journal.format.checkpoints import Checkpoint
from noodle_journal.format.clear import RetentionClear


@dataclass(frozen=True, slots=True)
class Damage:
    """The first bad place. `seq` 0 stands for what lies outside the records."""

    seq: int
    kind: DamageKind
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict. `known_up_to` is the largest size that is proved.

    `opened` counts the records whose contents were read; `behind_head` says
    whether a head outside the journal confirms the end (size of the largest
    matching head). `plain_epochs` were written with encryption switched off,
    `shredded` made unreadable, in order, as signed records say.
    """

    ok: bool
    log_id: str
    size: int
    root: bytes
    epochs: int
    records: int
    opened: int
    signatures_checked: int
    heads_checked: int
    largest_head: int
    known_up_to: int
    first_bad: Damage | None
    checkpoint: Checkpoint | None
    plain_epochs: int = 0
    shredded: tuple[RetentionClear, ...] = ()
    first: int = 1  # the first record whose contents were to be read
    last: int = 0  # the last one that was looked at, or was to be


def unreadable(kind: DamageKind, problem: str, *, seq: int = 0) -> Report:
    """The verdict over a journal whose records could not even be looked at."""
    damage = Damage(seq, kind, problem, REMEDIES.get(kind, REMEDY_OTHER))
    return Report(False, "", 0, b"", 0, 0, 0, 0, 0, 0, 0, damage, None)
