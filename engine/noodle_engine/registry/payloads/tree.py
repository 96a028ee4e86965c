"""A payload that is a tree: looked at, brought in, held against its manifest.

Owns what may be in one, and how it is written: what an earlier release has
already, with the same content, owner, mode and attributes, is shared; anything
else is copied. Neither is believed: the whole tree is read back from the disk.

Laws
P1. What is signed is what was read back: a source that changes meanwhile, or a
    shared file that is damaged, never becomes part of a release.
P2. A tree holds files, folders and links; all else is refused, by name.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import DiskFailed
from noodle_engine.disk.files import ObjectKind, Progress, kind_of
from noodle_engine.disk.trees.build import KeptTree, Sharing, TreeWriter, probe_sharing
from noodle_engine.disk.trees.manifest import (
    EntryKind,
    TreeManifest,
    name_text,
    named,
)
from noodle_engine.disk.trees.remove import remove_tree
from noodle_engine.disk.trees.scan import Checked, Digests, check_tree, scan_tree
from noodle_engine.disk.trees.syncing import fsync_tree, opened_file_system, sync_file_system
from noodle_engine.machine.text import some
from noodle_engine.registry.failures import PayloadRefused
from noodle_engine.registry.payloads.links import Leads, links_by_lead
from noodle_engine.registry.tree_options import OWN_NAME

__all__ = [
    "TreeSource",
    "bring_in",
    "differing",
    "look_at",
]

_PHASES: Final = 3
"""The source is read, the tree written, and read back."""
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_ONLY_ROOT: Final = ("security.", "trusted.")
"""Extended attributes that nobody else may set."""


@dataclass(frozen=True, slots=True)
class TreeSource:
    """A tree that can become a release. `manifest` is of what will be stored.

    `notices` say what somebody should know who stores it so.
    """

    path: Path
    manifest: TreeManifest
    notices: tuple[str, ...] = ()


def look_at(
    path: Path, *, stop: threading.Event | None = None, progress: Progress | None = None
) -> TreeSource:
    """Read a whole tree, and say what would be stored of it. Reads only.

    Root stores every owner and attribute; anybody else stores what is theirs to
    give: files of their own, without attributes of root's, and without set-id
    bits that would have meant another user.

    Raises PayloadRefused, DiskError, CopyStopped.
    """
    if kind_of(path / os.fsdecode(OWN_NAME)) is not ObjectKind.ABSENT:
        raise PayloadRefused(
            path=path,
            why=f"it has {OWN_NAME.decode()} at its top, where Noodle keeps its own things",
            remedy="leave it out of the release",
        )
    scanned = scan_tree(path, digests=Digests.BOTH, stop=stop, progress=_phase(progress, 0))
    if scanned.specials:
        found = some([f"{name_text(one.path)} ({one.what})" for one in scanned.specials])
        raise PayloadRefused(
            path=path,
            why=f"it holds what is neither file, folder nor link: {found}",
            remedy="leave them out: the program makes its own when it starts",
        )
    links = links_by_lead(scanned.manifest)
    if links[Leads.OUT]:
        raise PayloadRefused(
            path=path,
            why=f"links lead out of it: {named(links[Leads.OUT])}",
            remedy="let them lead to what is in the release, or to an absolute path",
        )
    manifest, notices = _as_stored(scanned.manifest)
    for lead, what in ((Leads.ABSOLUTE, "absolute links"), (Leads.NOWHERE, "links to nothing")):
        if links[lead]:
            notices.append(f"{what} are kept as they are: {named(links[lead])}")
    return TreeSource(path, manifest, tuple(notices))


def _as_stored(manifest: TreeManifest) -> tuple[TreeManifest, list[str]]:
    """What the running user can store of a tree, and what is lost of it."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        return manifest, []
    entries, stripped, closed = [], [], []
    for entry in manifest.entries:
        mode = entry.mode
        if entry.kind is EntryKind.FILE and mode & _SET_ID and (entry.uid, entry.gid) != (uid, gid):
            mode &= ~_SET_ID
            stripped.append(entry.path)
        xattrs = tuple(pair for pair in entry.xattrs if not pair[0].startswith(_ONLY_ROOT))
        if xattrs != entry.xattrs:
            closed.append(entry.path)
        entries.append(entry._replace(mode=mode, uid=uid, gid=gid, xattrs=xattrs))
    notices = []
    if stripped:
        notices.append(f"set-id bits for another user are left out: {named(stripped)}")
    if closed:
        notices.append(f"attributes that only root can set are left out: {named(closed)}")
    return TreeManifest(entries), notices


def bring_in(
    source: TreeSource,
    into: Path,
    *,
    earlier: Sequence[KeptTree] = (),
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the tree of `source` at the new path `into`, and read it back (law P1).

    On return all of it is durable, but its own name, which is the caller's to sync.

    Raises PayloadRefused if the source is not what it was when it was looked
    at, DiskError, AttributesNotKept, CopyStopped; then a part of it may be there.
    """
    sharing = probe_sharing(into.parent, hard_links=True) if earlier else Sharing.COPY
    with opened_file_system(into.parent) as opened:

        def written(how: Sharing) -> tuple[int, str | None]:
            shared = _write(source, into, earlier, how, stop=stop, progress=progress)
            sync_file_system(into.parent, fall_back=lambda: fsync_tree(into), opened=opened)
            told = _phase(progress, 2)
            checked = check_tree(
                into, source.manifest, full=True, from_disk=True, stop=stop, progress=told
            )
            return shared, differing(checked)

        shared, differs = written(sharing)
        if differs and shared:  # what was shared may be damaged: share nothing
            remove_tree(into)
            _, differs = written(Sharing.COPY)
    if differs:
        cause = f"it is not what was written: {differs}"
        raise DiskFailed(doing="read back", path=into, cause=cause)


def _write(
    source: TreeSource,
    into: Path,
    earlier: Sequence[KeptTree],
    sharing: Sharing,
    *,
    stop: threading.Event | None,
    progress: Progress | None,
) -> int:
    """Write all of it; how many files are shared. Nothing is durable."""

    def changed(shown: Path, _expected: str, _found: str) -> PayloadRefused:
        return PayloadRefused(
            path=shown,
            why="it changed while it was copied",
            remedy="let nothing write there, then run the command again",
        )

    writer = TreeWriter(
        source.manifest,
        source.path,
        sharing,
        lambda: earlier,
        changed,
        stop=stop,
        advance=_Advance(_phase(progress, 1), source.manifest.bytes),
    )
    return len(writer.write(into).shared)


def differing(checked: Checked) -> str | None:
    """How a tree differs from its manifest, the first few paths by name; None if it does not."""
    parts = []
    if checked.changes:
        found = named(change.path for change in checked.changes)
        parts.append(f"{len(checked.changes)} of its entries are missing or others: {found}")
    if checked.extras:
        parts.append(f"{len(checked.extras)} are there besides: {named(checked.extras)}")
    return "; ".join(parts) or None


def _phase(progress: Progress | None, number: int) -> Progress | None:
    """Progress of one phase as progress of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, _PHASES * total)


class _Advance:
    """Bytes as they are done, told as bytes done and in all."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress = progress
        self.total = total
        self.done = 0

    def __call__(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, max(self.total, self.done))
