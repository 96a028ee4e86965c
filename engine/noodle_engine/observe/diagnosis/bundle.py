"""A bundle: what somebody who helps needs to see, in one file, without any secret.

Owns the making of the archive. Everything in it is text that passed the filter.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.whole import write_whole
from noodle_engine.observe.failures import BundleUnwritable
from noodle_engine.observe.secrets import Redactor

__all__ = ["TAIL_BYTES", "TAKEN", "tail_of", "write_bundle"]

TAIL_BYTES: Final = 512 * 1024
"""How much of a log is in a bundle: its end."""
TAKEN: Final = "there is a file of that name already"
PART_BYTES_MAX: Final = 4 << 20


def tail_of(path: Path) -> str:
    """The last lines of a log, whole ones, at most TAIL_BYTES; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            raw = file.read(TAIL_BYTES)
    except OSError:
        return ""
    if size > TAIL_BYTES:
        raw = raw.partition(b"\n")[2]
    return raw.decode("utf-8", "replace")


def write_bundle(
    path: Path, parts: Mapping[str, str], redactor: Redactor, *, at_s: int, replace: bool
) -> int:
    """Write the parts (a name in the archive, a text) into a new 0600 file; returns its size.

    Raises BundleUnwritable; then nothing of it is there. Without `replace` a file that
    is there stays, and is such a failure.
    """
    folder = path.name.removesuffix(".gz").removesuffix(".tar")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=6) as archive:
        for name, text in parts.items():
            raw = redactor.text(text).encode("utf-8", "backslashreplace")[:PART_BYTES_MAX]
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(raw), 0o600, at_s
            archive.addfile(entry, io.BytesIO(raw))
    try:
        written = write_whole(path, made.getvalue(), 0o600, replace=replace)
    except DiskError as failure:
        raise BundleUnwritable(path=str(path), cause=failure.cause) from failure
    if not written:
        raise BundleUnwritable(path=str(path), cause=TAKEN)
    return len(made.getvalue())
