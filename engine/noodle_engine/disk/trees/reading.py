"""Reading the files of a tree: content and extended attributes, by two threads.

Owns how a file that changes meanwhile is looked at again, and how the work is
shared out. It reads only.

Laws
R1. What is answered for a file was read between two equal looks at its status.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections import deque
from collections.abc import Container, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import blake3

from noodle_engine.disk.failures import CopyStopped, DiskFailed, failure_of
from noodle_engine.disk.files import Progress
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry
from noodle_engine.disk.trees.reach import FILE_FLAGS, OpenTree
from noodle_engine.disk.trees.stamps import stamp_of
from noodle_engine.disk.trees.walk import tree_xattrs

__all__ = ["LOOKS_MAX", "WORKERS_MAX", "Digests", "Job", "Read", "read_files"]

LOOKS_MAX: Final = 8
"""How often a file that changes while it is read is read."""
WORKERS_MAX: Final = 2
"""Threads that read at once, the calling one among them."""

_CHUNK_BYTES: Final = 1024 * 1024
"""How much of a large file is read at once, by each worker."""
_LARGE_BYTES: Final = 256 * 1024
"""From here on reading takes longer than the calls around it."""
_TOLD_OF_ALL: Final = 256
"""Progress is told once so much of the whole was read since: a telling costs as much as a file."""
_FILE: Final = EntryKind.FILE

Job = tuple[bytes, os.stat_result]
"""A file's path in the tree, and the status it had when it was looked at."""


class Digests(StrEnum):
    """Which digests of content are computed."""

    LOCAL = "blake3"
    BOTH = "blake3+sha256"


class Read(NamedTuple):
    """A file as it was read, and the status it had before and after it."""

    entry: TreeEntry
    status: os.stat_result


class _Gone(Exception):
    """The name does not name a file any more."""


