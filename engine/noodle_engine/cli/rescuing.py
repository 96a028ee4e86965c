"""The way to a target that needs no home: candidates, and the exchange by hand.

Owns nothing of the disk: the target's kind looks and exchanges, under the
target's own lock, so that no engine acts on it meanwhile.
"""

from __future__ import annotations

from pathlib import Path

from noodle_engine.cli.show.shapes import Candidate
from noodle_engine.disk.locks import read_mark
from noodle_engine.machine.records import Observation
from noodle_engine.targets.load import load_target
from noodle_engine.targets.place import place_of

__all__ = ["by_hand", "candidates_of"]


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

    The owner mark stays as it is. Raises TargetBusy if an engine holds the
    target, CandidateUnknown if it is none; then nothing has changed.
    """
    target = load_target(kind)
    owner = read_mark(place_of(path).owner) or ""
    lock = target.lock(path, owner, take_over=False)
    try:
        return target.exchange_by_hand(path, location)
    finally:
        lock.release()
