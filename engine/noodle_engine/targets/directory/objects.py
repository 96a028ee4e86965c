"""Trees beside a target, in both layouts: written, proved, removed.

Owns what stands under the names of an upgrade:

    layout tree   `.NAME.next-ID` is the tree itself; the old is kept at
                  `releases/VERSION-ROOT-ID`, moved there whole
    layout link   the tree is at `releases/VERSION-ROOT-ID` and stays there;
                  `.NAME.next-ID` is a link to it; the old link is kept at
                  `releases/VERSION-ROOT-ID.link`, as it was: its text is
                  relative to the target's folder, wherever it stands

A tree that is to go is first moved to where nobody takes a half of it for
somebody's tree.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path

from noodle_engine.disk.failures import explained
from noodle_engine.disk.files import ObjectKind, kind_of, status_of
from noodle_engine.disk.names import fsync_folder, make_folder, make_link, unlink_quietly
from noodle_engine.disk.trees.build import KeptTree, probe_sharing, remove_tree
from noodle_engine.disk.trees.manifest import TreeManifest
from noodle_engine.disk.trees.syncing import fsync_tree, sync_file_system
from noodle_engine.machine.plan import ABSENT
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import Source, StepContext
from noodle_engine.targets.directory.data import Carrying, seed, seed_inside
from noodle_engine.targets.directory.manifests import manifest_beside
from noodle_engine.targets.directory.payload import staged_manifest
from noodle_engine.targets.directory.reading import Reader, led_to, link_root, tree_at, tree_root_in
from noodle_engine.targets.directory.writing import (
    Built,
    Progressing,
    build_tree,
    named,
)
from noodle_engine.targets.exchange.objects import ASIDE, Found, Look
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.failures import ForeignFound, OldLost, PayloadUnusable
from noodle_engine.targets.place import ROOT_DIGITS, Place

__all__ = [
    "PAYLOAD_OPTION",
    "DirectoryObjects",
    "forget_manifests",
    "kept_trees",
    "newest_kept",
    "objects_for",
]

PAYLOAD_OPTION = "payload"
"""The option that has the root of the release's own tree, before mutable paths became links."""
LINK_ENDING = ".link"
FOLDER_MODE_TREE, FOLDER_MODE_LINK = 0o700, 0o711
"""Of `releases`: where links lead into it, who runs the service must come through."""


def objects_for(
    context: StepContext, place: Place, options: TreeOptions, reader: Reader
) -> DirectoryObjects:
    """The objects of a step, by the layout that was settled when the plan was made."""
    sort = LinkObjects if options.layout == "link" else TreeObjects
    return sort(context, place, options, reader)


def kept_trees(place: Place, reader: Reader) -> Iterator[KeptTree]:
    """The trees that are kept beside a target, with what they should hold."""
    if kind_of(place.releases) is not ObjectKind.FOLDER:
        return
    known = {tree_digits(root): root for root in reader.manifests.roots()}
    with explained("list", place.releases):
        paths = sorted(place.releases.iterdir())
    for path in paths:
        root = known.get(_digits_in(path.name))
        if root is not None and kind_of(path) is ObjectKind.FOLDER:
            manifest = reader.manifests.get(root)
            if manifest is not None:
                yield KeptTree(path, manifest)


def newest_kept(place: Place) -> Path | None:
    """The tree that was kept last: of an empty target, what was removed from it."""
    if kind_of(place.releases) is not ObjectKind.FOLDER:
        return None
    with explained("list", place.releases):
        names = [path.name for path in place.releases.iterdir()]
    for name in sorted(names, key=_upgrade_in, reverse=True):
        path = tree_at(place.parent, place.releases / name)
        if kind_of(path) is ObjectKind.FOLDER:
            return path
    return None


def _upgrade_in(name: str) -> str:
    """The id of the upgrade in the name of what is kept: they sort by time."""
    return name.removesuffix(LINK_ENDING).rpartition("-")[2]


def forget_manifests(place: Place, reader: Reader) -> None:
    """Remove the manifests of trees that are neither kept, nor at the target, nor beside it.

    Where something is at the target that none of them knows, all stay: they are
    what tells a person what should be there.
    """
    reader.manifests.tidy()
    roots = reader.manifests.roots()
    if not roots:
        return
    reader.expected = (*reader.expected, *roots)
    current = reader.find(place.path, Look.IDENTITY)
    if not current.is_absent and current.content not in roots:
        return
    needed = {tree_digits(current.content)}
    if kind_of(place.releases) is ObjectKind.FOLDER:
        with explained("list", place.releases):
            needed |= {_digits_in(path.name) for path in place.releases.iterdir()}
    with explained("list", place.parent):
        beside = [
            path
            for path in place.parent.iterdir()
            if path.name.startswith(f".{place.path.name}.next-")
        ]
    needed |= {tree_digits(reader.find(path, Look.IDENTITY).content) for path in beside}
    reader.manifests.forget([root for root in roots if tree_digits(root) not in needed])


