"""Points of a run: what the shim wrote down, what each is called, which are chosen.

Owns the shim's log format, the classes of files and the sample. Pure: it runs
nothing, and a sample depends only on the points, the number and the seed.

Laws
C1. A point is named by call and file class, never by a random name in its path.
C2. A sample holds each call x class at least once, then is spread evenly.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NewType
from urllib.parse import unquote

from tests.crashes.harness.shim import Effect

FileClass = NewType("FileClass", str)
Classify = Callable[[str, str], FileClass]
"""From a path relative to its root and a kind (f d l s, - for absent) to a class."""

_EFFECTS: Final = (Effect.CHANGES, Effect.ALLOCATES, Effect.TRANSFERS)
_DATABASE: Final = re.compile(r"(?:^|/)((?:journal|keystore)\.db(?:-wal|-journal)?)$")
_CLASSES: Final = (
    (re.compile(r"(?:^|/)\.[^/]+\.next-[^/]+$"), "staged"),
    (re.compile(r"(?:^|/)\.noodle-probe-[^/]+$"), "probe"),
    (re.compile(r"(?:^|/)\.noodle/[^/]+/manifests/"), "manifest"),
    (re.compile(r"(?:^|/)\.noodle/[^/]+/data/"), "data"),
    (re.compile(r"(?:^|/)\.noodle/[^/]+/stage-[^/]+"), "stage"),
    (re.compile(r"(?:^|/)\.noodle/[^/]+/releases/"), "release"),
    (re.compile(r"(?:^|/)\.noodle/[^/]+/owner[^/]*$"), "owner"),
    (re.compile(r"(?:^|/)lock$"), "lock"),
    (re.compile(r"(?:^|/)reserve[^/]*$"), "reserve"),
    (re.compile(r"(?:^|/)keys/[^/]+$"), "key"),
    (re.compile(r"(?:^|/)runtime_components/"), "component"),
    (re.compile(r"(?:^|/)(?:format|socket)$"), "home"),
    (re.compile(r"(?:^|/)cache/[^/]+$"), "cache"),
)


def classify(path: str, kind: str) -> FileClass:
    """Name the class of a file of a home or beside a target; what is neither is `target`."""
    database = _DATABASE.search(path)
    if database:
        return FileClass(database.group(1))
    if kind == "d":
        return FileClass("store directory" if ".noodle" in path else "parent directory")
    for pattern, name in _CLASSES:
        if pattern.search(path):
            return FileClass(name)
    return FileClass("other" if path.startswith(".") or "/." in path else "target")


@dataclass(frozen=True, slots=True)
class Place:
    """One path of a call: the number of its root, the path below it, what is there."""

    root: int
    path: str
    kind: str


@dataclass(frozen=True, slots=True)
class Point:
    """One counted call of a run. `number` counts from 1; `bytes_asked` is 0 for most calls."""

    number: int
    process: int
    thread: int
    call: str
    effect: Effect
    bytes_asked: int
    places: tuple[Place, ...]
    file_class: FileClass

    @property
    def name(self) -> tuple[str, FileClass]:
        """Call and class: what stays the same from run to run."""
        return (self.call, self.file_class)

    def __str__(self) -> str:
        paths = " ".join(place.path for place in self.places)
        return f"#{self.number} {self.call} {self.file_class} ({paths})"


@dataclass(frozen=True, slots=True)
class Log:
    """What a run wrote down: `recorded` points of a record run, `landed` struck ones."""

    recorded: tuple[Point, ...]
    landed: tuple[Point, ...]


def parse_log(text: str, classify_path: Classify = classify) -> Log:
    """Read the shim's log, in the order of the counter."""
    recorded: list[Point] = []
    landed: list[Point] = []
    for line in text.splitlines():
        mark, number, process, thread, call, effect, size, *rest = line.split(" ")
        places = tuple(
            Place(root=int(root), path=unquote(path), kind=kind)
            for kind, root, path in zip(rest[0::3], rest[1::3], rest[2::3], strict=True)
        )
        point = Point(
            number=int(number),
            process=int(process),
            thread=int(thread),
            call=call,
            effect=_EFFECTS[int(effect)],
            bytes_asked=int(size),
            places=places,
            file_class=FileClass("+".join(classify_path(p.path, p.kind) for p in places)),
        )
        (recorded if mark == "P" else landed).append(point)
    return Log(
        recorded=tuple(sorted(recorded, key=lambda point: point.number)),
        landed=tuple(sorted(landed, key=lambda point: point.number)),
    )


def names(points: Iterable[Point]) -> tuple[tuple[str, FileClass], ...]:
    """The names of points, in order: two recordings of one run agree in these."""
    return tuple(point.name for point in points)


def choose(points: Sequence[Point], total: int, seed: int) -> tuple[Point, ...]:
    """Choose `total` points, more when there are more call x class pairs than that.

    Each pair is there at least once (which of its points, the seed says); the
    rest are spread evenly over what remains.
    """
    chance = random.Random(seed)
    by_name: defaultdict[tuple[str, FileClass], list[Point]] = defaultdict(list)
    for point in points:
        by_name[point.name].append(point)
    chosen = {chance.choice(group) for _, group in sorted(by_name.items())}
    remaining = [point for point in points if point not in chosen]
    wanted = min(total - len(chosen), len(remaining))
    if wanted > 0:
        step = len(remaining) / wanted
        offset = chance.random() * step
        chosen.update(remaining[int(offset + index * step)] for index in range(wanted))
    return tuple(sorted(chosen, key=lambda point: point.number))


def spread(points: Sequence[Point], total: int, seed: int) -> tuple[Point, ...]:
    """Choose at most `total` points, evenly over the run; the seed says where it begins."""
    if len(points) <= total:
        return tuple(points)
    step = len(points) / total
    offset = random.Random(seed).random() * step
    return tuple(points[int(offset + index * step)] for index in range(total))
