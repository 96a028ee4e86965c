"""Writing a tree: folders, links, files shared or copied, and the folders' attributes last.

Owns how a tree comes to be under a name nobody opens. It replaces nothing: a
name that is there is a failure. Nothing here is durable on return: one
`sync_file_system` follows when all is there.

Laws
B1. While a tree is built its folders are 0700 and its files 0600, without an ACL
    that the place would give: nobody else reads what is half there.
B2. A file's mode comes after its content and its other attributes; a folder's
    after all that is in it.
B3. What `copy_file` answers are the digests of the very bytes the copy was given.
B4. What is shared is not believed: `TreeWriter.write` tells which files those are,
    for who reads the tree back.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import blake3

from noodle_engine.disk import calls
from noodle_engine.disk.failures import (
    AttributesNotKept,
    CopyStopped,
    DiskError,
    explained,
    failure_of,
)
from noodle_engine.disk.files import NO_CLONE, Owner, set_attributes
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest
from noodle_engine.disk.trees.places import (
    Place,
    explained_at,
    give_attributes,
    new_file,
    shown,
    where,
)
from noodle_engine.disk.trees.reach import FILE_FLAGS, OpenTree, Spot
from noodle_engine.disk.trees.remove import remove_tree
from noodle_engine.disk.trees.sharing import Sharing, link_same, probe_sharing, share_file
from noodle_engine.disk.trees.syncing import fsync_tree, sync_file_system
from noodle_engine.disk.trees.walk import TREE_XATTRS_LEFT_OUT

__all__ = [
    "KeptTree",
    "OpenTree",
    "Place",
    "Sharing",
    "Spot",
    "TreeWriter",
    "Written",
    "copy_file",
    "finish_folders",
    "fsync_tree",
    "make_tree_folders",
    "place_link",
    "probe_sharing",
    "remove_tree",
    "share_file",
    "sync_file_system",
]

_CHUNK_BYTES: Final = 1024 * 1024
"""How much is copied between two looks at `stop`."""
_BLOCK_BYTES: Final = 512
_ZEROS: Final = memoryview(bytes(_CHUNK_BYTES))


@dataclass(frozen=True, slots=True)
class KeptTree:
    """A tree on the same file system, and what it is believed to hold."""

    path: Path
    manifest: TreeManifest


@dataclass(slots=True)
class Written:
    """Which files a tree got without writing them, and which were copied."""

    shared: set[bytes] = field(default_factory=set)
    copied: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class TreeWriter:
    """Writes trees of `manifest` from `source`, and from what is kept.

    `kept` finds the kept trees, and is asked only if a file is wanted from them.
    With `links_source` a file gets one more of the source's names, where it can.
    `advance` is told bytes as they are done. `changed` makes the failure to raise
    where a copy has other digests than the manifest: it gets the source's path,
    the digest that was expected and the one that was found.
    """

    manifest: TreeManifest
    source: Path
    sharing: Sharing
    kept: Callable[[], Iterable[KeptTree]]
    changed: Callable[[Path, str, str], Exception]
    links_source: bool = False
    stop: threading.Event | None = None
    advance: Callable[[int], None] | None = None

    def write(self, root: Path) -> Written:
        """Write all of it at `root`, which must not be there. Nothing is durable.

        Raises DiskError, AttributesNotKept, CopyStopped and what `changed` makes;
        then a part of it is there.
        """
        written = Written()
        shared, copied = written.shared.add, written.copied.add
        links = self.links_source and self.sharing is Sharing.HARD_LINK
        make_tree_folders(root, self.manifest)
        with ExitStack() as opened:
            new = opened.enter_context(OpenTree(root))
            source = opened.enter_context(OpenTree(self.source))
            kept = _Kept(self.kept, self.sharing, opened)
            for entry in self.manifest.entries:
                if entry.kind is EntryKind.LINK:
                    place_link(new.spot(entry.path), entry)
                elif entry.kind is EntryKind.FILE:
                    if links and link_same(source, new, entry):
                        if self.advance is not None:
                            self.advance(entry.size)
                        shared(entry.path)
                    elif self._is_shared(source, kept, new, entry):
                        shared(entry.path)
                    else:
                        self.copy(source, new, entry)
                        copied(entry.path)
        finish_folders(root, self.manifest)
        return written

    def _is_shared(self, source: OpenTree, kept: _Kept, new: OpenTree, entry: TreeEntry) -> bool:
        if self.links_source and self._share(source, entry.path, new, entry):
            return True
        place = kept.find(entry)
        return place is not None and self._share(*place, new, entry)

    def _share(self, tree: OpenTree, there: bytes, new: OpenTree, entry: TreeEntry) -> bool:
        """Clone or link a file that is there; False if it is gone, or cannot be."""
        try:
            done = share_file(tree.spot(there), new.spot(entry.path), entry, self.sharing)
        except DiskError as error:
            if error.number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False  # somebody removed it; the source has it too
            raise
        if done and self.advance is not None:
            self.advance(entry.size)
        return done

    def copy(self, source: OpenTree, new: OpenTree, entry: TreeEntry) -> None:
        """Copy one file. Raises what `changed` makes if it is not what the manifest says."""
        found = copy_file(
            source.spot(entry.path),
            new.spot(entry.path),
            entry,
            stop=self.stop,
            advance=self.advance,
        )
        if found != (entry.blake3, entry.sha256):
            raise self.changed(source.shown(entry.path), entry.blake3, found[0])


class _Kept:
    """What is in the kept trees, looked for once the first file is wanted from them."""

    def __init__(
        self, kept: Callable[[], Iterable[KeptTree]], how: Sharing, opened: ExitStack
    ) -> None:
        self._kept = kept
        self._how = how
        self._opened = opened
        self._index: dict[tuple[object, ...], tuple[Path, bytes]] | None = None
        self._trees: dict[Path, OpenTree] = {}

    def find(self, entry: TreeEntry) -> tuple[OpenTree, bytes] | None:
        """A kept tree that should have the file, and where in it; the first that has."""
        if self._how is Sharing.COPY:
            return None
        if self._index is None:
            self._index = {}
            for tree in self._kept():
                for one in tree.manifest.entries:
                    if one.kind is EntryKind.FILE:
                        self._index.setdefault(one.identity, (tree.path, one.path))
        place = self._index.get(entry.identity)
        if place is None:
            return None
        path, there = place
        if path not in self._trees:
            self._trees[path] = self._opened.enter_context(OpenTree(path))
        return self._trees[path], there


def make_tree_folders(root: Path, manifest: TreeManifest) -> None:
    """Make `root`, which must not be there, and all folders of the manifest in it.

    All are 0700 and the running user's for now, and give nothing on to what is
    made in them. After a failure a part of them is there. Raises DiskError
    (FileExistsError's among them).
    """
    with explained("make the folder", root):
        os.mkdir(root, stat.S_IRWXU)
    with OpenTree(root) as tree:
        with explained("make the folder", root):
            # A default ACL and the set-group-id bit would be given on to all that follows.
            here = Owner(os.geteuid(), os.getegid())
            set_attributes(
                tree.descriptor,
                root,
                mode=stat.S_IRWXU,
                owner=here,
                xattrs={},
                left_out=TREE_XATTRS_LEFT_OUT,
            )
        for entry in manifest.entries:
            if entry.kind is EntryKind.FOLDER and entry.path:
                folder, name, _, _ = spot = tree.spot(entry.path)
                try:
                    os.mkdir(name, stat.S_IRWXU, dir_fd=folder)
                except OSError as error:
                    raise failure_of(error, "make the folder", spot.path) from error


def finish_folders(root: Path, manifest: TreeManifest) -> None:
    """Give every folder of the manifest its owner, extended attributes and mode (law B2).

    After a failure some have them. Raises DiskError, AttributesNotKept.
    """
    with OpenTree(root) as tree:
        for entry in reversed(manifest.entries):
            if entry.kind is EntryKind.FOLDER:
                folder = tree.folder(entry.path)
                path = tree.shown(entry.path)
                with explained("change the folder", path):
                    give_attributes(folder, path, entry)


def place_link(target: Place, entry: TreeEntry) -> None:
    """Make the symbolic link of `entry`, with its owner, under a new name.

    After a failure the link may be there, with another owner. Raises DiskError
    (FileExistsError's among them), AttributesNotKept.
    """
    name, folder = where(target)
    with explained_at("make the link", target):
        os.symlink(entry.link, name, dir_fd=folder)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (status.st_uid, status.st_gid) == (entry.uid, entry.gid):
            return
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        except PermissionError as error:
            owner = f"owner {entry.uid}:{entry.gid}"
            cause = error.strerror or str(error)
            raise AttributesNotKept(path=shown(target), attribute=owner, cause=cause) from error


def copy_file(
    source: Place,
    target: Place,
    entry: TreeEntry,
    *,
    stop: threading.Event | None = None,
    advance: Callable[[int], None] | None = None,
) -> tuple[str, str]:
    """Copy a file under a new name, with the attributes of `entry` and the source's mtime.

    The answer are the digests of the content that the copy was given, in
    hexadecimal: BLAKE3, and SHA-256 if `entry` has one, else empty (law B3).
    Whether they are those of `entry` is for the caller to say. Blocks are shared
    where the file system can; holes stay holes. `advance` is told bytes as they
    are done, holes among them.

    Not durable on return. After a failure the name may be there: the caller
    removes the whole tree. `source` is read only.

    Raises DiskError (FileExistsError's among them), AttributesNotKept, CopyStopped.
    """
    name, folder = where(source)
    with explained_at("read", source):
        reading = os.open(name, FILE_FLAGS, dir_fd=folder)
    try:
        with explained_at("read", source):
            status = os.fstat(reading)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
        with new_file(target) as (writing, path):
            copy = _Copy(reading, writing, path, stop, advance)
            digests = copy.whole(status, both=bool(entry.sha256))
            give_attributes(writing, path, entry, status.st_mtime_ns)
    finally:
        os.close(reading)
    return digests


class _Copy:
    """One file's content on its way. Its methods raise OSError and CopyStopped."""

    def __init__(
        self,
        reading: int,
        writing: int,
        path: Path,
        stop: threading.Event | None,
        advance: Callable[[int], None] | None,
    ) -> None:
        self.reading = reading
        self.writing = writing
        self.path = path
        self.stop = stop
        self.advance = advance
        self.blake3 = blake3.blake3()
        self.sha256 = hashlib.sha256()
        self.both = False

    def whole(self, status: os.stat_result, *, both: bool) -> tuple[str, str]:
        """Copy all of it, as it is when the copying comes to it; its digests."""
        self.both = both
        if self._clone():
            self._read_back()
        elif status.st_blocks * _BLOCK_BYTES >= status.st_size or not self._sparse(status.st_size):
            self._dense(status.st_size)
        return self.blake3.hexdigest(), self.sha256.hexdigest() if both else ""

    def _count(self, chunk: bytes | memoryview) -> None:
        self.blake3.update(chunk)
        if self.both:
            self.sha256.update(chunk)
        if self.advance is not None:
            self.advance(len(chunk))
        if self.stop is not None and self.stop.is_set():
            raise CopyStopped(path=self.path)

    def _clone(self) -> bool:
        try:
            calls.clone_file(self.reading, self.writing)
        except OSError as error:
            if error.errno not in NO_CLONE:
                raise
            return False
        return True

    def _read_back(self) -> None:
        """Read what the clone holds: the source may be another one already."""
        while chunk := os.read(self.writing, _CHUNK_BYTES):
            self._count(chunk)

    def _dense(self, size: int) -> None:
        """Copy until the end; a small file with one reading more than it needs."""
        wanted = min(size + 1, _CHUNK_BYTES)
        while chunk := os.read(self.reading, wanted):
            _write(self.writing, chunk)
            self._count(chunk)

    def _sparse(self, size: int) -> bool:
        """Copy the data between the holes; False if the file system does not tell them."""
        offset = 0
        while offset < size:
            try:
                start = min(os.lseek(self.reading, offset, os.SEEK_DATA), size)
                end = min(os.lseek(self.reading, start, os.SEEK_HOLE), size)
            except OSError as error:
                if error.errno == errno.EINVAL and offset == 0:
                    os.lseek(self.reading, 0, os.SEEK_SET)
                    return False
                if error.errno != errno.ENXIO:
                    raise
                # A hole up to the end, which may be nearer than it was.
                size = max(offset, min(size, os.fstat(self.reading).st_size))
                start = end = size
            for hole in range(offset, start, _CHUNK_BYTES):
                self._count(_ZEROS[: start - hole])
            os.lseek(self.reading, start, os.SEEK_SET)
            os.lseek(self.writing, start, os.SEEK_SET)
            while start < end and (chunk := os.read(self.reading, min(end - start, _CHUNK_BYTES))):
                _write(self.writing, chunk)
                self._count(chunk)
                start += len(chunk)
            if start < end:
                size = start  # it was cut off meanwhile
            offset = end
        os.ftruncate(self.writing, size)
        return True


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
