"""How the anchors of a home stand: what each sink has, and what it says against the journal.

Reads only; needs no lock. Each look is bounded by `noodle.anchor_timeout`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from noodle_engine.execute.anchoring.anchoring import accused
from noodle_engine.execute.anchoring.loss import fetched
from noodle_engine.execute.anchoring.options import AnchorOptions
from noodle_engine.execute.home.doctor_machine import Check
from noodle_engine.machine.text import path_text
from noodle_engine.machine.upgrade import AnchorMark, Fold
from noodle_journal.anchors.bounded import Bounded, together
from noodle_journal.anchors.comparing import worst
from noodle_journal.anchors.failures import SinkFailed

if TYPE_CHECKING:
    from noodle_engine.execute.answers.reading import JournalReader

__all__ = ["AnchorRow", "AnchorsView", "anchor_checks", "anchor_problems", "anchors_view"]

FORMAT = 1
DAY_MS: Final = 86_400_000
_BAD: Final = frozenset({"rollback", "fork", "unsigned"})


@dataclass(frozen=True, slots=True)
class AnchorRow:
    """One sink. `verdict` is what it says of the journal.

    agrees, given_up (a take-over recorded that loss), nothing (it has no note of this
    journal), unread (it cannot be asked), unreachable; or rollback, fork, unsigned, for
    which `remedy` says what to do. `size` is that of the note that says so. `kept_size`
    and `kept_ms` are the last head that the journal knows to be kept there.
    """

    sink: str
    verdict: str
    size: int | None = None
    root: str | None = None
    problem: str | None = None
    remedy: str | None = None
    kept_size: int | None = None
    kept_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AnchorsView:
    """The answer of audit anchors. `known_up_to` is the largest size that an anchor proves."""

    ok: bool
    size: int
    root: str
    known_up_to: int
    anchors: tuple[AnchorRow, ...]
    format: int = FORMAT


def anchors_view(journal: JournalReader, world: Fold, options: AnchorOptions) -> AnchorsView:
    """Ask every sink for all that it has of this journal, and compare.

    Raises: JournalDamaged, JournalUnreadable.
    """
    found = fetched(options.sinks, journal.log_id, options.timeout_s, everything=True)
    marks = world.anchors or {}
    rows = [_with_mark(_row(journal, sink, found[sink]), marks.get(sink)) for sink in options.sinks]
    signed = journal.checkpoint
    agreed = [row.size or 0 for row in rows if row.verdict == "agrees"]
    return AnchorsView(
        ok=not any(row.verdict in _BAD for row in rows),
        size=0 if signed is None else signed.size,
        root=journal.root.hex() if signed is None else signed.root.hex(),
        known_up_to=max(agreed, default=0),
        anchors=tuple(rows),
    )


def _row(journal: JournalReader, sink: str, notes: Sequence[str] | SinkFailed | None) -> AnchorRow:
    if isinstance(notes, SinkFailed):
        remedy = "mend that; nothing is proved by it until then"
        return AnchorRow(sink, "unreachable", problem=str(notes), remedy=remedy)
    if notes is None:
        return AnchorRow(sink, "unread")
    compared = journal.compare(notes)
    one = worst(compared)
    if one is None:
        return AnchorRow(sink, "nothing")
    failure = accused(sink, compared, journal.size)
    return AnchorRow(
        sink,
        one.verdict.value,
        one.size,
        one.root.hex(),
        problem=None if failure is None else failure.problem,
        remedy=None if failure is None else failure.remedy,
    )


def _with_mark(row: AnchorRow, mark: AnchorMark | None) -> AnchorRow:
    if mark is None or not mark.size:
        return row
    return replace(row, kept_size=mark.size, kept_ms=mark.at_ms)


def anchor_problems(world: Fold, options: AnchorOptions) -> tuple[str, ...]:
    """The sinks that were not reached when something was sent last, in words."""
    return tuple(
        f"{sink} was not reached since {_moment(mark.since_ms or 0)}: {mark.failing}; "
        + (f"it knows the journal up to record {mark.size}" if mark.size else "it knows nothing")
        for sink, mark in _configured(world, options)
        if mark.failing is not None
    )


def _configured(world: Fold, options: AnchorOptions) -> Iterator[tuple[str, AnchorMark]]:
    marks = world.anchors or {}
    for sink in options.sinks:
        if sink in marks:
            yield sink, marks[sink]


def anchor_checks(
    world: Fold,
    options: AnchorOptions,
    *,
    size: int,
    kept_size: int,
    now_ms: int,
    home: Path,
) -> Iterator[Check]:
    """What the doctor says of anchors. `kept_size` is the largest head in the home itself."""
    if not options.sinks:
        yield Check(
            "anchors",
            ok=None,
            found=f"nothing is anchored: the journal is known up to record {kept_size}, by heads "
            "in this home alone; an older copy of the whole home would not be found",
            remedy="set `noodle.anchors` to a place that whoever writes here cannot change",
        )
        return
    marks = world.anchors or {}
    for sink in options.sinks:
        yield _check(sink, marks.get(sink), options, size, now_ms)
    yield from _same_disk(options, home)


def _check(
    sink: str, mark: AnchorMark | None, options: AnchorOptions, size: int, now_ms: int
) -> Check:
    if mark is None:
        return Check(
            "anchors",
            ok=None,
            found=f"{sink}: nothing was sent there yet",
            remedy="the next command that changes something sends to it",
        )
    known = f"known there up to record {mark.size}, of {_moment(mark.at_ms)}"
    if mark.failing is not None:
        since = f"not reached since {_moment(mark.since_ms or 0)}: {mark.failing}"
        return Check(
            "anchors",
            ok=False,
            found=f"{sink}: {since}; {known if mark.size else 'nothing is known there'}",
            remedy="mend that; the next command that changes something sends to it",
        )
    # A session's first records, and those of its own round, are no news.
    news = size - mark.size > len(options.sinks) + 2
    if news and now_ms - mark.at_ms > max(2000 * options.interval_s, DAY_MS):
        return Check(
            "anchors",
            ok=False,
            found=f"{sink}: {known}, and the journal has {size}",
            remedy="the next command that changes something sends to it; `noodle run` does "
            "so within `noodle.anchor_interval`",
        )
    return Check("anchors", ok=True, found=f"{sink}: {known}")


def _same_disk(options: AnchorOptions, home: Path) -> Iterator[Check]:
    """A file on the home's own file system goes back with the home."""

    def device(path: str) -> Callable[[], int]:
        return lambda: os.stat(path).st_dev  # noqa: PTH116 - its text is a path already

    paths = {sink: sink.partition(":")[2] for sink in options.sinks if sink.startswith("file:")}
    left: dict[str, Bounded[int]] = {}
    looks = {sink: device(path) for sink, path in paths.items()}
    found = together(looks, options.timeout_s, left)
    here = home.stat().st_dev
    for sink, one in found.items():
        if one == here:
            yield Check(
                "anchors",
                ok=None,
                found=f"{path_text(paths[sink])} is on the file system of the home: who puts one "
                "back puts both back",
                remedy="anchor to another mount, or to another machine",
            )


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
