"""Advice on a tree that may be released and may still disappoint. Pure.

Owns hints, never refusals. Each names the first few paths that it is about.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest, name_text, named
from noodle_engine.disk.trees.reach import DEPTH_MAX
from noodle_engine.registry.payloads.links import Leads, links_by_lead
from noodle_engine.registry.tree_options import TreeOptions

__all__ = ["tree_advice"]

PATH_BYTES_MAX: Final = 4095
"""How long a path may be that the kernel takes at once."""
RELEASE_PATH_BYTES: Final = 256
"""How much longer a path is in a release than in the target."""
DEPTH_ADVISED: Final = DEPTH_MAX // 2
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_WRITTEN = re.compile(rb".*\.(?:db|sqlite3?|log|pid|swp|pyc)|__pycache__", re.IGNORECASE)
_WRITTEN_AT_TOP = re.compile(rb"\.?cache|data|logs?|te?mp|uploads?|sessions?", re.IGNORECASE)
"""Names of what programs write rather than publishers; further down, such folders hold code."""
_VERSIONING: Final = frozenset({b".git", b".hg", b".svn"})


def tree_advice(manifest: TreeManifest, options: TreeOptions, target: str) -> Iterator[str]:
    """What the publisher of a tree may want to change, whatever its hooks and checks are."""
    entries = manifest.entries
    if not manifest.files:
        yield "its payload holds no file"
    links = links_by_lead(manifest)
    if links[Leads.ABSOLUTE]:
        found = named(links[Leads.ABSOLUTE])
        yield f"absolute links lead to what is on each machine, not to the release: {found}"
    if links[Leads.NOWHERE]:
        yield f"links to what is not in the release: {named(links[Leads.NOWHERE])}"
    yield from _told("anybody may write", _paths(entries, _is_world_writable))
    yield from _told("set-id bits: it runs as its owner or group", _paths(entries, _is_set_id))
    yield from _on_data(entries, options)
    yield from _on_options(manifest, options)
    inside = {entry.path for entry in entries if _last(entry) in _VERSIONING}
    yield from _told("the history of its source is released", sorted(inside))
    yield from _on_reach(entries, target)


def _on_data(entries: Iterable[TreeEntry], options: TreeOptions) -> Iterator[str]:
    """What a program seems to write in the release itself."""
    written: list[bytes] = []
    for entry in entries:
        is_folder = entry.kind is EntryKind.FOLDER
        looks = _WRITTEN.fullmatch(_last(entry)) or (
            is_folder and _WRITTEN_AT_TOP.fullmatch(entry.path)
        )
        if not looks or entry.kind is EntryKind.LINK:
            continue
        settled = options.is_mutable(entry.path) or options.skips(entry.path, is_folder)
        if not settled and not _lies_in(entry.path, written[-1:]):
            written.append(entry.path)
    if written:
        yield (
            "programs seem to write there, and each upgrade replaces it; name in `mutable` what"
            f" must stay, and leave the rest out: {named(written)}"
        )


def _on_options(manifest: TreeManifest, options: TreeOptions) -> Iterator[str]:
    """Options that say other things than the tree does."""
    skipped = _paths(
        manifest.entries,
        lambda entry: (
            bool(entry.path) and options.skips(entry.path, entry.kind is EntryKind.FOLDER)
        ),
    )
    yield from _told("patterns of `unmanaged` match what is released", skipped)
    for path in options.mutable:
        if path not in manifest.by_path and path not in options.mutable_folders:
            text = name_text(path)
            yield (
                f"`mutable` names {text}, which the release does not have: it begins as an empty"
                f" folder; write `{text}/`, or release what it begins as"
            )
    if options.immutable and options.mutable and options.quiesce:
        yield "`immutable` and mutable paths inside the tree: what is shared must not be written"


def _on_reach(entries: Iterable[TreeEntry], target: str) -> Iterator[str]:
    room = PATH_BYTES_MAX - len(target.encode()) - RELEASE_PATH_BYTES
    long = [path[:80] for path in _paths(entries, lambda entry: len(entry.path) > room)]
    yield from _told(
        "paths that no program can open at once, for they are too long",
        long,
    )
    depth = max((entry.path.count(b"/") for entry in entries), default=0)
    if depth > DEPTH_ADVISED:
        yield f"{depth} folders lie one in the other; at most {DEPTH_MAX} are upgraded"


def _is_world_writable(entry: TreeEntry) -> bool:
    if entry.kind is EntryKind.LINK:
        return False
    sticky = entry.kind is EntryKind.FOLDER and bool(entry.mode & stat.S_ISVTX)
    return bool(entry.mode & stat.S_IWOTH) and not sticky


def _is_set_id(entry: TreeEntry) -> bool:
    return entry.kind is EntryKind.FILE and bool(entry.mode & _SET_ID)


def _paths(entries: Iterable[TreeEntry], wanted: Callable[[TreeEntry], bool]) -> list[bytes]:
    return [entry.path for entry in entries if wanted(entry)]


def _told(what: str, paths: Iterable[bytes]) -> Iterator[str]:
    found = list(paths)
    if found:
        yield f"{what}: {named(found)}"


def _last(entry: TreeEntry) -> bytes:
    return entry.path.rpartition(b"/")[2]


def _lies_in(path: bytes, folders: Iterable[bytes]) -> bool:
    return any(path.startswith(folder + b"/") for folder in folders)
