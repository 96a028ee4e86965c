"""The way to a target that needs no home: candidates, and the exchange by hand.

Owns nothing of the disk: the target's kind looks and exchanges, under the
target's own lock, so that no engine acts on it meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path

from noodle_engine.cli.show.shapes import Candidate
from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.machine.records import Observation
from noodle_engine.targets.failures import CandidateUnknown
from noodle_engine.targets.load import load_target
from noodle_engine.targets.place import place_of

__all__ = ["by_hand", "candidates_of", "kind_at"]


def kind_at(path: Path) -> str:
    """The kind that a target has, by what is there, or by what Noodle keeps beside it."""
    place = place_of(path)
    if kind_of(place.path) in (ObjectKind.FOLDER, ObjectKind.LINK):
        return "directory"
    if kind_of(place.path) is ObjectKind.ABSENT and kind_of(place.manifests) is ObjectKind.FOLDER:
        return "directory"
    return "file"


def candidates_of(kind: str, path: Path) -> tuple[Candidate, ...]:
    """What is at the target and beside it. Reads only."""
    return tuple(
        Candidate(
            location=one.attributes.get("location", str(path)),
            role=one.attributes.get("role", "target"),
            root=one.root,
            size=one.attributes.get("size"),
            modified=one.attributes.get("modified"),
        )
        for one in load_target(kind).rescue(path)
    )


def by_hand(kind: str, path: Path, location: Path) -> Observation:
    """Exchange the target with a candidate, under the target's lock.

    The owner mark stays as it is, also where there is none. Raises TargetBusy if an
    engine holds the target, CandidateUnknown if it is none; then nothing has changed.
    """
    target = load_target(kind)
    if not os.path.lexists(location):  # before a lock file is made for nothing
        raise CandidateUnknown(path=path, location=location)
    lock = target.lock(path, "", take_over=True, claim=False)
    try:
        return target.exchange_by_hand(path, location)
    finally:
        lock.release()
