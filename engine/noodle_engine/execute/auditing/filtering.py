"""Which records somebody wants to see, and the way to them that reads the fewest."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from noodle_engine.execute.answers.reading import JournalReader
from noodle_journal import Kind, Record

__all__ = ["Filter", "chosen"]


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted: all of it holds of a record that is shown.

    `first` and `last` are numbers; `since_ms` and `until_ms` the record's wall clock, in
    milliseconds; `kinds` labels; `component` one that the record, or its upgrade, is about.
    `limit` is how many from the beginning, `tail` how many from the end: one of the two.
    """

    upgrade: str | None = None
    first: int = 1
    last: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    kinds: frozenset[str] = field(default_factory=frozenset)
    component: str | None = None
    limit: int | None = None
    tail: int | None = None


def chosen(journal: JournalReader, wanted: Filter) -> Iterator[Record]:
    """The records that are wanted, in order.

    The last ones are read from the end; those of one upgrade by its tag.
    """
    upgrades = _upgrades_of(journal, wanted.component) if wanted.component else frozenset()
    if wanted.tail is not None and wanted.upgrade is None:
        back = (
            record for record in _newest_first(journal, wanted) if _fits(record, wanted, upgrades)
        )
        yield from reversed(list(islice(back, wanted.tail)))
        return
    source = (
        journal.read(wanted.first, None if wanted.last is None else wanted.last + 1)
        if wanted.upgrade is None
        else journal.read_run(wanted.upgrade)
    )
    fitting = (record for record in source if _fits(record, wanted, upgrades))
    if wanted.tail is not None:
        yield from deque(fitting, maxlen=wanted.tail)
    else:
        yield from islice(fitting, wanted.limit)


def _newest_first(journal: JournalReader, wanted: Filter) -> Iterator[Record]:
    kind = None
    if len(wanted.kinds) == 1:
        kind = next((one for one in Kind if one.label in wanted.kinds), None)
    for record in journal.read_back(journal.size, kind):
        if record.seq < wanted.first:
            return
        yield record


def _fits(record: Record, wanted: Filter, upgrades: frozenset[str]) -> bool:
    at_ms = record.at_ns // 1_000_000
    return (
        record.seq >= wanted.first
        and (wanted.last is None or record.seq <= wanted.last)
        and (wanted.since_ms is None or at_ms >= wanted.since_ms)
        and (wanted.until_ms is None or at_ms < wanted.until_ms)
        and (not wanted.kinds or record.label in wanted.kinds)
        and (wanted.component is None or _is_about(record, wanted.component, upgrades))
    )


def _is_about(record: Record, component: str, upgrades: frozenset[str]) -> bool:
    """Whether a record names a component, or is of an upgrade of it and names no other one."""
    body = record.body
    step = body.get("step")
    named = body.get("component")
    data = body.get("data")
    if isinstance(step, str):
        named = step.partition(":")[2].partition(":")[0]
    elif named is None and isinstance(data, dict):
        named = data.get("component")
    if isinstance(named, str) and named:
        return named == component
    return record.run in upgrades


def _upgrades_of(journal: JournalReader, component: str) -> frozenset[str]:
    """The upgrades whose plan has a component."""
    found: set[str] = set()
    for record in journal.read_back(journal.size, Kind.UPGRADE_REQUESTED):
        plan = record.body.get("plan")
        listed = plan.get("components", ()) if isinstance(plan, dict) else ()
        if record.run and any(one.get("name") == component for one in listed):
            found.add(record.run)
    return frozenset(found)
