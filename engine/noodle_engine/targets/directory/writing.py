"""Building a tree for a target: shared where it is there already, copied where not.

Owns where each file of a new tree comes from. Where names may be shared, a file
gets one more of the release's. Else the trees that are kept (the old one at the
target, rollback points) are the store: what one of them has, with the same content,
owner, mode and attributes, is cloned or linked; anything else is copied from the
release. None of them is believed: the whole tree is read back,
what was copied from the disk and not from memory, and a file that was shared
and is not what it should be is named and copied from the release instead.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.names import unlink_quietly
from noodle_engine.disk.trees.build import (
    OpenTree,
    Sharing,
    copy_file,
    finish_folders,
    make_tree_folders,
    place_link,
    remove_tree,
    share_file,
)
from noodle_engine.disk.trees.manifest import Change, EntryKind, TreeEntry, TreeManifest, name_text
from noodle_engine.disk.trees.scan import check_tree
from noodle_engine.disk.trees.stamps import Stamp
from noodle_engine.disk.trees.syncing import fsync_tree, opened_file_system, sync_file_system
from noodle_engine.targets.failures import PayloadChanged, StageUnproven

__all__ = ["Built", "KeptTree", "Progressing", "build_tree", "key_of", "named", "shareable_in"]

NAMED_MAX = 5
"""How many paths a failure names."""

_Key = tuple[str, int, int, int, tuple[tuple[str, bytes], ...]]


@dataclass(frozen=True, slots=True)
class KeptTree:
    """A tree on the target's file system, and what it is believed to hold."""

    path: Path
    manifest: TreeManifest


@dataclass(frozen=True, slots=True)
class Built:
    """A tree that was built and read back. `replaced` are files whose shared copy was damaged."""

    stamps: Mapping[bytes, Stamp]
    replaced: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Progressing:
    """Bytes done of bytes in all, over the phases of one step."""

    tell: Callable[[int, int], None]
    total: int
    done: int = 0

    def advance(self, count: int) -> None:
        """So many bytes more are done."""
        self.done += count
        self.tell(self.done, max(self.total, self.done))

    def phase(self) -> Callable[[int, int], None]:
        """A phase that tells its own bytes done and in all."""
        start = self.done

        def told(done: int, _total: int) -> None:
            self.done = start + done
            self.tell(self.done, max(self.total, self.done))

        return told


def key_of(entry: TreeEntry) -> _Key:
    """What makes two files the same to whoever opens them."""
    return (entry.blake3, entry.mode, entry.uid, entry.gid, entry.xattrs)


def shareable_in(kept: Iterable[KeptTree]) -> dict[_Key, tuple[Path, bytes]]:
    """By what it is, where a file is in the kept trees; the first tree that has it."""
    found: dict[_Key, tuple[Path, bytes]] = {}
    for tree in kept:
        for entry in tree.manifest.entries:
            if entry.kind is EntryKind.FILE:
                found.setdefault(key_of(entry), (tree.path, entry.path))
    return found


class _Shareable:
    """What is in the kept trees, looked for once the first file is wanted from them."""

    def __init__(
        self, kept: Callable[[], Iterable[KeptTree]], how: Sharing, opened: ExitStack
    ) -> None:
        self._kept = kept
        self._how = how
        self._opened = opened
        self._index: dict[_Key, tuple[Path, bytes]] | None = None
        self._trees: dict[Path, OpenTree] = {}

    def find(self, entry: TreeEntry) -> tuple[OpenTree, bytes] | None:
        """A kept tree that should have the file, and where in it."""
        if self._how is Sharing.COPY:
            return None
        if self._index is None:
            self._index = shareable_in(self._kept())
        place = self._index.get(key_of(entry))
        if place is None:
            return None
        path, there = place
        if path not in self._trees:
            self._trees[path] = self._opened.enter_context(OpenTree(path))
        return self._trees[path], there


