"""Strikes a scenario at chosen points and counts what happened.

Owns the order of one point: restore, run and strike, `crashed`, `resume`,
`check`. What must hold is the scenario's; that the strike happened is the sweep's.

Laws
S1. Every chosen point is struck and judged; one that a run never reached is counted
    as missed, never as passed.
S2. A failure names scenario, strike, point and seed: enough to run it again.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from tests.breadth import BREADTH, Breadth
from tests.crashes.harness.fork_client import ForkServer
from tests.crashes.harness.point import Classify, Point, choose, classify, spread
from tests.crashes.harness.run import Bench, Command, Outcome, record, run
from tests.crashes.harness.shim import Mode, Strike
from tests.crashes.harness.snapshot import Snapshot

WORKERS_MAX: Final = 2
FAILURES_MAX: Final = 5
AGAIN_MAX: Final = 8
"""How often a pair of call and file class is tried that another call came in the place of."""
FRESH_EVERY: Final = 10
"""Of ten points, one runs in a new process even where a fork server runs the others."""

DEADLY: Final = frozenset({Mode.KILL, Mode.KILL_AFTER, Mode.TORN})


class Scenario(Protocol):
    """One thing to strike: what leads up to it, and what must hold after it.

    Every method gets the same folder, on a real file system. `prepare` is called
    once for each folder; before each point the folder is put back to what it left,
    in place. `resume` runs fresh processes. `crashed` and `check` raise
    AssertionError; `crashed` sees the folder before any resume, and how the run ended.
    """

    @property
    def name(self) -> str:
        """What the counts are printed under."""

    def prepare(self, folder: Path) -> Command:
        """Make what the run needs and say how to start it."""

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """Judge what a crash left: wholly old or wholly new, the error explained."""

    def resume(self, folder: Path) -> None:
        """Take it up again, as a user would."""

    def check(self, folder: Path) -> None:
        """Judge the end, also after a run that nothing struck."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many points of a sweep, the seed that chooses them, whether all pairs must be there."""

    points: int = 50
    seed: int = 1
    every_pair: bool = True

    def of(self, points: Sequence[Point]) -> tuple[Point, ...]:
        """Choose; all of them under TEST_SWEEP=full."""
        if BREADTH is Breadth.FULL:
            return tuple(points)
        if self.every_pair:
            return choose(points, self.points, self.seed)
        return spread(points, self.points, self.seed)


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """What a sweep did. `moved` points landed on another call or class than was recorded."""

    scenario: str
    strike: str
    recorded: int
    applicable: int
    chosen: int
    landed: int
    missed: int
    moved: int
    pairs_recorded: frozenset[tuple[str, str]]
    pairs_landed: frozenset[tuple[str, str]]

    def __str__(self) -> str:
        return (
            f"{self.scenario}, {self.strike}: {self.landed} points struck of {self.chosen} chosen, "
            f"{self.applicable} applicable, {self.recorded} recorded; "
            f"{len(self.pairs_landed)} of {len(self.pairs_recorded)} call x file pairs; "
            f"missed {self.missed}, moved {self.moved}"
        )


class SweepFailed(AssertionError):
    """At least one point left what must not be; the text holds each, with how to run it again."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    point: Point
    landed: Point | None
    failure: str | None


class _Worker:
    """One folder, prepared once, and perhaps one fork server."""

    def __init__(
        self, scenario: Scenario, folder: Path, bench: Bench, classify_path: Classify
    ) -> None:
        folder.mkdir(parents=True)
        self._scenario = scenario
        self._folder = folder
        self._bench = bench
        self._classify = classify_path
        self.command = scenario.prepare(folder)
        self._snapshot = Snapshot.take(folder)
        self._stack = ExitStack()
        self._server: ForkServer | None = None
        if self.command.entry is not None:
            self._server = self._stack.enter_context(ForkServer(self.command, bench))

    def close(self) -> None:
        self._stack.close()

    def record(self) -> tuple[Point, ...]:
        """Run unstruck, judge the end, put the folder back."""
        outcome = record(self.command, self._bench, classify_path=self._classify)
        assert outcome.returncode == self.command.returncode, (
            f"the run that nothing strikes failed: {outcome}"
        )
        self._scenario.check(self._folder)
        self._snapshot.restore()
        return outcome.log.recorded

    def strike(self, strike: Strike, point: Point, *, fresh: bool) -> _Verdict:
        self._snapshot.restore()
        outcome = None
        try:
            if self._server is None or fresh:
                outcome = run(
                    self.command, self._bench, strike, point.number, classify_path=self._classify
                )
            else:
                outcome = self._server.run(
                    self.command, strike, point.number, classify_path=self._classify
                )
            self._judge(strike, outcome)
        except AssertionError as problem:
            landed = outcome.landed if outcome else None
            return _Verdict(point, landed, f"at {landed or point}: {problem}\n{outcome or ''}")
        return _Verdict(point, outcome.landed, None)

    def _judge(self, strike: Strike, outcome: Outcome) -> None:
        if outcome.landed and strike.mode in DEADLY:
            assert outcome.returncode == -signal.SIGKILL or self.command.shared_counter, (
                "the struck process was not killed"
            )
        self._scenario.crashed(self._folder, outcome)
        self._scenario.resume(self._folder)
        self._scenario.check(self._folder)


class Sweep:
    """A scenario prepared and recorded once, to be struck in several ways.

    At most `WORKERS_MAX` points at once, each worker in a folder of its own below
    `folder`, which must not exist. Use it as a context manager.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        bench: Bench,
        folder: Path,
        workers: int = 1,
        classify_path: Classify = classify,
    ) -> None:
        self._scenario = scenario
        self._stack = ExitStack()
        self._crew: list[_Worker] = []
        with ExitStack() as made:
            for number in range(min(workers, WORKERS_MAX)):
                worker = _Worker(scenario, folder / f"worker-{number}", bench, classify_path)
                made.callback(worker.close)
                self._crew.append(worker)
            self._recorded = self._crew[0].record()
            self._stack = made.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def strike(
        self, strike: Strike, sample: Sample, *, failures_max: int = FAILURES_MAX
    ) -> SweepCounts:
        """Strike at each point of `sample`.

        Raises: SweepFailed, naming the points; a worker stops at `failures_max`.
        """
        applicable = [point for point in self._recorded if strike.applies_to(point.effect)]
        chosen = sample.of(applicable)
        verdicts = _share(self._crew, strike, chosen, failures_max)
        for turn in range(AGAIN_MAX if sample.every_pair else 0):
            # Threads of the engine write beside each other: a call can come one place later.
            again = _elsewhere(applicable, chosen, verdicts, turn)
            if not again:
                break
            chosen = (*chosen, *again)
            verdicts += _share(self._crew, strike, again, failures_max)
        name = self._scenario.name
        failures = [verdict.failure for verdict in verdicts if verdict.failure is not None]
        if failures:
            head = f"{name}, {strike}, seed {sample.seed}: {len(failures)} points failed"
            raise SweepFailed("\n\n".join([head, *failures]))
        return _count(
            name,
            strike,
            recorded=len(self._recorded),
            applicable=applicable,
            chosen=chosen,
            verdicts=verdicts,
        )


