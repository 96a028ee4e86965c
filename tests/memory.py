"""Where a test may keep its files in memory: the code under test is the same, the wait is not.

For what a process leaves when it is killed: that is in the kernel's memory on any
file system. What a disk keeps is proved on images of real ones (tests/crashes, power).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
ROOM_BYTES_MIN: Final = 2 * 1024**3
"""Images of two workers and their copies; a container's own tmpfs often has less."""


def memory_folder() -> Path | None:
    """A tmpfs with room that keeps extended attributes as a disk does; None: take the disk."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM_BYTES_MIN:
        return None
    with tempfile.NamedTemporaryFile(dir=MEMORY, prefix="noodle-asked-") as file:
        try:
            os.setxattr(file.name, "user.mark", b"kept")
        except OSError:
            return None
    return MEMORY


@contextmanager
def room(prefix: str) -> Iterator[Path]:
    """A new folder, in memory where that can be, and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=memory_folder()) as folder:
        yield Path(folder)
