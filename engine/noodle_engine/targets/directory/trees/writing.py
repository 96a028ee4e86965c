"""Building a tree for a target: shared where it is there already, copied where not.

Owns where each file of a new tree comes from. Where names may be shared, a file
gets one more of the release's. Else the trees that are kept (the old one at the
target, rollback points) are the store: what one of them has, with the same content,
owner, mode and attributes, is cloned or linked; anything else is copied from the
release. None of them is believed: the whole tree is read back, what was copied from
the disk and not from memory, and a file that was shared and is not what it should be
is named and copied from the release instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noodle_engine.disk.names import unlink_quietly
from noodle_engine.disk.trees.build import (
    KeptTree,
    OpenTree,
    Sharing,
    TreeWriter,
    Written,
    remove_tree,
)
from noodle_engine.disk.trees.manifest import Change, TreeManifest, named
from noodle_engine.disk.trees.scan import check_tree
from noodle_engine.disk.trees.stamps import Stamp
from noodle_engine.disk.trees.syncing import fsync_tree, opened_file_system, sync_file_system
from noodle_engine.targets.failures import PayloadChanged, StageUnproven

TOLD_OF_ALL = 256
"""Progress is told once so much of the whole is done since."""

__all__ = ["Built", "Progressing", "build_tree"]


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
    told: int = 0

    def advance(self, count: int) -> None:
        """So many bytes more are done. Told now and then: a telling costs as much as a file."""
        self.done += count
        if self.done - self.told >= self.total // TOLD_OF_ALL:
            self.told = self.done
            self.tell(self.done, max(self.total, self.done))

    def phase(self) -> Callable[[int, int], None]:
        """A phase that tells its own bytes done and in all."""
        start = self.done

        def told(done: int, _total: int) -> None:
            self.done = start + done
            self.tell(self.done, max(self.total, self.done))

        return told


@dataclass(slots=True)
class _Build:
    """One tree being built at `path`."""

    target: Path
    path: Path
    writer: TreeWriter
    progress: Progressing
    written: Written = field(default_factory=Written)

    def write(self) -> None:
        """Write all of it. Nothing is durable."""
        self.written = self.writer.write(self.path)

    def read_back(self) -> tuple[tuple[Change, ...], Mapping[bytes, Stamp]]:
        """Read all of it, and what was written now from the disk."""
        checked = check_tree(
            self.path,
            self.writer.manifest,
            full=True,
            from_disk=self.written.copied,
            stop=self.writer.stop,
            progress=self.progress.phase(),
        )
        return checked.changes, checked.stamps

    def replace(self, changes: Sequence[Change]) -> None:
        """Copy from the release what was shared and is damaged. Raises StageUnproven for others."""
        wrong = [change.path for change in changes]
        if not set(wrong) <= self.written.shared:
            self.refuse(changes)
        with OpenTree(self.path) as new, OpenTree(self.writer.source) as source:
            for path in wrong:
                unlink_quietly(new.shown(path))
                self.writer.copy(source, new, self.writer.manifest.by_path[path])
                self.written.copied.add(path)

    def refuse(self, changes: Sequence[Change]) -> None:
        """Raise StageUnproven, naming what differs."""
        raise StageUnproven(
            path=self.target,
            expected=self.writer.manifest.root,
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

    def changed(shown: Path, expected: str, found: str) -> PayloadChanged:
        return PayloadChanged(path=target, payload=shown, expected=expected, found=found)

    writer = TreeWriter(
        manifest,
        payload,
        sharing,
        kept,
        changed,
        # A name more of what the release has takes no space, whatever else has it.
        links_source=sharing is Sharing.HARD_LINK,
        stop=stop,
        advance=progress.advance,
    )
    build = _Build(target, path, writer, progress)
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
