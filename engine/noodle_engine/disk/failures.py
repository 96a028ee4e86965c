"""What the disk refuses, as failures with code, problem, cause and remedy.

Owns the one place where an OSError becomes a failure of ours. No OSError
leaves `disk` or `targets`: `explained` turns it into the class that names it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from noodle_engine.machine.text import path_text
from noodle_journal.errors import NoodleError

__all__ = [
    "AttributesNotKept",
    "CopyStopped",
    "DiskDenied",
    "DiskError",
    "DiskFailed",
    "DiskFault",
    "DiskFull",
    "DiskReadOnly",
    "ExchangeUnsupported",
    "FolderUnsafe",
    "LockHeld",
    "PathRefused",
    "explained",
    "failure_of",
]


class DiskError(NoodleError):
    """A system call failed. `doing` is what was tried; `number` the errno."""

    code: ClassVar[str] = "disk_failed"
    exit_code: ClassVar[int] = 3
    hint: ClassVar[str] = "look at the cause, then run the command again"

    def __init__(self, *, doing: str, path: Path, cause: str, number: int = 0) -> None:
        self.path = path
        self.number = number
        name = path_text(str(path))
        super().__init__(
            problem=f"could not {doing} {name}",
            cause=cause,
            remedy=self.hint,
            data={"path": name, "errno": errno.errorcode.get(number, str(number))},
        )


class DiskFailed(DiskError):
    """A system call failed in a way that has no class of its own."""

    code: ClassVar[str] = "disk_failed"


class DiskFull(DiskError):
    """No space, no inode or no quota is left."""

    code: ClassVar[str] = "disk_full"
    hint: ClassVar[str] = "free space or inodes on that file system, then run the command again"


class DiskReadOnly(DiskError):
    """The file system is mounted read-only."""

    code: ClassVar[str] = "disk_read_only"
    hint: ClassVar[str] = "mount the file system writable, then run the command again"


class DiskDenied(DiskError):
    """The running user may not do it."""

    code: ClassVar[str] = "disk_denied"
    hint: ClassVar[str] = "run as the owner or as root"


class DiskFault(DiskError):
    """The device reports an error; what it holds is in doubt."""

    code: ClassVar[str] = "disk_fault"
    hint: ClassVar[str] = "look at the kernel's messages; check the disk before trying again"


_CLASS_OF: dict[int, type[DiskError]] = {
    errno.ENOSPC: DiskFull,
    errno.EDQUOT: DiskFull,
    errno.EROFS: DiskReadOnly,
    errno.EACCES: DiskDenied,
    errno.EPERM: DiskDenied,
    errno.EIO: DiskFault,
}


@contextmanager
def explained(doing: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into the failure that names it."""
    try:
        yield
    except OSError as error:
        raise failure_of(error, doing, path) from error


def failure_of(error: OSError, doing: str, path: Path) -> DiskError:
    """The failure that names an OSError: `explained` for one call among thousands."""
    number = error.errno or 0
    kind = _CLASS_OF.get(number, DiskFailed)
    return kind(doing=doing, path=path, cause=error.strerror or str(error), number=number)


class ExchangeUnsupported(NoodleError):
    """The file system cannot exchange two names in one step."""

    code: ClassVar[str] = "exchange_unsupported"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, folder: Path) -> None:
        self.folder = folder
        name = path_text(str(folder))
        super().__init__(
            problem=f"the file system of {name} cannot exchange two names in one step",
            cause="renameat2(RENAME_EXCHANGE) is refused there (NFS, FUSE, vfat and some overlays)",
            remedy="move the target to a local file system: ext4, xfs, btrfs or tmpfs",
            data={"folder": name},
        )


class AttributesNotKept(NoodleError):
    """An owner, a mode or an extended attribute of the old cannot be given to the new."""

    code: ClassVar[str] = "attributes_not_kept"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, path: Path, attribute: str, cause: str) -> None:
        self.path = path
        self.attribute = attribute
        name = path_text(str(path))
        super().__init__(
            problem=f"{attribute} cannot be set on {name}",
            cause=cause,
            remedy="run as root, or as a user who may set it",
            data={"path": name, "attribute": attribute},
        )


class CopyStopped(NoodleError):
    """A copy or a check was asked to end early. The target is as before."""

    code: ClassVar[str] = "stopped"
    exit_code: ClassVar[int] = 130

    def __init__(self, *, path: Path) -> None:
        self.path = path
        name = path_text(str(path))
        super().__init__(
            problem=f"reading or writing {name} was stopped before its end",
            cause="the command was asked to stop",
            remedy="run `noodle resume`: the step is done again from its start",
            data={"path": name},
        )


class FolderUnsafe(NoodleError):
    """A folder that Noodle keeps its things in is not one, or is another user's."""

    code: ClassVar[str] = "folder_unsafe"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, path: Path, found: str) -> None:
        self.path = path
        name = path_text(str(path))
        super().__init__(
            problem=f"{name} is {found}",
            cause="Noodle keeps what belongs to a target there, in a folder of its own user",
            remedy=f"look at what {name} is; move it away, or run as its owner",
            data={"path": name, "found": found},
        )


class PathRefused(NoodleError):
    """A path is not one that an upgrade may change."""

    code: ClassVar[str] = "path_refused"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, path: str, why: str, remedy: str) -> None:
        self.path = path
        name = path_text(path)
        super().__init__(
            problem=f"{name or 'an empty path'} cannot be a target",
            cause=why,
            remedy=remedy,
            data={"path": name},
        )


class LockHeld(NoodleError):
    """Somebody else holds a lock. `holder` is a process id, if the kernel tells it."""

    code: ClassVar[str] = "lock_held"
    exit_code: ClassVar[int] = 9

    def __init__(self, *, path: Path, holder: int | None, waited_ms: int) -> None:
        self.path = path
        self.holder = holder
        name = path_text(str(path))
        who = "another process" if holder is None else f"process {holder}"
        super().__init__(
            problem=f"{who} holds the lock {name}",
            cause=f"it did not release it within {waited_ms} ms",
            remedy="wait for it to end, or look at what it does; never delete the lock file",
            data={"path": name, "holder": holder, "waited_ms": waited_ms},
        )
