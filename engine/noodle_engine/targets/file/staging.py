"""Steps snapshot and stage: the old identified, the new durable and proved.

Owns `.NAME.next-ID` until the swap. A release's payload is copied there; a kept
old version (a rollback point) is moved there, and needs no space.

| beside the target | stage does | undo of stage does |
|---|---|---|
| nothing | write it, prove it | nothing |
| the new | prove it again | remove it (a point: move it back) |
| the old | foreign | leaves it; removes it if the new is the same and it is at the target |
| anything else | foreign | leaves it, says where |
"""

from __future__ import annotations

from noodle_engine.disk.files import ObjectKind, facts_of, sync_file
from noodle_engine.disk.names import fsync_folder, unlink_quietly
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import Source, StepContext
from noodle_engine.targets.failures import ForeignFound, PointLost
from noodle_engine.targets.file.objects import Found, content_of, find
from noodle_engine.targets.file.sight import (
    Sight,
    attributes_for_new,
    foreign,
    foreign_beside,
    look_at,
    move,
    set_aside,
    write_beside,
)
from noodle_engine.targets.place import Place

__all__ = ["is_ours", "snapshot", "stage", "staged", "unstage"]


def snapshot(context: StepContext, place: Place) -> Observation:
    """Identify the old. Reads only; the file that is displaced is the snapshot.

    Raises ForeignFound if it is not what the plan was made for.
    """
    found = find(place.path, stop=context.stop)
    if found.root != context.expected_old:
        raise foreign(place, expected=context.expected_old, found=found.root)
    return found.observation


def stage(context: StepContext, place: Place) -> Observation:
    """Put the new beside the target, durable and read back (law G4)."""
    source = context.source
    if source is None:
        return Observation(ABSENT)
    place.make_room()
    if source.point:
        return _take_point(context, place, source).observation
    attributes = attributes_for_new(context, place, source)
    beside = find(place.next(context.upgrade), stop=context.stop)
    if beside.kind is ObjectKind.ABSENT:
        made = write_beside(context, place, source, name="new", attributes=attributes)
        return made.observation
    whole = beside.content == source.content
    if not whole or beside.facts is None or not attributes.fit(beside.facts):
        seen = Sight(find(place.path), beside)
        raise foreign_beside(context, place, seen, expected=source.content)
    return _proved_again(context, place).observation


def _proved_again(context: StepContext, place: Place) -> Found:
    """Make what stands beside durable, and read it from the disk."""
    path = place.next(context.upgrade)
    sync_file(path)
    fsync_folder(place.parent)
    return Found(ObjectKind.FILE, facts_of(path, from_disk=True, stop=context.stop))


def _take_point(context: StepContext, place: Place, source: Source) -> Found:
    """Move a kept old version beside the target."""
    beside = find(place.next(context.upgrade), stop=context.stop)
    if beside.content == source.content:
        return _proved_again(context, place)
    if beside.kind is not ObjectKind.ABSENT:
        seen = Sight(find(place.path), beside)
        raise foreign_beside(context, place, seen, expected=source.content)
    kept = find(source.path, stop=context.stop, progress=context.progress)
    if kept.content != source.content:
        raise PointLost(
            path=place.path, point=source.path, expected=source.content, found=kept.content
        )
    if not move(source.path, place.next(context.upgrade)):
        raise foreign_beside(context, place, look_at(context, place), expected=ABSENT)
    proved = _proved_again(context, place)
    if content_of_found(proved) != source.content:
        raise PointLost(
            path=place.path, point=source.path, expected=source.content, found=proved.content
        )
    return proved


def content_of_found(found: Found) -> str:
    """The content identity of a file that is surely there."""
    return ABSENT if found.facts is None else content_of(found.facts)


def staged(context: StepContext, place: Place) -> Found | None:
    """The new, if it stands beside the target whole; made durable. Else None."""
    if context.source is None:
        return None
    beside = find(place.next(context.upgrade))
    if beside.facts is None or beside.content != context.source.content:
        return None
    if not context.source.point:
        attributes = attributes_for_new(context, place, context.source)
        if not attributes.fit(beside.facts):
            return None
    return _proved_again(context, place)


def is_ours(context: StepContext, beside: Found) -> bool:
    """Whether what stands beside the target is this upgrade's new version.

    By content: what a stranger did to its mode is no loss.
    """
    if beside.facts is None or beside.root == context.expected_old:
        return False
    return _is_wanted(context, beside) or beside.root == context.expected_new


def _is_wanted(context: StepContext, beside: Found) -> bool:
    wanted = {context.component.root}
    if context.source is not None:
        wanted.add(context.source.content)
    return beside.content in wanted


def _is_twin(context: StepContext, seen: Sight) -> bool:
    """Whether new and old are the same, and one stands at the target: the other is to spare."""
    return (
        seen.target.root == seen.beside.root == context.expected_old
        and seen.beside.kind is ObjectKind.FILE
        and _is_wanted(context, seen.beside)
    )


def unstage(context: StepContext, place: Place) -> Observation:
    """Take away what `stage` put there, and nothing else.

    A point goes back to its place. What is not this upgrade's stays, and the
    observation's `left` says where; with `restore` it is set aside.
    """
    path = place.next(context.upgrade)
    seen = look_at(context, place)
    left: dict[str, str] = {}
    if seen.beside.kind is not ObjectKind.ABSENT:
        if is_ours(context, seen.beside) or _is_twin(context, seen):
            _drop(context, place, seen)
        elif context.restore and seen.target.root == context.expected_old:
            left["left"] = str(set_aside(context, place, path))
        else:
            left["left"] = str(path)
    place.remove_stage(context.upgrade)
    observed = seen.target.observation
    return Observation(observed.root, {**observed.attributes, **left})


def _drop(context: StepContext, place: Place, seen: Sight) -> None:
    path = place.next(context.upgrade)
    source = context.source
    if source is None or not source.point:
        unlink_quietly(path)
        fsync_folder(place.parent)
        return
    if move(path, source.path):
        return
    kept = find(source.path)
    if kept.root == seen.beside.root:
        unlink_quietly(path)
        fsync_folder(place.parent)
        return
    raise ForeignFound(
        path=place.path,
        expected=ABSENT,
        found=seen.target.root,
        where=source.path,
        found_there=kept.root,
    )