def read_files(
    root: Path,
    jobs: Sequence[Job],
    *,
    digests: Digests,
    from_disk: bool | Container[bytes] = False,
    may_go: bool = False,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> list[Read]:
    """Read files of a tree wholly, in any order.

    With `from_disk` the pages of each file, or of those named, are dropped from
    memory first (pages that are not yet written out stay). With `may_go` a file
    that is gone, or is none any more, is left out of the answer. `progress` is told
    the bytes done and the bytes in all, by one thread at a time.

    Bounds: WORKERS_MAX threads, a megabyte of buffer each; LOOKS_MAX readings
    of a file. Raises DiskError (DiskFailed for a file that keeps changing),
    CopyStopped.
    """
    pool = _Pool(root, jobs, digests, stop, progress)
    pool.from_disk = from_disk
    pool.may_go = may_go
    pool.run()
    return pool.answers


class _Pool:
    """The files that wait to be read, and the workers that take them."""

    def __init__(
        self,
        root: Path,
        jobs: Sequence[Job],
        digests: Digests,
        stop: threading.Event | None,
        progress: Progress | None,
    ) -> None:
        self.root = root
        self.both = digests is Digests.BOTH
        self.from_disk: bool | Container[bytes] = False
        self.may_go = False
        self.stop = stop
        self.progress = progress
        self.done = self.told = 0
        self.total = sum([status.st_size for _, status in jobs])
        large = [job for job in jobs if job[1].st_size >= _LARGE_BYTES]
        self.large = deque(sorted(large, key=lambda job: -job[1].st_size))
        self.small = deque(job for job in jobs if job[1].st_size < _LARGE_BYTES)
        self.lock = threading.Lock()
        self.ended = False
        self.answers: list[Read] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Read all. Every thread has ended on return, and before a failure is raised.

        From memory small files are read by one thread alone: they are mostly
        calls, and two threads that take turns at the interpreter's lock are slower
        than one. The other reads the large ones, the largest first; who is done
        helps. From the disk, where a thread mostly waits, both read all.
        """
        shared = (self.large, self.small) if self.from_disk is True else (self.large,)
        helpers = [
            threading.Thread(
                target=self._work_or_tell, args=shared, name="noodle-read", daemon=True
            )
            for _ in range(WORKERS_MAX - 1)
            if any(shared) and len(self.large) + len(self.small) > 1
        ]
        for helper in helpers:
            helper.start()
        try:
            self._work_or_tell(self.small, self.large)
            for helper in helpers:
                helper.join()
        finally:  # an interruption of the waiting ends the helpers too
            self.ended = True
            for helper in helpers:
                helper.join()
        if self.failure is not None:
            raise self.failure
        if self.progress is not None and self.told != self.done:
            self._tell(self.progress)

    def _tell(self, progress: Progress) -> None:
        self.told = self.done
        progress(self.done, max(self.total, self.done))

    def _work_or_tell(self, *queues: deque[Job]) -> None:
        try:
            with OpenTree(self.root) as tree:
                reader = _Reader(self, tree)
                for queue in queues:
                    self._work(reader, queue)
        except BaseException as error:  # noqa: BLE001 - `run` raises it again
            self.failure = self.failure or error
            self.ended = True

    def _work(self, reader: _Reader, queue: deque[Job]) -> None:
        take, read, answer = queue.popleft, reader.read, self.answers.append
        while queue and not self.ended:
            try:
                job = take()
            except IndexError:  # the other one took the last
                return
            found = read(job)
            if found is not None:
                answer(found)

    def advance(self, count: int) -> None:
        """Count bytes that were read; ends the work when it should stop."""
        if self.progress is not None:
            with self.lock:
                self.done += count
                if self.done - self.told >= self.total // _TOLD_OF_ALL:
                    self._tell(self.progress)
        if self.ended or (self.stop is not None and self.stop.is_set()):
            raise CopyStopped(path=self.root)


class _Reader:
    """One worker: its open folders and its buffer."""

    def __init__(self, pool: _Pool, tree: OpenTree) -> None:
        self.pool = pool
        self.tree = tree
        dropped = pool.from_disk
        self.drops_all = dropped is True
        self.drops: Container[bytes] = () if isinstance(dropped, bool) else dropped
        self.tells = pool.progress is not None or pool.stop is not None
        self.buffer = memoryview(bytearray(_CHUNK_BYTES))

    def read(self, job: Job) -> Read | None:
        """Read one file until two looks at it agree (law R1)."""
        path, before = job
        try:
            for _ in range(LOOKS_MAX):
                entry, after = self._once(path, before)
                if entry is not None:
                    return Read(entry, after)
                before = after
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, _Gone) as error:
            if self.pool.may_go:
                return None
            raise self._restless(path, "it vanished while the tree was read") from error
        except OSError as error:
            raise failure_of(error, "read", self.tree.shown(path)) from error
        raise self._restless(path, f"it changed each of the {LOOKS_MAX} times it was read")

    def _restless(self, path: bytes, cause: str) -> DiskFailed:
        return DiskFailed(doing="read", path=self.tree.shown(path), cause=cause)

    def _once(self, path: bytes, before: os.stat_result) -> tuple[TreeEntry | None, os.stat_result]:
        """Read a file once: None if its status is not what it was before."""
        # Few calls and names: this runs for each of a hundred thousand files.
        parent, _, name = path.rpartition(b"/")
        try:
            descriptor = os.open(name, FILE_FLAGS, dir_fd=self.tree.descend(parent))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):  # a link, a socket
                raise _Gone from error
            raise
        try:
            if self.drops_all or path in self.drops:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            size = before.st_size
            if size < _LARGE_BYTES:
                data = os.read(descriptor, size + 1)  # one more than there was: it grew
                local = blake3.blake3(data).hexdigest()
                sha256 = hashlib.sha256(data).hexdigest() if self.pool.both else ""
                size = len(data)
                if self.tells:
                    self.pool.advance(size)
            else:
                local, sha256, size = self._large(descriptor)
            status = os.fstat(descriptor)
            _, _, now, _, mode, uid, gid = stamp = stamp_of(status)
            if stamp != stamp_of(before) or size != now:
                if not stat.S_ISREG(mode):
                    raise _Gone
                return None, status
            xattrs = tree_xattrs(descriptor)
        finally:
            os.close(descriptor)
        fields = (path, _FILE, mode & 0o7777, uid, gid, size, local, sha256, b"", xattrs)
        return tuple.__new__(TreeEntry, fields), status

    def _large(self, descriptor: int) -> tuple[str, str, int]:
        local, sha256, size = blake3.blake3(), hashlib.sha256(), 0
        while count := os.readv(descriptor, [self.buffer]):
            chunk = self.buffer[:count]
            local.update(chunk)
            if self.pool.both:
                sha256.update(chunk)
            size += count
            self.pool.advance(count)
        return local.hexdigest(), sha256.hexdigest() if self.pool.both else "", size
