"""The data of a program: paths of a tree that outlast every release.

Owns where it begins and how it comes from one tree into the next. Where it lives
outside of the tree, in `data/`, it is copied from the release once, where nothing
is yet; no later release and no way back touches it. Where it must lie inside, its
writers are stopped for the exchange, and it is carried:

    into a tree of a release    copied before the exchange, so that the target is whole at
                                each moment; proved, and durable
    into a tree that was kept   exchanged after the exchange with what that tree has: no
                                space is needed, and until then it has its data of then

So is the way back of the first. Which objects are the data of then, by their inodes,
is written down before, in `stage-ID/carried`: whoever goes on after a crash knows what
is carried already, and the way back has nothing to write.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import blake3
import orjson

from noodle_engine.disk.failures import explained
from noodle_engine.disk.files import ObjectKind, kind_of, link_text, status_of, sync_file
from noodle_engine.disk.names import (
    exchange,
    fsync_folder,
    make_folder,
    remove_empty_folder,
    rename_noreplace,
    unlink_quietly,
)
from noodle_engine.disk.trees.build import (
    OpenTree,
    copy_file,
    finish_folders,
    make_tree_folders,
    place_link,
    remove_tree,
)
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest, name_text
from noodle_engine.disk.trees.reading import Digests, read_files
from noodle_engine.disk.trees.scan import check_tree, scan_tree
from noodle_engine.disk.trees.syncing import fsync_tree, sync_file_system
from noodle_engine.disk.trees.walk import walk_tree
from noodle_engine.disk.whole import read_whole, write_whole
from noodle_engine.machine.text import path_bytes, path_text
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.failures import StageUnproven
from noodle_engine.targets.place import Place

__all__ = [
    "Access",
    "Carrying",
    "access_at",
    "access_in",
    "make_data_folders",
    "remove_empty_data_folders",
    "seed",
    "seed_inside",
    "size_inside",
    "unusable_inside",
]

_NOTE: Final = "carried"
_NOTE_TO_COME: Final = "carried-next"
_NOTE_BYTES_MAX: Final = 1024 * 1024
_FOLDER_MODE = 0o755


class Access(NamedTuple):
    """Who may enter a folder: its mode and owners."""

    mode: int
    uid: int
    gid: int


def seed(
    place: Place,
    options: TreeOptions,
    release: TreeManifest,
    payload: Path,
    stage: Path,
    *,
    stop: threading.Event,
) -> None:
    """Give every mutable path that has no data yet what the release has there.

    A path that the release does not have becomes an empty folder. On return all
    is durable.

    Raises a disk failure; then some paths have their data.
    """
    for path in options.mutable if not options.quiesce else ():
        there = place.data / Path(*map(_text, path.split(b"/")))
        if kind_of(there) is not ObjectKind.ABSENT:
            continue
        make_data_folders(place, path, access_in(release))
        begun = stage / "seed"
        _remove(begun)
        _write(begun, _part(release, path), payload, path, stop)
        _sync(begun)  # before it has its name: nobody seeds a path that is there
        move(begun, there)  # whoever made it meanwhile has made it


def seed_inside(
    options: TreeOptions,
    release: TreeManifest,
    payload: Path,
    stage: Path,
    *,
    old: Path,
    new: Path,
    kept: Path | None,
    stop: threading.Event,
) -> None:
    """Give every path whose data lies inside, and that `old` does not have, what the release has.

    `new` is a tree that is being built. `kept` is the tree that was removed last, if the
    target is empty since: its data outlasts the removal. Nothing is durable. Raises a
    disk failure, StageUnproven.
    """
    carrying = Carrying(new, options.mutable, stage, stop)
    if kept is not None and options.quiesce:
        carrying.copy_into(kept, new)
    for path in options.mutable if options.quiesce else ():
        if _there(old, path) is not None or _there(new, path) is not None:
            continue  # it is carried when its writers stand still
        begun = stage / "seed"
        _remove(begun)
        _write(begun, _part(release, path), payload, path, stop)
        rename_noreplace(begun, new / os.fsdecode(path))


def size_inside(options: TreeOptions, tree: Path) -> tuple[int, int]:
    """Bytes and inodes of the data that lies inside of a tree. Raises DiskError."""
    size = inodes = 0
    for path in options.mutable if options.quiesce else ():
        there = _there(tree, path)
        if there is None:
            continue
        inodes += 1
        if kind_of(there) is ObjectKind.FOLDER:
            sizes: list[int] = []

            def file(_: bytes, status: os.stat_result, sizes: list[int] = sizes) -> None:
                sizes.append(status.st_size)

            found = walk_tree(there, file=file)
            size += sum(sizes)
            inodes += len(sizes) + len(found.folders) + len(found.links)
        else:
            size += status_of(there).st_size
    return size, inodes


@dataclass(frozen=True, slots=True)
class Carrying:
    """The data inside, between two trees of one upgrade, while nobody writes it.

    `target` is how failures call it; `stage` is the upgrade's own folder. `aside` are
    names beside the target for what somebody wrote meanwhile.
    """

    target: Path
    mutable: Sequence[bytes]
    stage: Path
    stop: threading.Event
    aside: Callable[[], Iterable[Path]] = lambda: ()

    def copy(self, live: Path, new: Path) -> None:
        """Make the data of `live` that of `new` too: durable and read back.

        What an interrupted call has left in `new` is replaced, or removed where `live`
        has it no more. A path that `live` never had stays as `new` has it. What is the
        data of then, once the trees are exchanged, is written down first. Raises
        StageUnproven if data changed meanwhile: somebody still writes. Else a disk failure.
        """
        before = self._noted(_NOTE_TO_COME) or {}
        for path in before:
            if _there(live, path) is None:
                _remove(new / os.fsdecode(path))
        self.note(live, armed=False)
        self.copy_into(live, new)

    def copy_into(self, live: Path, new: Path) -> None:
        """Copy the data of `live` into `new`; see `copy`."""
        for path in self.mutable:
            there = _there(live, path)
            if there is None:
                continue
            begun = self.stage / "carry"
            _remove(begun)
            self._copied(live, there, path, begun)
            wanted = new / os.fsdecode(path)
            _remove(wanted)
            move(begun, wanted)

    def _copied(self, live: Path, there: Path, path: bytes, begun: Path) -> None:
        """Copy what stands at a path, durably; raises StageUnproven if it does not hold still."""
        part = self._part(live, there, path)
        if part is None:
            raise self._changed(path)
        _write(begun, part, live, path, self.stop)
        _sync(begun)
        for tree, one in ((begun.parent, begun), (live, there)):
            name = path if one is there else os.fsencode(begun.name)
            if not self._is_still(part, tree, one, name):
                raise self._changed(path)

    def _is_still(
        self, part: TreeManifest | TreeEntry, tree: Path, there: Path, path: bytes
    ) -> bool:
        """Whether what stands at a path is, now, just what was read before."""
        if isinstance(part, TreeManifest):
            if kind_of(there) is not ObjectKind.FOLDER:
                return False
            checked = check_tree(there, part, full=True, from_disk=True, stop=self.stop)
            more = {special.path for special in checked.specials}
            return not checked.changes and set(checked.extras) <= more
        now = self._part(tree, there, path)
        return isinstance(now, TreeEntry) and now.identity == part.identity

    def _part(self, tree: Path, there: Path, path: bytes) -> TreeManifest | TreeEntry | None:
        """What stands at a path: a tree of its own, one entry, or what is neither."""
        match kind_of(there):
            case ObjectKind.FOLDER:
                return scan_tree(there, stop=self.stop).manifest
            case ObjectKind.LINK:
                status = status_of(there)
                text = os.fsencode(link_text(there))
                return TreeEntry(path, EntryKind.LINK, 0, status.st_uid, status.st_gid, link=text)
            case ObjectKind.FILE:
                job = (path, status_of(there))
                read = read_files(tree, [job], digests=Digests.LOCAL, from_disk=True, may_go=True)
                return read[0].entry if read else None
            case _:
                return None

    def _changed(self, path: bytes) -> StageUnproven:
        return StageUnproven(
            path=self.target,
            expected="data that nobody writes",
            found=f"that {name_text(path)} changed while it was copied",
        )

    def note(self, tree: Path, *, armed: bool) -> None:
        """Write down, durably, which objects are the data of `tree`, that of then.

        It counts once it is `armed`: from the moment at which that tree has been, or is
        about to be, exchanged for one with newer data.
        """
        known = {}
        for path in self.mutable:
            there = _there(tree, path)
            if there is not None:
                known[path_text(path)] = [_identity(there), _state(there)]
        name = _NOTE if armed else _NOTE_TO_COME
        write_whole(self.stage / name, orjson.dumps(known), 0o600, replace=True)

    def arm(self) -> None:
        """From here on the note counts. It takes no space; twice is once."""
        if kind_of(self.stage / _NOTE_TO_COME) is ObjectKind.FILE:
            move(self.stage / _NOTE_TO_COME, self.stage / _NOTE)

    def is_noted(self) -> bool:
        """Whether it can be told which data is that of then."""
        return self._noted(_NOTE) is not None

    def left(self, live: Path, displaced: Path) -> Iterator[bytes]:
        """Where `live` has the data of then, or none, and the displaced tree is newer in that."""
        then = self._noted(_NOTE)
        if then is None:
            return
        for path in self.mutable:
            here, there = _there(live, path), _there(displaced, path)
            inode = then.get(path, (None, ""))[0]
            old_here = here is not None and _identity(here) == inode
            new_there = there is not None and _identity(there) != inode
            if (old_here and (new_there or there is None)) or (here is None and new_there):
                yield path

    def exchange(self, live: Path, displaced: Path) -> None:
        """Bring newer data from the displaced tree into `live`, durably.

        What `live` had there goes to the other, also where the other has nothing any
        more: a file that a program removed stays removed. If somebody wrote into it since
        it is old, it is kept aside instead. Twice is once; no space is needed.
        """
        then = self._noted(_NOTE) or {}
        for path in list(self.left(live, displaced)):
            here, there = (tree / os.fsdecode(path) for tree in (live, displaced))
            is_there = kind_of(there) is not ObjectKind.ABSENT
            if not is_there:
                rename_noreplace(here, there)
            else:
                _make_parents(live, path)  # a release that did not know the path has none
                if not rename_noreplace(there, here):
                    exchange(there, here)
            fsync_folder(here.parent)
            fsync_folder(there.parent)
            if path in then and kind_of(there) is not ObjectKind.ABSENT:
                self._set_aside_if_written(there, then[path])

    def _set_aside_if_written(self, there: Path, then: tuple[int, str]) -> None:
        if (_identity(there), _state(there)) != then:
            any(move(there, free) for free in self.aside())

    def take(self, live: Path, displaced: Path) -> None:
        """Bring data that `live` has not from the displaced tree, durably. Twice is once."""
        for path in self.mutable:
            there = _there(displaced, path)
            if there is not None and _there(live, path) is None:
                _make_parents(live, path)
                move(there, live / os.fsdecode(path))

    def _noted(self, name: str) -> dict[bytes, tuple[int, str]] | None:
        """What was written down; None for nothing, or what is no note."""
        data = read_whole(self.stage / name, bytes_max=_NOTE_BYTES_MAX)
        if data is None:
            return None
        try:
            known = orjson.loads(data)
            return {path_bytes(one): (int(known[one][0]), str(known[one][1])) for one in known}
        except (ValueError, TypeError, KeyError, IndexError):
            return None


def unusable_inside(tree: Path, path: bytes) -> str | None:
    """Why what stands at a path of a tree cannot be carried; None if it can, or is not there."""
    at = tree
    for name in path.split(b"/")[:-1]:
        at = at / os.fsdecode(name)
        if kind_of(at) not in (ObjectKind.FOLDER, ObjectKind.ABSENT):
            return f"{name_text(name)} on the way to it is no folder"
    there = _there(tree, path)
    if there is None or kind_of(there) in (ObjectKind.FILE, ObjectKind.LINK):
        return None
    if kind_of(there) is not ObjectKind.FOLDER:
        return "it is neither file, folder nor link"
    found = walk_tree(there, file=lambda _path, _status: None)
    special = [one for one in found.specials if one.what != "socket"]
    if special:
        return f"it holds a {special[0].what}: {name_text(special[0].path)}"
    return None


def _identity(path: Path) -> int:
    """Its inode: a device may have another number after a mount, and all are on one."""
    return status_of(path).st_ino


def _state(path: Path) -> str:
    """A digest of what a look at data tells, by which it is known whether somebody wrote it."""
    rows: list[tuple[bytes, os.stat_result]] = [(b"", status_of(path))]
    if kind_of(path) is ObjectKind.FOLDER:
        walk_tree(path, file=lambda name, status: rows.append((name, status)))
    seen = [
        (name.hex(), status.st_ino, status.st_size, status.st_mtime_ns)
        for name, status in sorted(rows, key=lambda row: row[0])
        if name or kind_of(path) is not ObjectKind.FOLDER
    ]
    return blake3.blake3(orjson.dumps(seen)).hexdigest()


def _make_parents(tree: Path, path: bytes) -> None:
    """Make the folders of a tree that a path lies in, where it has none, durably."""
    at = tree
    for name in path.split(b"/")[:-1]:
        at = at / os.fsdecode(name)
        if kind_of(at) is ObjectKind.ABSENT:
            make_folder(at, _FOLDER_MODE)


def _there(tree: Path, path: bytes) -> Path | None:
    """What stands at a path of a tree, no link followed on the way; None for nothing."""
    at = tree
    for name in path.split(b"/"):
        if kind_of(at) is not ObjectKind.FOLDER:
            return None
        at = at / os.fsdecode(name)
    return None if kind_of(at) is ObjectKind.ABSENT else at


def make_data_folders(place: Place, path: bytes, like: Callable[[bytes], Access | None]) -> None:
    """Make `data` and the folders in it that a mutable path lies in, durably.

    `like` tells how the folder at a path of the tree may be entered: who could not
    come through there cannot come through here.
    """
    place.make_room()
    folder, at = place.data, b""
    _make_like(folder, like(at))
    for name in path.split(b"/")[:-1]:
        folder, at = folder / _text(name), at + b"/" + name if at else name
        _make_like(folder, like(at))


def _make_like(folder: Path, wanted: Access | None) -> None:
    """Make a folder; one that holds something already stays as it is."""
    if kind_of(folder) is ObjectKind.ABSENT:
        make_folder(folder, 0o700)
    if kind_of(folder) is not ObjectKind.FOLDER:
        return
    with explained("list", folder):
        if any(folder.iterdir()):
            return
    mode, uid, gid = wanted or Access(_FOLDER_MODE, os.geteuid(), os.getegid())
    entry = TreeEntry(b"", EntryKind.FOLDER, mode, uid, gid)
    finish_folders(folder, TreeManifest([entry]))
    fsync_folder(folder)


def access_in(release: TreeManifest) -> Callable[[bytes], Access | None]:
    """How the folders of a release may be entered."""

    def like(path: bytes) -> Access | None:
        entry = release.by_path.get(path)
        if entry is None or entry.kind is not EntryKind.FOLDER:
            return None
        return Access(entry.mode, entry.uid, entry.gid)

    return like


def access_at(tree: Path) -> Callable[[bytes], Access | None]:
    """How the folders of a tree may be entered."""

    def like(path: bytes) -> Access | None:
        there = _there(tree, path) if path else tree
        if there is None or kind_of(there) is not ObjectKind.FOLDER:
            return None
        status = status_of(there)
        return Access(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    return like


def remove_empty_data_folders(place: Place, path: bytes) -> None:
    """Remove the folders that `make_data_folders` made, where nothing is in them, durably."""
    folder = place.data / os.fsdecode(path)
    while folder != place.room:
        folder = folder.parent
        if folder == place.room or not remove_empty_folder(folder):
            return
        fsync_folder(folder.parent)


def _part(release: TreeManifest, path: bytes) -> TreeManifest | TreeEntry:
    """What the release has at a path: one entry, or a tree of its own."""
    entry = release.by_path.get(path)
    if entry is not None and entry.kind is not EntryKind.FOLDER:
        return entry
    top = release.by_path[b""]
    if entry is None:
        return TreeManifest([TreeEntry(b"", EntryKind.FOLDER, _FOLDER_MODE, top.uid, top.gid)])
    start = path + b"/"
    return TreeManifest(
        one._replace(path=one.path[len(start) :])
        for one in release.entries
        if one.path == path or one.path.startswith(start)
    )


def _write(
    begun: Path,
    part: TreeManifest | TreeEntry,
    payload: Path,
    path: bytes,
    stop: threading.Event,
) -> None:
    with OpenTree(payload) as source:
        if isinstance(part, TreeEntry):
            if part.kind is EntryKind.LINK:
                place_link(begun, part)
            else:
                copy_file(source.spot(path), begun, part, stop=stop)
            return
        make_tree_folders(begun, part)
        with OpenTree(begun) as new:
            for entry in part.entries:
                if entry.kind is EntryKind.LINK:
                    place_link(new.spot(entry.path), entry)
                elif entry.kind is EntryKind.FILE:
                    there = path + b"/" + entry.path
                    copy_file(source.spot(there), new.spot(entry.path), entry, stop=stop)
    finish_folders(begun, part)


def _sync(path: Path) -> None:
    """Make what is at `path` durable, links too: only a sync of the whole does that."""

    def one_by_one() -> None:
        if kind_of(path) is ObjectKind.FOLDER:
            fsync_tree(path)
        elif kind_of(path) is ObjectKind.FILE:
            sync_file(path)

    sync_file_system(path.parent, fall_back=one_by_one)


def _remove(path: Path) -> None:
    if kind_of(path) is ObjectKind.FOLDER:
        remove_tree(path)
    else:
        unlink_quietly(path)
    fsync_folder(path.parent)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
