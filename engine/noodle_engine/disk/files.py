"""Reading and writing the content and attributes of one file.

Owns how a file is looked at, copied beside a target and proved. It never
changes a name that a program opens: that is `names`.

Laws
C1. A file is staged under a name nobody opens, made with O_EXCL and 0600; its
    mode opens it to others last.
C2. What `prove` answers was read from the disk after a sync, not from memory
    alone: the pages are dropped first (a request that the kernel may refuse).
C3. Links are never followed at the last name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from noodle_engine.disk import calls
from noodle_engine.disk.failures import AttributesNotKept, CopyStopped, explained

__all__ = [
    "CHUNK_BYTES",
    "NO_CLONE",
    "XATTRS_LEFT_OUT",
    "FileFacts",
    "ObjectKind",
    "Owner",
    "facts_of",
    "frozen_flags",
    "kind_of",
    "link_text",
    "owner_for_new",
    "read_xattrs",
    "set_attributes",
    "stage_file",
    "status_of",
    "sync_file",
]

CHUNK_BYTES = 4 * 1024 * 1024
"""How much is read, hashed or copied between two looks at `stop`."""

XATTRS_LEFT_OUT: Final = ("trusted.", "security.ima", "security.evm")
"""Only root sees the first; the kernel computes the others."""
_NO_XATTRS = (errno.EOPNOTSUPP, errno.ENOSYS)
NO_CLONE: Final = (
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTTY,
    errno.EPERM,
)

Progress = Callable[[int, int], None]


class ObjectKind(StrEnum):
    """What a name names."""

    ABSENT = "absent"
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Owner:
    """A file's user and group."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class FileFacts:
    """All that makes a file the one it is, and where it was found."""

    sha256: str
    size: int
    mode: int
    owner: Owner
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    device: int = 0
    inode: int = 0
    links: int = 1


@dataclass(slots=True)
class _Watch:
    """Told between chunks; ends the work when it should stop."""

    path: Path
    total: int
    stop: threading.Event | None
    progress: Progress | None
    done: int = 0

    def advance(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, max(self.total, self.done))
        if self.stop is not None and self.stop.is_set():
            raise CopyStopped(path=self.path)


def kind_of(path: Path) -> ObjectKind:
    """What `path` names, links not followed."""
    with explained("look at", path):
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return ObjectKind.ABSENT
    if stat.S_ISREG(mode):
        return ObjectKind.FILE
    if stat.S_ISDIR(mode):
        return ObjectKind.FOLDER
    return ObjectKind.LINK if stat.S_ISLNK(mode) else ObjectKind.OTHER


def link_text(path: Path) -> str:
    """Where a symbolic link leads to, as it is written. Raises DiskError."""
    with explained("read the link", path):
        return os.readlink(path)


def status_of(path: Path) -> os.stat_result:
    """The status of what `path` names, a link not followed. Raises DiskError."""
    with explained("look at", path):
        return os.lstat(path)


def owner_for_new(folder: Path) -> Owner:
    """The owner of a file that is new in `folder`.

    The running user; for root the folder's owner, who could replace the file
    anyway. The group of a set-group-id folder is passed on.
    """
    with explained("look at", folder):
        status = os.stat(folder)
    uid = os.geteuid()
    if uid == 0:
        return Owner(status.st_uid, status.st_gid)
    passed_on = status.st_mode & stat.S_ISGID
    return Owner(uid, status.st_gid if passed_on else os.getegid())


