"""The data of then: which objects it is, and how they looked.

Owns the note by which whoever goes on after a crash tells old data from new. Objects are
known by their inodes: a device may have another number after a mount, and all are on one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import blake3
import orjson

from noodle_engine.disk.files import ObjectKind, kind_of, link_text, status_of
from noodle_engine.disk.trees.walk import walk_tree
from noodle_engine.machine.text import path_bytes, path_text
from noodle_engine.targets.directory.data.parts import at_path

__all__ = ["Seen", "Then", "seen_at"]


class Seen(NamedTuple):
    """An object as it was looked at: its inode, and a digest of what a look at it tells."""

    inode: int
    state: str


@dataclass(frozen=True, slots=True)
class Then:
    """The data of one tree, from which on another has newer: of the tree whose inode `folder` is.

    A path that the tree had nothing at is not in `data`.
    """

    folder: int
    data: Mapping[bytes, Seen]

    @classmethod
    def of(cls, tree: Path, paths: Iterable[bytes]) -> Then:
        """The data that a tree has now. Reads no content. Raises DiskError."""
        there = {path: at_path(tree, path) for path in paths}
        return cls(
            status_of(tree).st_ino,
            {path: seen_at(one) for path, one in there.items() if one is not None},
        )

    @classmethod
    def read(cls, text: bytes | str | None) -> Then | None:
        """What `text` gave; None for nothing, or what is no note."""
        if text is None:
            return None
        try:
            known = orjson.loads(text)
            data = known["data"]
            seen = {path_bytes(one): Seen(int(data[one][0]), str(data[one][1])) for one in data}
            return cls(int(known["folder"]), seen)
        except (ValueError, TypeError, KeyError, IndexError):
            return None

    @property
    def text(self) -> bytes:
        """It as it is written down."""
        data = {path_text(path): [*seen] for path, seen in self.data.items()}
        return orjson.dumps({"folder": self.folder, "data": data})

    def is_of(self, tree: Path) -> bool:
        """Whether it is the data of this very tree, wherever that stands now."""
        return status_of(tree).st_ino == self.folder

    def has(self, path: bytes, there: Path | None) -> bool:
        """Whether what stands there is the object that the tree had at a path then."""
        seen = self.data.get(path)
        return seen is not None and there is not None and status_of(there).st_ino == seen.inode

    def is_just(self, path: bytes, there: Path) -> bool:
        """Whether it is that object, and nobody has written it since."""
        return self.data.get(path) == seen_at(there)


def seen_at(path: Path) -> Seen:
    """What a look at data tells, by which it is known whether somebody wrote it."""
    status = status_of(path)
    rows: list[tuple[object, ...]] = []

    def file(name: bytes, one: os.stat_result) -> None:
        rows.append((name.hex(), one.st_ino, one.st_size, one.st_mtime_ns))

    match kind_of(path):
        case ObjectKind.FOLDER:
            found = walk_tree(path, file=file)
            rows += [(one.path.hex(), "") for one in found.folders]
            rows += [(one.path.hex(), "", one.link.hex()) for one in found.links]
        case ObjectKind.LINK:
            rows.append(("", "", os.fsencode(link_text(path)).hex()))
        case _:
            file(b"", status)
    digest = blake3.blake3(orjson.dumps(sorted(rows, key=repr))).hexdigest()
    return Seen(status.st_ino, digest)
