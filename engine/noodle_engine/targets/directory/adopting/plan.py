"""Looking at what is to be adopted, before anything is moved. Reads only.

Owns every reason why it cannot be: what a move would break is refused first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from noodle_engine.disk.files import ObjectKind, kind_of, link_text, status_of
from noodle_engine.disk.trees.manifest import EntryKind, TreeManifest, name_text, named
from noodle_engine.disk.trees.walk import walk_tree
from noodle_engine.machine.plan import Diff, Needs
from noodle_engine.machine.text import path_text
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import TargetPlan, TargetRequest
from noodle_engine.targets.directory.data.rules import leads_to_data
from noodle_engine.targets.directory.planning.estimate import MEMORY_BYTES
from noodle_engine.targets.directory.planning.looking import refuse_unusable, settled_options
from noodle_engine.targets.directory.trees.payload import staged_at, staged_manifest
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.directory.trees.roots import tree_at, tree_root_in
from noodle_engine.targets.exchange import Found, Look
from noodle_engine.targets.exchange.surroundings import notices_on_folder, refuse_short
from noodle_engine.targets.failures import TreeHasSpecials, TreeNotAdopted
from noodle_engine.targets.place import Place, check_owner

__all__ = [
    "ADOPT_OPTION",
    "is_adoption",
    "plan_adoption",
    "readable_manifest",
    "refuse_unfit",
    "tree_after",
]

ADOPT_OPTION: Final = "adopt"
"""The option of a component that is adopted, not replaced: the layout that it had."""
_INODES: Final = 12


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
    manifest = readable_manifest(place, reader, found)
    refuse_unfit(place, had.layout, options, manifest)
    new = staged_manifest(manifest, options, place, tree_after(place, had.layout, options))
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
            *_of_others(manifest),
        ),
        options={**options.to_text(), ADOPT_OPTION: had.layout},
    )


def readable_manifest(place: Place, reader: Reader, found: Found) -> TreeManifest:
    """What the tree at the target holds. Raises TreeHasSpecials."""
    root = tree_root_in(found.root)
    assert root is not None
    scanned = reader.scanned.get(root)
    if scanned is None:  # it is one of Noodle's already
        manifest = reader.manifests.get(root)
        assert manifest is not None
        return manifest
    if scanned.specials:
        specials = tuple(f"{one.what} {name_text(one.path)}" for one in scanned.specials)
        raise TreeHasSpecials(path=place.path, specials=specials)
    return scanned.manifest


def refuse_unfit(place: Place, had: str, options: TreeOptions, manifest: TreeManifest) -> None:
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
        outside = place.data / os.fsdecode(path)
        if not leads_to_data(place, there, path) and kind_of(outside) is not ObjectKind.ABSENT:
            raise TreeNotAdopted(
                path=place.path,
                problem=f"there is something at {path_text(str(outside))} already",
                cause="what is adopted as mutable is moved there; this is data of an earlier time",
                remedy="move it to where it is kept, or put it in place of what is in the tree",
            )
        if kind is ObjectKind.LINK:
            text = os.fsencode(link_text(there))
            if not text.startswith(b"/") and not leads_to_data(place, there, path):
                _refuse_leaving(place, path, text)
        elif kind is ObjectKind.FOLDER:
            _refuse_unmovable(place, path, there)
            for entry in walk_tree(there, file=lambda *_: None).links:
                if _leaves(entry.path, entry.link):
                    _refuse_leaving(place, path + b"/" + entry.path, entry.link)
    if had != options.layout:
        for entry in manifest.entries:
            if entry.kind is EntryKind.LINK and _leaves(entry.path, entry.link):
                _refuse_leaving(place, entry.path, entry.link)


def _refuse_unmovable(place: Place, path: bytes, there: Path) -> None:
    """Refuse a folder that the running user may not move to another one."""
    if os.access(there, os.W_OK, effective_ids=True):
        return
    raise TreeNotAdopted(
        path=place.path,
        problem=f"{name_text(path)} may not be moved by user {os.geteuid()}",
        cause=f"it belongs to user {status_of(there).st_uid}, and who may not write in a folder "
        "cannot move it to another one",
        remedy="run Noodle as root, or give the folder to the owner of the tree",
    )


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


def tree_after(place: Place, had: str, options: TreeOptions) -> Path:
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


def _of_others(manifest: TreeManifest) -> Iterator[str]:
    """What only its owner or root can remove, once the tree is an old version."""
    mine = os.geteuid()
    others = [
        one.path or b"."
        for one in manifest.entries
        if one.kind is EntryKind.FOLDER and one.uid != mine
    ]
    if mine != 0 and others:
        yield (
            f"folders of other users are in it ({named(others)}): once it is an old version, only "
            "root can drop it"
        )


def _shown(place: Place) -> str:
    return f".noodle/{path_text(place.path.name)}/"


def is_adoption(options: Mapping[str, str]) -> bool:
    """Whether a component of a plan is adopted."""
    return ADOPT_OPTION in options
