"""Adopting what is there: the first version of a component, without a copy.

Owns the moves that make an existing deployment one of Noodle's. None of them
changes what a reader finds: a mutable path is exchanged with a link that leads to
where the path is from then on, and so is the whole tree, where the target is
to become a link. Each exchange is one step of the file system, and the link
waits at the very place that the folder gets.

| in the tree | where it will live | swap does | undo does |
|---|---|---|---|
| itself | nothing | fails: the link that was staged is gone | nothing |
| itself | our link | exchange | removes the link (undo of stage) |
| our link | itself | nothing | exchange |
| anything else | anything else | foreign | foreign |

Nothing is kept afterwards but what is there: an adoption has no rollback point.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of, link_text
from noodle_engine.disk.names import exchange, fsync_folder, make_folder, unlink_quietly
from noodle_engine.disk.trees.build import place_link
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry
from noodle_engine.disk.trees.syncing import sync_file_system
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import StepName
from noodle_engine.machine.records import Observation
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import ProbeFound, StepContext
from noodle_engine.targets.directory.adopting.plan import (
    ADOPT_OPTION,
    readable_manifest,
    refuse_unfit,
    tree_after,
)
from noodle_engine.targets.directory.data.places import (
    access_at,
    make_data_folders,
    remove_empty_data_folders,
)
from noodle_engine.targets.directory.layouts.objects import FOLDER_MODE_LINK
from noodle_engine.targets.directory.planning.looking import refuse_unusable
from noodle_engine.targets.directory.trees.kept import forget_manifests
from noodle_engine.targets.directory.trees.payload import data_link, staged_manifest
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.directory.trees.roots import link_root, tree_at, tree_root_in
from noodle_engine.targets.exchange import Found, Look
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.failures import FlipLost, ForeignFound, StagedLost, TargetChanged
from noodle_engine.targets.place import Place, claim_target

__all__ = ["Adoption", "Piece"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One exchange: what is at `inside` goes to `outside`, and a link of this text comes there."""

    inside: Path
    outside: Path
    text: str
    owner: tuple[int, int]

    @property
    def is_staged(self) -> bool:
        """Whether the link waits where the folder will be."""
        return self._is_link(self.outside) and not self._is_link(self.inside)

    @property
    def is_swapped(self) -> bool:
        """Whether the exchange has happened."""
        there = kind_of(self.outside) is not ObjectKind.ABSENT
        return self._is_link(self.inside) and there and not self._is_link(self.outside)

    def _is_link(self, path: Path) -> bool:
        return kind_of(path) is ObjectKind.LINK and link_text(path) == self.text


