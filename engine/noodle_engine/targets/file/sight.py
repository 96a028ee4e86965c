"""What stands at a target and beside it, and the small moves that repair it.

Owns the reading of the two names that matter, `NAME` and `.NAME.next-ID`, and
what every step needs: the failure that names a stranger, setting one aside,
writing a version beside the target.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from noodle_engine.disk.files import (
    ObjectKind,
    facts_of,
    kind_of,
    owner_for_new,
    stage_file,
    status_of,
)
from noodle_engine.disk.names import (
    fsync_folder,
    make_folder,
    rename_noreplace,
    unlink_quietly,
)
from noodle_engine.machine.plan import ABSENT
from noodle_engine.targets.base import Source, StepContext
from noodle_engine.targets.failures import (
    ForeignFound,
    PayloadChanged,
    PayloadUnusable,
    StageUnproven,
)
from noodle_engine.targets.file.objects import Attributes, Found, attributes_in, content_of, find
from noodle_engine.targets.place import Place

__all__ = [
    "Sight",
    "attributes_for_new",
    "foreign",
    "foreign_beside",
    "look_at",
    "move",
    "set_aside",
    "write_beside",
    "write_staged",
]


@dataclass(frozen=True, slots=True)
class Sight:
    """What stands at the target, and at its upgrade's name beside it."""

    target: Found
    beside: Found


def look_at(context: StepContext, place: Place) -> Sight:
    """Read both names wholly."""
    return Sight(find(place.path), find(place.next(context.upgrade)))


def foreign(place: Place, *, expected: str, found: str) -> ForeignFound:
    """The failure that a stranger stands at the target."""
    return ForeignFound(
        path=place.path, expected=expected, found=found, where=place.path, found_there=found
    )


def foreign_beside(
    context: StepContext, place: Place, seen: Sight, *, expected: str
) -> ForeignFound:
    """The failure that a stranger stands at the upgrade's name beside the target."""
    return ForeignFound(
        path=place.path,
        expected=expected,
        found=seen.target.root,
        where=place.next(context.upgrade),
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


def set_aside(context: StepContext, place: Place, path: Path) -> Path:
    """Keep a foreign object as `NAME.foreign-ID`, durably, and say where."""
    for free in place.foreign(context.upgrade):
        if move(path, free):
            return free
    found = find(path).root
    raise ForeignFound(
        path=place.path, expected=ABSENT, found=find(place.path).root, where=path, found_there=found
    )


def attributes_for_new(context: StepContext, place: Place, source: Source) -> Attributes:
    """The attributes that the new version takes.

    The old one's, where there is one. At a first install: the payload's mode
    without its set-id bits; the running user and group, or for root those of
    the folder's owner (who can replace the file anyway); and what the folder's
    default ACL and the system's labels give.
    """
    if context.expected_old != ABSENT:
        kept = None if context.snapshot is None else attributes_in(context.snapshot)
        if kept is not None:
            return kept
        facts = facts_of(place.path)
        return Attributes(facts.mode, facts.owner, dict(facts.xattrs))
    mode = stat.S_IMODE(status_of(source.path).st_mode) & 0o777
    return Attributes(mode, owner_for_new(place.parent), None)


def write_staged(
    context: StepContext,
    place: Place,
    source: Source,
    *,
    name: str,
    attributes: Attributes,
) -> tuple[Path, Found]:
    """Copy `source` to `stage-ID/name`, where nobody looks, with these attributes.

    On return content and attributes are durable and were read back; the name is
    the caller's to give and to sync.

    Raises PayloadUnusable, PayloadChanged, StageUnproven or a disk failure; then
    `stage-ID` may hold what was begun.
    """
    place.make_room()
    make_folder(place.stage(context.upgrade), 0o700)
    staged = place.stage(context.upgrade) / name
    unlink_quietly(staged)
    kind = kind_of(source.path)
    if kind is not ObjectKind.FILE:
        raise PayloadUnusable(path=place.path, payload=source.path, found=_word(kind))
    facts = stage_file(
        source.path,
        staged,
        mode=attributes.mode,
        owner=attributes.owner,
        xattrs=attributes.xattrs,
        stop=context.stop,
        progress=context.progress,
    )
    _prove(place, source, content_of(facts), fits=attributes.fit(facts))
    return staged, Found(ObjectKind.FILE, facts)


def write_beside(
    context: StepContext,
    place: Place,
    source: Source,
    *,
    name: str,
    attributes: Attributes,
) -> Found:
    """Write `source` to `.NAME.next-ID`, whole, proved and durable.

    Raises what `write_staged` does, and ForeignFound if the name is taken.
    """
    staged, made = write_staged(context, place, source, name=name, attributes=attributes)
    if not move(staged, place.next(context.upgrade)):
        seen = look_at(context, place)
        raise foreign_beside(context, place, seen, expected=ABSENT)
    return made


def _prove(place: Place, source: Source, found: str, *, fits: bool) -> None:
    """Blame the payload or the disk, if what was read back is not what was meant."""
    if found == source.content:
        if not fits:
            expected = "the attributes that were set"
            raise StageUnproven(path=place.path, expected=expected, found="others")
        return
    payload = find(source.path).content
    if payload != source.content:
        raise PayloadChanged(
            path=place.path, payload=source.path, expected=source.content, found=payload
        )
    raise StageUnproven(path=place.path, expected=source.content, found=found)


def _word(kind: ObjectKind) -> str:
    return "missing" if kind is ObjectKind.ABSENT else f"a {kind.value}"
