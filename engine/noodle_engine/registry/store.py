"""The registry: releases kept in the home, each signed when it came in.

Owns `HOME/runtime_components/NAME/VERSION/`: the manifest as it was written,
the payload, and `signature`, an envelope over what both are. It touches no
target.

Laws
S1. A release is there wholly or not at all: it is made beside and renamed.
S2. A version names one content for ever: another is refused, the same is
    accepted and changes nothing.
S3. What is read is what was signed: `get` checks signature, manifest and
    payload, and answers nothing that does not match.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import explained
from noodle_engine.disk.files import (
    FileFacts,
    ObjectKind,
    facts_of,
    kind_of,
    owner_for_new,
    stage_file,
    status_of,
)
from noodle_engine.disk.locks import lock_file
from noodle_engine.disk.names import fsync_folder, make_folder, remove_folder, rename_noreplace
from noodle_engine.disk.paths import inside
from noodle_engine.disk.whole import read_whole, write_whole
from noodle_engine.registry.failures import (
    NameRefused,
    ReleaseConflict,
    ReleaseDamaged,
    ReleaseUnknown,
    ReleaseUnusable,
    VersionRefused,
)
from noodle_engine.registry.manifest import (
    MANIFEST_BYTES_MAX,
    MANIFEST_NAME,
    ReleaseManifest,
    parse_manifest,
)
from noodle_engine.registry.names import check_name
from noodle_engine.registry.publisher import (
    ENVELOPE_BYTES_MAX,
    KEY_NAME,
    load_publisher,
    open_envelope,
)
from noodle_engine.registry.versions import check_version, newest_first

__all__ = ["Release", "ReleaseStore"]

STATEMENT_FORMAT: Final = 1
LOCK_WAIT_MS_MAX: Final = 10_000
_FOLDER = "runtime_components"
_PAYLOAD = "payload"
_SIGNATURE = "signature"


@dataclass(frozen=True, slots=True)
class Release:
    """A registered release. `payload` is a path in the home, `content` its identity.

    `added` tells, of `add`'s answer, whether it was not there before.
    """

    manifest: ReleaseManifest
    payload: Path
    content: str
    size_bytes: int
    mode: int
    added: bool = False

    @property
    def name(self) -> str:
        """Its component."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Its version."""
        return self.manifest.version