def _digits_in(name: str) -> str:
    """The digits of a root in the name of what is kept: VERSION-ROOT-ID, or with `.link`."""
    return name.rpartition("-")[0].rpartition("-")[2]


def tree_digits(root: str) -> str:
    """The digits of a root that a release's name has."""
    return root.partition(":")[2][:ROOT_DIGITS]


@dataclass(slots=True)
class DirectoryObjects(ABC):
    """What both layouts share. See `noodle_engine.targets.exchange.Objects` for the promises."""

    context: StepContext
    place: Place
    options: TreeOptions
    reader: Reader

    @abstractmethod
    def write_new(self, source: Source) -> tuple[Path, Found]:
        """Build the release's tree, and what stands for it under the upgrade's name."""

    @abstractmethod
    def write_old(self, source: Source) -> tuple[Path, Found]:
        """Build the old tree anew, from its release."""

    @abstractmethod
    def discard(self, path: Path) -> None:
        """Remove what was made for this upgrade, durably."""

    @abstractmethod
    def clear(self, *, committed: bool) -> None:
        """Remove what an interrupted step has left, durably."""

    @abstractmethod
    def kept_at(self) -> Path:
        """Where the old is kept."""

    def find(self, path: Path, look: Look = Look.WHOLE) -> Found:
        """What `path` names, looked at as closely as asked."""
        return self.reader.find(path, look)

    def remember(self, found: Found) -> None:
        """Keep the manifest of the old tree, and its stamps."""
        root = tree_root_in(found.root)
        scanned = None if root is None else self.reader.scanned.get(root)
        if scanned is not None:
            self.place.make_room()
            self.reader.manifests.keep(scanned.manifest, scanned.stamps)

    def displaced(self, path: Path, before: Found) -> Found:
        """What an exchange has brought to `path`: the folder or link that was seen, or another."""
        kind = kind_of(path)
        if kind is before.kind and kind is not ObjectKind.ABSENT:
            status = status_of(path)
            identity = {"device": str(status.st_dev), "inode": str(status.st_ino)}
            if identity.items() <= before.attributes.items():
                return before
        return self.reader.find(path, Look.STAMPS)

    def is_new(self, found: Found, source: Source) -> bool:
        """Whether it is the tree that was planned: owners and modes are part of that."""
        return found.content == source.content

    def prove(self, path: Path) -> Found:
        """Make the tree at `path`, or that it leads to, durable, and read it from the disk."""
        tree = self.tree_of(path)
        if kind_of(tree) is ObjectKind.FOLDER:
            sync_file_system(self.place.parent, fall_back=lambda: fsync_tree(tree))
        return self.reader.proved(path)

    def tree_of(self, path: Path) -> Path:
        """The tree that a name stands for."""
        return tree_at(self.place.parent, path)

    def make_room(self) -> None:
        """Make the folders of Noodle's beside the target."""
        self.place.make_room()
        link = self.options.layout == "link"
        make_folder(self.place.releases, FOLDER_MODE_LINK if link else FOLDER_MODE_TREE)

    def remove(self, path: Path) -> None:
        """Remove a tree of this upgrade's, durably; never half of it under its own name."""
        stage = self.stage()
        gone = stage / "gone"
        remove_tree(gone)
        if kind_of(path) is ObjectKind.FOLDER and not move(path, gone):
            raise ForeignFound(
                path=self.place.path,
                expected=ABSENT,
                found=self.find(self.place.path, Look.STAMPS).root,
                where=gone,
                found_there="somebody's",
            )
        remove_tree(gone)
        fsync_folder(stage)

    def stage(self) -> Path:
        """The upgrade's own folder, made if it is not there."""
        self.make_room()
        stage = self.place.stage(self.context.upgrade)
        make_folder(stage, 0o700)
        return stage

    def manifest_of(self, source: Source) -> TreeManifest:
        """The manifest to stage of a release. Raises PayloadUnusable."""
        raw = manifest_beside(source.path, self.context.component.options.get(PAYLOAD_OPTION, ""))
        manifest = None if raw is None else staged_manifest(raw, self.options, self.place)
        if manifest is None or manifest.root != source.content:
            raise PayloadUnusable(
                path=self.place.path,
                payload=source.path,
                found="without the manifest that it was registered with",
            )
        return manifest

    def build(self, path: Path, manifest: TreeManifest, source: Source, *, new: bool) -> Built:
        """Build a tree at `path` from a release and what is kept, and keep its manifest."""
        sharing = probe_sharing(self.place.room, hard_links=self.options.immutable)
        built = build_tree(
            target=self.place.path,
            path=path,
            manifest=manifest,
            payload=source.path,
            kept=self._kept,
            sharing=sharing,
            also=[self._seeding(source, path)] if new else [],
            stop=self.context.stop,
            progress=Progressing(self.context.progress, 2 * manifest.bytes),
        )
        self.reader.manifests.keep(manifest, built.stamps)
        self.reader.forget()
        return built

    def _kept(self) -> Iterator[KeptTree]:
        """The old tree at the target first: it has the most."""
        old = tree_root_in(self.context.expected_old)
        manifest = None if old is None else self.reader.manifests.get(old)
        tree = self.tree_of(self.place.path)
        if manifest is not None and kind_of(tree) is ObjectKind.FOLDER:
            yield KeptTree(tree, manifest)
        yield from kept_trees(self.place, self.reader)

    def _seeding(self, source: Source, path: Path) -> Callable[[], None]:
        """What gives a new tree at `path` its first data, outside of it or inside."""
        raw = manifest_beside(source.path, self.context.component.options.get(PAYLOAD_OPTION, ""))
        stage = self.place.stage(self.context.upgrade)
        stop = self.context.stop

        def first() -> None:
            if raw is not None:
                old = self.tree_of(self.place.path)
                gone = kind_of(self.place.path) is ObjectKind.ABSENT
                kept = newest_kept(self.place) if gone else None
                seed(self.place, self.options, raw, source.path, stage, stop=stop)
                seed_inside(
                    self.options, raw, source.path, stage, old=old, new=path, kept=kept, stop=stop
                )

        return first

    @property
    def carries(self) -> bool:
        """Whether data lies inside of the trees."""
        return bool(self.options.quiesce)

    def carry(self, beside: Path, *, back: bool) -> None:
        """Copy the data, or write down what is to be exchanged."""
        if not self.carries:
            return
        live, other = self.tree_of(self.place.path), self.tree_of(beside)
        source = self.context.source
        carrying = self._carrying()
        if back or source is None:
            carrying.arm()
            if not carrying.is_noted():  # somebody removed it: the target's is the newest
                self.stage()
                carrying.note(other, armed=True)
            return
        self.stage()
        if source.point:
            carrying.note(other, armed=True)
        else:
            carrying.copy(live, other)

    def carried(self, beside: Path, *, back: bool) -> None:
        """Exchange what has newer data in the displaced tree."""
        if not self.carries:
            return
        if not back:
            self._carrying().arm()
        if kind_of(self.tree_of(beside)) is ObjectKind.FOLDER:
            self._carrying().exchange(self.tree_of(self.place.path), self.tree_of(beside))

    def is_known_folder(self, found: Found) -> bool:
        """Whether it is the very folder of the old or the new, whatever was done in it."""
        return found.attributes.get("folder_inode") in self._known_inodes()

    def _is_known(self, folder: Path) -> bool:
        return str(status_of(folder).st_ino) in self._known_inodes()

    def _known_inodes(self) -> set[str]:
        seen = (self.context.snapshot, self.context.staged)
        inodes = (one.attributes.get("folder_inode") for one in seen if one is not None)
        return {inode for inode in inodes if inode is not None}

    def taken_from(self, displaced: Path) -> None:
        """Bring data that the target has not from a tree that was set aside for it."""
        tree = self.tree_of(displaced)
        if self.carries and kind_of(tree) is ObjectKind.FOLDER:
            self._carrying().take(self.tree_of(self.place.path), tree)

    def is_carried(self, beside: Path) -> bool:
        """Whether the displaced tree has no newer data."""
        if not self.carries or kind_of(self.tree_of(beside)) is not ObjectKind.FOLDER:
            return True
        left = self._carrying().left(self.tree_of(self.place.path), self.tree_of(beside))
        return next(left, None) is None

    def _carrying(self) -> Carrying:
        # Not to be stopped half way: its writers stand still.
        path, mutable = self.place.path, self.options.mutable
        stage = self.place.stage(self.context.upgrade)
        aside = partial(self.place.foreign, self.context.upgrade)
        return Carrying(path, mutable, stage, threading.Event(), aside)

    def old_manifest(self, source: Source) -> TreeManifest:
        """The manifest of the old, to make it anew. Raises OldLost."""
        root = tree_root_in(self.context.expected_old)
        manifest = None if root is None else self.reader.manifests.get(root)
        if manifest is None or kind_of(source.path) is not ObjectKind.FOLDER:
            why = "what it held is not known any more"
            raise OldLost(path=self.place.path, expected=self.context.expected_old, why=why)
        return manifest

    def with_replaced(self, found: Found, built: Built) -> Found:
        """An observation that names what was damaged among what is kept."""
        if not built.replaced:
            return found
        attributes = {**found.attributes, "replaced": named(built.replaced)}
        return Found(found.kind, found.root, found.content, attributes)


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
        del committed
        self.place.remove_stage(self.context.upgrade)
        forget_manifests(self.place, self.reader)

    def kept_at(self) -> Path:
        """`releases/VERSION-ROOT-ID`."""
        context = self.context
        return self.place.release(context.from_version, context.expected_old, context.upgrade)


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
        forget_manifests(self.place, self.reader)

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
