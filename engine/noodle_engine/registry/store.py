"""The registry: releases kept in the home, each signed when it came in.

Owns `HOME/runtime_components/NAME/VERSION/`: the manifest as it was written,
the payload (a file, or a tree with its manifest `payload.tree` beside it), and
`signature`, an envelope over what they are. It touches no target.

Laws
S1. A release is there wholly or not at all: it is made in a folder of its own,
    made durable, and renamed.
S2. A version names one content for ever: another is refused, the same is
    accepted and changes nothing.
S3. What is read is what was signed: `get` checks signature, manifest and
    payload, and answers nothing that does not match. Of a tree it checks the
    manifest; `check_payload` reads the tree, and so does whoever copies it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from noodle_engine.disk.failures import CopyStopped, explained
from noodle_engine.disk.files import (
    ObjectKind,
    Progress,
    facts_of,
    kind_of,
    owner_for_new,
    stage_file,
    status_of,
)
from noodle_engine.disk.locks import lock_file
from noodle_engine.disk.names import fsync_folder, make_folder, rename_noreplace
from noodle_engine.disk.trees.build import KeptTree, Sharing, probe_sharing
from noodle_engine.disk.trees.manifest import TreeManifest, compare, named
from noodle_engine.disk.whole import read_whole, write_whole
from noodle_engine.registry.failures import (
    AddStopped,
    ReleaseConflict,
    ReleaseUnknown,
    ReleaseUnusable,
)
from noodle_engine.registry.incoming import Incoming, abandoned, begin, incoming_release
from noodle_engine.registry.listing import FOLDER, folders, is_name, is_version, versions_in
from noodle_engine.registry.manifest import MANIFEST_BYTES_MAX, MANIFEST_NAME, ReleaseManifest
from noodle_engine.registry.names import check_name, parse_wanted
from noodle_engine.registry.payloads.room import lacking
from noodle_engine.registry.payloads.source import Accept, ReleaseSource, read_source
from noodle_engine.registry.payloads.statement import (
    FilePayload,
    Payload,
    Statement,
    TreePayload,
)
from noodle_engine.registry.payloads.tree import bring_in
from noodle_engine.registry.publisher import KEY_NAME, Publisher, load_publisher
from noodle_engine.registry.release import (
    PAYLOAD_NAME,
    SIGNATURE_NAME,
    TREE_NAME,
    Release,
    read_release,
    tree_of,
)
from noodle_engine.registry.versions import check_version
from noodle_journal.errors import NoodleError

__all__ = ["Prepared", "Release", "ReleaseStore"]

LOCK_WAIT_MS_MAX: Final = 10_000
EARLIER_MAX: Final = 4
"""With how many other releases of its component, the newest first, a tree shares files."""


class Prepared:
    """A release that is whole, durable and signed, and that nobody knows yet.

    Use it as a context manager: what has no name at its end is removed.
    """

    def __init__(
        self,
        store: ReleaseStore,
        manifest: ReleaseManifest,
        *,
        known: Release | None = None,
        incoming: Incoming | None = None,
        notices: tuple[str, ...] = (),
    ) -> None:
        self.manifest: Final = manifest
        self.known: Final = known
        """The release, if it is known already: then there is nothing to publish."""
        self.notices: Final = notices
        """What whoever adds it should know."""
        self._store = store
        self._incoming = incoming

    @property
    def token(self) -> str:
        """What `publish` takes, in this process or another; empty if there is nothing to."""
        return "" if self._incoming is None else self._incoming.token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._incoming is not None:
            self._store.discard(self._incoming)


class ReleaseStore:
    """The registry of a home. Holds nothing open; every call reads the disk."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / FOLDER
        self._key = home / "keys" / KEY_NAME

    @property
    def home(self) -> Path:
        """The home that it is the registry of."""
        return self._home

    def add(
        self,
        release: Path,
        *,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> Release:
        """Register the release in the folder `release`: `prepare`, then `publish`.

        One that is there with the same content is answered with `added` False.
        Raises what both raise; then nothing has changed.
        """
        with self.prepare(release, stop=stop, progress=progress) as prepared:
            found = prepared.known or self.publish(prepared.token)
            return replace(found, notices=prepared.notices)

    def prepare(
        self,
        release: Path,
        *,
        accept: Accept | None = None,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> Prepared:
        """Make the release of the folder `release` (or whose noodle.toml it is) ready.

        On return all of it is durable, signed and was read back, in a folder of
        its own; no release has changed. It takes as long as reading the payload
        and writing what no earlier release of the component has, and holds the
        registry's lock for none of that. `progress` is told bytes done and in all.
        What `accept` raises for the manifest comes before the payload is read.

        What a killed process left is removed. Raises ManifestInvalid,
        ReleaseUnusable, PayloadRefused, ReleaseConflict, KeyUnusable, HomeShort
        (before anything is written), AddStopped if `stop` was set, or a disk
        failure; then nothing is left of it.
        """
        try:
            return self._prepare(release, accept, stop, progress)
        except CopyStopped as stopped:
            raise AddStopped(path=release) from stopped

    def _prepare(
        self,
        release: Path,
        accept: Accept | None,
        stop: threading.Event | None,
        progress: Progress | None,
    ) -> Prepared:
        publisher = load_publisher(self._key)
        source = self.source(release, accept=accept, stop=stop, progress=progress)
        notices = source.tree.notices if source.tree else ()
        known = self._known(source)
        if known is not None:
            self.clear()
            fsync_folder(known.payload.parent.parent)  # who gave it its name may have been killed
            return Prepared(self, source.manifest, known=known, notices=notices)
        self._check_room(source)
        with self._locked():
            left = abandoned(self._folder)
            incoming = begin(self._folder)
        try:
            for one in left:
                one.remove()
            self._make(incoming.release, source, publisher, stop, progress)
        except BaseException:
            self.discard(incoming)
            raise
        return Prepared(self, source.manifest, incoming=incoming, notices=notices)

    def source(
        self,
        release: Path,
        *,
        accept: Accept | None = None,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> ReleaseSource:
        """Read a release's folder as `prepare` would. Raises as it does; changes nothing."""
        return read_source(release, home=self._home, accept=accept, stop=stop, progress=progress)

    def publish(
        self, token: str, *, record: Callable[[Release], None] = lambda _release: None
    ) -> Release:
        """Give a prepared release its name, durably (law S1).

        `record` is called right before, once it is sure that the name is free:
        what it writes is durable before the release is known. Cost: one rename,
        whatever the payload's size.

        A version that somebody registered meanwhile with the same content is
        answered with `added` False. Raises ReleaseConflict if it has another,
        ReleaseUnusable if nothing is prepared as `token`, ReleaseDamaged, what
        `record` raises, or a disk failure; then no release has changed, or it is
        known and adding it again makes that durable.
        """
        with self._locked():
            place = incoming_release(self._folder, token)
            if place is None:
                why = "what was prepared to be registered is not there any more"
                raise ReleaseUnusable(path=self._folder, why=why)
            # Its payload was read back when it was made, and nobody else comes there.
            prepared = read_release(place, load_publisher(self._key).public, whole=False)
            target = self._place(prepared.name, prepared.version)
            if kind_of(target) is ObjectKind.ABSENT:
                record(prepared)
                make_folder(target.parent, 0o700)
            if not rename_noreplace(place, target):
                known = self.look(prepared.name, prepared.version)
                found = (prepared.content, prepared.mode, tree_of(prepared))
                self._refuse_other(known, self._text_of(place), *found)
                fsync_folder(target.parent)
                return known
            fsync_folder(target.parent)
            fsync_folder(place.parent)
        return replace(prepared, payload=target / PAYLOAD_NAME, added=True)

    def clear(self) -> None:
        """Remove what killed processes left that were adding releases. Raises a disk failure."""
        if kind_of(self._folder) is ObjectKind.ABSENT:
            return
        with self._locked():
            left = abandoned(self._folder)
        for one in left:
            one.remove()

    def discard(self, incoming: Incoming) -> None:
        """Remove what is being made. What cannot be removed now is removed by the next `clear`."""
        try:
            with suppress(NoodleError):
                with self._locked():
                    incoming.retire()
                incoming.remove()
        finally:
            incoming.lock.release()

    def names(self) -> tuple[str, ...]:
        """The components that have a release, sorted."""
        found = folders(self._folder)
        return tuple(name for name in found if is_name(name) and self.versions(name))

    def versions(self, name: str) -> tuple[str, ...]:
        """The registered versions of a component, the newest first; none if unknown."""
        return versions_in(self._folder, name)

    def has(self, name: str, version: str) -> bool:
        """Whether `versions` lists that version; costs the same however many there are."""
        folder = self._folder / check_name(name) / version
        with explained("look for", folder):
            return is_version(version) and folder.is_dir()

    def get(self, name: str, version: str) -> Release:
        """A release, after its signature, manifest and payload were checked (law S3).

        Raises ReleaseUnknown, ReleaseDamaged or KeyUnusable.
        """
        return self._read(name, version, whole=True)

    def look(self, name: str, version: str) -> Release:
        """A release as it was signed, its payload unread. Raises as `get`."""
        return self._read(name, version, whole=False)

    def find(self, wanted: str) -> Release:
        """`look` for what a user wrote as NAME@VERSION.

        Raises NameRefused or VersionRefused, ReleaseUnknown without a version, and as
        `get`.
        """
        asked = parse_wanted(wanted)
        if asked.version is None:
            known = tuple(f"{asked.name}@{one}" for one in self.versions(asked.name))
            raise ReleaseUnknown(wanted=wanted, known=known or self.names())
        return self.look(asked.name, asked.version)

    def _read(self, name: str, version: str, *, whole: bool) -> Release:
        check_version(version)
        place = self._place(check_name(name), version)
        if kind_of(place) is ObjectKind.ABSENT:
            versions = self.versions(name)
            known = tuple(f"{name}@{one}" for one in versions) or self.names()
            raise ReleaseUnknown(wanted=f"{name}@{version}", known=known)
        public = load_publisher(self._key).public
        return read_release(place, public, name=name, version=version, whole=whole)

    def of_component(self, name: str) -> tuple[Release, ...]:
        """All releases of a component, checked, the newest first. Raises as `get`."""
        return tuple(self.get(name, version) for version in self.versions(name))

    def _place(self, name: str, version: str) -> Path:
        return self._folder / name / version

    def _text_of(self, place: Path) -> bytes:
        return read_whole(place / MANIFEST_NAME, bytes_max=MANIFEST_BYTES_MAX) or b""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the registry: for the time of a few names, never for that of a copy."""
        make_folder(self._folder, 0o700)
        lock = lock_file(self._folder / ".lock", wait_ms_max=LOCK_WAIT_MS_MAX)
        try:
            yield
        finally:
            lock.release()

    def _known(self, source: ReleaseSource) -> Release | None:
        """The same release, if it is known already. Raises ReleaseConflict (law S2)."""
        manifest = source.manifest
        place = self._place(manifest.name, manifest.version)
        if kind_of(place) is ObjectKind.ABSENT:
            return None
        known = self.get(manifest.name, manifest.version)
        if source.tree is not None:
            tree = source.tree.manifest
            self._refuse_other(known, source.text, tree.root, tree.entries[0].mode, tree)
        else:
            facts = facts_of(source.payload)
            found = f"sha256:{facts.sha256}"
            self._refuse_other(known, source.text, found, facts.mode & 0o777, None)
        return known

    def _refuse_other(
        self, known: Release, text: bytes, content: str, mode: int, tree: TreeManifest | None
    ) -> None:
        """Raise ReleaseConflict unless these are the known release's (law S2)."""
        differs = None
        if self._text_of(known.payload.parent) != text:
            differs = MANIFEST_NAME
        elif (known.content, known.mode) != (content, mode):
            old = tree_of(known)
            differs = "payload or its mode"
            if old is not None and tree is not None:
                differs = f"payload: {named(one.path for one in compare(old, tree))}"
        if differs is not None:
            raise ReleaseConflict(name=known.name, version=known.version, differs=differs)

    def _check_room(self, source: ReleaseSource) -> None:
        """Raise HomeShort unless the release fits: at first as if nothing could be shared."""
        known = kind_of(self._folder) is ObjectKind.FOLDER
        folder = self._folder if known else self._home
        if lacking(source, folder) is None:
            return
        self.clear()
        earlier = [one.manifest for one in self._earlier(source.manifest.name)]
        sharing = probe_sharing(folder, hard_links=True) if earlier else Sharing.COPY
        short = lacking(source, folder, earlier=earlier, sharing=sharing)
        if short is not None:
            raise short

    def _make(
        self,
        place: Path,
        source: ReleaseSource,
        publisher: Publisher,
        stop: threading.Event | None,
        progress: Progress | None,
    ) -> None:
        """Copy and sign, durably, all but the name of `place` itself."""
        make_folder(place, 0o700)
        payload: Payload
        if source.tree is not None:
            earlier = self._earlier(source.manifest.name)
            into = place / PAYLOAD_NAME
            bring_in(source.tree, into, earlier=earlier, stop=stop, progress=progress)
            tree = source.tree.manifest
            data = tree.encode()
            write_whole(place / TREE_NAME, data, 0o600, replace=False)
            digest = hashlib.sha256(data).hexdigest()
            payload = TreePayload(files=tree.files, root=tree.root, size=tree.bytes, tree=digest)
        else:
            facts = stage_file(
                source.payload,
                place / PAYLOAD_NAME,
                mode=status_of(source.payload).st_mode & 0o777,
                owner=owner_for_new(place),
                xattrs={},
                stop=stop,
                progress=progress,
            )
            payload = FilePayload(mode=facts.mode, sha256=facts.sha256, size=facts.size)
        write_whole(place / MANIFEST_NAME, source.text, 0o600, replace=False)
        stated = Statement(
            kind=source.manifest.kind,
            manifest=hashlib.sha256(source.text).hexdigest(),
            name=source.manifest.name,
            payload=payload,
            version=source.manifest.version,
        )
        write_whole(place / SIGNATURE_NAME, publisher.seal(stated.encode()), 0o600, replace=False)
        fsync_folder(place)

    def _earlier(self, name: str) -> list[KeptTree]:
        """Trees of the component that files can be shared with; a damaged release is left out."""
        found = []
        for version in self.versions(name):
            with suppress(NoodleError):
                release = self.get(name, version)
                manifest = tree_of(release)
                if manifest is not None:
                    found.append(KeptTree(release.payload, manifest))
            if len(found) == EARLIER_MAX:
                break
        return found
