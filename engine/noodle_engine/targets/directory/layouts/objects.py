"""Trees beside a target, in both layouts: written, proved, removed.

Owns what stands under the names of an upgrade:

    layout tree   `.NAME.next-ID` is the tree itself; the old is kept at
                  `releases/VERSION-ROOT-ID`, moved there whole
    layout link   the tree is at `releases/VERSION-ROOT-ID` and stays there;
                  `.NAME.next-ID` is a link to it; the old link is kept at
                  `releases/VERSION-ROOT-ID.link`, as it was: its text is
                  relative to the target's folder, wherever it stands

A tree that is to go is first moved to where nobody takes a half of it for
somebody's tree. This module has what both layouts share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of, status_of
from noodle_engine.disk.names import fsync_folder, make_folder
from noodle_engine.disk.trees.build import KeptTree, probe_sharing, remove_tree
from noodle_engine.disk.trees.manifest import TreeManifest, named
from noodle_engine.disk.trees.syncing import fsync_tree, sync_file_system
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import REPAIR_OPTION, Source, StepContext
from noodle_engine.targets.directory.data.back import carried_paths
from noodle_engine.targets.directory.data.carrying import Carrying
from noodle_engine.targets.directory.data.repairing import bring_unmanaged, is_own
from noodle_engine.targets.directory.data.seeding import seed, seed_inside
from noodle_engine.targets.directory.data.then import Then
from noodle_engine.targets.directory.trees.kept import forget_manifests, kept_trees, newest_kept
from noodle_engine.targets.directory.trees.manifests import manifest_beside
from noodle_engine.targets.directory.trees.payload import staged_manifest
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.directory.trees.roots import tree_at, tree_root_in
from noodle_engine.targets.directory.trees.writing import Built, Progressing, build_tree
from noodle_engine.targets.exchange import Found, Look
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.failures import ForeignFound, OldLost, PayloadUnusable
from noodle_engine.targets.place import Place

__all__ = ["FOLDER_MODE_LINK", "FOLDER_MODE_TREE", "PAYLOAD_OPTION", "DirectoryObjects"]

PAYLOAD_OPTION = "payload"
"""The option that has the root of the release's own tree, before mutable paths became links."""
FOLDER_MODE_TREE, FOLDER_MODE_LINK = 0o700, 0o711
"""Of `releases`: where links lead into it, who runs the service must come through."""
_THEN = "data"
"""What step stage tells of the data in a kept tree, for the steps that follow."""


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
    def paths(self) -> tuple[bytes, ...]:
        """The data that is carried; what of it lies inside was settled when the plan was made."""
        return carried_paths(self.context.component.options)

    @property
    def carries(self) -> bool:
        """Whether data lies inside of the trees."""
        return bool(self.paths)

    def noted(self, found: Found, path: Path) -> Observation:
        """What was staged, and which objects are its data of then."""
        observed = found.observation
        if not self.carries:
            return observed
        then = Then.of(self.tree_of(path), self.paths).text.decode()
        return Observation(observed.root, {**observed.attributes, _THEN: then})

    def carry(self, beside: Path, *, back: bool) -> None:
        """Copy the data, or write down what is to be exchanged."""
        if not self.carries:
            return
        live, other = self.tree_of(self.place.path), self.tree_of(beside)
        source = self.context.source
        carrying = self._carrying()
        if source is not None and not source.point and not back:
            self.stage()
            carrying.copy(live, other)
            return
        carrying.arm()
        if carrying.then() is None:  # somebody removed it: the target's is the newest
            self.stage()
            carrying.note(other, armed=True)

    def carried(self, beside: Path, *, back: bool) -> tuple[str, ...]:
        """Exchange what has newer data in the displaced tree."""
        if not self.carries:
            return ()
        if not back:
            self._carrying().arm()
        live, displaced = self.tree_of(self.place.path), self.tree_of(beside)
        if {kind_of(live), kind_of(displaced)} != {ObjectKind.FOLDER}:
            return ()  # nothing was there before, or is now
        return self._carrying().exchange(live, displaced)

    def written_since(self, beside: Path) -> str | None:
        """Which data of then somebody has written in the displaced tree."""
        displaced = self.tree_of(beside)
        if not self.carries or kind_of(displaced) is not ObjectKind.FOLDER:
            return None
        self._carrying().arm()  # who exchanged may have been killed right after it
        return named(self._carrying().written(displaced)) or None

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

    def bring_over(self, displaced: Path) -> str:
        """What is unmanaged comes into the tree that was put back, where its name is free."""
        path = self.place.path
        if not (is_own(self.place, displaced) and is_own(self.place, path)):
            return ""
        stayed = bring_unmanaged(self.options, self.tree_of(displaced), self.tree_of(path))
        return named(stayed) if stayed else ""

    def forget_manifests(self, *, committed: bool) -> None:
        """Remove what is known of trees that are no more."""
        if committed or not self._repairs:
            forget_manifests(self.place, self.reader)

    def taken_back(self) -> None:
        """What was read of a stranger's tree is forgotten: it is still what nobody knows."""
        if self._repairs:
            stranger = tree_root_in(self.context.expected_old)
            forget_manifests(self.place, self.reader, stranger=stranger)

    @property
    def _repairs(self) -> bool:
        return REPAIR_OPTION in self.context.component.options

    def is_carried(self, beside: Path) -> bool:
        """Whether the displaced tree has no newer data."""
        live, displaced = self.tree_of(self.place.path), self.tree_of(beside)
        if not self.carries or {kind_of(live), kind_of(displaced)} != {ObjectKind.FOLDER}:
            return True
        return not self._carrying().left(live, displaced)

    def _carrying(self) -> Carrying:
        stage = self.place.stage(self.context.upgrade)
        aside = partial(self.place.foreign, self.context.upgrade)
        source, staged = self.context.source, self.context.staged
        point = source is not None and source.point and staged is not None
        then = Then.read(staged.attributes.get(_THEN)) if point and staged is not None else None
        return Carrying(self.place.path, self.paths, stage, self.context.cut_short, aside, then)

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
