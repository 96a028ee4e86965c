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

import os
import stat
from math import ceil
from pathlib import Path

from noodle_engine.disk.failures import DiskReadOnly
from noodle_engine.disk.files import (
    ObjectKind,
    frozen_flags,
    kind_of,
    link_text,
    owner_for_new,
    status_of,
)
from noodle_engine.disk.names import prove_exchange
from noodle_engine.disk.space import free_space, mounts
from noodle_engine.machine.plan import ABSENT, Diff, Needs
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import path_text
from noodle_engine.targets.base import Source, StepContext, TargetPlan, TargetRequest
from noodle_engine.targets.exchange.objects import Found
from noodle_engine.targets.failures import (
    ParentUnusable,
    PayloadChanged,
    PayloadUnusable,
    PointLost,
    SpaceShort,
    TargetChanged,
    TargetFrozen,
    TargetHardLinked,
    TargetIsLink,
    TargetIsMountPoint,
    TargetOfOther,
    TargetWrongType,
)
from noodle_engine.targets.file.objects import find
from noodle_engine.targets.place import Place, check_owner

__all__ = ["SPACE_MARGIN", "check", "needs_of", "plan_file", "refuse_unusable"]

SPACE_MARGIN = 0.1
"""How much more than the bytes to write must be free."""
BYTES_PER_SECOND_ASSUMED = 100_000_000
"""Written, synced and read back; only for the estimate of `seconds`."""
MEMORY_BYTES = 8 * 1024 * 1024
_ROOM_INODES = ("holder", "room", "lock", "commands", "owner", "releases")


def plan_file(request: TargetRequest, place: Place) -> TargetPlan:
    """Say what an upgrade would do. Raises a failure that names why it cannot be done."""
    found = refuse_unusable(place, going_back=_goes_back(request.new))
    check_owner(place, request.home_log, take_over=request.take_over)
    notices = [*_surroundings(request.path, place), *_since_install(request, place, found)]
    if request.new is None:
        return TargetPlan(
            root_from=found.root,
            root_to=ABSENT,
            diff=Diff(removed=0 if found.kind is ObjectKind.ABSENT else 1),
            needs=needs_of(place, None),
            notices=tuple(notices),
        )
    _refuse_payload(place, request.new)
    needs = needs_of(place, request.new)
    refuse_short(place, needs)
    return TargetPlan(
        root_from=found.root,
        root_to=request.new.content,
        diff=_diff(request.new, found),
        needs=needs,
        notices=tuple(notices),
    )


def check(context: StepContext, place: Place) -> Observation:
    """Step check: the same once more, now that the target is locked.

    Raises TargetChanged if it is not what the plan was made for.
    """
    found = refuse_unusable(place, going_back=_goes_back(context.source))
    if found.root != context.component.root_from:
        raise TargetChanged(
            path=place.path,
            expected=context.component.root_from,
            found=found.root,
            component=context.component.name,
        )
    if context.source is not None:
        _refuse_payload(place, context.source)
    refuse_short(place, needs_of(place, context.source))
    return found.observation


def refuse_unusable(place: Place, *, going_back: bool = False) -> Found:
    """What is at the target, or the failure that says why it cannot be upgraded.

    Going back makes no file, so that it works on a full disk: the exchange was
    proved there when the version was installed that is now taken back.
    """
    _refuse_parent(place)
    kind = kind_of(place.path)
    match kind:
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


def _refuse_parent(place: Place) -> None:
    if kind_of(place.parent) is not ObjectKind.FOLDER:
        found = "is missing" if kind_of(place.parent) is ObjectKind.ABSENT else "is no folder"
        raise ParentUnusable(path=place.path, found=found, remedy="make the folder first")
    if free_space(place.parent).read_only:
        raise DiskReadOnly(doing="write in", path=place.parent, cause="it is mounted read-only")
    if not os.access(place.parent, os.W_OK | os.X_OK, effective_ids=True):
        owner = status_of(place.parent).st_uid
        raise ParentUnusable(
            path=place.path,
            found=f"may not be written by user {os.geteuid()}",
            remedy=f"run Noodle as its owner (`sudo -u '#{owner}' noodle ...`) or as root",
        )
    _refuse_frozen(place, place.parent)


