"""Where a journal lives: machine, file system and inode.

Owns how the place is read and compared. Never opens journal.db: closing a
descriptor of it would drop SQLite's locks.

Laws
I1. A journal at rest in its place is found in its place after a reboot, a
    replugged disk or a kernel upgrade.
I2. A copy, a restored backup or a moved disk is found elsewhere.
`docs/decisions/0003-journal-identity.md` says why not device numbers.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from noodle_journal.failures import JournalAbsent, JournalUnreadable
from noodle_journal.format.canonical import JsonValue

_FS_IOC_GETFSUUID = 0x80111500  # _IOR(0x15, 0, struct fsuuid2), Linux 6.9 and later
_NO_SUCH_CALL = {errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}


@dataclass(frozen=True, slots=True)
class Identity:
    """A place. `volume` is the file system's UUID where the kernel tells it."""

    machine_id: str
    file_system: int
    inode: int
    volume: str | None = None

    @classmethod
    def of(cls, path: Path, machine_id: str) -> Identity:
        """The place of `path`, which must exist; `machine_id` as in /etc/machine-id.

        Raises: JournalAbsent, JournalUnreadable.
        """
        try:
            inode = path.stat().st_ino
            file_system = os.statvfs(path.parent).f_fsid
            volume = _volume(path.parent)
        except FileNotFoundError as exc:
            raise JournalAbsent(folder=str(path.parent)) from exc
        except OSError as exc:
            raise JournalUnreadable(path=str(path), reason=exc.strerror or str(exc)) from exc
        # Beyond 64 bits nothing fits in a record's JSON.
        return cls(machine_id, file_system & (2**64 - 1), inode, volume)

    def is_same_place(self, other: Identity) -> bool:
        """Whether both name one place: by the UUID where both know it."""
        if self.machine_id != other.machine_id or self.inode != other.inode:
            return False
        if self.volume is not None and other.volume is not None:
            return self.volume == other.volume
        return self.file_system == other.file_system

    def to_json(self) -> dict[str, JsonValue]:
        """As it stands in the body of `key.epoch`."""
        return {
            "file_system": self.file_system,
            "inode": self.inode,
            "machine_id": self.machine_id,
            "volume": self.volume,
        }

    @classmethod
    def from_json(cls, value: object) -> Identity | None:
        """The place in a body, or None where it holds none."""
        match value:
            case {
                "file_system": int(file_system),
                "inode": int(inode),
                "machine_id": str(machine_id),
                "volume": (str() | None) as volume,
            }:
                return cls(machine_id, file_system, inode, volume)
            case Mapping() | _:
                return None

    def __str__(self) -> str:
        volume = self.volume or f"{self.file_system:x}"
        return f"machine {self.machine_id}, file system {volume}, inode {self.inode}"


def _volume(folder: Path) -> str | None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        answer = bytearray(17)
        fcntl.ioctl(descriptor, _FS_IOC_GETFSUUID, answer)
    except OSError as exc:
        if exc.errno in _NO_SUCH_CALL:
            return None
        raise
    finally:
        os.close(descriptor)
    length = answer[0]
    uuid = bytes(answer[1 : 1 + length])
    return uuid.hex() if any(uuid) else None
