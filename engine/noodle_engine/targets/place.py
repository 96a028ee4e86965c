"""The names beside a target, its lock and its owner mark.

Owns where things are (`docs` and the format page give the same names):
`P/.NAME.next-ID`, and in `P/.noodle/NAME/` the two locks, the owner mark, `stage-ID`,
`releases`, and for a directory `manifests` and `data`. A name with an upgrade's id in
it is only ever touched for that upgrade.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from noodle_engine.disk.failures import LockHeld, explained
from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.holders import holders_of
from noodle_engine.disk.locks import FileLock, lock_file, read_mark, write_mark
from noodle_engine.disk.names import (
    fsync_folder,
    make_folder,
    remove_empty_folder,
    unlink_quietly,
)
from noodle_engine.disk.paths import target_path
from noodle_engine.disk.trees.remove import remove_tree
from noodle_engine.machine.text import path_bytes
from noodle_engine.targets.failures import TargetBusy, TargetOwned

__all__ = [
    "FOREIGN_NAMES_MAX",
    "ROOT_DIGITS",
    "VERSION_LENGTH_MAX",
    "Place",
    "PlaceLock",
    "check_owner",
    "claim_target",
    "local_path",
    "lock_target",
    "place_of",
]

VERSION_UNKNOWN = "unversioned"
VERSION_LENGTH_MAX = 128
ROOT_DIGITS = 16
"""How many digits of its root a kept old version has in its name."""
FOREIGN_NAMES_MAX = 100
"""How many foreign objects one upgrade may have set aside."""
_STAGED = re.compile(r"new|old|tree|gone|seed|link-[0-9]+|carry|\.?carried(-next)?(\.next)?")
"""What steps write in `stage-ID`."""


def local_path(text: str) -> Path:
    """The path that a stored text stands for."""
    return Path(os.fsdecode(path_bytes(text)))


@dataclass(frozen=True, slots=True)
class Place:
    """A target's resolved path and the names beside it."""

    path: Path

    @property
    def parent(self) -> Path:
        """The folder the target is in."""
        return self.path.parent

    @property
    def holder(self) -> Path:
        """The folder of everything of Noodle's in the target's folder."""
        return self.parent / ".noodle"

    @property
    def room(self) -> Path:
        """The folder of what belongs to this target."""
        return self.holder / self.path.name

    @property
    def releases(self) -> Path:
        """The folder of kept old versions."""
        return self.room / "releases"

    @property
    def manifests(self) -> Path:
        """The folder of what trees held when they were read."""
        return self.room / "manifests"

    @property
    def data(self) -> Path:
        """The folder of what outlasts every release: the mutable paths of a directory."""
        return self.room / "data"

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.room / "lock"

    @property
    def commands(self) -> Path:
        """The lock file that hooks and health checks inherit."""
        return self.room / "commands"

    @property
    def owner(self) -> Path:
        """The owner mark."""
        return self.room / "owner"

    def next(self, upgrade: str) -> Path:
        """What the exchange swaps in; then the old one."""
        return self.parent / f".{self.path.name}.next-{upgrade}"

    def stage(self, upgrade: str) -> Path:
        """The folder where an upgrade writes what nobody should see half done."""
        return self.room / f"stage-{upgrade}"

    def release(self, version: str | None, root: str, upgrade: str) -> Path:
        """`releases/VERSION-ROOT-ID`: where an upgrade keeps a version, the old one or its own.

        The id makes the name this upgrade's own for ever: a name that is freed and
        used again could be dropped by who was told to drop the one before.
        """
        name = re.sub(r"[^0-9A-Za-z.+-]", "_", version or VERSION_UNKNOWN)
        digits = root.partition(":")[2][:ROOT_DIGITS]
        return self.releases / f"{name[:VERSION_LENGTH_MAX]}-{digits}-{upgrade}"

    def foreign(self, upgrade: str) -> Iterator[Path]:
        """Names for foreign objects that are set aside, in order of preference."""
        first = self.parent / f"{self.path.name}.foreign-{upgrade}"
        yield first
        for number in range(2, FOREIGN_NAMES_MAX + 1):
            yield first.with_name(f"{first.name}-{number}")

    def remove_stage(self, upgrade: str) -> None:
        """Remove an upgrade's stage folder and what a step wrote in it, durably.

        What else is in it is somebody's: it stays where it is, and the folder with it.

        Without the sync a power cut can bring it back on a file system without
        a journal, and its inode may be another folder's by then: the check of
        the file system gives that folder's files to the old name. It is synced
        also where there is none any more: who removed it may have been killed.
        """
        stage = self.stage(upgrade)
        if kind_of(stage) is ObjectKind.FOLDER:
            with explained("list", stage):
                found = sorted(stage.iterdir())
            for path in found:
                if kind_of(path) is ObjectKind.FOLDER and _STAGED.fullmatch(path.name):
                    remove_tree(path)
                elif _STAGED.fullmatch(path.name):
                    unlink_quietly(path)
            remove_empty_folder(stage)
        if kind_of(self.room) is ObjectKind.FOLDER:
            fsync_folder(self.room)

    def make_room(self) -> None:
        """Make the target's folder beside it, durably, if it is not there."""
        make_folder(self.holder, 0o755)
        make_folder(self.room, 0o755)


