"""Candidates for a target whose journal cannot be trusted, and the exchange by hand.

Owns the last way out. It believes nothing but what it reads from the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from noodle_engine.disk.failures import explained
from noodle_engine.disk.names import exchange, fsync_folder, rename_noreplace
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import path_text
from noodle_engine.targets.exchange.objects import Found
from noodle_engine.targets.failures import CandidateUnknown
from noodle_engine.targets.place import Place

__all__ = ["CANDIDATES_MAX", "Find", "candidates", "exchange_with"]

CANDIDATES_MAX = 1000

Find = Callable[[Path], Found]
"""Reads one object of the kind wholly."""


def candidates(place: Place, find: Find) -> tuple[Observation, ...]:
    """The target and every object of Noodle's beside it, wholly read. Reads only.

    `role` is target, beside (what an exchange swaps in or has displaced),
    point, foreign, or unproved (begun, never finished).
    """
    found = []
    for role, path in _paths(place):
        seen = find(path)
        if seen.is_absent and role != "target":
            continue
        where = {"location": path_text(str(path)), "role": role}
        found.append(Observation(seen.root, {**seen.observation.attributes, **where}))
        if len(found) == CANDIDATES_MAX:
            break
    return tuple(found)


def _paths(place: Place) -> Iterator[tuple[str, Path]]:
    name = place.path.name
    yield "target", place.path
    for path in _listed(place.parent, f".{name}.next-"):
        yield "beside", path
    for path in _listed(place.releases, ""):
        yield "point", path
    for path in _listed(place.parent, f"{name}.foreign-"):
        yield "foreign", path
    for folder in _listed(place.room, "stage-"):
        for path in _listed(folder, ""):
            yield "unproved", path


def _listed(folder: Path, prefix: str) -> list[Path]:
    with explained("list", folder):
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if path.name.startswith(prefix))


def exchange_with(place: Place, location: Path, find: Find) -> Observation:
    """Put a candidate in the target's place, durably; what was there takes its name.

    The caller holds the target's lock. The observation is of the target, and
    `kept` says where what was there is now (nothing, if it was absent).

    Raises CandidateUnknown; then nothing has changed.
    """
    known = {path for role, path in _paths(place) if role != "target"}
    if location not in known or not find(location).is_known:
        raise CandidateUnknown(path=place.path, location=location)
    kept: dict[str, str] = {}
    if not rename_noreplace(location, place.path):
        exchange(location, place.path)
        kept["kept"] = path_text(str(location))
    fsync_folder(place.parent)
    fsync_folder(location.parent)
    observed = find(place.path).observation
    return Observation(observed.root, {**observed.attributes, **kept})
