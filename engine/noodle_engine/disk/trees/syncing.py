"""Making a tree durable, wholly.

Owns the one call that makes a whole tree durable, and what is done where it
takes too long. The name of the tree in its parent is left to the caller.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from noodle_engine.disk import calls
from noodle_engine.disk.failures import explained, failure_of
from noodle_engine.disk.trees.reach import FILE_FLAGS, OpenTree
from noodle_engine.disk.trees.walk import walk_tree

__all__ = [
    "SYNC_S_MAX",
    "ended_within",
    "fsync_tree",
    "opened_file_system",
    "sync_file_system",
]

SYNC_S_MAX: Final = 60.0
"""How long one sync of a whole file system may take before files are synced one by one."""


@contextmanager
def opened_file_system(folder: Path) -> Iterator[int]:
    """A descriptor of the file system of `folder`, for `sync_file_system` after the writing."""
    with explained("open", folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_file_system(
    folder: Path,
    *,
    deadline_s: float = SYNC_S_MAX,
    fall_back: Callable[[], None],
    opened: int | None = None,
) -> None:
    """Make durable all that was written on the file system of `folder` before the call.

    Past the deadline (other programs may have written much), or where there is
    no such call, `fall_back` runs instead: `fsync_tree` of what matters. The
    sync then ends by itself, in a thread of its own.

    A kernel tells an error of writing out to who had the file system open when
    it happened, or to who asks first: with `opened`, a descriptor that was
    opened before the writing began, none is missed.

    Raises DiskError (DiskFault, DiskFull): then it is unknown what is durable.
    Source: syncfs(2).
    """
    with explained("sync the file system of", folder):
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        descriptor = os.open(folder, flags) if opened is None else os.dup(opened)
    problems: list[OSError] = []

    def sync() -> None:
        try:
            calls.sync_file_system(descriptor)
        except OSError as error:
            problems.append(error)
        finally:
            os.close(descriptor)

    if not ended_within(sync, deadline_s) or (problems and problems[0].errno == errno.ENOSYS):
        fall_back()
    elif problems:
        raise failure_of(problems[0], "sync the file system of", folder) from problems[0]


def ended_within(act: Callable[[], None], deadline_s: float) -> bool:
    """Run `act` in a thread of its own; False if it still runs after the deadline."""
    thread = threading.Thread(target=act, name="noodle-sync", daemon=True)
    thread.start()
    thread.join(deadline_s)
    return not thread.is_alive()


def fsync_tree(root: Path) -> None:
    """Make every file and folder of a tree durable, one by one; links with their folders.

    The tree must not change meanwhile; special files are left. The name of
    `root` itself is left to the caller. Raises DiskError: then it is unknown
    what is durable.
    """
    files: list[bytes] = []
    found = walk_tree(root, file=lambda path, _: files.append(path))
    with OpenTree(root) as tree:
        for path in files:
            spot = tree.spot(path)
            try:
                _fsync(spot.name, spot.folder)
            except OSError as error:
                raise failure_of(error, "sync", spot.path) from error
        for entry in reversed(found.folders):
            folder = tree.folder(entry.path)
            with explained("sync the folder", tree.shown(entry.path)):
                os.fsync(folder)


def _fsync(name: bytes, folder: int) -> None:
    try:
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    except PermissionError:  # its owner may perhaps write it
        flags = FILE_FLAGS & ~os.O_ACCMODE | os.O_WRONLY
        descriptor = os.open(name, flags, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