@dataclass(slots=True)
class Adoption:
    """The steps of one adoption. Each reads the disk anew and may be done twice."""

    context: StepContext
    place: Place
    options: TreeOptions
    reader: Reader

    def do(self, step: StepName) -> Observation:
        """Do a step."""
        match step:
            case StepName.CHECK:
                return self._check()
            case StepName.SNAPSHOT:
                return self._snapshot()
            case StepName.STAGE:
                return self._stage()
            case StepName.SWAP:
                return self._swap()
            case StepName.RECHECK | StepName.POINT:
                return self._is_new().observation
            case StepName.CLEAN_ROLLED_BACK:
                return self._unstage()
            case _:
                return self._clean()

    def undo(self, step: StepName) -> Observation:
        """Take back swap or stage."""
        return self._unswap() if step is StepName.SWAP else self._unstage()

    def probe(self, step: StepName) -> ProbeFound:
        """Stage and swap are done again at no cost; only a stranger stops them."""
        found = self._find()
        if step in (StepName.STAGE, StepName.SWAP) and not self._is_known(found):
            return ProbeFound(ProbeAnswer.FOREIGN, found.observation)
        if step is StepName.SWAP and found.root == self._new_root():
            for piece in self._pieces(found):
                self._sync(piece)
            return ProbeFound(ProbeAnswer.DONE, found.observation)
        return ProbeFound(ProbeAnswer.NOT_DONE, found.observation)

    def _find(self) -> Found:
        self.reader.forget()
        return self.reader.find(self.place.path, Look.STAMPS)

    def _check(self) -> Observation:
        found = refuse_unusable(self.place, self.reader)
        expected = self.context.component.root_from
        if found.root != expected:
            raise TargetChanged(
                path=self.place.path,
                expected=expected,
                found=found.root,
                component=self.context.component.name,
            )
        manifest = readable_manifest(self.place, self.reader, found)
        refuse_unfit(self.place, self._had, self.options, manifest)
        return found.observation

    def _snapshot(self) -> Observation:
        found = self._find()
        if found.root != self.context.expected_old:
            raise self._foreign(self.context.expected_old, found)
        root = tree_root_in(found.root)
        assert root is not None
        self.place.make_room()
        scanned = self.reader.scanned.get(root)
        if scanned is not None:
            self.reader.manifests.keep(scanned.manifest, scanned.stamps)
        return found.observation

    def _stage(self) -> Observation:
        old = tree_root_in(self.context.expected_old)
        manifest = None if old is None else self.reader.manifests.get(old)
        if manifest is None:
            found = self._find()
            raise self._foreign(self.context.expected_old, found)
        tree = tree_after(self.place, self._had, self.options)
        new = staged_manifest(manifest, self.options, self.place, tree)
        self.place.make_room()
        claim_target(self.place, self.context.home_log)
        self.reader.manifests.keep(new, self.reader.manifests.stamps(manifest.root))
        stage = self.place.stage(self.context.upgrade)
        make_folder(stage, 0o700)
        found = self._find()
        pieces = list(self._pieces(found))
        for number, piece in enumerate(pieces):
            if not (piece.is_staged or piece.is_swapped):
                self._wait_at(stage / f"link-{number}", piece)
        if pieces:  # a link cannot be synced by itself, nor its text by its folder
            sync_file_system(self.place.parent, fall_back=lambda: fsync_folder(stage))
        return Observation(self._new_root(), {"files": str(new.files), "size": str(new.bytes)})

    def _wait_at(self, begun: Path, piece: Piece) -> None:
        """Put a piece's link where its folder will be."""
        if piece.outside.parent == self.place.releases:
            make_folder(self.place.releases, FOLDER_MODE_LINK)
        else:
            inside = piece.outside.relative_to(self.place.data)
            tree = Path(os.path.realpath(self.place.path))
            make_data_folders(self.place, os.fsencode(inside), access_at(tree))
        unlink_quietly(begun)
        uid, gid = piece.owner
        link = TreeEntry(b"", EntryKind.LINK, 0, uid, gid, link=os.fsencode(piece.text))
        place_link(begun, link)
        if not move(begun, piece.outside):
            raise ForeignFound(
                path=self.place.path,
                expected="absent",
                found=self._find().root,
                where=piece.outside,
                found_there=f"other:{kind_of(piece.outside).value}",
            )

    def _swap(self) -> Observation:
        found = self._find()
        if not self._is_known(found):
            raise self._foreign(self.context.expected_old, found)
        for piece in self._pieces(found):
            if not piece.is_swapped:
                if not piece.is_staged:
                    raise StagedLost(path=self.place.path, where=piece.outside)
                exchange(piece.outside, piece.inside)
            self._sync(piece)
        return self._is_new().observation

    def _unswap(self) -> Observation:
        found = self._find()
        if not self._is_known(found):
            raise self._foreign(self._new_root(), found)
        for piece in reversed(list(self._pieces(found))):
            if piece.is_swapped:
                exchange(piece.outside, piece.inside)
            self._sync(piece)
        found = self._find()
        if found.root != self.context.expected_old:
            raise self._foreign(self.context.expected_old, found)
        return found.observation

    def _unstage(self) -> Observation:
        found = self._find()
        for piece in self._pieces(found):
            if piece.is_staged:
                unlink_quietly(piece.outside)
            self._sync(piece)
            if piece.outside.parent != self.place.releases:
                inside = os.fsencode(piece.outside.relative_to(self.place.data))
                remove_empty_data_folders(self.place, inside)
        self.place.remove_stage(self.context.upgrade)
        self.reader.forget()
        forget_manifests(self.place, self.reader)
        return found.observation

    def _clean(self) -> Observation:
        """After the commit: what the tree was before it is nobody's any more."""
        self.place.remove_stage(self.context.upgrade)
        self.reader.forget()
        forget_manifests(self.place, self.reader)
        return self._find().observation

    def _is_new(self) -> Found:
        """The target, if it is as the adoption leaves it. Raises FlipLost, ForeignFound."""
        found = self._find()
        if found.root == self._new_root():
            return found
        if found.root == self.context.expected_old:
            raise FlipLost(path=self.place.path, found=found.root)
        raise self._foreign(self._new_root(), found)

    def _is_known(self, found: Found) -> bool:
        """Whether it is the tree that is adopted, however many of the exchanges were done."""
        trees = {self.context.component.root, tree_root_in(self.context.expected_old)}
        return found.content in trees

    @property
    def _had(self) -> str:
        return self.context.component.options[ADOPT_OPTION]

    def _new_root(self) -> str:
        """The root that the target has in the end."""
        content = self.context.component.root
        if self.options.layout == "tree":
            return content
        if self._had == "tree":
            return link_root(self._release_text(), content)
        text = link_text(self.place.path) if kind_of(self.place.path) is ObjectKind.LINK else ""
        return link_root(text, content)

    @property
    def _release(self) -> Path:
        component = self.context.component
        return self.place.release(component.to_version, component.root, self.context.upgrade)

    def _release_text(self) -> str:
        return os.path.relpath(self._release, self.place.parent)

    def _pieces(self, found: Found) -> Iterator[Piece]:
        """The exchanges, in their order: the whole tree first, then what is in it."""
        owner = self._owner(found)
        if self._had != self.options.layout:
            yield Piece(self.place.path, self._release, self._release_text(), owner)
        for path in self.options.mutable:
            text = data_link(self.place, tree_after(self.place, self._had, self.options), path)
            inside = os.fsdecode(path)
            # Looked at anew each time: the piece before may have moved the tree.
            yield Piece(
                tree_at(self.place.parent, self.place.path) / inside,
                self.place.data / inside,
                text,
                owner,
            )

    def _owner(self, found: Found) -> tuple[int, int]:
        root = tree_root_in(found.root)
        manifest = None if root is None else self.reader.manifests.get(root)
        manifest = manifest or self.reader.manifests.get(self.context.component.root)
        if manifest is None:
            return os.geteuid(), os.getegid()
        top = manifest.by_path[b""]
        return top.uid, top.gid

    def _sync(self, piece: Piece) -> None:
        for folder in (piece.inside.parent, piece.outside.parent):
            if kind_of(folder) is ObjectKind.FOLDER:
                fsync_folder(folder)

    def _foreign(self, expected: str, found: Found) -> ForeignFound:
        return ForeignFound(
            path=self.place.path,
            expected=expected,
            found=found.root,
            where=self.place.path,
            found_there=found.root,
        )
