"""How two releases differ, by what was signed of them: no payload is read.

Owns the comparison: of trees file by file, of plain files as trees of one file,
and of what their manifests say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import PurePosixPath

from noodle_engine.disk.trees.manifest import (
    Change,
    EntryKind,
    TreeEntry,
    TreeManifest,
    compare,
)
from noodle_engine.registry.release import Release, tree_of

__all__ = ["ReleaseDifference", "compare_releases"]

_FOLDER_MODE = 0o755
_NOT_COMPARED = frozenset({"version", "directory"})
"""What differs between any two releases, and what is in `options` as well."""


@dataclass(frozen=True, slots=True)
class ReleaseDifference:
    """What leads from one release to another.

    `manifest` names the sections and keys of noodle.toml that differ.
    `bytes_shared` are in files of the new that the old has too, with the same
    content and attributes, wherever it has them; `bytes_copied` in the others.
    """

    changes: tuple[Change, ...]
    manifest: tuple[str, ...]
    bytes_copied: int
    bytes_shared: int


def compare_releases(old: Release, new: Release) -> ReleaseDifference:
    """The differences from `old` to `new`, by path.

    Cost: the manifests of both trees are read. Raises ReleaseDamaged or a disk
    failure.
    """
    before, after = _tree(old), _tree(new)
    had = {entry.identity for entry in before.entries if entry.kind is EntryKind.FILE}
    files = [entry for entry in after.entries if entry.kind is EntryKind.FILE]
    shared = sum(entry.size for entry in files if entry.identity in had)
    return ReleaseDifference(
        changes=compare(before, after),
        manifest=tuple(sorted(_differing(old, new))),
        bytes_copied=sum(entry.size for entry in files) - shared,
        bytes_shared=shared,
    )


def _tree(release: Release) -> TreeManifest:
    """The tree of a release. A plain file's is made up, to be compared and nothing else."""
    found = tree_of(release)
    if found is not None:
        return found
    name = PurePosixPath(release.manifest.payload).name.encode("utf-8", "surrogateescape")
    top = TreeEntry(b"", EntryKind.FOLDER, _FOLDER_MODE, 0, 0)
    content = release.content.removeprefix("sha256:")
    size, mode = release.size_bytes, release.mode
    return TreeManifest(
        [top, TreeEntry(name, EntryKind.FILE, mode, 0, 0, size, blake3=content, sha256=content)]
    )


def _differing(old: Release, new: Release) -> Iterator[str]:
    """The fields of two manifests that differ, each option by its own name."""
    for one in fields(old.manifest):
        before, after = (getattr(release.manifest, one.name) for release in (old, new))
        if one.name in _NOT_COMPARED or before == after:
            continue
        if one.name == "options":
            keys = before.keys() | after.keys()
            yield from (f"target.{key}" for key in keys if before.get(key) != after.get(key))
        else:
            yield one.name
