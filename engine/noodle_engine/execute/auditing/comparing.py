"""What changed between two records: the state after each, and what lies between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from noodle_engine.execute.answers.reading import JournalReader, Replayed, entry_in
from noodle_engine.execute.answers.wording import change_of
from noodle_engine.machine.records import ConfigChanged
from noodle_engine.machine.upgrade import Fold, Installed, Point, Upgrade
from noodle_journal.failures import RecordUnknown

__all__ = ["AuditDiffView", "ComponentChange", "UpgradeChange", "compared"]


@dataclass(frozen=True, slots=True)
class ComponentChange:
    """A component that is not what it was. Null: it was not installed, or is not any more.

    `upgrade` is the one that made it what it became, or what it was before it went.
    """

    component: str
    before: str | None
    after: str | None
    changed: tuple[str, ...]
    upgrade: str


@dataclass(frozen=True, slots=True)
class UpgradeChange:
    """An upgrade that came or went on. `before` is null for one that was requested since."""

    upgrade: str
    components: tuple[str, ...]
    before: str | None
    after: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AuditDiffView:
    """The answer of audit diff: what the records after `first`, up to `last`, changed.

    `kept` and `dropped` are old versions, `settings` keys that were changed while a
    process held the home, `records` how many of each kind there are.
    """

    first: int
    last: int
    size: int
    components: tuple[ComponentChange, ...]
    upgrades: tuple[UpgradeChange, ...]
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    settings: tuple[str, ...]
    records: dict[str, int] = field(default_factory=dict)
    format: int = 1


def compared(journal: JournalReader, first: int, last: int) -> AuditDiffView:
    """What changed after record `first`, up to and with `last`; 0 is before everything.

    Raises RecordUnknown, RecordsShredded.
    """
    size = journal.size
    if last > size:
        raise RecordUnknown(seq=last, size=size)
    seen = Replayed(journal, last)
    old, before = seen.world, dict(seen.upgrades)
    counted: Counter[str] = Counter()
    settings: set[str] = set()
    for record in journal.read(1, last + 1):
        seen.take(record)
        if record.seq <= first:
            if record.seq == first:
                old, before = seen.world, dict(seen.upgrades)
            continue
        counted[record.label] += 1
        entry = entry_in(record)
        if entry is not None and isinstance(entry.event, ConfigChanged) and entry.event.accepted:
            settings.update(entry.event.keys)
    new = seen.world
    was, now = set(map(_point, old.points)), set(map(_point, new.points))
    return AuditDiffView(
        first=first,
        last=last,
        size=size,
        components=tuple(_components(old, new)),
        upgrades=tuple(_upgrades(before, seen.upgrades)),
        kept=tuple(sorted(now - was)),
        dropped=tuple(sorted(was - now)),
        settings=tuple(sorted(settings)),
        records=dict(sorted(counted.items())),
    )


def _point(point: Point) -> str:
    return f"{point.component} {point.version or 'unversioned'} of {point.upgrade}"


def _components(old: Fold, new: Fold) -> Iterator[ComponentChange]:
    for name in sorted({*old.components, *new.components}):
        before, after = old.components.get(name), new.components.get(name)
        if before == after:
            continue
        known = after or before
        assert known is not None  # the name came from one of them
        yield ComponentChange(
            component=name,
            before=_version(before),
            after=_version(after),
            changed=_fields(before, after),
            upgrade=known.upgrade,
        )


def _version(installed: Installed | None) -> str | None:
    return None if installed is None else installed.version or "unversioned"


def _fields(before: Installed | None, after: Installed | None) -> tuple[str, ...]:
    """Which facts of an installed component are others, where it was and is installed."""
    if before is None or after is None:
        return ()
    names = ("version", "kind", "target", "root", "options")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def _upgrades(
    before: Mapping[str, Upgrade], after: Mapping[str, Upgrade]
) -> Iterator[UpgradeChange]:
    for name, upgrade in after.items():
        old = before.get(name)
        if old is not None and (old.state, old.undoing, old.hold) == (
            *(upgrade.state, upgrade.undoing, upgrade.hold),
        ):
            continue
        yield UpgradeChange(
            upgrade=name,
            components=tuple(change_of(one) for one in upgrade.plan.components),
            before=None if old is None else _standing(old),
            after=_standing(upgrade),
            reason=upgrade.reason.value if upgrade.reason else None,
        )


def _standing(upgrade: Upgrade) -> str:
    """An upgrade's state, and what keeps it there."""
    if upgrade.hold is not None:
        return f"{upgrade.state.value}, on hold: {upgrade.hold.reason.value}"
    going_back = upgrade.undoing and upgrade.state.value != "rolled_back"
    return f"{upgrade.state.value}, going back" if going_back else upgrade.state.value
