"""Reaching what is in a tree: by descriptors, one folder below the other.

Owns how a path of a tree becomes an open folder and a name in it. A path that
is longer than the kernel takes at once is reached like any other.

Laws
W1. No link is followed below the tree's own folder, whoever puts one there and
    whenever: each folder is opened by its name in its open parent.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from noodle_engine.disk.failures import explained, failure_of

__all__ = ["DEPTH_MAX", "FILE_FLAGS", "FOLDER_FLAGS", "OpenTree", "Spot", "refuse_too_deep"]

DEPTH_MAX: Final = 256
"""How many folders may lie one in the other: each takes a descriptor while it is walked."""

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK a fifo that was put there meanwhile would hang the opening."""


class Spot(NamedTuple):
    """A name in an open folder."""

    folder: int
    name: bytes
    root: Path
    inside: bytes
    """Where it is below `root`."""

    @property
    def path(self) -> Path:
        """What to call it in a failure. It may be longer than the kernel takes."""
        return self.root / os.fsdecode(self.inside)


class OpenTree:
    """A tree whose folders are opened as they are needed. For one thread at a time.

    The folders that lead to the last spot stay open, so that spots in the order
    of their paths cost about one opening a folder. A spot is good until the next
    one: who needs two places at once opens the tree twice. Bound: DEPTH_MAX
    descriptors.
    """

    def __init__(self, root: Path) -> None:
        """Open `root`. Raises DiskError if it is no folder, or a link to one."""
        self.root: Final = root
        self._names: list[bytes] = []
        self._parent: bytes | None = b""
        with explained("open the folder", root):
            self._open = [os.open(root, FOLDER_FLAGS)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all that is open. Harmless twice."""
        while self._open:
            os.close(self._open.pop())

    @property
    def descriptor(self) -> int:
        """The tree's own folder, open until `close`."""
        return self._open[0]

    def shown(self, path: bytes) -> Path:
        """What to call `path` in a failure."""
        return self.root / os.fsdecode(path) if path else self.root

    def spot(self, path: bytes) -> Spot:
        """Where `path` is. The descriptor is good until the next call.

        The name itself is not looked at. Raises DiskError if a folder that
        leads to it is missing or is none (W1).
        """
        parent, _, name = path.rpartition(b"/")
        return Spot(self.folder(parent), name, self.root, path)

    def folder(self, path: bytes) -> int:
        """The open folder at `path`, good until the next call. Raises as `spot`."""
        try:
            return self.descend(path)
        except OSError as error:
            raise failure_of(error, "open the folder", self.shown(path)) from error

    def descend(self, path: bytes) -> int:
        """`folder`, for who has something to say about it: raises OSError."""
        names, opened = self._names, self._open
        if path == self._parent:
            return opened[-1]
        wanted = path.split(b"/") if path else []
        shared = 0
        for have, want in zip(names, wanted, strict=False):
            if have != want:
                break
            shared += 1
        self._parent = None  # what follows may fail half way
        while len(names) > shared:
            names.pop()
            os.close(opened.pop())
        refuse_too_deep(len(wanted))
        for name in wanted[shared:]:
            opened.append(os.open(name, FOLDER_FLAGS, dir_fd=opened[-1]))
            names.append(name)
        self._parent = b"/".join(names)
        return opened[-1]


def refuse_too_deep(depth: int) -> None:
    """Raise OSError if so many folders lie one in the other."""
    if depth > DEPTH_MAX:
        raise OSError(errno.ENAMETOOLONG, f"more than {DEPTH_MAX} folders lie one in the other")
