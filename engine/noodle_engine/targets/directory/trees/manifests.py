"""What a target's trees held when they were read: `.noodle/NAME/manifests`.

Owns `ROOT.tree`, a manifest, and `ROOT.stamps`, by which its files are known to
be as they were. A manifest is kept durably for as long as a tree of its root is:
without it nobody could tell a tree's own files from what programs left in it.
Stamps are disposable. Both are believed only if they prove themselves: a
manifest by its root, stamps by their digest.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import blake3

from noodle_engine.disk.failures import DiskError, explained
from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.names import fsync_folder, make_folder, unlink_quietly
from noodle_engine.disk.trees.manifest import ManifestUnreadable, TreeManifest
from noodle_engine.disk.trees.stamps import Stamp, encode_stamps, parse_stamps
from noodle_engine.disk.whole import write_whole
from noodle_engine.targets.directory.trees.roots import TREE_PREFIX

__all__ = ["Manifests", "manifest_beside"]


@dataclass(frozen=True, slots=True)
class Manifests:
    """The manifests and stamps in one folder."""

    folder: Path

    def get(self, root: str) -> TreeManifest | None:
        """The manifest of a root; None if it is not there, or is not the one it says."""
        return _read_manifest(self._path(root, "tree"), root)

    def stamps(self, root: str) -> Mapping[bytes, Stamp]:
        """The stamps that are true for a root; none if there are none."""
        try:
            data = self._path(root, "stamps").read_bytes()
        except OSError:
            return {}
        return _parsed_stamps(root, data)

    def keep(self, manifest: TreeManifest, stamps: Mapping[bytes, Stamp] | None = None) -> None:
        """Keep a manifest, durably, and stamps, if they can be kept. Raises a disk failure."""
        make_folder(self.folder, 0o700)
        root = manifest.root
        if self.get(root) is None:
            write_whole(self._path(root, "tree"), manifest.encode(), 0o600, replace=True)
            _remember(manifest)
        if stamps is not None:
            with suppress(DiskError):  # who has none reads more
                path = self._path(root, "stamps")
                write_whole(path, encode_stamps(root, stamps), 0o600, replace=True)

    def roots(self) -> tuple[str, ...]:
        """The roots whose manifests are here, sorted."""
        if kind_of(self.folder) is not ObjectKind.FOLDER:
            return ()
        with explained("list", self.folder):
            names = sorted(path.name for path in self.folder.iterdir())
        return tuple(
            f"{TREE_PREFIX}{name.removesuffix('.tree')}" for name in names if name.endswith(".tree")
        )

    def tidy(self) -> None:
        """Remove what an interrupted `keep` has left. Not durable on return."""
        if kind_of(self.folder) is ObjectKind.FOLDER:
            with explained("list", self.folder):
                left = [path for path in self.folder.iterdir() if path.name.startswith(".")]
            for path in left:
                unlink_quietly(path)

    def forget(self, roots: Sequence[str]) -> None:
        """Remove manifests and their stamps, durably."""
        for root in roots:
            for ending in ("stamps", "tree"):
                unlink_quietly(self._path(root, ending))
        if roots:
            fsync_folder(self.folder)

    def _path(self, root: str, ending: str) -> Path:
        return self.folder / f"{root.removeprefix(TREE_PREFIX)}.{ending}"


def manifest_beside(payload: Path, root: str) -> TreeManifest | None:
    """The manifest that the registry keeps beside a payload, if it is the one of `root`."""
    return _read_manifest(payload.with_name(f"{payload.name}.tree"), root)


_known: OrderedDict[str, TreeManifest] = OrderedDict()
"""The last few manifests that were read: a root names one tree, for ever."""
_KNOWN_MAX: Final = 4
_STAMPS_MAX: Final = 2
_guard = threading.Lock()
_stamps: OrderedDict[bytes, Mapping[bytes, Stamp]] = OrderedDict()
"""The last stamps that were read, by the digest of the bytes that they were read from."""


def _parsed_stamps(root: str, data: bytes) -> Mapping[bytes, Stamp]:
    digest = blake3.blake3(root.encode() + data).digest()
    with _guard:
        known = _stamps.get(digest)
    if known is None:
        parsed = parse_stamps(data)
        known = {} if parsed is None or parsed[0] != root else parsed[1]
        with _guard:
            _stamps[digest] = known
            while len(_stamps) > _STAMPS_MAX:
                _stamps.popitem(last=False)
    return known


def _remember(manifest: TreeManifest) -> TreeManifest:
    with _guard:
        _known[manifest.root] = manifest
        _known.move_to_end(manifest.root)
        while len(_known) > _KNOWN_MAX:
            _known.popitem(last=False)
    return manifest


def _read_manifest(path: Path, root: str) -> TreeManifest | None:
    with _guard:
        known = _known.get(root)
    if known is not None:
        return known if kind_of(path) is ObjectKind.FILE else None
    try:
        found = TreeManifest.parse(path.read_bytes())
    except (OSError, ManifestUnreadable):
        return None
    return _remember(found) if found.root == root else None
