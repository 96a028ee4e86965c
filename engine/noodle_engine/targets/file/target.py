"""Kind `file`: one plain file, exchanged whole.

Owns the door; the rooms are planning (look before), writing (what a new file
takes, and its writing) and objects (what a file is). The steps are those of
every kind that is exchanged whole.

What the new version gets: content from the release; owner, mode and extended
attributes (ACLs and capabilities among them) from the old.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from noodle_engine.disk.files import ObjectKind, kind_of, status_of
from noodle_engine.disk.names import fsync_folder, unlink_quietly
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import (
    Cost,
    StepContext,
    TargetChange,
    TargetPlan,
    TargetRequest,
    Verified,
)
from noodle_engine.targets.exchange import ExchangeTarget, Found, Objects
from noodle_engine.targets.file import planning
from noodle_engine.targets.file.objects import find
from noodle_engine.targets.file.writing import FileObjects
from noodle_engine.targets.place import Place, place_of

__all__ = ["FileTarget"]


class FileTarget(ExchangeTarget):
    """One plain file. See `noodle_engine.targets.base.Target` for the promises."""

    kind: ClassVar[str] = "file"

    def objects(self, context: StepContext, place: Place) -> Objects:
        """Plain files."""
        return FileObjects(context, place)

    def look(self, place: Place, expected: Sequence[str], options: Mapping[str, str]) -> Found:
        """What is at the target."""
        del expected, options
        return find(place.path)

    def check(self, context: StepContext, place: Place) -> Observation:
        """Step check."""
        return planning.check(context, place)

    def plan_at(self, request: TargetRequest, place: Place) -> TargetPlan:
        """What an upgrade would do."""
        return planning.plan_file(request, place)

    def verify(
        self,
        path: Path,
        root: str,
        *,
        options: Mapping[str, str],
        full: bool,
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Verified:
        """Hold the file against what is installed; it is always read wholly."""
        del options, full
        found = find(place_of(path).path, stop=stop, progress=progress)
        whole = found.root == root
        change = TargetChange("removed" if found.is_absent else "changed", "")
        return Verified(
            found=found.root,
            whole=whole,
            changes=() if whole else (change,),
            files=1,
            files_read=0 if found.is_absent else 1,
            bytes_read=int(found.attributes.get("size", "0")),
        )

    def find_by_hand(self, place: Place, path: Path) -> Found:
        """What `path` is, wholly read."""
        del place
        return find(path)

    def cost(self, location: Path) -> Cost | None:
        """A file is its own, unless it has another name."""
        if kind_of(location) is not ObjectKind.FILE:
            return None
        status = status_of(location)
        return Cost(0, status.st_size) if status.st_nlink > 1 else Cost(status.st_size, 0)

    def users(self, location: Path) -> tuple[str, ...]:
        """Nobody needs a file's name that has it open."""
        del location
        return ()

    def drop(self, location: Path) -> int:
        """Remove a kept old version, durably; its bytes, 0 if it is gone already."""
        size = 0
        if kind_of(location) is ObjectKind.FILE:
            size = status_of(location).st_size
            unlink_quietly(location)
        if kind_of(location.parent) is ObjectKind.FOLDER:
            fsync_folder(location.parent)
        return size
