"""Layout `link`: the target is a link to a release.

Owns the trees in `releases` that links lead to. A tree that is to go is first moved to
where nobody takes a half of it for somebody's tree.
"""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.names import fsync_folder, make_link, unlink_quietly
from noodle_engine.disk.trees.manifest import TreeManifest
from noodle_engine.disk.trees.syncing import sync_file_system
from noodle_engine.machine.plan import ABSENT
from noodle_engine.targets.base import Source
from noodle_engine.targets.directory.layouts.objects import DirectoryObjects
from noodle_engine.targets.directory.trees.kept import LINK_ENDING
from noodle_engine.targets.directory.trees.roots import led_to, link_root, tree_root_in
from noodle_engine.targets.directory.trees.writing import Built
from noodle_engine.targets.exchange import Found, Look
from noodle_engine.targets.exchange.objects import ASIDE
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.failures import ForeignFound, OldLost

__all__ = ["LinkObjects"]


class LinkObjects(DirectoryObjects):
    """Layout `link`: the target is a link to a release."""

    __slots__ = ()

    @property
    def own(self) -> Path:
        """Where this upgrade's release is, if it has one of its own."""
        component = self.context.component
        return self.place.release(component.to_version, component.root, self.context.upgrade)

    def write_new(self, source: Source) -> tuple[Path, Found]:
        """Build the release's tree in `releases`, and a link to it at `stage-ID/new`.

        A tree is only under its name in `releases` once it is whole.
        """
        manifest = self.manifest_of(source)
        stage = self.stage()
        if not self._is_whole(self.own, manifest):
            self._make_free(self.own)
            built = self.build(stage / "tree", manifest, source, new=True)
            self.reader.just_read(stage / "tree", manifest)
            if not move(stage / "tree", self.own):
                raise self._taken(self.own)
        else:
            built = Built({})
        text = os.path.relpath(self.own, self.place.parent)
        return self._linked(stage / "new", text, manifest, built)

    def write_old(self, source: Source) -> tuple[Path, Found]:
        """Make the old link anew, and the tree it led to where that is gone or damaged."""
        snapshot = self.context.snapshot
        text = None if snapshot is None else snapshot.attributes.get("link")
        manifest = self.old_manifest(source)
        if text is None or self._folder(text).parent != self.place.releases:
            why = "it was a link to a folder that is not one of Noodle's"
            raise OldLost(path=self.place.path, expected=self.context.expected_old, why=why)
        stage, tree = self.stage(), self._folder(text)
        built = Built({})
        aside: dict[str, str] = {}
        if not self._is_whole(tree, manifest):
            built = self.build(stage / "tree", manifest, source, new=False)
            kept = self._make_free(tree)
            if kept is not None:
                aside[ASIDE] = str(kept)
            if not move(stage / "tree", tree):
                raise self._taken(tree)
        for one in takewhile(os.path.lexists, self.place.foreign(self.context.upgrade)):
            if self.carries and kind_of(one) is ObjectKind.FOLDER and self._is_known(one):
                self._carrying().take(tree, one)  # it was the old, and has its data
        path, made = self._linked(stage / "old", text, manifest, built)
        return path, Found(made.kind, made.root, made.content, {**made.attributes, **aside})

    def _folder(self, text: str) -> Path:
        return led_to(self.place.parent, text)

    def _is_whole(self, tree: Path, manifest: TreeManifest) -> bool:
        """Whether a tree is there already as it should be; then it is made durable."""
        if kind_of(tree) is not ObjectKind.FOLDER:
            return False
        self.reader.manifests.keep(manifest)
        self.reader.expected = (manifest.root, *self.reader.expected)
        return self.prove(tree).root == manifest.root

    def _make_free(self, path: Path) -> Path | None:
        """Keep what stands where a release should be as `NAME.foreign-ID`, and say where.

        A release is whole from the moment that it has its name: what is not is somebody's.
        """
        if kind_of(path) is ObjectKind.ABSENT:
            return None
        for free in self.place.foreign(self.context.upgrade):
            if move(path, free):
                return free
        raise self._taken(path)

    def _taken(self, path: Path) -> ForeignFound:
        return ForeignFound(
            path=self.place.path,
            expected=ABSENT,
            found=self.find(self.place.path, Look.STAMPS).root,
            where=path,
            found_there=self.find(path, Look.STAMPS).root,
        )

    def _linked(
        self, path: Path, text: str, manifest: TreeManifest, built: Built
    ) -> tuple[Path, Found]:
        unlink_quietly(path)
        make_link(path, text)
        # A link cannot be synced by itself, and on a file system without a journal
        # the sync of its folder keeps its name and loses its text.
        sync_file_system(self.place.parent, fall_back=lambda: fsync_folder(path.parent))
        found = self.find(path, Look.STAMPS)
        expected = link_root(text, manifest.root)
        if found.root != expected:
            raise self._taken(path)
        return path, self.with_replaced(found, built)

    def discard(self, path: Path) -> None:
        """Remove a link, and the release that was made for it; durably."""
        if kind_of(path) is ObjectKind.LINK:
            unlink_quietly(path)
        elif kind_of(path) is ObjectKind.FOLDER:
            self.remove(path)
        fsync_folder(path.parent)
        self._drop_own()

    def clear(self, *, committed: bool) -> None:
        """Remove `stage-ID`, and after a way back a release that no link leads to."""
        if not committed:
            self._drop_own()
        self.place.remove_stage(self.context.upgrade)
        self.forget_manifests(committed=committed)

    def _drop_own(self) -> None:
        """Remove this upgrade's release, if no link leads to it and nobody has written in it."""
        if kind_of(self.own) is not ObjectKind.FOLDER:
            return
        beside = self.place.next(self.context.upgrade)
        aside = takewhile(os.path.lexists, self.place.foreign(self.context.upgrade))
        for path in (self.place.path, beside, self.kept_at(), *aside):
            if self.tree_of(path) == self.own:
                return
        made = {tree_root_in(self.context.expected_new or ""), self.context.component.root}
        if self.find(self.own, Look.STAMPS).content in made:
            self.remove(self.own)
            fsync_folder(self.place.releases)

    def kept_at(self) -> Path:
        """`releases/VERSION-ROOT-ID.link`."""
        context = self.context
        kept = self.place.release(context.from_version, context.expected_old, context.upgrade)
        return kept.with_name(kept.name + LINK_ENDING)
