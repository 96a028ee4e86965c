"""What stands at a target and beside it, and the small moves that repair it.

Owns the reading of the two names, and what every step needs: the failure that
names a stranger, setting one aside, putting a version beside the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noodle_engine.disk.names import fsync_folder, rename_noreplace
from noodle_engine.machine.plan import ABSENT
from noodle_engine.targets.base import Source
from noodle_engine.targets.exchange.objects import Exchange, Found, Look
from noodle_engine.targets.failures import ForeignFound

__all__ = [
    "Sight",
    "foreign",
    "foreign_beside",
    "is_ours",
    "is_wanted",
    "look_at",
    "move",
    "put_beside",
    "set_aside",
]


@dataclass(frozen=True, slots=True)
class Sight:
    """What stands at the target, and at its upgrade's name beside it."""

    target: Found
    beside: Found


def look_at(exchange: Exchange, look: Look = Look.STAMPS) -> Sight:
    """Look at both names."""
    find = exchange.objects.find
    return Sight(find(exchange.place.path, look), find(exchange.beside, look))


def is_wanted(exchange: Exchange, found: Found) -> bool:
    """Whether its content is what the plan names."""
    wanted = {exchange.context.component.root}
    if exchange.context.source is not None:
        wanted.add(exchange.context.source.content)
    return found.content in wanted


def is_ours(exchange: Exchange, beside: Found) -> bool:
    """Whether what stands beside the target is this upgrade's new version.

    By content: what a stranger did to its mode is no loss.
    """
    if not beside.is_known or beside.root == exchange.old:
        return False
    return is_wanted(exchange, beside) or beside.root == exchange.context.expected_new


def foreign(exchange: Exchange, *, expected: str, found: str) -> ForeignFound:
    """The failure that a stranger stands at the target."""
    path = exchange.place.path
    return ForeignFound(path=path, expected=expected, found=found, where=path, found_there=found)


def foreign_beside(exchange: Exchange, seen: Sight, *, expected: str) -> ForeignFound:
    """The failure that a stranger stands at the upgrade's name beside the target."""
    return ForeignFound(
        path=exchange.place.path,
        expected=expected,
        found=seen.target.root,
        where=exchange.beside,
        found_there=seen.beside.root,
    )


def move(source: Path, target: Path) -> bool:
    """Rename durably to a free name, or False if it is taken: both folders are synced."""
    if not rename_noreplace(source, target):
        return False
    fsync_folder(target.parent)
    if source.parent != target.parent:
        fsync_folder(source.parent)
    return True


def set_aside(exchange: Exchange, path: Path) -> Path:
    """Keep a foreign object as `NAME.foreign-ID`, durably, and say where."""
    for free in exchange.place.foreign(exchange.context.upgrade):
        if move(path, free):
            return free
    find = exchange.objects.find
    raise ForeignFound(
        path=exchange.place.path,
        expected=ABSENT,
        found=find(exchange.place.path).root,
        where=path,
        found_there=find(path).root,
    )


def put_beside(exchange: Exchange, source: Source, *, old: bool = False) -> Found:
    """Write the new (or the old anew) to `.NAME.next-ID`, whole, proved and durable.

    Raises what writing it raises, and ForeignFound if the name is taken.
    """
    objects = exchange.objects
    staged, made = objects.write_old(source) if old else objects.write_new(source)
    if not move(staged, exchange.beside):
        raise foreign_beside(exchange, look_at(exchange), expected=ABSENT)
    return made
