"""What of a release's tree comes into a target. Pure.

Owns the manifest that is staged: the release's, and in place of each mutable
path a link to where that path's data lives once, in `.noodle/NAME/data/`. Where it
must lie inside, nothing of it: it is no part of any tree's identity. The link
is relative, so that a target can be looked at from another root; it depends on
the layout, for the trees stand at different depths.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.place import Place

__all__ = ["data_link", "inside", "staged_at", "staged_manifest"]

_FOLDER_MODE = 0o755


def staged_at(place: Place, layout: str) -> Path:
    """Where a tree that is staged will stand; of a release, any name in its folder."""
    return place.path if layout == "tree" else place.releases / "release"


def data_link(place: Place, tree: Path, path: bytes) -> str:
    """The text of the link at a mutable path of a tree that stands, or will stand, at `tree`."""
    name = os.fsdecode(path)
    return os.path.relpath(place.data / name, (tree / name).parent)


def inside(path: bytes, roots: Iterable[bytes]) -> bool:
    """Whether `path` is one of `roots`, or lies in one."""
    return any(path == root or path.startswith(root + b"/") for root in roots)


def staged_manifest(
    manifest: TreeManifest, options: TreeOptions, place: Place, tree: Path | None = None
) -> TreeManifest:
    """The manifest of what is staged of a release's tree, to stand at `tree`."""
    kept = _without(manifest, options.mutable)
    if not options.mutable:
        return kept
    if options.quiesce:
        return TreeManifest([*kept.entries, *_folders(kept, options)])
    at = staged_at(place, options.layout) if tree is None else tree
    return TreeManifest([*kept.entries, *_links(kept, options, place, at)])


def _without(manifest: TreeManifest, mutable: tuple[bytes, ...]) -> TreeManifest:
    if not mutable:
        return manifest
    return TreeManifest(entry for entry in manifest.entries if not inside(entry.path, mutable))


def _folders(manifest: TreeManifest, options: TreeOptions) -> Iterator[TreeEntry]:
    """The folders that mutable paths lie in, where the release has none."""
    top = manifest.by_path[b""]
    made: set[bytes] = set()
    for path in options.mutable:
        parent = path
        while (parent := parent.rpartition(b"/")[0]) and parent not in manifest.by_path:
            if parent in made:
                break
            made.add(parent)
            yield TreeEntry(parent, EntryKind.FOLDER, _FOLDER_MODE, top.uid, top.gid)


def _links(
    manifest: TreeManifest, options: TreeOptions, place: Place, tree: Path
) -> Iterator[TreeEntry]:
    """The links to the data, and the folders that they lie in."""
    yield from _folders(manifest, options)
    top = manifest.by_path[b""]
    for path in options.mutable:
        text = os.fsencode(data_link(place, tree, path))
        yield TreeEntry(path, EntryKind.LINK, 0, top.uid, top.gid, link=text)
