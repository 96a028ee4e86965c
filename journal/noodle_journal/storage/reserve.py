"""The reserve: space set aside so that going back never fails on a full disk.

Owns one file beside the journal. Its blocks are allocated, not merely sized;
freeing it gives them to the next commit.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from noodle_journal.keys import os_failure

RESERVE_FILE = "reserve"
RESERVE_BYTES = 4 * 1024 * 1024
LENT_BYTES = 256 * 1024
ROOM_BYTES = 256 * 1024
"""What a commit may need. With less, only what goes back is written, from the reserve."""


def has_room(folder: Path) -> bool:
    """Whether the file system has room for a commit; true where it does not say.

    Asked before SQLite is: it maps the index of its log into memory, and a file
    system that copies on write (btrfs) kills a process that writes there once
    the disk is full, in place of an error.
    """
    try:
        found = os.statvfs(folder)
    except OSError:
        return True
    # What is kept for root is not counted: not all of it can be had, on btrfs nothing.
    return found.f_bavail * found.f_frsize >= ROOM_BYTES


def make_reserve(folder: Path) -> None:
    """Allocate the reserve anew where it is short; durable on return.

    A cut leaves a reserve of fewer bytes. Raises: JournalFull, JournalUnreadable.
    """
    path = folder / RESERVE_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # Blocks, not size: a sparse file of the right size reserves nothing.
            if os.fstat(descriptor).st_blocks * 512 < RESERVE_BYTES:
                # Piece by piece: btrfs gives nothing of an extent back until all of it goes.
                for start in range(0, RESERVE_BYTES, LENT_BYTES):
                    if not has_room(folder):  # the last room is for who gives files back
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.posix_fallocate(descriptor, start, LENT_BYTES)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise os_failure(path, exc) from exc


def lend_from_reserve(folder: Path) -> bool:
    """Give a little of the reserve back, so that a journal can be opened; whether there was any.

    SQLite needs room for the index of its log (32 KiB) before it can read. What
    is left is enough to go back with. `make_reserve` makes it whole again.
    """
    path = folder / RESERVE_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        if size < LENT_BYTES:
            return False
        os.ftruncate(descriptor, size - LENT_BYTES)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def free_reserve(folder: Path) -> bool:
    """Give the reserve's blocks back to the file system; whether there were any."""
    path = folder / RESERVE_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        had = os.fstat(descriptor).st_blocks > 0
        os.ftruncate(descriptor, 0)
        os.fsync(descriptor)
        return had
    except OSError:
        return False
    finally:
        os.close(descriptor)
