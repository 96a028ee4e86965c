"""What is around a target, and stops an upgrade of whatever kind before it begins.

Owns the refusals that concern the folder a target is in, its file system and
mounts, and the notices on who else may write there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import DiskReadOnly
from noodle_engine.disk.files import (
    ObjectKind,
    frozen_flags,
    kind_of,
    owner_for_new,
    status_of,
)
from noodle_engine.disk.space import free_space, mounts
from noodle_engine.machine.plan import ABSENT, Needs
from noodle_engine.machine.text import path_text
from noodle_engine.targets.base import TargetRequest
from noodle_engine.targets.exchange.objects import Found
from noodle_engine.targets.failures import (
    ParentUnusable,
    SpaceShort,
    TargetChanged,
    TargetFrozen,
    TargetIsMountPoint,
    TargetOfOther,
)
from noodle_engine.targets.place import Place

__all__ = [
    "BYTES_PER_SECOND_ASSUMED",
    "notices_on_folder",
    "notices_since_install",
    "refuse_frozen",
    "refuse_mount",
    "refuse_of_other",
    "refuse_parent",
    "refuse_short",
    "room_inodes",
]

BYTES_PER_SECOND_ASSUMED: Final = 100_000_000
"""Written, synced and read back; only for the estimate of `seconds`."""


def refuse_parent(place: Place) -> None:
    """Refuse a folder that is missing or cannot be written."""
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
    refuse_frozen(place, place.parent)


def refuse_of_other(place: Place) -> None:
    """Refuse an object whose owner the running user cannot give to another."""
    status = status_of(place.path)
    running = os.geteuid()
    groups = {os.getegid(), *os.getgroups()}
    if running != 0 and (status.st_uid != running or status.st_gid not in groups):
        raise TargetOfOther(path=place.path, uid=status.st_uid, gid=status.st_gid, running=running)


def refuse_mount(place: Place) -> None:
    """Refuse a target that is a mount itself."""
    if any(mount.point == place.path for mount in mounts()):
        raise TargetIsMountPoint(path=place.path)


def refuse_frozen(place: Place, path: Path) -> None:
    """Refuse what may not be renamed."""
    flags = frozen_flags(path)
    if flags:
        raise TargetFrozen(path=place.path, frozen=path, flags=flags)


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


def room_inodes(place: Place, names: tuple[str, ...]) -> int:
    """How many of a target's own folders and files are still to be made."""
    return sum(1 for name in names if kind_of(getattr(place, name)) is ObjectKind.ABSENT)


def notices_since_install(request: TargetRequest, place: Place, found: Found) -> list[str]:
    """Notices on what became of what was installed. Raises TargetChanged, but to repair it."""
    text = path_text(str(place.path))
    if request.repair:
        if found.is_absent:
            return []
        return [
            f"what is at {text} now is kept beside it, as {path_text(place.path.name)}.foreign-ID"
        ]
    if request.installed_content is None and request.installed_root is None:
        if found.is_absent:
            return []
        return [f"{text} was not installed by this home: it counts as the old version, and is kept"]
    expected = request.installed_content or request.installed_root or ABSENT
    actual = found.content if request.installed_content is not None else found.root
    if actual != expected:
        raise TargetChanged(
            path=place.path,
            expected=expected,
            found=_with_differing(found, actual),
            component=request.component,
            repairable=request.repairable,
        )
    if request.installed_root is not None and found.root != request.installed_root:
        return [
            f"owner, mode or attributes of {text} changed since it was installed: they are kept"
        ]
    return []


def _with_differing(found: Found, actual: str) -> str:
    differs = found.attributes.get("differs")
    return actual if differs is None else f"{actual} (differs in {differs})"


def notices_on_folder(path: Path, place: Place, new: str) -> list[str]:
    """Notices on the folder; `new` is what a new object is called."""
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
    if new and os.geteuid() == 0 and kind_of(place.path) is ObjectKind.ABSENT:
        owner = owner_for_new(place.parent)
        if owner.uid != 0:
            notices.append(f"{new} is given to the folder's owner, user {owner.uid}")
    return notices
