"""Brings a folder back to an earlier state, keeping its inodes where it can.

A prepared home is dear, and its journal is bound to its inode: a copy is not
the same. So a sweep prepares once and, before each point, this puts contents,
names, attributes and inodes back in place. Not durable, and not for a folder in use.

Laws
N1. After `restore`, names, kinds, contents, modes, owners, extended attributes and
    modification times are those of `take`.
N2. A file or folder whose inode still exists anywhere in the folder keeps that inode.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One name below the folder. `content` is bytes of a file, the target of a link."""

    path: str
    mode: int
    owner: int
    group: int
    modified_ns: int
    inode: int
    content: bytes
    attributes: tuple[tuple[str, bytes], ...]

    @property
    def is_folder(self) -> bool:
        """Say whether it is a folder."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """Say whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


class NotRestorable(AssertionError):
    """The folder holds something that is no file, folder or link."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A folder's state, its own attributes included (path ``.``); parents before children."""

    folder: Path
    entries: tuple[Entry, ...]

    @classmethod
    def take(cls, folder: Path) -> Snapshot:
        """Read a folder that nobody writes to. Sockets are left out: nobody holds them.

        Raises: NotRestorable.
        """
        entries = [_entry(folder, Path())]
        for where, folders, files in os.walk(folder):
            below = Path(where).relative_to(folder)
            entries.extend(
                _entry(folder, below / name)
                for name in folders + files
                if not stat.S_ISSOCK((folder / below / name).lstat().st_mode)
            )
        return cls(folder=folder, entries=tuple(sorted(entries, key=lambda entry: entry.path)))

    def restore(self) -> None:
        """Make the folder what it was; what was added since is removed."""
        held = self.folder.with_name(f"{self.folder.name}.held")
        held.mkdir()
        wanted = {entry.path: entry for entry in self.entries}
        by_inode = {entry.inode: entry for entry in self.entries}
        self._hold_or_remove(held, wanted, by_inode)
        for entry in self.entries:
            self._put(entry, held)
        for entry in reversed(self.entries):  # children first: they change their parent's time
            path = self.folder / entry.path
            os.utime(path, ns=(entry.modified_ns, entry.modified_ns), follow_symlinks=False)
        held.rmdir()

    def _hold_or_remove(
        self, held: Path, wanted: dict[str, Entry], by_inode: dict[int, Entry]
    ) -> None:
        """Set known inodes aside under their number, and remove all else, deepest first."""
        for where, folders, files in os.walk(self.folder, topdown=False):
            for name in folders + files:
                path = Path(where) / name
                status = path.lstat()
                known = by_inode.get(status.st_ino)
                same_kind = known is not None and stat.S_IFMT(known.mode) == stat.S_IFMT(
                    status.st_mode
                )
                if same_kind and known is not None and not os.path.lexists(held / str(known.inode)):
                    if known.is_folder and self._in_place(path.relative_to(self.folder), wanted):
                        continue
                    path.rename(held / str(known.inode))
                elif stat.S_ISDIR(status.st_mode):
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def _in_place(self, below: Path, wanted: dict[str, Entry]) -> bool:
        """Say whether a folder and all above it are the ones taken."""
        for part in (below, *below.parents):
            entry = wanted.get(str(part))
            if entry is None or (self.folder / part).lstat().st_ino != entry.inode:
                return False
        return True

    def _put(self, entry: Entry, held: Path) -> None:
        path = self.folder / entry.path
        kept = held / str(entry.inode)
        if not os.path.lexists(path) and os.path.lexists(kept):
            kept.rename(path)
        if entry.is_folder:
            path.mkdir(exist_ok=True)
        elif entry.is_link:
            if not path.is_symlink() or os.readlink(os.fsencode(path)) != entry.content:
                path.unlink(missing_ok=True)
                path.symlink_to(os.fsdecode(entry.content))
        else:
            path.touch()
            if path.read_bytes() != entry.content:
                path.write_bytes(entry.content)
        os.chown(path, entry.owner, entry.group, follow_symlinks=False)
        if not entry.is_link:
            path.chmod(stat.S_IMODE(entry.mode))
            _put_attributes(path, entry)


def _entry(folder: Path, below: Path) -> Entry:
    path = folder / below
    status = path.lstat()
    content = b""
    if stat.S_ISLNK(status.st_mode):
        content = os.fsencode(path.readlink())
    elif stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
    elif not stat.S_ISDIR(status.st_mode):
        raise NotRestorable(str(path))
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return Entry(
        path=str(below),
        mode=status.st_mode,
        owner=status.st_uid,
        group=status.st_gid,
        modified_ns=status.st_mtime_ns,
        inode=status.st_ino,
        content=content,
        attributes=tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names),
    )


def _put_attributes(path: Path, entry: Entry) -> None:
    wanted = dict(entry.attributes)
    for name in os.listxattr(path):
        if name not in wanted:
            os.removexattr(path, name)
    for name, value in wanted.items():
        if name not in os.listxattr(path) or os.getxattr(path, name) != value:
            os.setxattr(path, name, value)
