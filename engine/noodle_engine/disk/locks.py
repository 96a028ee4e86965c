"""Lock files and owner marks.

Owns who may act. A lock is an flock on a file that is never removed, and is
held by open descriptors: a child that inherits one holds it too, until the
last is closed.

Laws
L1. `release` only closes: children that inherited the lock hold it on. `free`
    frees it for them too, and is for whoever knows that they act no more.
L2. A lock file that was renamed or removed while it was being locked is not
    held: its name is checked against the descriptor after locking.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from noodle_engine.disk.failures import LockHeld, explained
from noodle_engine.disk.whole import read_whole, write_whole

__all__ = [
    "LOCK_TRIES_MAX",
    "OWNER_BYTES_MAX",
    "FileLock",
    "lock_file",
    "lock_holder",
    "read_mark",
    "write_mark",
]

LOCK_POLL_MS = 20
LOCK_TRIES_MAX = 16
"""How often a lock file may be exchanged under us before it is given up."""
OWNER_BYTES_MAX = 4096

_PROC_LOCKS = Path("/proc/locks")


class FileLock:
    """A held lock. Children started with its descriptor in `pass_fds` hold it too."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """The locked file descriptor; -1 once released."""
        return self._descriptor

    def release(self) -> None:
        """Close the descriptor; who inherited it holds the lock on. Twice is once."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def free(self) -> None:
        """Free the lock, whoever has inherited its descriptor, and close it. Twice is once.

        Source: flock(2): LOCK_UN on any duplicate of a descriptor frees all.
        """
        if self._descriptor >= 0:
            try:
                with explained("unlock", self.path):
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            finally:
                self.release()


def lock_file(path: Path, *, wait_ms_max: int = 0) -> FileLock:
    """Lock the file `path` for this process; it is made (0600) if absent.

    Waits at most `wait_ms_max` (0: not at all). Its folder must exist. The name
    of a file made now is not synced: after a power cut it is made again.

    Raises LockHeld, naming the holder, or DiskError; then nothing is held.
    """
    deadline = time.monotonic() + wait_ms_max / 1000
    for _ in range(LOCK_TRIES_MAX):
        with explained("open the lock", path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
        try:
            with explained("lock", path):
                _acquire(path, descriptor, deadline, wait_ms_max)
            if _same_file(path, descriptor):
                return FileLock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise LockHeld(path=path, holder=None, waited_ms=wait_ms_max)


def _acquire(path: Path, descriptor: int, deadline: float, wait_ms_max: int) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                holder = lock_holder(path)
                raise LockHeld(path=path, holder=holder, waited_ms=wait_ms_max) from None
            time.sleep(min(left, LOCK_POLL_MS / 1000))
        else:
            return


def _same_file(path: Path, descriptor: int) -> bool:
    with explained("look at", path):
        try:
            named = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(descriptor))


def lock_holder(path: Path) -> int | None:
    """The process that took the lock on `path`, if the kernel tells one.

    The kernel names who took it; a child that inherited it may hold it alone.
    Source: proc_locks(5).
    """
    try:
        status = os.stat(path)
        lines = _PROC_LOCKS.read_text().splitlines()
    except OSError:
        return None
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == wanted:
            pid = int(fields[4])
            return pid if pid > 0 else None
    return None


def read_mark(path: Path) -> str | None:
    """The text of an owner mark without its newline; None if there is none."""
    raw = read_whole(path, bytes_max=OWNER_BYTES_MAX)
    return None if raw is None else raw.decode("utf-8", "backslashreplace").strip()


def write_mark(path: Path, text: str, *, replace: bool) -> bool:
    """Write an owner mark (0600), wholly or not at all, durably.

    Call it with the lock of the same folder held. Without `replace` a mark that
    is there stays, and the answer is False.
    """
    return write_whole(path, f"{text}\n".encode(), 0o600, replace=replace)
