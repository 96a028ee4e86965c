"""Holding a tree against its manifest, for who wants to know. Reads only.

Owns what `component verify` says of a directory: every path that is not as it
should be, by name, and what is there besides. Data is not looked at: it is a
program's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from noodle_engine.disk.files import ObjectKind, kind_of, link_text
from noodle_engine.disk.trees.manifest import Change, ChangeKind, TreeManifest, name_text
from noodle_engine.disk.trees.scan import Checked, check_tree
from noodle_engine.targets.base import TargetChange, Verified
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.directory.trees.roots import link_root, tree_at, tree_root_in
from noodle_engine.targets.exchange import Look
from noodle_engine.targets.place import Place

__all__ = ["verify"]


def verify(
    place: Place,
    reader: Reader,
    root: str,
    *,
    full: bool,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Hold what is at a target against the manifest of `root`.

    Without that manifest only the root can be compared. Raises DiskError.
    """
    tree_root = tree_root_in(root)
    manifest = None if tree_root is None else reader.manifests.get(tree_root)
    tree = tree_at(place.parent, place.path)
    if manifest is None or kind_of(tree) is not ObjectKind.FOLDER:
        found = reader.find(place.path, Look.WHOLE if full else Look.STAMPS)
        gone = TargetChange("removed" if found.is_absent else "changed", "")
        return Verified(found.root, found.root == root, () if found.root == root else (gone,))
    checked = check_tree(
        tree,
        manifest,
        stamps=reader.manifests.stamps(manifest.root),
        full=full,
        skip=reader.leaves_out,
        stop=stop,
        progress=progress,
    )
    there = manifest.root
    if tree != place.path:
        there = link_root(link_text(place.path), manifest.root)
    changes = [_told(change) for change in checked.changes]
    if not changes and there != root:  # the link leads to another tree of the same content
        changes.append(TargetChange("changed", "", None, ("link",)))
    return _verified(there, manifest, checked, tuple(changes))


def _verified(
    there: str, manifest: TreeManifest, checked: Checked, changes: tuple[TargetChange, ...]
) -> Verified:
    return Verified(
        found=there if not changes else "changed",
        whole=not changes,
        changes=changes,
        extras=tuple(name_text(path) for path in checked.extras),
        files=manifest.files,
        files_read=checked.files_read,
        bytes_read=checked.bytes_read,
    )


def _told(change: Change) -> TargetChange:
    there = change.new if change.kind is not ChangeKind.REMOVED else None
    size = None if there is None else there.size
    return TargetChange(change.kind.value, name_text(change.path), size, change.what)
