"""Layout `tree`: a plain directory, exchanged whole."""

from __future__ import annotations

from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.names import fsync_folder, unlink_quietly
from noodle_engine.disk.trees.manifest import TreeManifest
from noodle_engine.targets.base import Source
from noodle_engine.targets.directory.layouts.objects import DirectoryObjects
from noodle_engine.targets.exchange import Found

__all__ = ["TreeObjects"]


class TreeObjects(DirectoryObjects):
    """Layout `tree`: a plain directory, exchanged whole."""

    __slots__ = ()

    def write_new(self, source: Source) -> tuple[Path, Found]:
        """Build the release's tree at `stage-ID/new`."""
        return self._write(source, "new", self.manifest_of(source), new=True)

    def write_old(self, source: Source) -> tuple[Path, Found]:
        """Build the old tree at `stage-ID/old`, from its release."""
        return self._write(source, "old", self.old_manifest(source), new=False)

    def _write(
        self, source: Source, name: str, manifest: TreeManifest, *, new: bool
    ) -> tuple[Path, Found]:
        path = self.stage() / name
        built = self.build(path, manifest, source, new=new)
        return path, self.with_replaced(self.reader.just_read(path, manifest), built)

    def discard(self, path: Path) -> None:
        """Remove a tree, durably."""
        if kind_of(path) is ObjectKind.LINK:
            unlink_quietly(path)
        else:
            self.remove(path)
        fsync_folder(path.parent)

    def clear(self, *, committed: bool) -> None:
        """Remove `stage-ID`, and what is known of trees that are no more."""
        self.place.remove_stage(self.context.upgrade)
        self.forget_manifests(committed=committed)

    def kept_at(self) -> Path:
        """`releases/VERSION-ROOT-ID`."""
        context = self.context
        return self.place.release(context.from_version, context.expected_old, context.upgrade)
