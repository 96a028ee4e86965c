"""How things are measured: alternating, by medians, as ratios within one round.

Owns the arithmetic and the two kinds of result. Never starts a process and
never writes a file.

Laws
H1. All sides of a comparison run in every round, each round in another order.
H2. A ratio is taken within a round; what is reported is the median over rounds.
H3. A verdict on an absolute time holds for the machine named beside it, and is
    printed, never asserted.
H4. A goal is met or missed only where the spread does not reach across its limit.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

Side = Callable[[], float]
"""Runs a side once and answers what it took, in its row's unit."""


class Sense(StrEnum):
    """Which way a goal points."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the median distance from it."""

    median: float
    distance: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        middle = statistics.median(values)
        distance = statistics.median([abs(value - middle) for value in values])
        return cls(middle, distance, len(values))


class Verdict(StrEnum):
    """How what was measured stands to a goal."""

    MET = "met"
    MISSED = "missed"
    UNDECIDED = "undecided"


class Of(StrEnum):
    """What a goal is about."""

    RATIO = "ours over theirs"
    INVERSE = "theirs over ours"
    VALUE = "our value, on this machine"


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted, and of what."""

    sense: Sense
    limit: float
    of: Of = Of.RATIO

    def verdict(self, answer: Answer) -> Verdict:
        """Met or missed with the whole spread, else undecided (law H4).

        Raises ValueError for a goal for a ratio where there is none.
        """
        seen = answer.ours if self.of is Of.VALUE else answer.ratio
        if seen is None:
            raise ValueError(f"{answer.key} has a goal for a ratio and no ratio")
        ends = [seen.median - seen.distance, seen.median + seen.distance]
        if self.of is Of.INVERSE:
            ends = [1 / end if end > 0 else math.inf for end in ends]
        good = [
            end <= self.limit if self.sense is Sense.AT_MOST else end >= self.limit for end in ends
        ]
        return Verdict.MET if all(good) else Verdict.UNDECIDED if any(good) else Verdict.MISSED


@dataclass(frozen=True, slots=True)
class Question:
    """One row of RESULTS.md before it is measured.

    `beside` names the other side, `unit` is that of both sides. `missed` says
    why, where the goal is not met; it says nothing that the run does not show.
    """

    key: str
    what: str
    unit: str
    beside: str
    goal: Goal | None = None
    missed: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was measured for a question. `remark` is of this run."""

    key: str
    ours: Spread
    other: Spread | None = None
    ratio: Spread | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The values of each side, a value a round."""

    values: Mapping[str, Sequence[float]]

    def spread(self, side: str) -> Spread:
        """One side's values."""
        return Spread.of(self.values[side])

    def ratio(self, ours: str, other: str) -> Spread:
        """Ours over the other's, within each round (law H2)."""
        pairs = zip(self.values[ours], self.values[other], strict=True)
        return Spread.of([mine / theirs for mine, theirs in pairs])

    def answer(self, key: str, ours: str, other: str, remark: str = "") -> Answer:
        """The answer that compares two sides."""
        return Answer(key, self.spread(ours), self.spread(other), self.ratio(ours, other), remark)


def alternate(sides: Mapping[str, Side], *, rounds: int, warm_up_rounds: int = 1) -> Rounds:
    """Run every side in every round; the order turns by one each round (law H1)."""
    names = list(sides)
    values: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up_rounds + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            value = sides[name]()
            if number >= warm_up_rounds:
                values[name].append(value)
    return Rounds(values)
