"""Data that lies inside of the trees, on its way from one into the next.

    into a tree of a release    copied before the exchange, so that the target is whole at
                                each moment; proved, and durable
    into a tree that was kept   exchanged after the exchange with what that tree has: no
                                space is needed, and until then it has its data of then

So is the way back of the first. Which objects are the data of then is written down before
(`then.py`): of a release's upgrade in `stage-ID/carried`, of a kept tree in what step stage
observed, for a way back must not need a byte beside the target. So whoever goes on after a
crash knows what is carried already.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.disk.files import ObjectKind, kind_of, link_text, status_of
from noodle_engine.disk.names import exchange, fsync_folder, make_folder, rename_noreplace
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest, name_text
from noodle_engine.disk.trees.reading import Digests, read_files
from noodle_engine.disk.trees.scan import check_tree, scan_tree
from noodle_engine.disk.whole import read_whole, write_whole
from noodle_engine.targets.directory.data.parts import (
    FOLDER_MODE,
    at_path,
    remove_part,
    sync_part,
    write_part,
)
from noodle_engine.targets.directory.data.then import Then
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
    names beside the target for what somebody wrote meanwhile. `journaled` is the data of
    then where the journal has it.
    """

    target: Path
    paths: Sequence[bytes]
    stage: Path
    stop: threading.Event
    aside: Callable[[], Iterable[Path]] = lambda: ()
    journaled: Then | None = None

    def copy(self, live: Path, new: Path) -> None:
        """Make the data of `live` that of `new` too: durable and read back.

        What an interrupted call has left in `new` is replaced, or removed where `live`
        has it no more. A path that `live` never had stays as `new` has it. What is the
        data of then, once the trees are exchanged, is written down first. Raises
        StageUnproven if data changed meanwhile: somebody still writes. Else a disk failure.
        """
        before = self._noted(_NOTE_TO_COME)
        for path in before.data if before is not None else ():
            if at_path(live, path) is None:
                remove_part(new / os.fsdecode(path))
        then = self.note(live, armed=False)
        self.copy_into(live, new)
        now = Then.of(live, self.paths)  # one may have been written while another was copied
        for path in self.paths:
            if now.data.get(path) != then.data.get(path):
                raise self._changed(path)

    def copy_into(self, live: Path, new: Path) -> None:
        """Copy the data of `live` into `new`; see `copy`."""
        for path in self.paths:
            there = at_path(live, path)
            if there is None:
                continue
            begun = self.stage / "carry"
            remove_part(begun)
            self._copied(live, there, path, begun)
            wanted = new / os.fsdecode(path)
            remove_part(wanted)
            if not move(begun, wanted):
                raise self._changed(path)

    def _copied(self, live: Path, there: Path, path: bytes, begun: Path) -> None:
        """Copy what stands at a path, durably; raises StageUnproven if it does not hold still."""
        part = self._part(live, there, path)
        if part is None:
            raise self._changed(path)
        write_part(begun, part, live, path, self.stop, linked=True)
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
                scanned = scan_tree(there, stop=self.stop)
                for special in scanned.specials:
                    if special.what != "socket":  # made since it was planned
                        raise self._unproven(f"a {special.what} in {name_text(path)}")
                return scanned.manifest
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
        return self._unproven(f"that {name_text(path)} changed while it was copied")

    def _unproven(self, found: str) -> StageUnproven:
        return StageUnproven(path=self.target, expected="data that nobody writes", found=found)

    def note(self, tree: Path, *, armed: bool) -> Then:
        """Write down, durably, which objects are the data of `tree`, that of then.

        It counts once it is `armed`: from the moment at which that tree has been, or is
        about to be, exchanged for one with newer data.
        """
        then = Then.of(tree, self.paths)
        name = _NOTE if armed else _NOTE_TO_COME
        write_whole(self.stage / name, then.text, 0o600, replace=True)
        return then

    def arm(self) -> None:
        """From here on the note counts. It takes no space; twice is once."""
        if kind_of(self.stage / _NOTE_TO_COME) is ObjectKind.FILE:
            move(self.stage / _NOTE_TO_COME, self.stage / _NOTE)

    def then(self) -> Then | None:
        """Which data is that of then; None if nobody wrote it down, or it does not count yet."""
        return self.journaled if self.journaled is not None else self._noted(_NOTE)

    def written(self, displaced: Path) -> tuple[bytes, ...]:
        """Where the displaced tree has other data than that of then: somebody still writes it."""
        then = self.then()
        if then is None:
            return ()
        found = ((path, at_path(displaced, path)) for path in self.paths)
        return tuple(
            path for path, there in found if there is not None and not then.is_just(path, there)
        )

    def left(self, live: Path, displaced: Path) -> tuple[bytes, ...]:
        """Where `live` has the data of then, or what was made of it, and the newer is displaced.

        In the tree of then itself whatever stands where the displaced one has something newer is
        older: it was its data, or a program that was started too early made it. Where that
        made another in place of what the newer version had removed, nothing tells them apart:
        it stays.
        """
        then = self.then()
        return () if then is None else tuple(self._left(then, live, displaced))

    def _left(self, then: Then, live: Path, displaced: Path) -> Iterator[bytes]:
        is_then = then.is_of(live)
        for path in self.paths:
            here, there = at_path(live, path), at_path(displaced, path)
            newer = there is not None and not then.has(path, there)
            if then.has(path, here) or (newer and (is_then or here is None)):
                yield path

    def exchange(self, live: Path, displaced: Path) -> tuple[str, ...]:
        """Bring newer data from the displaced tree into `live`, durably.

        What `live` had there goes to the other, also where the other has nothing any
        more: a file that a program removed stays removed. If somebody wrote it since it is
        old, it is kept aside first, and the answer says where. Twice is once; no space is
        needed. Raises StageUnproven if somebody makes something there meanwhile.
        """
        then = self.then()
        aside = []
        for path in self._left(then, live, displaced) if then is not None else ():
            here, there = (tree / os.fsdecode(path) for tree in (live, displaced))
            for tree in (live, displaced):
                _make_parents(tree, path)  # a release that did not know the path has none
            if (
                then is not None
                and at_path(live, path) is not None
                and not then.is_just(path, here)
            ):
                aside += self._set_aside(path, here)
            if at_path(displaced, path) is None:
                done = at_path(live, path) is None or rename_noreplace(here, there)
            elif at_path(live, path) is None:
                done = rename_noreplace(there, here)
            else:
                exchange(there, here)
                done = True
            fsync_folder(here.parent)
            fsync_folder(there.parent)
            if not done:
                raise self._changed(path)
        return tuple(aside)

    def _set_aside(self, path: bytes, here: Path) -> list[str]:
        """Keep what is neither the newest nor that of then. Without a free name it is displaced."""
        for free in self.aside():
            if move(here, free):
                return [f"{name_text(path)} in {name_text(os.fsencode(free))}"]
        return []

    def take(self, live: Path, displaced: Path) -> None:
        """Bring data that `live` has not from the displaced tree, durably. Twice is once."""
        for path in self.paths:
            there = at_path(displaced, path)
            if there is not None and at_path(live, path) is None:
                _make_parents(live, path)
                move(there, live / os.fsdecode(path))

    def _noted(self, name: str) -> Then | None:
        """What was written down; None for nothing, or what is no note."""
        data = read_whole(self.stage / name, bytes_max=_NOTE_BYTES_MAX)
        return Then.read(data)


def _make_parents(tree: Path, path: bytes) -> None:
    """Make the folders of a tree that a path lies in, where it has none, durably."""
    at = tree
    for name in path.split(b"/")[:-1]:
        at = at / os.fsdecode(name)
        if kind_of(at) is not ObjectKind.FOLDER:
            make_folder(at, FOLDER_MODE)  # which refuses a link
