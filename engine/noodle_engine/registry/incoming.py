"""Folders in which releases are made, before they have their names.

Owns `runtime_components/.adding/N/`: a `lock`, held by whoever makes a release
there, and `release`, what is made. A killed maker's lock is free: the next
maker, or `noodle gc`, removes what it left.

Laws
I1. Under the registry's lock `release` is whole and wanted, or not there: it is
    renamed away before it is taken apart.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import DiskFailed, LockHeld, explained
from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.locks import FileLock, lock_file
from noodle_engine.disk.names import make_folder, remove_folder, rename_noreplace
from noodle_engine.disk.trees.remove import remove_tree

__all__ = ["INCOMING_MAX", "Incoming", "abandoned", "begin", "incoming_release"]

INCOMING_MAX: Final = 1000
"""How many releases may be made at once."""
_FOLDER: Final = ".adding"
_LOCK, _RELEASE, _GONE = "lock", "release", "gone"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A folder in which a release is made, locked by this process."""

    folder: Path
    lock: FileLock

    @property
    def token(self) -> str:
        """What another process calls it."""
        return self.folder.name

    @property
    def release(self) -> Path:
        """What is made."""
        return self.folder / _RELEASE

    def retire(self) -> None:
        """Take what is made away from whoever would give it a name (law I1).

        The caller holds the registry's lock. Not durable: who made it knows, or is dead.
        """
        if kind_of(self.release) is not ObjectKind.ABSENT:
            rename_noreplace(self.release, self.folder / _GONE)

    def remove(self) -> None:
        """Remove all of it. It was retired, or its release has its name."""
        try:
            remove_tree(self.folder / _GONE)
            remove_folder(self.folder)
        finally:
            self.lock.release()


def begin(components: Path) -> Incoming:
    """Make a folder to make a release in. The caller holds the registry's lock.

    Raises a disk failure; then at most an empty folder is left, which is removed
    as a killed maker's.
    """
    parent = components / _FOLDER
    make_folder(parent, 0o700)
    for number in range(1, INCOMING_MAX + 1):
        folder = parent / str(number)
        if kind_of(folder) is ObjectKind.ABSENT:
            make_folder(folder, 0o700)
            return Incoming(folder, lock_file(folder / _LOCK))
    raise DiskFailed(doing="make a folder in", path=parent, cause=f"{INCOMING_MAX} are in use")


def abandoned(components: Path) -> tuple[Incoming, ...]:
    """What killed makers left, locked and retired. The caller holds the registry's lock."""
    parent = components / _FOLDER
    if kind_of(parent) is not ObjectKind.FOLDER:
        return ()
    found = []
    with explained("list", parent):
        names = sorted(os.listdir(parent))  # noqa: PTH208 - names, in their order
    for name in names:
        folder = parent / name
        if kind_of(folder) is not ObjectKind.FOLDER:
            continue
        try:
            one = Incoming(folder, lock_file(folder / _LOCK))
        except LockHeld:
            continue  # it is being made
        one.retire()
        found.append(one)
    return tuple(found)


def incoming_release(components: Path, token: str) -> Path | None:
    """Where the release is that somebody made as `token`; None if there is none."""
    if not (token.isascii() and token.isdigit()):
        return None
    path = components / _FOLDER / token / _RELEASE
    return path if kind_of(path) is ObjectKind.FOLDER else None
