"""What a tree takes on the disk, its own and what other files have too.

Owns the estimate that a person decides by. It reads statuses and extents, no
content: a file that has another name is shared, and so are the blocks of a clone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.disk import calls
from noodle_engine.disk.failures import failure_of
from noodle_engine.disk.trees.reach import FILE_FLAGS, OpenTree
from noodle_engine.disk.trees.walk import walk_tree

__all__ = ["TreeCost", "tree_cost"]

_BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`, whatever the file system's own. Source: stat(3type)."""


@dataclass(frozen=True, slots=True)
class TreeCost:
    """Bytes that removing a tree frees (`own`), and bytes that stay with others (`shared`)."""

    own: int
    shared: int
    files: int


def tree_cost(root: Path) -> TreeCost:
    """What a tree takes on the disk. Raises DiskError."""
    files: list[tuple[bytes, os.stat_result]] = []
    walk_tree(root, file=lambda path, status: files.append((path, status)))
    own = shared = 0
    told = True
    with OpenTree(root) as tree:
        for path, status in files:
            size = min(status.st_size, status.st_blocks * _BLOCK_BYTES)
            if status.st_nlink > 1:
                shared += size
                continue
            part = 0
            if told and size:
                spot = tree.spot(path)
                try:
                    descriptor = os.open(spot.name, FILE_FLAGS, dir_fd=spot.folder)
                except PermissionError:
                    descriptor = -1
                except OSError as error:
                    raise failure_of(error, "look at", spot.path) from error
                if descriptor >= 0:
                    try:
                        part = min(size, calls.shared_bytes(descriptor, status.st_size))
                    except OSError:
                        told = False  # this file system shares no blocks, or does not tell
                    finally:
                        os.close(descriptor)
            own += size - part
            shared += part
    return TreeCost(own, shared, len(files))