def sweep(
    scenario: Scenario,
    strike: Strike,
    sample: Sample,
    *,
    bench: Bench,
    folder: Path,
    workers: int = 1,
    failures_max: int = FAILURES_MAX,
    classify_path: Classify = classify,
) -> SweepCounts:
    """One strike of a `Sweep`."""
    with Sweep(
        scenario, bench=bench, folder=folder, workers=workers, classify_path=classify_path
    ) as made:
        return made.strike(strike, sample, failures_max=failures_max)


def _share(
    crew: Sequence[_Worker], strike: Strike, chosen: Sequence[Point], failures_max: int
) -> list[_Verdict]:
    """Give every worker its part of the points; each stops at its failures' limit."""

    def work(number: int) -> list[_Verdict]:
        verdicts: list[_Verdict] = []
        failures = 0
        for index, point in enumerate(chosen[number :: len(crew)]):
            verdict = crew[number].strike(strike, point, fresh=index % FRESH_EVERY == 0)
            verdicts.append(verdict)
            failures += verdict.failure is not None
            if failures == failures_max:
                break
        return verdicts

    with ThreadPoolExecutor(len(crew)) as pool:
        return [verdict for part in pool.map(work, range(len(crew))) for verdict in part]


def _elsewhere(
    applicable: Sequence[Point],
    chosen: Sequence[Point],
    verdicts: Sequence[_Verdict],
    turn: int,
) -> tuple[Point, ...]:
    """For each pair that was chosen and not struck a point of it, another one at each turn."""
    if any(verdict.failure for verdict in verdicts):
        return ()
    struck = {verdict.landed.name for verdict in verdicts if verdict.landed}
    lost = sorted({point.name for point in chosen} - struck)
    groups = ([point for point in applicable if point.name == name] for name in lost)
    return tuple(group[turn % len(group)] for group in groups)


def _count(
    scenario: str,
    strike: Strike,
    *,
    recorded: int,
    applicable: Sequence[Point],
    chosen: Sequence[Point],
    verdicts: Sequence[_Verdict],
) -> SweepCounts:
    """Add up what the points came to."""
    tally = Counter[str]()
    for verdict in verdicts:
        tally["landed" if verdict.landed else "missed"] += 1
        tally["moved"] += verdict.landed is not None and verdict.landed.name != verdict.point.name
    return SweepCounts(
        scenario=scenario,
        strike=str(strike),
        recorded=recorded,
        applicable=len(applicable),
        chosen=len(chosen),
        landed=tally["landed"],
        missed=tally["missed"],
        moved=tally["moved"],
        pairs_recorded=frozenset(point.name for point in applicable),
        pairs_landed=frozenset(verdict.landed.name for verdict in verdicts if verdict.landed),
    )


def crash_at(
    command: Command,
    bench: Bench,
    strike: Strike,
    wanted: Callable[[Point], bool],
    rewind: Callable[[], None],
) -> Outcome:
    """Leave a run crashed at the first point that is `wanted`, as a scenario's preparation.

    Records once, calls `rewind` to undo that, and strikes.

    Raises: AssertionError when no point is wanted, or the strike did not land.
    """
    recorded = record(command, bench).log.recorded
    rewind()
    point = next((point for point in recorded if wanted(point)), None)
    assert point is not None, f"no such point among {len(recorded)}"
    outcome = run(command, bench, strike, point.number)
    assert outcome.landed is not None, f"{point} was not reached again: {outcome}"
    return outcome
