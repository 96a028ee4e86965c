"""What is on disk, held against what is installed. Reads only; needs no lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from noodle_engine.execute.answers.views import (
    DIFFERENCES_MAX,
    Difference,
    VerifiedRow,
    VerifiedView,
)
from noodle_engine.machine.upgrade import Fold, Installed
from noodle_engine.targets.load import load_target
from noodle_engine.targets.place import local_path
from noodle_journal.errors import NoodleError

__all__ = ["verified_view"]


def verified_view(
    world: Fold,
    names: Sequence[str],
    *,
    full: bool,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VerifiedView:
    """The installed components of these names, each held against its release."""
    busy = {
        one.name: upgrade.id
        for upgrade in world.upgrades.values()
        for one in upgrade.plan.components
    }
    rows = tuple(
        _busy_row(world.components[name], busy[name])
        if name in busy
        else _row(world.components[name], full=full, stop=stop, progress=progress)
        for name in names
    )
    return VerifiedView(whole=all(row.whole for row in rows), components=rows)


def _busy_row(installed: Installed, upgrade: str) -> VerifiedRow:
    """Of a component in an open upgrade: old or new may be there, and `status` says which."""
    why = (
        f"it is part of upgrade {upgrade}, which is not finished; `noodle status {upgrade}` says "
        f"what is there, `noodle resume {upgrade}` ends it"
    )
    path = str(local_path(installed.target))
    return VerifiedRow(
        installed.name, installed.version, path, whole=False, problem=why, upgrade=upgrade
    )


def _row(
    installed: Installed,
    *,
    full: bool,
    stop: threading.Event | None,
    progress: Callable[[int, int], None] | None,
) -> VerifiedRow:
    path = local_path(installed.target)
    try:
        found = load_target(installed.kind).verify(
            path,
            installed.root,
            options=installed.options,
            full=full,
            stop=stop,
            progress=progress,
        )
    except NoodleError as failure:
        why = f"{failure.problem} ({failure.cause}); {failure.remedy}"
        return VerifiedRow(installed.name, installed.version, str(path), whole=False, problem=why)
    told = found.changes[:DIFFERENCES_MAX]
    return VerifiedRow(
        component=installed.name,
        version=installed.version,
        target=str(path),
        whole=found.whole,
        differences=tuple(
            Difference(installed.name, one.change, one.path, one.size, one.what) for one in told
        ),
        left_out=len(found.changes) - len(told),
        extras=found.extras[:DIFFERENCES_MAX],
        files=found.files,
        files_read=found.files_read,
        bytes_read=found.bytes_read,
    )
