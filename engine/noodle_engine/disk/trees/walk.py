"""Walking a tree: what is there, and its status. No content is read.

Owns the order in which folders are opened and listed, and which extended
attributes are a tree's. It reads only.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from noodle_engine.disk.failures import CopyStopped, DiskFailed, failure_of
from noodle_engine.disk.files import XATTRS_LEFT_OUT, read_xattrs
from noodle_engine.disk.trees.manifest import ENTRIES_MAX, EntryKind, TreeEntry
from noodle_engine.disk.trees.reach import FOLDER_FLAGS, refuse_too_deep
from noodle_engine.disk.trees.stamps import Stamp, stamp_of

__all__ = ["TREE_XATTRS_LEFT_OUT", "Found", "Special", "tree_xattrs", "walk_tree"]

TREE_XATTRS_LEFT_OUT: Final = (*XATTRS_LEFT_OUT, "security.selinux", "security.SMACK64")
"""The system labels a tree by where it lies: the same tree has others elsewhere."""

_ENCODING: Final = sys.getfilesystemencoding()
_ERRORS: Final = sys.getfilesystemencodeerrors()
"""What `os.fsencode` asks for each time."""
_NOTHING: Final[Mapping[str, Stamp]] = {}
_KIND: Final = 0o170000
_FILE: Final = stat.S_IFREG
_SPECIAL: Final = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class Special(NamedTuple):
    """What is neither file, folder nor link: it is never copied."""

    path: bytes
    what: str


@dataclass(slots=True)
class Found:
    """What a walk found besides files, in the order it found it."""

    folders: list[TreeEntry] = field(default_factory=list)
    links: list[TreeEntry] = field(default_factory=list)
    specials: list[Special] = field(default_factory=list)
    known: list[tuple[bytes, list[str]]] = field(default_factory=list)
    """By folder: the names of files that have the stamp they are known by."""


def walk_tree(
    root: Path,
    *,
    file: Callable[[bytes, os.stat_result], None],
    leave: Callable[[bytes], bool] | None = None,
    known: Mapping[bytes, Mapping[str, Stamp]] | None = None,
    stop: threading.Event | None = None,
) -> Found:
    """Look at everything in `root`, folders for which `leave` says so aside.

    `file` is told each plain file's path and status, folder by folder, but those
    that have the stamp in `known` (by folder, then by name). A name that is gone
    between its folder's listing and the look at it is not there.
    Bounds: DEPTH_MAX folders one in the other, ENTRIES_MAX entries. Cost: one
    status each, and of folders the extended attributes.

    Raises DiskError (a `root` that is a link or no folder among it), CopyStopped.
    """
    walk = _Walk(root, file, leave, known or {}, stop)
    try:
        descriptor = os.open(root, FOLDER_FLAGS)
    except OSError as error:
        raise failure_of(error, "open the folder", root) from error
    walk.whole(descriptor)
    return walk.found


def tree_xattrs(descriptor: int) -> tuple[tuple[str, bytes], ...]:
    """The extended attributes of an open file or folder that are a tree's. Raises OSError."""
    try:
        if not os.listxattr(descriptor):
            return ()
    except OSError:  # `read_xattrs` knows which mean that there are none
        pass
    return tuple(read_xattrs(descriptor, TREE_XATTRS_LEFT_OUT).items())


class _Walk:
    """One walk. The folders that lead to where it is are open."""

    def __init__(
        self,
        root: Path,
        file: Callable[[bytes, os.stat_result], None],
        leave: Callable[[bytes], bool] | None,
        known: Mapping[bytes, Mapping[str, Stamp]],
        stop: threading.Event | None,
    ) -> None:
        self.root = root
        self.file = file
        self.leave = leave
        self.known = known
        self.stop = stop
        self.found = Found()
        self.count = 0

    def whole(self, descriptor: int) -> None:
        """Walk all below an open folder, and close it."""
        path = b""
        open_folders: list[tuple[int, bytes, list[bytes]]] = []
        try:
            open_folders.append((descriptor, path, self.look(descriptor, path)))
            while open_folders:
                descriptor, path, below = open_folders[-1]
                if not below:
                    os.close(open_folders.pop()[0])
                    continue
                name = below.pop()
                path = path + b"/" + name if path else name
                refuse_too_deep(len(open_folders))
                try:
                    inner = os.open(name, FOLDER_FLAGS, dir_fd=descriptor)
                except FileNotFoundError:
                    continue
                open_folders.append((inner, path, []))
                open_folders[-1][2].extend(self.look(inner, path))
        except OSError as error:
            raise failure_of(error, "look at", self.root / os.fsdecode(path)) from error
        finally:
            for opened in open_folders:
                os.close(opened[0])

    def look(self, descriptor: int, path: bytes) -> list[bytes]:
        """List one open folder; the names of the folders in it that are to be walked."""
        if self.stop is not None and self.stop.is_set():
            raise CopyStopped(path=self.root)
        found = self.found
        status = os.fstat(descriptor)
        found.folders.append(
            TreeEntry(
                path,
                EntryKind.FOLDER,
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
                xattrs=tree_xattrs(descriptor),
            )
        )
        below: list[bytes] = []
        prefix = path + b"/" if path else b""
        # By local names: this runs for each of a hundred thousand names.
        file, look, stamp = self.file, os.stat, stamp_of
        known = self.known.get(path, _NOTHING).get
        same: list[str] = []
        found.known.append((path, same))
        names = os.listdir(descriptor)
        self.count += len(names)
        if self.count > ENTRIES_MAX:
            raise OSError(errno.EOVERFLOW, f"the tree has more than {ENTRIES_MAX} entries")
        for text in names:
            try:
                status = look(text, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            expected = known(text)
            if expected is not None and expected == stamp(status):
                same.append(text)
                continue
            name = text.encode(_ENCODING, _ERRORS)
            kind = status.st_mode & _KIND
            if kind == _FILE:
                file(prefix + name, status)
            elif kind == stat.S_IFDIR:
                if self.leave is None or not self.leave(prefix + name):
                    below.append(name)
            elif kind == stat.S_IFLNK:
                self.link(descriptor, name, prefix + name, status)
            else:
                found.specials.append(Special(prefix + name, _SPECIAL.get(kind, "unknown")))
        return below

    def link(self, folder: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        """Read one link; one that is gone is not there."""
        try:
            text = os.readlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            where = self.root / os.fsdecode(path)
            cause = "it was a link and is none any more"
            raise DiskFailed(doing="look at", path=where, cause=cause) from error
        self.found.links.append(
            TreeEntry(path, EntryKind.LINK, 0, status.st_uid, status.st_gid, link=text)
        )
