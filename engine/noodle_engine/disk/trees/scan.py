"""Reading a whole tree, and holding one against its manifest.

Owns what a scan and a check promise. It reads only.

Laws
T1. A scan answers a manifest of files that were each read between two equal
    looks; special files are listed and are no part of it.
T2. A check reads a file again unless its stamp is as it was. A stamp is given
    only for a file that is as the manifest says.
T3. A check answers what differs from the manifest, and what is there besides;
    it judges neither.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from noodle_engine.disk.files import Progress
from noodle_engine.disk.trees.manifest import (
    Change,
    TreeEntry,
    TreeManifest,
    change_between,
    is_same,
)
from noodle_engine.disk.trees.reading import Digests, Job, read_files
from noodle_engine.disk.trees.stamps import (
    STALE_NS,
    Stamp,
    Stamps,
    encode_stamps,
    parse_stamps,
    stamp_of,
)
from noodle_engine.disk.trees.walk import Found, Special, walk_tree

__all__ = [
    "Checked",
    "Digests",
    "Scanned",
    "Skip",
    "Special",
    "Stamp",
    "Stamps",
    "check_tree",
    "encode_stamps",
    "parse_stamps",
    "scan_tree",
    "stamp_of",
]

Skip = Callable[[bytes, bool], bool]
"""(path, whether it is a folder) -> whether to leave it, and all in it, out."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """A tree as it was read. `hard_linked` counts the files that have other names too."""

    manifest: TreeManifest
    stamps: Mapping[bytes, Stamp]
    specials: tuple[Special, ...]
    hard_linked: int


@dataclass(frozen=True, slots=True)
class Checked:
    """How a tree differs from its manifest.

    `changes` lead from the manifest to what is there, by path; REMOVED is
    missing. `extras` are there, not in the manifest and not skipped; an extra
    folder counts once. `specials` are extras, or stand where the manifest names
    something else. `stamps` are of the files that are as the manifest says.
    """

    changes: tuple[Change, ...]
    extras: tuple[bytes, ...]
    specials: tuple[Special, ...]
    stamps: Mapping[bytes, Stamp]
    files_read: int
    bytes_read: int


def scan_tree(
    root: Path,
    *,
    digests: Digests = Digests.LOCAL,
    skip: Skip | None = None,
    from_disk: bool = False,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> Scanned:
    """Read a whole tree: content, link texts, attributes (law T1).

    With `from_disk` each file's pages are dropped from memory first: what was
    synced is read from the disk. `progress` is told bytes done and bytes in all.
    Extended attributes of links are not read, and neither are those by which
    the system labels a tree. Files changed less than STALE_NS before the scan
    get no stamp.

    Bounds: two threads, DEPTH_MAX folders one in the other, ENTRIES_MAX
    entries. Raises DiskError (DiskFailed for a file that vanishes or keeps
    changing), CopyStopped.
    """
    fresh = time.time_ns() - STALE_NS
    jobs: list[Job] = []

    def file(path: bytes, status: os.stat_result) -> None:
        if skip is None or not skip(path, False):
            jobs.append((path, status))

    leave = None if skip is None else lambda path: skip(path, True)
    found = walk_tree(root, file=file, leave=leave, stop=stop)
    if skip is not None:
        found.links = [entry for entry in found.links if not skip(entry.path, False)]
        found.specials = [special for special in found.specials if not skip(special.path, False)]
    read = read_files(
        root, jobs, digests=digests, from_disk=from_disk, stop=stop, progress=progress
    )
    entries = found.folders + found.links
    entries += [entry for entry, _ in read]
    return Scanned(
        manifest=TreeManifest(entries),
        stamps={
            entry.path: stamp_of(status) for entry, status in read if status.st_mtime_ns < fresh
        },
        specials=tuple(sorted(found.specials)),
        hard_linked=sum(1 for _, status in read if status.st_nlink > 1),
    )


def check_tree(
    root: Path,
    manifest: TreeManifest,
    *,
    stamps: Mapping[bytes, Stamp] | None = None,
    full: bool = False,
    skip: Skip | None = None,
    from_disk: bool | Container[bytes] = False,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Compare a tree with its manifest (laws T2, T3).

    A file whose stamp is as it was is not read again, unless `full`; `stamps`
    must be of this very manifest. Names, link texts and the modes, owners and
    extended attributes of folders, the tree's own among them, are always read.
    What the manifest names is compared whatever `skip` says of it.

    Bounds and failures as `scan_tree`; a file that vanishes meanwhile is missing.
    """
    fresh = time.time_ns() - STALE_NS
    expected = manifest.by_path
    extras: list[bytes] = []

    def beside(path: bytes, *, is_folder: bool) -> bool:
        """Note an extra; a folder that is one is not walked."""
        if path in expected:
            return False
        if skip is None or not skip(path, is_folder):
            extras.append(path)
        return True

    known = _stamps_within(expected, stamps if stamps is not None and not full else {})
    jobs: list[Job] = []

    def file(path: bytes, status: os.stat_result) -> None:
        if not beside(path, is_folder=False):
            jobs.append((path, status))

    found = walk_tree(
        root,
        file=file,
        leave=lambda path: beside(path, is_folder=True),
        known=known.by_folder,
        stop=stop,
    )
    kept = _still(known, found)
    seen: dict[bytes, TreeEntry] = {entry.path: entry for entry in found.folders}
    for entry in found.links:
        if not beside(entry.path, is_folder=False):
            seen[entry.path] = entry
    for special in found.specials:
        beside(special.path, is_folder=False)
    read = read_files(
        root,
        jobs,
        digests=Digests.LOCAL,
        from_disk=from_disk,
        may_go=True,
        stop=stop,
        progress=progress,
    )
    for entry, status in read:
        seen[entry.path] = entry
        if status.st_mtime_ns < fresh and is_same(entry, expected[entry.path]):
            kept[entry.path] = stamp_of(status)
    return Checked(
        changes=tuple(_changes(manifest, kept, seen)),
        extras=tuple(sorted(extras)),
        specials=tuple(
            sorted(
                special
                for special in found.specials
                if special.path in expected or skip is None or not skip(special.path, False)
            )
        ),
        stamps=kept,
        files_read=len(read),
        bytes_read=sum(entry.size for entry, _ in read),
    )


def _stamps_within(expected: Mapping[bytes, TreeEntry], stamps: Mapping[bytes, Stamp]) -> Stamps:
    """The stamps of what is expected: another file has none, whoever kept one for it."""
    if stamps.keys() <= expected.keys():
        return stamps if isinstance(stamps, Stamps) else Stamps(stamps)
    return Stamps({path: stamp for path, stamp in stamps.items() if path in expected})


def _still(known: Stamps, found: Found) -> Stamps:
    """The stamps that a walk found as they were."""
    if sum([len(names) for _, names in found.known]) == len(known):
        return Stamps(known)
    still = Stamps()
    for folder, names in found.known:
        prefix = folder + b"/" if folder else b""
        for name in names:
            path = prefix + os.fsencode(name)
            still[path] = known[path]
    return still


def _changes(
    manifest: TreeManifest, same: Container[bytes], seen: Mapping[bytes, TreeEntry]
) -> Iterator[Change]:
    for entry in manifest.entries:
        if entry.path not in same:
            change = change_between(entry, seen.get(entry.path))
            if change is not None:
                yield change