def place_of(path: Path) -> Place:
    """The place of a target. Raises PathRefused; reads links of the parent only."""
    return Place(target_path(path))


def check_owner(place: Place, home_log: str, *, take_over: bool) -> str | None:
    """The log whose mark the target carries, or None.

    Raises TargetOwned if it is another's and not `take_over`.
    """
    found = read_mark(place.owner)
    if found is not None and found != home_log and not take_over:
        raise TargetOwned(path=place.path, owner=found, home_log=home_log)
    return found


class PlaceLock:
    """A target that is locked for this process, and whose commands have all ended.

    Two files: the engine's lock, which ends with the engine, and the commands',
    which lasts as long as a command that may still be acting. So a killed
    engine's hook keeps everybody out until it has ended, and a service that a
    hook started and that stays is in nobody's way.
    """

    __slots__ = ("_held", "_place")

    def __init__(self, place: Place, held: FileLock) -> None:
        self._place = place
        self._held = held

    def for_command(self) -> FileLock:
        """The lock for a command that is about to start. Raises TargetBusy."""
        return _lock_commands(self._place)

    def release(self) -> None:
        """Give the target up. Twice is once."""
        self._held.free()


def _lock_commands(place: Place) -> FileLock:
    try:
        return lock_file(place.commands)
    except LockHeld as error:
        holder = next(iter(holders_of(place.commands)), None)
        raise TargetBusy(
            path=place.path,
            holder=holder.pid if holder else error.holder,
            command=holder.command if holder else "a command that an upgrade started",
        ) from error


def lock_target(path: Path, home_log: str, *, take_over: bool, claim: bool = True) -> PlaceLock:
    """Lock a target for a home, and mark it as the home's if it is to be claimed.

    Without `claim` a mark stays as it is: nothing is done to the target yet, and
    whoever is refused takes nothing from anybody. Raises TargetBusy, TargetOwned or
    another NoodleError; then nothing is held, and no mark was changed.
    """
    place = place_of(path)
    place.make_room()
    try:
        lock = lock_file(place.lock)
    except LockHeld as error:
        raise TargetBusy(path=place.path, holder=error.holder) from error
    try:
        _lock_commands(place).free()  # none of an earlier engine's acts any more
        check_owner(place, home_log, take_over=take_over)
        if claim:
            claim_target(place, home_log)
    except BaseException:
        lock.free()
        raise
    return PlaceLock(place, lock)


def claim_target(place: Place, home_log: str) -> None:
    """Mark a locked target as a home's, durably; the caller has checked whose it is."""
    place.make_room()
    if read_mark(place.owner) != home_log:
        write_mark(place.owner, home_log, replace=True)
