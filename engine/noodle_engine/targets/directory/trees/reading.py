"""What stands under a name, where a tree is expected: its root, read as closely as asked.

Owns the identity of kind `directory`. A tree that has all that a manifest names,
as the manifest says, has that manifest's root, whatever else programs left in
it; of several that fit, the one that names the most. A tree that fits none of
those expected has the root of all that is in it. `roots` says how one is written.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.files import ObjectKind, Progress, kind_of, link_text, status_of
from noodle_engine.disk.trees.manifest import (
    EntryKind,
    TreeEntry,
    TreeManifest,
    is_same,
    name_text,
)
from noodle_engine.disk.trees.scan import Scanned, check_tree, scan_tree
from noodle_engine.disk.trees.stamps import Stamp, stamp_of
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import some
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.directory.trees.manifests import Manifests
from noodle_engine.targets.directory.trees.roots import led_to, link_root, tree_root_in
from noodle_engine.targets.exchange import Found, Look

__all__ = ["DIFFERING_LENGTH_MAX", "Reader"]

DIFFERING_LENGTH_MAX: Final = 200
_LOOKS_MAX: Final = 3
_GLANCES_MAX: Final = 4
"""At how many files a tree is looked at before it is walked."""
_Candidate = tuple[TreeManifest, Mapping[bytes, Stamp] | None]
"""What a tree may hold, and the stamps that are true for it."""
_LEVELS: Final = (Look.IDENTITY, Look.STAMPS, Look.WHOLE)


@dataclass(slots=True)
class Reader:
    """Reads trees for one step, each no closer and no more often than needed.

    `expected` are roots that may be there, the likeliest first; `observed` what
    the steps of this upgrade have seen. `options` say what is no part of a tree.
    `progress` is told bytes done and in all of each tree that is wholly read.
    """

    parent: Path
    manifests: Manifests
    options: TreeOptions
    expected: Sequence[str] = ()
    observed: Sequence[Observation] = ()
    stop: threading.Event | None = None
    progress: Progress | None = None
    from_disk: bool = False
    extras: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """By root: what a tree that fits its manifest holds besides."""
    scanned: dict[str, Scanned] = field(default_factory=dict)
    """By root: trees that fit none that was expected."""
    _memory: dict[tuple[int, int], tuple[Look, Found]] = field(default_factory=dict)

    def find(self, path: Path, look: Look) -> Found:
        """What `path` names: a tree, a link to a tree, nothing, or something else.

        Raises DiskError for what cannot be read.
        """
        kind = kind_of(path)
        if kind is ObjectKind.FOLDER:
            return self.tree(path, look)
        if kind is ObjectKind.LINK:
            return self._link(path, look)
        return Found.other(kind)

    def proved(self, path: Path) -> Found:
        """What `path` names, read from the disk and not from memory."""
        self.forget()
        self.from_disk = True
        try:
            return self.find(path, Look.WHOLE)
        finally:
            self.from_disk = False

    def tree(self, path: Path, look: Look) -> Found:
        """The tree at `path`."""
        status = status_of(path)
        identity = (status.st_dev, status.st_ino)
        seen, found = self._memory.get(identity, (Look.IDENTITY, None))
        if found is None or _LEVELS.index(seen) < _LEVELS.index(look):
            found = self._identified(identity) if look is Look.IDENTITY else None
            if found is None:
                look = max(look, Look.STAMPS, key=_LEVELS.index)
                found = self._read_steadily(path, look, identity)
            self._memory[identity] = (look, found)
        return found

    def just_read(self, path: Path, manifest: TreeManifest) -> Found:
        """The tree at `path`, which the caller has just read and found to be as it should."""
        status = status_of(path)
        identity = (status.st_dev, status.st_ino)
        found = _found(manifest, identity)
        self._memory[identity] = (Look.WHOLE, found)
        return found

    def manifest_of(self, found: Found) -> TreeManifest | None:
        """What the tree holds that was found; None if it is none."""
        root = tree_root_in(found.root)
        if root is None:
            return None
        scanned = self.scanned.get(root)
        return scanned.manifest if scanned is not None else self.manifests.get(root)

    def forget(self) -> None:
        """Believe nothing that was read before: the caller has written."""
        self._memory.clear()

    def _link(self, path: Path, look: Look) -> Found:
        text = link_text(path)
        folder = led_to(self.parent, text)
        if kind_of(folder) is not ObjectKind.FOLDER:
            return Found.other(ObjectKind.LINK, "link that leads to no folder")
        tree = self.tree(folder, look)
        status = status_of(path)
        own = {"link": name_text(os.fsencode(text)), "tree": tree.root}
        own |= {"device": str(status.st_dev), "inode": str(status.st_ino)}
        return Found(
            ObjectKind.LINK, link_root(text, tree.root), tree.content, {**tree.attributes, **own}
        )

    def _identified(self, identity: tuple[int, int]) -> Found | None:
        """A tree that a step of this upgrade has seen, known by its folder."""
        for one in self.observed:
            root = tree_root_in(one.root)
            if root is not None and _identity_in(one.attributes) == identity:
                manifest = self.manifests.get(root)
                if manifest is not None:
                    return _found(manifest, identity)
        return None

    def _read_steadily(self, path: Path, look: Look, identity: tuple[int, int]) -> Found:
        for _ in range(_LOOKS_MAX - 1):
            try:
                return self._read(path, look, identity)
            except DiskError:
                if self.stop is not None and self.stop.is_set():
                    raise
                continue  # a file came or went meanwhile: look again
        return self._read(path, look, identity)

    def _read(self, path: Path, look: Look, identity: tuple[int, int]) -> Found:
        nearest: tuple[TreeManifest, Mapping[bytes, Stamp] | None] | None = None
        candidates = list(self._candidates(identity, look))
        for number, (manifest, stamps) in enumerate(candidates):
            nearest = nearest or (manifest, stamps)
            after = candidates[number + 1 :]
            if after and _shows_another(path, (manifest, stamps), after[0]):
                continue
            checked = check_tree(
                path,
                manifest,
                stamps=stamps,
                full=look is Look.WHOLE,
                skip=self.leaves_out,
                from_disk=self.from_disk,
                stop=self.stop,
                progress=self.progress if look is Look.WHOLE else None,
            )
            if not checked.changes:
                self.extras[manifest.root] = checked.extras
                return _found(manifest, identity)
        scanned = scan_tree(path, skip=self.leaves_out, stop=self.stop)
        self.scanned[scanned.manifest.root] = scanned
        found = _found(scanned.manifest, identity)
        if nearest is None:
            return found
        return Found(
            found.kind,
            found.root,
            found.content,
            {**found.attributes, "differs": self._differing(path, *nearest)},
        )

    def _differing(
        self, path: Path, expected: TreeManifest, stamps: Mapping[bytes, Stamp] | None
    ) -> str:
        """What is not as it was expected, the first few by name; what is besides is nobody's."""
        checked = check_tree(path, expected, stamps=stamps, skip=self.leaves_out, stop=self.stop)
        return some(
            [name_text(change.path)[:DIFFERING_LENGTH_MAX] or "." for change in checked.changes]
        )

    def leaves_out(self, path: bytes, is_folder: bool) -> bool:  # noqa: FBT001 - as a scan asks
        """Whether a path is no part of the tree: unmanaged, or the data of a program."""
        return self.options.skips(path, is_folder) or self.options.is_mutable(path)

    def _candidates(self, identity: tuple[int, int], look: Look) -> Iterator[_Candidate]:
        """The manifests that may fit, each with its stamps.

        First that of the very folder; then the one that names the most: a tree
        fits every manifest that names a part of what it holds.
        """
        known = [one.root for one in self.observed if _identity_in(one.attributes) == identity]
        seen: set[str] = set()
        for roots in (known, self.expected):
            trees = dict.fromkeys(tree for root in roots if (tree := tree_root_in(root)))
            found = [self.manifests.get(tree) for tree in trees if tree not in seen]
            seen |= set(trees)
            there = [manifest for manifest in found if manifest is not None]
            for manifest in sorted(there, key=lambda one: -len(one.entries)):
                stamps = None if look is Look.WHOLE else self.manifests.stamps(manifest.root)
                yield manifest, stamps


