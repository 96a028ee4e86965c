"""Data that lies inside of the trees, on its way from one into the next.

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
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import blake3
import orjson

from noodle_engine.disk.files import ObjectKind, kind_of, link_text, status_of
from noodle_engine.disk.names import exchange, fsync_folder, make_folder, rename_noreplace
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest, name_text
from noodle_engine.disk.trees.reading import Digests, read_files
from noodle_engine.disk.trees.scan import check_tree, scan_tree
from noodle_engine.disk.trees.walk import walk_tree
from noodle_engine.disk.whole import read_whole, write_whole
from noodle_engine.machine.text import path_bytes, path_text
from noodle_engine.targets.directory.data.parts import (
    FOLDER_MODE,
    at_path,
    remove_part,
    sync_part,
    write_part,
)
from noodle_engine.targets.exchange.sight import move
from noodle_engine.targets.failures import StageUnproven

__all__ = ["Carrying"]

_NOTE: Final = "carried"
_NOTE_TO_COME: Final = "carried-next"
_NOTE_BYTES_MAX: Final = 1024 * 1024


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
            if at_path(live, path) is None:
                remove_part(new / os.fsdecode(path))
        self.note(live, armed=False)
        self.copy_into(live, new)

    def copy_into(self, live: Path, new: Path) -> None:
        """Copy the data of `live` into `new`; see `copy`."""
        for path in self.mutable:
            there = at_path(live, path)
            if there is None:
                continue
            begun = self.stage / "carry"
            remove_part(begun)
            self._copied(live, there, path, begun)
            wanted = new / os.fsdecode(path)
            remove_part(wanted)
            move(begun, wanted)

    def _copied(self, live: Path, there: Path, path: bytes, begun: Path) -> None:
        """Copy what stands at a path, durably; raises StageUnproven if it does not hold still."""
        part = self._part(live, there, path)
        if part is None:
            raise self._changed(path)
        write_part(begun, part, live, path, self.stop)
        sync_part(begun)
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
            there = at_path(tree, path)
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
            here, there = at_path(live, path), at_path(displaced, path)
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
            there = at_path(displaced, path)
            if there is not None and at_path(live, path) is None:
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
            make_folder(at, FOLDER_MODE)
