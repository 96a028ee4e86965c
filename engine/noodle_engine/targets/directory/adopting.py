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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from noodle_engine.disk.files import ObjectKind, kind_of, link_text
from noodle_engine.disk.names import exchange, fsync_folder, make_folder, unlink_quietly
from noodle_engine.disk.trees.build import place_link
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest, name_text
from noodle_engine.disk.trees.syncing import sync_file_system
from noodle_engine.disk.trees.walk import walk_tree
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import Diff, Needs, StepName
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import path_text
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import (
    ProbeFound,
    StepContext,
    TargetPlan,
    TargetRequest,
)
from noodle_engine.targets.directory.data import (
    access_at,
    make_data_folders,
    remove_empty_data_folders,
)
from noodle_engine.targets.directory.objects import FOLDER_MODE_LINK, forget_manifests
from noodle_engine.targets.directory.payload import data_link, staged_at, staged_manifest
from noodle_engine.targets.directory.planning import (
    leads_to_data,
    refuse_unusable,
    settled_options,
)
from noodle_engine.targets.directory.reading import Reader, link_root, tree_at, tree_root_in
from noodle_engine.targets.exchange.objects import Found, Look
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.exchange.surroundings import notices_on_folder, refuse_short
from noodle_engine.targets.failures import (
    FlipLost,
    ForeignFound,
    StagedLost,
    TargetChanged,
    TreeHasSpecials,
    TreeNotAdopted,
)
from noodle_engine.targets.place import Place, check_owner, claim_target

__all__ = ["ADOPT_OPTION", "Adoption", "is_adoption", "plan_adoption"]

ADOPT_OPTION: Final = "adopt"
"""The option of a component that is adopted, not replaced: the layout that it had."""
MEMORY_BYTES: Final = 160 * 1024 * 1024
SPECIALS_NAMED_MAX: Final = 5
_INODES: Final = 12


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


def plan_adoption(request: TargetRequest, place: Place, reader: Reader) -> TargetPlan:
    """Say what adopting what is at the target would do. Raises why it cannot be."""
    had = settled_options(TreeOptions.from_text(request.options), place)
    asked = TreeOptions.from_text(request.options)
    options = replace(asked, layout="link" if had.layout == "link" else asked.layout)
    reader.options = options
    found = refuse_unusable(place, reader)
    check_owner(place, request.home_log, take_over=request.take_over)
    if found.is_absent:
        raise TreeNotAdopted(
            path=place.path,
            problem=f"there is nothing at {path_text(str(place.path))}",
            cause="adopting takes over what is there",
            remedy="name the directory that is deployed, or install a release: `noodle apply`",
        )
    manifest = _readable_manifest(place, reader, found)
    _refuse_unfit(place, had.layout, options, manifest)
    new = staged_manifest(manifest, options, place, _tree_after(place, had.layout, options))
    if reader.manifests.get(new.root) is not None:  # it was adopted once, and forgotten
        reader.expected = (new.root, *reader.expected)
        reader.forget()
        found = reader.find(place.path, Look.STAMPS)
    needs = Needs(
        disk_bytes=len(new.entries) * 800, inodes=_INODES, memory_bytes=MEMORY_BYTES, seconds=1
    )
    refuse_short(place, needs)
    return TargetPlan(
        root_from=found.root,
        root_to=new.root,
        diff=Diff(bytes_shared=new.bytes),
        needs=needs,
        notices=(
            *notices_on_folder(request.path, place, ""),
            *_told(place, had.layout, options, manifest),
        ),
        options={**options.to_text(), ADOPT_OPTION: had.layout},
    )


def _readable_manifest(place: Place, reader: Reader, found: Found) -> TreeManifest:
    root = tree_root_in(found.root)
    assert root is not None
    scanned = reader.scanned.get(root)
    if scanned is None:  # it is one of Noodle's already
        manifest = reader.manifests.get(root)
        assert manifest is not None
        return manifest
    if scanned.specials:
        some = [f"{one.what} {name_text(one.path)}" for one in scanned.specials]
        more = len(some) - SPECIALS_NAMED_MAX
        named = some[:SPECIALS_NAMED_MAX] + ([f"{more} more"] if more > 0 else [])
        raise TreeHasSpecials(path=place.path, specials=tuple(named))
    return scanned.manifest


def _refuse_unfit(place: Place, had: str, options: TreeOptions, manifest: TreeManifest) -> None:
    """Refuse what a move would break, before anything is moved."""
    tree = tree_at(place.parent, place.path)
    for path in options.mutable:
        there = tree / os.fsdecode(path)
        kind = kind_of(there)
        if kind is ObjectKind.ABSENT:
            raise TreeNotAdopted(
                path=place.path,
                problem=f"there is no {name_text(path)} in {path_text(str(place.path))}",
                cause="a mutable path that is adopted is moved to where it lives once",
                remedy="correct the path; a release can declare paths that are still to come",
            )
        if kind is ObjectKind.LINK:
            text = os.fsencode(link_text(there))
            if not text.startswith(b"/") and not leads_to_data(place, there, path):
                _refuse_leaving(place, path, text)
        elif kind is ObjectKind.FOLDER:
            for entry in walk_tree(there, file=lambda *_: None).links:
                if _leaves(entry.path, entry.link):
                    _refuse_leaving(place, path + b"/" + entry.path, entry.link)
    if had != options.layout:
        for entry in manifest.entries:
            if entry.kind is EntryKind.LINK and _leaves(entry.path, entry.link):
                _refuse_leaving(place, entry.path, entry.link)


def _refuse_leaving(place: Place, path: bytes, text: bytes) -> None:
    raise TreeNotAdopted(
        path=place.path,
        problem=f"{name_text(path)} is a link to {name_text(text)}",
        cause="it is relative, leaves what is moved, and would lead elsewhere afterwards",
        remedy="make it absolute, then adopt again",
    )


def _leaves(path: bytes, text: bytes) -> bool:
    """Whether a relative link leads out of the tree that it is in."""
    if text.startswith(b"/"):
        return False
    depth = path.count(b"/")
    for name in text.split(b"/"):
        if name == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif name not in (b"", b"."):
            depth += 1
    return False


def _tree_after(place: Place, had: str, options: TreeOptions) -> Path:
    """Where the tree stands once it is adopted; no link is in the way."""
    if had != options.layout:
        return staged_at(place, options.layout)
    return Path(os.path.realpath(tree_at(place.parent, place.path)))


def _told(place: Place, had: str, options: TreeOptions, manifest: TreeManifest) -> Iterator[str]:
    yield (f"{manifest.files} files stay as they are: nothing is copied, and readers see no change")
    if had != options.layout:
        name = path_text(str(place.path))
        yield f"{name} becomes a link; the tree goes to {_shown(place)}releases"
    for path in options.mutable:
        if leads_to_data(place, tree_at(place.parent, place.path) / os.fsdecode(path), path):
            yield f"{name_text(path)} is in {_shown(place)}data already"
        else:
            yield f"{name_text(path)} moves to {_shown(place)}data, and a link takes its place"


def _shown(place: Place) -> str:
    return f".noodle/{path_text(place.path.name)}/"


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
        manifest = _readable_manifest(self.place, self.reader, found)
        _refuse_unfit(self.place, self._had, self.options, manifest)
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
        tree = _tree_after(self.place, self._had, self.options)
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
            text = data_link(self.place, _tree_after(self.place, self._had, self.options), path)
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


def is_adoption(options: Mapping[str, str]) -> bool:
    """Whether a component of a plan is adopted."""
    return ADOPT_OPTION in options