class ReleaseStore:
    """The registry of a home. Holds nothing open; every call reads the disk."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / _FOLDER
        self._key = home / "keys" / KEY_NAME

    def add(self, release: Path) -> Release:
        """Register the release in the folder `release` (or whose noodle.toml it is).

        On return it is durable, signed, and was read back. One that is there
        with the same content is answered with `added` False.

        Raises ManifestInvalid, ReleaseUnusable, ReleaseConflict, KeyUnusable or
        a disk failure; then nothing has changed.
        """
        folder = release.parent if kind_of(release) is ObjectKind.FILE else release
        text, manifest = _read_manifest(folder)
        payload = _payload_of(folder, manifest)
        with self._locked():
            place = self._place(manifest.name, manifest.version)
            if kind_of(place) is ObjectKind.ABSENT:
                self._bring_in(manifest, text, payload)
                return self._read(manifest.name, manifest.version, added=True)
            known = self._read(manifest.name, manifest.version, added=False)
            stored = self._part(manifest.name, manifest.version, MANIFEST_NAME, MANIFEST_BYTES_MAX)
            _refuse_other(known, text, stored, payload)
            return known

    def names(self) -> tuple[str, ...]:
        """The components that have a release, sorted."""
        found = _folders(self._folder)
        return tuple(name for name in found if _is_name(name) and self.versions(name))

    def versions(self, name: str) -> tuple[str, ...]:
        """The registered versions of a component, the newest first; none if unknown."""
        found = _folders(self._folder / check_name(name))
        return newest_first(version for version in found if _is_version(version))

    def has(self, name: str, version: str) -> bool:
        """Whether `versions` lists that version; costs the same however many there are."""
        folder = self._folder / check_name(name) / version
        with explained("look for", folder):
            return _is_version(version) and folder.is_dir()

    def get(self, name: str, version: str) -> Release:
        """A release, after its signature, manifest and payload were checked (law S3).

        Raises ReleaseUnknown, ReleaseDamaged or KeyUnusable.
        """
        check_version(version)
        if kind_of(self._place(check_name(name), version)) is ObjectKind.ABSENT:
            versions = self.versions(name)
            known = tuple(f"{name}@{one}" for one in versions) or self.names()
            raise ReleaseUnknown(wanted=f"{name}@{version}", known=known)
        return self._read(name, version, added=False)

    def of_component(self, name: str) -> tuple[Release, ...]:
        """All releases of a component, checked, the newest first. Raises as `get`."""
        return tuple(self.get(name, version) for version in self.versions(name))

    def _place(self, name: str, version: str) -> Path:
        return self._folder / name / version

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self._folder, 0o700)
        lock = lock_file(self._folder / ".lock", wait_ms_max=LOCK_WAIT_MS_MAX)
        try:
            yield
        finally:
            lock.release()

    def _bring_in(self, manifest: ReleaseManifest, text: bytes, payload: Path) -> None:
        """Copy, sign and give it its name (law S1)."""
        publisher = load_publisher(self._key)
        component = self._folder / manifest.name
        make_folder(component, 0o700)
        begun = component / f".adding-{manifest.version}"
        remove_folder(begun)  # what a killed process left
        make_folder(begun, 0o700)
        try:
            facts = stage_file(
                payload,
                begun / _PAYLOAD,
                mode=status_of(payload).st_mode & 0o777,
                owner=owner_for_new(begun),
                xattrs={},
            )
            write_whole(begun / MANIFEST_NAME, text, 0o600, replace=False)
            statement = _statement(manifest, text, facts)
            write_whole(begun / _SIGNATURE, publisher.seal(statement), 0o600, replace=False)
            fsync_folder(begun)
            rename_noreplace(begun, self._place(manifest.name, manifest.version))
            fsync_folder(component)
        finally:
            remove_folder(begun)

    def _read(self, name: str, version: str, *, added: bool) -> Release:
        place = self._place(name, version)
        text = self._part(name, version, MANIFEST_NAME, MANIFEST_BYTES_MAX)
        envelope = self._part(name, version, _SIGNATURE, ENVELOPE_BYTES_MAX)
        signed = open_envelope(envelope, load_publisher(self._key).public)
        if signed is None:
            raise ReleaseDamaged(
                name=name, version=version, part=_SIGNATURE, why="is not the publisher's"
            )
        if kind_of(place / _PAYLOAD) is not ObjectKind.FILE:
            raise ReleaseDamaged(name=name, version=version, part=_PAYLOAD, why="is missing")
        facts = facts_of(place / _PAYLOAD)
        self._compare(name, version, signed, text, facts)
        manifest = parse_manifest(text, place / MANIFEST_NAME)
        return Release(
            manifest=manifest,
            payload=place / _PAYLOAD,
            content=f"sha256:{facts.sha256}",
            size_bytes=facts.size,
            mode=facts.mode,
            added=added,
        )

    def _compare(
        self, name: str, version: str, signed: bytes, text: bytes, facts: FileFacts
    ) -> None:
        """Raise ReleaseDamaged naming the part that is not what was signed."""
        stated = json.loads(signed)
        found = {
            "manifest": hashlib.sha256(text).hexdigest(),
            "payload": {"mode": facts.mode, "sha256": facts.sha256, "size": facts.size},
            "name": name,
            "version": version,
            "format": STATEMENT_FORMAT,
        }
        # What it is of comes first: another release's signature is the signature's fault.
        order = {"format": _SIGNATURE, "name": _SIGNATURE, "version": _SIGNATURE}
        for key, part in {**order, "manifest": MANIFEST_NAME, "payload": _PAYLOAD}.items():
            if stated.get(key) != found[key]:
                why = "is not what was signed"
                raise ReleaseDamaged(name=name, version=version, part=part, why=why)

    def _part(self, name: str, version: str, part: str, bytes_max: int) -> bytes:
        found = read_whole(self._place(name, version) / part, bytes_max=bytes_max)
        if found is None:
            raise ReleaseDamaged(name=name, version=version, part=part, why="is missing")
        return found


def _statement(manifest: ReleaseManifest, text: bytes, facts: FileFacts) -> bytes:
    """What is signed: canonical JSON, so that the same release gives the same bytes."""
    stated = {
        "format": STATEMENT_FORMAT,
        "kind": manifest.kind,
        "manifest": hashlib.sha256(text).hexdigest(),
        "name": manifest.name,
        "payload": {"mode": facts.mode, "sha256": facts.sha256, "size": facts.size},
        "version": manifest.version,
    }
    return json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()


def _read_manifest(folder: Path) -> tuple[bytes, ReleaseManifest]:
    path = folder / MANIFEST_NAME
    if kind_of(path) is not ObjectKind.FILE:
        raise ReleaseUnusable(path=folder, why=f"there is no {MANIFEST_NAME} in it")
    text = read_whole(path, bytes_max=MANIFEST_BYTES_MAX)
    if text is None:
        raise ReleaseUnusable(path=folder, why=f"its {MANIFEST_NAME} has vanished")
    return text, parse_manifest(text, path)


def _payload_of(folder: Path, manifest: ReleaseManifest) -> Path:
    """The payload, a plain file inside the release's folder."""
    path = folder / manifest.payload
    kind = kind_of(path)
    match kind:
        case ObjectKind.FILE:
            pass
        case ObjectKind.ABSENT:
            raise ReleaseUnusable(path=folder, why=f"its payload {manifest.payload} is missing")
        case ObjectKind.LINK:
            why = f"its payload {manifest.payload} is a link; put the file itself there"
            raise ReleaseUnusable(path=folder, why=why)
        case _:
            why = f"its payload {manifest.payload} is a {kind.value}, no plain file"
            raise ReleaseUnusable(path=folder, why=why)
    found = inside(folder, manifest.payload)
    if found is None:
        why = f"its payload {manifest.payload} leads out of the folder, through a link"
        raise ReleaseUnusable(path=folder, why=why)
    return found


def _refuse_other(known: Release, text: bytes, stored: bytes, payload: Path) -> None:
    if stored != text:
        raise ReleaseConflict(name=known.name, version=known.version, differs=MANIFEST_NAME)
    facts = facts_of(payload)
    same = known.content == f"sha256:{facts.sha256}" and known.mode == facts.mode & 0o777
    if not same:
        raise ReleaseConflict(name=known.name, version=known.version, differs="payload or its mode")


def _is_name(text: str) -> bool:
    """Whether a folder's name is a component's: strangers' folders are not shown."""
    try:
        check_name(text)
    except NameRefused:
        return False
    return True


def _is_version(text: str) -> bool:
    try:
        check_version(text)
    except VersionRefused:
        return False
    return True


def _folders(path: Path) -> tuple[str, ...]:
    """The names of the folders in `path`, sorted; those with a dot are not ours to show."""
    with explained("list", path):
        if not path.is_dir():
            return ()
        return tuple(
            sorted(
                entry.name
                for entry in path.iterdir()
                if not entry.name.startswith(".") and entry.is_dir()
            )
        )