def _shows_another(tree: Path, candidate: _Candidate, other: _Candidate) -> bool:
    """Whether a look at a few files tells that a tree is not the candidate's.

    At those in which the other differs: what looks as the other's did when they were
    read is the other's. It saves a walk over a large tree, and never says so of a
    tree that would be found to fit.
    """
    manifest, own = candidate[0], candidate[1] or {}
    known, stamps = other[0].by_path, other[1] or {}
    differing = (
        entry
        for entry in manifest.entries
        if entry.kind is EntryKind.FILE and _differ(entry, known.get(entry.path))
    )
    for entry in islice(differing, _GLANCES_MAX):
        try:
            status = (tree / os.fsdecode(entry.path)).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        stamp = stamp_of(status)
        if status.st_size != entry.size or own.get(entry.path) != stamp == stamps.get(entry.path):
            return True
    return False


def _differ(entry: TreeEntry, other: TreeEntry | None) -> bool:
    """Whether two entries have not one identity; nearly all are equal, which is one call."""
    return entry != other and (other is None or not is_same(entry, other))


def _found(manifest: TreeManifest, identity: tuple[int, int]) -> Found:
    attributes = {
        "files": str(manifest.files),
        "size": str(manifest.bytes),
        "device": str(identity[0]),
        "inode": str(identity[1]),
        "folder_device": str(identity[0]),
        "folder_inode": str(identity[1]),
    }
    return Found(ObjectKind.FOLDER, manifest.root, manifest.root, attributes)


def _identity_in(attributes: Mapping[str, str]) -> tuple[int, int] | None:
    """The tree's own folder, as an observation recorded it."""
    try:
        return int(attributes["folder_device"]), int(attributes["folder_inode"])
    except (KeyError, ValueError):
        return None