@dataclass(slots=True)
class _Build:
    """One tree being built at `path`, from a payload and what is kept."""

    target: Path
    path: Path
    manifest: TreeManifest
    payload: Path
    kept: Callable[[], Iterable[KeptTree]]
    sharing: Sharing
    stop: threading.Event
    progress: Progressing
    shared: set[bytes] = field(default_factory=set)
    copied: set[bytes] = field(default_factory=set)

    def write(self) -> None:
        """Write all of it. Nothing is durable."""
        make_tree_folders(self.path, self.manifest)
        # A name more of what the release has takes no space, whatever else has it.
        from_release = self.sharing is Sharing.HARD_LINK
        with ExitStack() as opened:
            new = opened.enter_context(OpenTree(self.path))
            source = opened.enter_context(OpenTree(self.payload))
            kept = _Shareable(self.kept, self.sharing, opened)
            for entry in self.manifest.entries:
                if entry.kind is EntryKind.LINK:
                    place_link(new.spot(entry.path), entry)
                elif entry.kind is EntryKind.FILE:
                    if from_release and self._share(source, entry.path, new, entry):
                        continue
                    place = kept.find(entry)
                    if place is None or not self._share(*place, new, entry):
                        self._copy(source, new, entry)
        finish_folders(self.path, self.manifest)

    def _share(self, tree: OpenTree, there: bytes, new: OpenTree, entry: TreeEntry) -> bool:
        """Clone or link a kept file; False if it is gone, or cannot be."""
        try:
            done = share_file(tree.spot(there), new.spot(entry.path), entry, self.sharing)
        except DiskError as error:
            if error.number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False  # somebody removed it; the release has it too
            raise
        if done:
            self.shared.add(entry.path)
            self.progress.advance(entry.size)
        return done

    def _copy(self, source: OpenTree, new: OpenTree, entry: TreeEntry) -> None:
        self.copied.add(entry.path)
        digests = copy_file(
            source.spot(entry.path),
            new.spot(entry.path),
            entry,
            stop=self.stop,
            advance=self.progress.advance,
        )
        if digests[0] != entry.blake3:
            raise PayloadChanged(
                path=self.target,
                payload=source.shown(entry.path),
                expected=entry.blake3,
                found=digests[0],
            )

    def read_back(self) -> tuple[tuple[Change, ...], Mapping[bytes, Stamp]]:
        """Read all of it, and what was written now from the disk."""
        checked = check_tree(
            self.path,
            self.manifest,
            full=True,
            from_disk=self.copied,
            stop=self.stop,
            progress=self.progress.phase(),
        )
        return checked.changes, checked.stamps

    def replace(self, changes: Sequence[Change]) -> None:
        """Copy from the release what was shared and is damaged. Raises StageUnproven for others."""
        wrong = [change.path for change in changes]
        if not set(wrong) <= self.shared:
            self.refuse(changes)
        with OpenTree(self.path) as new, OpenTree(self.payload) as source:
            for path in wrong:
                unlink_quietly(new.shown(path))
                self._copy(source, new, self.manifest.by_path[path])

    def refuse(self, changes: Sequence[Change]) -> None:
        """Raise StageUnproven, naming what differs."""
        raise StageUnproven(
            path=self.target,
            expected=self.manifest.root,
            found=f"others in {named(change.path for change in changes)}",
        )


def build_tree(
    *,
    target: Path,
    path: Path,
    manifest: TreeManifest,
    payload: Path,
    kept: Callable[[], Iterable[KeptTree]],
    sharing: Sharing,
    also: Sequence[Callable[[], None]] = (),
    stop: threading.Event,
    progress: Progressing,
) -> Built:
    """Build the tree of `manifest` at `path`: whole, durable and read back.

    `kept` finds the kept trees, and is asked only if a file is wanted from them.
    `also` write what is to be durable with it. A tree that an interrupted call
    left at `path` is removed first. The name of `path` is the caller's to sync.

    Raises PayloadChanged, StageUnproven, CopyStopped or a disk failure; then a
    part of it may be there.
    """
    remove_tree(path)
    build = _Build(target, path, manifest, payload, kept, sharing, stop, progress)
    replaced: tuple[bytes, ...] = ()
    with opened_file_system(path.parent) as opened:

        def sync() -> None:
            sync_file_system(path.parent, fall_back=lambda: fsync_tree(path), opened=opened)

        build.write()
        for one in also:
            one()
        sync()
        changes, stamps = build.read_back()
        if changes:
            build.replace(changes)
            replaced = tuple(change.path for change in changes)
            sync()
            changes, stamps = build.read_back()
            if changes:
                build.refuse(changes)
    return Built(stamps, replaced)


def named(paths: Iterable[bytes]) -> str:
    """Paths of a tree as a person reads them, the first few by name."""
    names = [name_text(path) or "." for path in paths]
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
