"""Looking before anything is changed: planning, and step check.

Owns every reason why a file cannot be upgraded, each its own failure. The
checks are the same at planning and when the upgrade begins; nothing but the
two empty files of the exchange probe is made, and they are removed.

What counts as a notice, not a refusal: a file that this home did not install
(it becomes the old version, and is kept), attributes that changed since, a
link in the parent's path (what it leads to is upgraded), a folder that others
may write.

A target with several hard links is refused: the exchange changes one name, and
the others would go on with the old version, a half upgrade by design.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of, link_text, status_of
from noodle_engine.disk.names import prove_exchange
from noodle_engine.disk.space import free_space, with_margin
from noodle_engine.machine.plan import ABSENT, Diff, Needs
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import (
    REPAIR_OPTION,
    Source,
    StepContext,
    TargetChange,
    TargetPlan,
    TargetRequest,
)
from noodle_engine.targets.exchange.objects import Found
from noodle_engine.targets.exchange.surroundings import (
    BYTES_PER_SECOND_ASSUMED,
    notices_on_folder,
    notices_since_install,
    refuse_frozen,
    refuse_mount,
    refuse_of_other,
    refuse_parent,
    refuse_short,
    room_inodes,
)
from noodle_engine.targets.failures import (
    PayloadChanged,
    PayloadUnusable,
    PointLost,
    TargetChanged,
    TargetHardLinked,
    TargetIsLink,
    TargetWrongType,
)
from noodle_engine.targets.file.objects import find
from noodle_engine.targets.place import Place, check_owner

__all__ = ["check", "needs_of", "plan_file", "refuse_unusable"]

MEMORY_BYTES = 8 * 1024 * 1024
_ROOM = ("holder", "room", "lock", "commands", "owner", "releases")


def plan_file(request: TargetRequest, place: Place) -> TargetPlan:
    """Say what an upgrade would do. Raises a failure that names why it cannot be done."""
    found = refuse_unusable(place, going_back=_goes_back(request.new), any_kind=request.repair)
    check_owner(place, request.home_log, take_over=request.take_over)
    notices = [
        *notices_on_folder(request.path, place, "the new file"),
        *notices_since_install(request, place, found),
    ]
    if request.new is None:
        return TargetPlan(
            root_from=found.root,
            root_to=ABSENT,
            diff=Diff(removed=0 if found.is_absent else 1),
            needs=needs_of(place, None),
            notices=tuple(notices),
            changes=() if found.is_absent else (TargetChange("removed", ""),),
        )
    _refuse_payload(place, request.new, request.component)
    needs = needs_of(place, request.new)
    refuse_short(place, needs)
    options = dict(request.options)
    if request.repair:
        options[REPAIR_OPTION] = json.dumps(dict(request.installed_attributes))
    return TargetPlan(
        root_from=found.root,
        root_to=request.new.content,
        diff=_diff(request.new, found),
        needs=needs,
        notices=tuple(notices),
        options=options,
        changes=tuple(_changes(request.new, found)),
    )


def check(context: StepContext, place: Place) -> Observation:
    """Step check: the same once more, now that the target is locked.

    Raises TargetChanged if it is not what the plan was made for.
    """
    any_kind = REPAIR_OPTION in context.component.options
    found = refuse_unusable(place, going_back=_goes_back(context.source), any_kind=any_kind)
    if found.root != context.component.root_from:
        raise TargetChanged(
            path=place.path,
            expected=context.component.root_from,
            found=found.root,
            component=context.component.name,
        )
    if context.source is not None:
        _refuse_payload(place, context.source, context.component.name)
    refuse_short(place, needs_of(place, context.source))
    return found.observation


def refuse_unusable(place: Place, *, going_back: bool = False, any_kind: bool = False) -> Found:
    """What is at the target, or the failure that says why it cannot be upgraded.

    Going back makes no file, so that it works on a full disk: the exchange was
    proved there when the version was installed that is now taken back. With `any_kind`
    it may be anything: a repair sets it aside.
    """
    refuse_parent(place)
    kind = kind_of(place.path)
    match kind:
        case _ if any_kind and kind is not ObjectKind.ABSENT:
            refuse_of_other(place)
            refuse_mount(place)
        case ObjectKind.LINK:
            raise TargetIsLink(path=place.path, leads_to=link_text(place.path))
        case ObjectKind.FOLDER | ObjectKind.OTHER:
            raise TargetWrongType(path=place.path, found=_word(place.path, kind))
        case ObjectKind.FILE:
            _refuse_file(place)
        case ObjectKind.ABSENT:
            pass
    if not going_back:
        prove_exchange(place.parent)
    return find(place.path)


def _goes_back(source: Source | None) -> bool:
    """A removal or a kept old: a rename, and no new file."""
    return source is None or source.point


def _refuse_file(place: Place) -> None:
    refuse_of_other(place)
    refuse_mount(place)
    links = status_of(place.path).st_nlink
    if links > 1:
        raise TargetHardLinked(path=place.path, links=links)
    refuse_frozen(place, place.path)


def _refuse_payload(place: Place, source: Source, component: str) -> None:
    kind = kind_of(source.path)
    if kind is not ObjectKind.FILE and not source.point:
        found = "missing" if kind is ObjectKind.ABSENT else f"a {kind.value}"
        raise PayloadUnusable(path=place.path, payload=source.path, found=found)
    content = find(source.path).content
    if content == source.content:
        return
    if source.point:
        raise PointLost(
            path=place.path,
            point=source.path,
            expected=source.content,
            found=content,
            component=component,
        )
    raise PayloadChanged(
        path=place.path, payload=source.path, expected=source.content, found=content
    )


def needs_of(place: Place, source: Source | None) -> Needs:
    """What an upgrade needs beyond what is there: bytes with a margin, inodes, time."""
    if source is None or source.point:
        return Needs(memory_bytes=MEMORY_BYTES, seconds=1)
    size = status_of(source.path).st_size
    inodes = room_inodes(place, _ROOM)
    block = free_space(place.parent).block_bytes
    return Needs(
        disk_bytes=with_margin(size, block) + (inodes + 1) * block,
        inodes=inodes + 2,  # stage-ID and the new file
        memory_bytes=MEMORY_BYTES,
        seconds=1 + size // BYTES_PER_SECOND_ASSUMED,
    )


def _diff(source: Source, found: Found) -> Diff:
    size = status_of(source.path).st_size
    return Diff(
        added=1 if found.is_absent else 0,
        changed=0 if found.is_absent or found.content == source.content else 1,
        bytes_copied=0 if source.point else size,
        bytes_shared=size if source.point else 0,
    )


def _changes(source: Source, found: Found) -> list[TargetChange]:
    if found.content == source.content:
        return []
    size = status_of(source.path).st_size
    return [TargetChange("added" if found.is_absent else "changed", "", size)]


def _word(path: Path, kind: ObjectKind) -> str:
    mode = status_of(path).st_mode
    for test, word in (
        (stat.S_ISFIFO, "fifo"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "character device"),
        (stat.S_ISBLK, "block device"),
    ):
        if test(mode):
            return word
    return kind.value