def facts_of(
    path: Path,
    *,
    from_disk: bool = False,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> FileFacts:
    """Read a regular file wholly: its content's SHA-256 and its attributes.

    With `from_disk` its pages are dropped from memory first, so that what the
    disk holds is read (it must have been synced, or they stay). Reads only.

    Raises DiskError if it is missing, no regular file, or cannot be read;
    CopyStopped if `stop` is set meanwhile.
    """
    # O_NONBLOCK: opening a fifo that was put there meanwhile must not hang.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with explained("read", path):
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if from_disk:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            digest = _hash(descriptor, _Watch(path, status.st_size, stop, progress))
            # After the content: a writer meanwhile shows in the size.
            status = os.fstat(descriptor)
            xattrs = read_xattrs(descriptor)
        finally:
            os.close(descriptor)
    return FileFacts(
        sha256=digest,
        size=status.st_size,
        mode=stat.S_IMODE(status.st_mode),
        owner=Owner(status.st_uid, status.st_gid),
        xattrs=xattrs,
        device=status.st_dev,
        inode=status.st_ino,
        links=status.st_nlink,
    )


def _hash(descriptor: int, watch: _Watch) -> str:
    hasher = hashlib.sha256()
    while chunk := os.read(descriptor, CHUNK_BYTES):
        hasher.update(chunk)
        watch.advance(len(chunk))
    return hasher.hexdigest()


def read_xattrs(descriptor: int, left_out: tuple[str, ...] = XATTRS_LEFT_OUT) -> dict[str, bytes]:
    """The extended attributes of an open file or folder, sorted by name.

    Those whose names begin with one of `left_out` are not among them. Empty where
    the file system has none. Raises OSError.
    """
    try:
        names = os.listxattr(descriptor)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return {}
        raise
    return {
        name: os.getxattr(descriptor, name)
        for name in sorted(names)
        if not name.startswith(left_out)
    }


def frozen_flags(path: Path) -> tuple[str, ...]:
    """The chattr flags of a file or folder that forbid renaming it, by name."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with explained("look at", path):
        descriptor = os.open(path, flags)
        try:
            found = calls.inode_flags(descriptor)
        finally:
            os.close(descriptor)
    names = ((calls.FLAG_IMMUTABLE, "immutable"), (calls.FLAG_APPEND, "append-only"))
    return tuple(name for flag, name in names if found & flag)


def stage_file(
    source: Path,
    staged: Path,
    *,
    mode: int,
    owner: Owner,
    xattrs: Mapping[str, bytes] | None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> FileFacts:
    """Copy `source` to the new name `staged`, with these attributes, and prove it.

    Shares blocks where the file system can, else copies inside the kernel, else
    through memory. `xattrs` are exactly those it will have (ACLs and
    capabilities are among them); None leaves what the folder's defaults gave.

    Durable on return: content and attributes, read back from the disk. Left to
    the caller: the name (sync its folder), and removing the name after a
    failure. `source` is read only.

    Raises DiskError (FileExistsError's among them: `staged` must not exist),
    AttributesNotKept, CopyStopped.
    """
    with explained("read", source):
        reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        with explained("write", staged):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            writing = os.open(staged, flags, 0o600)
            try:
                size = os.fstat(reading).st_size
                _copy(reading, writing, _Watch(staged, size, stop, progress))
                set_attributes(writing, staged, mode=mode, owner=owner, xattrs=xattrs)
                os.fsync(writing)
            finally:
                os.close(writing)
    finally:
        os.close(reading)
    return facts_of(staged, from_disk=True, stop=stop)


def sync_file(path: Path) -> None:
    """Make a file's content and attributes durable; its name is not."""
    with explained("sync", path):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy(reading: int, writing: int, watch: _Watch) -> None:
    try:
        calls.clone_file(reading, writing)
    except OSError as error:
        if error.errno not in NO_CLONE:
            raise
    else:
        watch.advance(watch.total)
        return
    if watch.total:
        os.posix_fallocate(writing, 0, watch.total)  # a full disk shows now
    _copy_in_kernel(reading, writing, watch)
    _copy_through_memory(reading, writing, watch)
    os.ftruncate(writing, watch.done)  # the source may have shrunk meanwhile


def _copy_in_kernel(reading: int, writing: int, watch: _Watch) -> None:
    """Copy what copy_file_range will; both offsets tell how far it came."""
    while True:
        try:
            count = os.copy_file_range(reading, writing, CHUNK_BYTES)
        except OSError as error:
            if error.errno not in NO_CLONE:
                raise
            return
        if count == 0:
            return
        watch.advance(count)


def _copy_through_memory(reading: int, writing: int, watch: _Watch) -> None:
    while chunk := os.read(reading, CHUNK_BYTES):
        view = memoryview(chunk)
        while view:
            view = view[os.write(writing, view) :]
        watch.advance(len(chunk))


def set_attributes(
    descriptor: int,
    path: Path,
    *,
    mode: int,
    owner: Owner,
    xattrs: Mapping[str, bytes] | None,
    left_out: tuple[str, ...] = XATTRS_LEFT_OUT,
) -> None:
    """Give an open file or folder its owner, then its extended attributes, then its mode.

    A change of owner takes away set-id bits and capabilities, so they follow
    it; with an ACL the mode's group bits are its mask, so the mode is last.
    `xattrs` None leaves what is there, as those that begin with `left_out` are
    left. Not durable on return; after a failure some are set.

    Raises AttributesNotKept, or OSError for what the device says.
    """
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        with _kept(path, f"owner {owner.uid}:{owner.gid}"):
            os.fchown(descriptor, owner.uid, owner.gid)
    if xattrs is not None:
        present = read_xattrs(descriptor, left_out)
        for name in present.keys() - xattrs.keys():
            with _kept(path, f"the absence of {name}"):
                os.removexattr(descriptor, name)
        for name, value in xattrs.items():
            if present.get(name) != value:
                with _kept(path, f"attribute {name}"):
                    os.setxattr(descriptor, name, value)
    with _kept(path, f"mode {mode:o}"):
        os.fchmod(descriptor, mode)


@contextmanager
def _kept(path: Path, attribute: str) -> Iterator[None]:
    """Name the attribute that could not be set; what the device says is left alone."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
            raise
        cause = error.strerror or str(error)
        raise AttributesNotKept(path=path, attribute=attribute, cause=cause) from error
