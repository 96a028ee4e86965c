"""A release as its publisher made it: a folder with noodle.toml and a payload.

Owns what must be there before anything is copied. It reads only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.disk.files import ObjectKind, Progress, kind_of
from noodle_engine.disk.paths import inside
from noodle_engine.disk.whole import read_whole
from noodle_engine.registry.failures import PayloadRefused, ReleaseUnusable
from noodle_engine.registry.manifest import (
    MANIFEST_BYTES_MAX,
    MANIFEST_NAME,
    ReleaseManifest,
    parse_manifest,
)
from noodle_engine.registry.payloads.tree import TreeSource, look_at

__all__ = ["Accept", "ReleaseSource", "read_source"]

Accept = Callable[[ReleaseManifest], None]
"""Raises for a release that nobody here could apply."""

_KIND_OF_PAYLOAD: Final = {"file": ObjectKind.FILE, "directory": ObjectKind.FOLDER}
"""What the payload of a kind is; that of a kind that is not here may be either."""
_WORDS: Final = {
    ObjectKind.FILE: "a plain file",
    ObjectKind.FOLDER: "a folder",
    ObjectKind.OTHER: "a device, fifo or socket",
}


@dataclass(frozen=True, slots=True)
class ReleaseSource:
    """A release's folder, read: `text` is its noodle.toml, `payload` where its payload is.

    `tree` is what the payload holds; None for a plain file, which was not read.
    """

    text: bytes
    manifest: ReleaseManifest
    payload: Path
    tree: TreeSource | None


def read_source(
    release: Path,
    *,
    home: Path,
    accept: Accept | None = None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> ReleaseSource:
    """Read the release in the folder `release` (or whose noodle.toml it is).

    A payload that is a tree is read wholly, once `accept` has not refused what
    noodle.toml says. `home` may not lie in it.

    Raises ManifestInvalid, ReleaseUnusable, PayloadRefused, what `accept` raises, a
    disk failure, or CopyStopped.
    """
    folder = release.parent if kind_of(release) is ObjectKind.FILE else release
    text, manifest = _read_manifest(folder)
    if accept is not None:
        accept(manifest)
    path = _payload_of(folder, manifest)
    if kind_of(path) is ObjectKind.FILE:
        return ReleaseSource(text, manifest, path, None)
    if Path(os.path.realpath(home)).is_relative_to(path):
        raise PayloadRefused(
            path=path,
            why="Noodle's home is in it, with its journal and keys",
            remedy="put the payload into a folder of its own",
        )
    return ReleaseSource(text, manifest, path, look_at(path, stop=stop, progress=progress))


def _read_manifest(folder: Path) -> tuple[bytes, ReleaseManifest]:
    path = folder / MANIFEST_NAME
    if kind_of(path) is not ObjectKind.FILE:
        raise ReleaseUnusable(path=folder, why=f"there is no {MANIFEST_NAME} in it")
    text = read_whole(path, bytes_max=MANIFEST_BYTES_MAX)
    if text is None:
        raise ReleaseUnusable(path=folder, why=f"its {MANIFEST_NAME} has vanished")
    return text, parse_manifest(text, path)


def _payload_of(folder: Path, manifest: ReleaseManifest) -> Path:
    """The payload, of the sort that its kind has, inside the release's folder."""
    found = kind_of(folder / manifest.payload)
    wanted = _KIND_OF_PAYLOAD.get(manifest.kind)
    if found is ObjectKind.ABSENT:
        raise ReleaseUnusable(path=folder, why=f"its payload {manifest.payload} is missing")
    if found is ObjectKind.LINK:
        why = f"its payload {manifest.payload} is a link; put what it leads to there"
        raise ReleaseUnusable(path=folder, why=why)
    if found is ObjectKind.OTHER or wanted not in (None, found):
        needs = _WORDS[wanted] if wanted is not None else "a plain file or a folder"
        why = (
            f"its payload {manifest.payload} is {_WORDS[found]}; kind {manifest.kind} needs {needs}"
        )
        raise ReleaseUnusable(path=folder, why=why)
    path = inside(folder, manifest.payload)
    if path is None:
        why = f"its payload {manifest.payload} leads out of the folder, through a link"
        raise ReleaseUnusable(path=folder, why=why)
    return path
