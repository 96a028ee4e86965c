"""Files beside a target: written, proved, removed.

Owns what the new version takes from the old, and `stage-ID/new` and
`stage-ID/old` until they get their name beside the target.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.files import (
    ObjectKind,
    facts_of,
    kind_of,
    owner_for_new,
    stage_file,
    status_of,
    sync_file,
)
from noodle_engine.disk.names import fsync_folder, make_folder, unlink_quietly
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import REPAIR_OPTION, Source, StepContext
from noodle_engine.targets.exchange.objects import OTHER_PREFIX, Found, Look
from noodle_engine.targets.failures import OldLost, PayloadChanged, PayloadUnusable, StageUnproven
from noodle_engine.targets.file.objects import (
    Attributes,
    attributes_in,
    attributes_of,
    content_of,
    find,
    found_of,
)
from noodle_engine.targets.place import Place

__all__ = ["FileObjects"]


@dataclass(frozen=True, slots=True)
class FileObjects:
    """Plain files. See `noodle_engine.targets.exchange.Objects` for the promises."""

    context: StepContext
    place: Place

    def find(self, path: Path, look: Look = Look.WHOLE) -> Found:
        """What `path` names, wholly read: a stamp would tell less than a file costs."""
        progress = self.context.progress if look is Look.WHOLE else None
        return find(path, stop=self.context.stop, progress=progress)

    def remember(self, found: Found) -> None:
        """Nothing: a file is known by what the journal has of it."""

    def displaced(self, path: Path, before: Found) -> Found:
        """What an exchange has brought to `path`, wholly read."""
        del before
        return find(path)

    def is_new(self, found: Found, source: Source) -> bool:
        """Whether it is the payload with the attributes that the new has."""
        if found.content != source.content:
            return False
        try:
            wanted = self._for_new(source)
        except DiskError:  # the payload is gone, and with it the mode of a first install
            return False
        there = attributes_in(found.attributes)
        return there is not None and wanted.fit(there)

    def write_new(self, source: Source) -> tuple[Path, Found]:
        """Copy the payload to `stage-ID/new`, with the attributes that the new has."""
        return self._write(source, "new", self._for_new(source))

    def write_old(self, source: Source) -> tuple[Path, Found]:
        """Copy the old release's payload to `stage-ID/old`, with the recorded attributes."""
        snapshot = self.context.snapshot
        attributes = None if snapshot is None else attributes_in(snapshot.attributes)
        if attributes is None:
            why = "its owner, mode and attributes were not recorded"
            raise OldLost(path=self.place.path, expected=self.context.expected_old, why=why)
        return self._write(source, "old", attributes)

    @property
    def carries(self) -> bool:
        """No: nobody's data is in a file that is exchanged whole."""
        return False

    def carry(self, beside: Path, *, back: bool) -> None:
        """Nothing to do."""

    def noted(self, found: Found, path: Path) -> Observation:
        """Nothing more to know."""
        del path
        return found.observation

    def carried(self, beside: Path, *, back: bool) -> tuple[str, ...]:
        """Nothing to do."""
        del beside, back
        return ()

    def written_since(self, beside: Path) -> str | None:
        """Nothing is carried."""
        del beside
        return None

    def is_known_folder(self, found: Found) -> bool:
        """A file is no folder."""
        del found
        return False

    def taken_from(self, displaced: Path) -> None:
        """Nothing to do."""

    def taken_back(self) -> None:
        """Nothing to do."""

    def bring_over(self, displaced: Path) -> str:
        """Nothing to do."""
        del displaced
        return ""

    def is_carried(self, beside: Path) -> bool:
        """Nothing was to be done."""
        del beside
        return True

    def prove(self, path: Path) -> Found:
        """Make a file durable, and read it from the disk."""
        kind = kind_of(path)
        if kind is not ObjectKind.FILE:
            return Found.other(kind)
        sync_file(path)
        return found_of(facts_of(path, from_disk=True, stop=self.context.stop))

    def discard(self, path: Path) -> None:
        """Remove a file, durably."""
        unlink_quietly(path)
        fsync_folder(path.parent)

    def clear(self, *, committed: bool) -> None:
        """Remove `stage-ID`."""
        del committed
        self.place.remove_stage(self.context.upgrade)

    def kept_at(self) -> Path:
        """`releases/VERSION-ROOT-ID`."""
        context = self.context
        return self.place.release(context.from_version, context.expected_old, context.upgrade)

    def make_room(self) -> None:
        """Make the folders of Noodle's beside the target."""
        self.place.make_room()
        make_folder(self.place.releases, 0o700)

    def _for_new(self, source: Source) -> Attributes:
        """The attributes that the new version takes.

        In a repair those that it was installed with, as far as they are known. Else the
        old one's, where there is one. At a first install: the payload's mode
        without its set-id bits; the running user and group, or for root those of
        the folder's owner (who can replace the file anyway); and what the folder's
        default ACL and the system's labels give.
        """
        repaired = json.loads(self.context.component.options.get(REPAIR_OPTION, "{}"))
        installed = attributes_in(repaired)
        if installed is not None:
            return installed
        old = self.context.expected_old
        if old != ABSENT and not old.startswith(OTHER_PREFIX):
            snapshot = self.context.snapshot
            kept = None if snapshot is None else attributes_in(snapshot.attributes)
            return kept if kept is not None else attributes_of(facts_of(self.place.path))
        mode = stat.S_IMODE(status_of(source.path).st_mode) & 0o777
        return Attributes(mode, owner_for_new(self.place.parent), None)

    def _write(self, source: Source, name: str, attributes: Attributes) -> tuple[Path, Found]:
        """Copy `source` to `stage-ID/name`, where nobody looks, with these attributes.

        On return content and attributes are durable and were read back; the name is
        the caller's to give and to sync. After a failure `stage-ID` may hold what
        was begun.
        """
        self.make_room()
        make_folder(self.place.stage(self.context.upgrade), 0o700)
        staged = self.place.stage(self.context.upgrade) / name
        unlink_quietly(staged)
        kind = kind_of(source.path)
        if kind is not ObjectKind.FILE:
            raise PayloadUnusable(path=self.place.path, payload=source.path, found=_word(kind))
        facts = stage_file(
            source.path,
            staged,
            mode=attributes.mode,
            owner=attributes.owner,
            xattrs=attributes.xattrs,
            stop=self.context.stop,
            progress=self.context.progress,
        )
        self._blame(source, content_of(facts), fits=attributes.fit(attributes_of(facts)))
        return staged, found_of(facts)

    def _blame(self, source: Source, found: str, *, fits: bool) -> None:
        """Blame the payload or the disk, if what was read back is not what was meant."""
        path = self.place.path
        if found == source.content:
            if not fits:
                expected = "the attributes that were set"
                raise StageUnproven(path=path, expected=expected, found="others")
            return
        payload = find(source.path).content
        if payload != source.content:
            raise PayloadChanged(
                path=path, payload=source.path, expected=source.content, found=payload
            )
        raise StageUnproven(path=path, expected=source.content, found=found)


def _word(kind: ObjectKind) -> str:
    return "missing" if kind is ObjectKind.ABSENT else f"a {kind.value}"