def _refuse_file(place: Place) -> None:
    status = status_of(place.path)
    running = os.geteuid()
    groups = {os.getegid(), *os.getgroups()}
    if running != 0 and (status.st_uid != running or status.st_gid not in groups):
        raise TargetOfOther(path=place.path, uid=status.st_uid, gid=status.st_gid, running=running)
    if any(mount.point == place.path for mount in mounts()):
        raise TargetIsMountPoint(path=place.path)
    if status.st_nlink > 1:
        raise TargetHardLinked(path=place.path, links=status.st_nlink)
    _refuse_frozen(place, place.path)


def _refuse_frozen(place: Place, path: Path) -> None:
    flags = frozen_flags(path)
    if flags:
        raise TargetFrozen(path=place.path, frozen=path, flags=flags)


def _refuse_payload(place: Place, source: Source) -> None:
    kind = kind_of(source.path)
    if kind is not ObjectKind.FILE and not source.point:
        found = "missing" if kind is ObjectKind.ABSENT else f"a {kind.value}"
        raise PayloadUnusable(path=place.path, payload=source.path, found=found)
    content = find(source.path).content
    if content == source.content:
        return
    if source.point:
        raise PointLost(path=place.path, point=source.path, expected=source.content, found=content)
    raise PayloadChanged(
        path=place.path, payload=source.path, expected=source.content, found=content
    )


def needs_of(place: Place, source: Source | None) -> Needs:
    """What an upgrade needs beyond what is there: bytes with a margin, inodes, time."""
    if source is None or source.point:
        return Needs(memory_bytes=MEMORY_BYTES, seconds=1)
    size = status_of(source.path).st_size
    inodes = sum(1 for name in _ROOM_INODES if kind_of(getattr(place, name)) is ObjectKind.ABSENT)
    block = free_space(place.parent).block_bytes
    folders = (inodes + 1) * block
    return Needs(
        disk_bytes=ceil(size * (1 + SPACE_MARGIN) / block) * block + folders,
        inodes=inodes + 2,  # stage-ID and the new file
        memory_bytes=MEMORY_BYTES,
        seconds=1 + size // BYTES_PER_SECOND_ASSUMED,
    )


def refuse_short(place: Place, needs: Needs) -> None:
    """Raise SpaceShort unless the file system has what is needed."""
    space = free_space(place.parent)
    if space.free_bytes < needs.disk_bytes:
        raise SpaceShort(
            path=place.path, needed=needs.disk_bytes, free=space.free_bytes, unit="bytes"
        )
    if space.free_inodes is not None and space.free_inodes < needs.inodes:
        raise SpaceShort(
            path=place.path, needed=needs.inodes, free=space.free_inodes, unit="inodes"
        )


def _diff(source: Source, found: Found) -> Diff:
    absent = found.kind is ObjectKind.ABSENT
    size = status_of(source.path).st_size
    return Diff(
        added=1 if absent else 0,
        changed=0 if absent or found.content == source.content else 1,
        bytes_copied=0 if source.point else size,
        bytes_shared=size if source.point else 0,
    )


def _since_install(request: TargetRequest, place: Place, found: Found) -> list[str]:
    """Notices on what became of what was installed. Raises TargetChanged."""
    if request.installed_content is None and request.installed_root is None:
        if found.kind is ObjectKind.ABSENT:
            return []
        text = path_text(str(place.path))
        return [f"{text} was not installed by this home: it counts as the old version, and is kept"]
    expected = request.installed_content or request.installed_root or ABSENT
    actual = found.content if request.installed_content is not None else found.root
    if actual != expected:
        raise TargetChanged(
            path=place.path, expected=expected, found=actual, component=request.component
        )
    if request.installed_root is not None and found.root != request.installed_root:
        text = path_text(str(place.path))
        return [
            f"owner, mode or attributes of {text} changed since it was installed: they are kept"
        ]
    return []


def _surroundings(path: Path, place: Place) -> list[str]:
    """Notices on the folder."""
    notices = []
    if place.path != Path(path):
        notices.append(
            f"{path_text(str(path))} leads through a link to {path_text(str(place.path))}: "
            "that is what is upgraded"
        )
    status = status_of(place.parent)
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        notices.append(
            f"every user may write in {path_text(str(place.parent))}, and so exchange the target"
        )
    if os.geteuid() == 0 and kind_of(place.path) is ObjectKind.ABSENT:
        owner = owner_for_new(place.parent)
        if owner.uid != 0:
            notices.append(f"the new file is given to the folder's owner, user {owner.uid}")
    return notices


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
