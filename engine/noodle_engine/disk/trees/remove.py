"""Removing a tree.

Owns the one way a whole tree goes.

Laws
D1. No link is followed, and no other file system is entered: a mount in the
    tree is refused before anything is removed.
D2. It goes as deep as the tree does, with two descriptors.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import explained, failure_of
from noodle_engine.disk.space import mounts
from noodle_engine.disk.trees.reach import FOLDER_FLAGS

__all__ = ["PASSES_MAX", "remove_tree"]

PASSES_MAX: Final = 8
"""How often, in all, a folder is emptied again that a program keeps writing into."""

_BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`, whatever the file system's own. Source: stat(3type)."""
_NOT_EMPTY: Final = (errno.ENOTEMPTY, errno.EEXIST)


def remove_tree(path: Path) -> int:
    """Remove a folder and all in it; the bytes of the files that had no other name.

    0 if there is nothing at `path`. A folder that its owner may not write is
    opened to them first. Bytes count as the smaller of a file's length and what
    it takes on the disk; a clone's count though others share them.

    Not durable on return: the caller syncs the parent. After a failure a part of
    it is gone; another call goes on.

    Raises DiskError: `path` is a link or no folder, a mount is in it (EBUSY,
    before anything was removed), something in it is immutable, a program keeps
    writing into it.
    """
    with explained("remove", path):
        try:
            os.lstat(path)
            _refuse_mounts(path)
            opened = _open_folder(path, None)
        except FileNotFoundError:
            return 0
    removal = _Removal(path, opened)
    try:
        removal.empty()
    except OSError as error:
        raise failure_of(error, "remove", removal.shown()) from error
    finally:
        os.close(removal.opened)
    return removal.bytes


class _Removal:
    """One removal. Only the folder where it is at is open."""

    def __init__(self, path: Path, opened: int) -> None:
        self.path = path
        self.opened = opened
        self.bytes = 0
        self._at: bytes = b""
        self._device = os.fstat(opened).st_dev
        self._above: list[tuple[list[bytes], tuple[int, int]]] = []
        """Of each folder above: the folders in it that are still to go, and its identity."""
        self._passes = 0

    def shown(self) -> Path:
        """Where it is at, to name it in a failure."""
        names = [below[-1] for below, _ in self._above]
        return self.path / os.fsdecode(b"/".join((*names, self._at)))

    def empty(self) -> None:
        """Remove all below the open folder, and the folder. Raises OSError."""
        below = self._clear()
        while True:
            if below:
                below = self._down(below)
            elif self._above:
                below = self._up()
            elif self._gone(self.path, None):
                return
            else:
                below = self._clear()

    def _down(self, below: list[bytes]) -> list[bytes]:
        """Enter the last of the folders that are to go, and clear it."""
        self._at = below[-1]
        here = os.fstat(self.opened)
        try:
            inner = _open_folder(below[-1], self.opened)
        except FileNotFoundError:
            below.pop()
            return below
        os.close(self.opened)
        self.opened = inner
        self._above.append((below, (here.st_dev, here.st_ino)))
        self._at = b""
        if os.fstat(inner).st_dev != self._device:
            raise OSError(errno.EBUSY, "another file system begins there")
        return self._clear()

    def _up(self) -> list[bytes]:
        """Go back to the folder above, and remove the one that was cleared."""
        outer = os.open("..", FOLDER_FLAGS, dir_fd=self.opened)
        os.close(self.opened)
        self.opened = outer
        status = os.fstat(outer)
        below, identity = self._above[-1]
        if (status.st_dev, status.st_ino) != identity:
            raise OSError(errno.ESTALE, "it was moved while it was removed")
        if self._gone(below[-1], outer):
            below.pop()
        self._above.pop()
        return below

    def _gone(self, name: bytes | Path, folder: int | None) -> bool:
        """Remove a cleared folder; False if something was put into it meanwhile."""
        try:
            os.rmdir(name, dir_fd=folder)
        except FileNotFoundError:
            return True
        except OSError as error:
            self._passes += 1
            if error.errno not in _NOT_EMPTY or self._passes > PASSES_MAX:
                raise
            return False
        return True

    def _clear(self) -> list[bytes]:
        """Remove all but folders from the open folder; the names of those."""
        below = []
        with os.scandir(self.opened) as entries:
            listed = list(entries)
        for entry in listed:
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                below.append(name)
                continue
            self._at = name
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=self.opened, follow_symlinks=False)
                os.unlink(name, dir_fd=self.opened)
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                    self.bytes += min(status.st_size, status.st_blocks * _BLOCK_BYTES)
        self._at = b""
        return below


def _refuse_mounts(path: Path) -> None:
    """Raise OSError if this process sees a mount at `path` or below."""
    resolved = Path(os.path.realpath(path.parent)) / path.name
    for mount in mounts():
        if mount.point.is_relative_to(resolved):
            raise OSError(errno.EBUSY, f"{mount.point} is mounted in it")


def _open_folder(name: bytes | Path, folder: int | None) -> int:
    """Open a folder to list and change it; its owner's right to do so is put back."""
    try:
        descriptor = os.open(name, FOLDER_FLAGS, dir_fd=folder)
    except PermissionError:
        # A descriptor of the folder itself: changing the mode by name would follow a link.
        held = os.open(name, FOLDER_FLAGS | os.O_PATH, dir_fd=folder)
        try:
            os.chmod(f"/proc/self/fd/{held}", stat.S_IRWXU)
            descriptor = os.open(".", FOLDER_FLAGS, dir_fd=held)
        finally:
            os.close(held)
    if os.geteuid() != 0:
        mode = os.fstat(descriptor).st_mode
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(descriptor, stat.S_IRWXU)
    return descriptor
