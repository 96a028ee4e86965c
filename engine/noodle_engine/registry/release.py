"""One registered release, read and held against what was signed of it.

Owns what is in a release's folder and the order in which it is believed:
signature, statement, manifest, payload. It reads only.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.disk.files import ObjectKind, Progress, facts_of, kind_of, status_of
from noodle_engine.disk.trees.manifest import ManifestUnreadable, TreeManifest
from noodle_engine.disk.trees.scan import check_tree
from noodle_engine.disk.whole import read_whole
from noodle_engine.registry.failures import ReleaseDamaged
from noodle_engine.registry.manifest import (
    MANIFEST_BYTES_MAX,
    MANIFEST_NAME,
    ReleaseManifest,
    parse_manifest,
)
from noodle_engine.registry.payloads.statement import (
    FilePayload,
    Payload,
    Statement,
    TreePayload,
)
from noodle_engine.registry.payloads.tree import differing
from noodle_engine.registry.publisher import ENVELOPE_BYTES_MAX, open_envelope

__all__ = [
    "PAYLOAD_NAME",
    "SIGNATURE_NAME",
    "TREE_NAME",
    "Release",
    "check_payload",
    "read_release",
    "tree_of",
]

PAYLOAD_NAME: Final = "payload"
TREE_NAME: Final = "payload.tree"
SIGNATURE_NAME: Final = "signature"
TREE_BYTES_MAX: Final = 1 << 30
"""The longest manifest of a tree that is read."""


@dataclass(frozen=True, slots=True)
class Release:
    """A registered release. `payload` is a path in the home, `content` its identity.

    `files` is how many a tree has, None for a payload that is a plain file.
    `added` tells, of `add`'s answer, whether it was not there before; `notices`
    what whoever added it should know.
    """

    manifest: ReleaseManifest
    payload: Path
    content: str
    size_bytes: int
    mode: int
    files: int | None = None
    added: bool = False
    notices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its component."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Its version."""
        return self.manifest.version


def read_release(
    place: Path,
    public: bytes,
    *,
    name: str | None = None,
    version: str | None = None,
    whole: bool = True,
) -> Release:
    """The release in the folder `place`, if it is what `public` signed.

    It must be of `name` and `version`, if those are told. A plain file is read
    wholly; of a tree its manifest is, and the tree is believed. Unless `whole`
    the payload is only looked for, whatever its size, and what was signed of it
    is answered.

    Raises ReleaseDamaged, naming the part, or a disk failure.
    """
    reading = _Reading(place, name or place.parent.name, version or place.name)
    text = reading.part(MANIFEST_NAME, MANIFEST_BYTES_MAX)
    envelope = reading.part(SIGNATURE_NAME, ENVELOPE_BYTES_MAX)
    signed = open_envelope(envelope, public)
    if signed is None:
        raise reading.damaged(SIGNATURE_NAME, "is not the publisher's")
    stated = Statement.parse(signed)
    # What it is of comes first: another release's signature is the signature's fault.
    if stated is None or (name, version) not in ((None, None), (stated.name, stated.version)):
        raise reading.damaged(SIGNATURE_NAME)
    if stated.manifest != hashlib.sha256(text).hexdigest():
        raise reading.damaged(MANIFEST_NAME)
    tree = stated.payload if isinstance(stated.payload, TreePayload) else None
    reading.look_for(ObjectKind.FILE if tree is None else ObjectKind.FOLDER)
    if whole:
        reading.compare(stated.payload)
    return Release(
        manifest=parse_manifest(text, place / MANIFEST_NAME),
        payload=reading.payload,
        content=stated.payload.content,
        size_bytes=stated.payload.size,
        mode=reading.mode(),
        files=None if tree is None else tree.files,
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """A release's folder, and what to call it in a failure."""

    place: Path
    name: str
    version: str

    @property
    def payload(self) -> Path:
        return self.place / PAYLOAD_NAME

    def damaged(self, part: str, why: str = "is not what was signed") -> ReleaseDamaged:
        return ReleaseDamaged(name=self.name, version=self.version, part=part, why=why)

    def part(self, part: str, bytes_max: int) -> bytes:
        found = read_whole(self.place / part, bytes_max=bytes_max)
        if found is None:
            raise self.damaged(part, "is missing")
        return found

    def look_for(self, kind: ObjectKind) -> None:
        if kind_of(self.payload) is not kind:
            raise self.damaged(PAYLOAD_NAME, "is missing")

    def mode(self) -> int:
        return status_of(self.payload).st_mode & 0o7777

    def compare(self, stated: Payload) -> None:
        if isinstance(stated, TreePayload):
            data = self.part(TREE_NAME, TREE_BYTES_MAX)
            if hashlib.sha256(data).hexdigest() != stated.tree:
                raise self.damaged(TREE_NAME)
            return
        facts = facts_of(self.payload)
        if stated != FilePayload(mode=facts.mode, sha256=facts.sha256, size=facts.size):
            raise self.damaged(PAYLOAD_NAME)


def tree_of(release: Release) -> TreeManifest | None:
    """The manifest of a release's tree; None for a plain file.

    It is the one that was signed: its root is the release's content. Raises
    ReleaseDamaged, or a disk failure.
    """
    if release.files is None:
        return None
    reading = _Reading(release.payload.parent, release.name, release.version)
    try:
        found = TreeManifest.parse(reading.part(TREE_NAME, TREE_BYTES_MAX))
    except ManifestUnreadable as error:
        raise reading.damaged(TREE_NAME, f"cannot be read: {error}") from error
    if found.root != release.content:
        raise reading.damaged(TREE_NAME)
    return found


def check_payload(
    release: Release, *, stop: threading.Event | None = None, progress: Progress | None = None
) -> None:
    """Read the whole tree of a release from the disk (that of a plain file was read by `get`).

    Raises ReleaseDamaged, naming the first of what differs and how much does;
    a disk failure; CopyStopped.
    """
    manifest = tree_of(release)
    if manifest is None:
        return
    checked = check_tree(
        release.payload, manifest, full=True, from_disk=True, stop=stop, progress=progress
    )
    differs = differing(checked)
    if differs is not None:
        raise ReleaseDamaged(
            name=release.name,
            version=release.version,
            part=PAYLOAD_NAME,
            why=f"is not what was signed: {differs}",
        )
