"""Target kinds with one fault each, as an author may plant them: `FAULTS` is the table.

Each is a kind `file` that is sound but for its fault. `drive` is the shortest way to it.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from noodle_engine.disk.names import exchange
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import StepName
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import (
    ProbeFound,
    StepContext,
    TargetLock,
    TargetPlan,
    TargetRequest,
)
from noodle_engine.targets.exchange.target import as_planned
from noodle_engine.targets.file import FileTarget
from noodle_engine.testing.laws import Law
from noodle_engine.testing.site import FORWARD, Site


class SwapsAgain(FileTarget):
    """do is not idempotent: a swap that is done is exchanged back."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        beside = as_planned(context).next(context.upgrade)
        if step is StepName.SWAP and beside.exists():
            exchange(beside, context.path)
            _sync(context.path.parent)
            return self.observe(context.path)
        return super().do(step, context)


class TrustsDone(FileTarget):
    """undo trusts that the swap was done, and exchanges without a look."""

    def undo(self, step: StepName, context: StepContext) -> Observation:
        beside = as_planned(context).next(context.upgrade)
        if step is StepName.SWAP and beside.exists():
            exchange(beside, context.path)
            _sync(context.path.parent)
            return self.observe(context.path)
        return super().undo(step, context)


class Lies(FileTarget):
    """probe says new where the old is."""

    def probe(self, step: StepName, context: StepContext) -> ProbeFound:
        return replace(super().probe(step, context), answer=ProbeAnswer.DONE)


class WritesInPlace(FileTarget):
    """The target is written over, not exchanged: a kill leaves half of it."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        if step is StepName.SWAP and context.source is not None:
            data = context.source.path.read_bytes()
            with context.path.open("r+b", buffering=0) as file:
                file.write(data[: len(data) // 2])
                file.write(data[len(data) // 2 :])
                file.truncate()
                os.fsync(file.fileno())
            return self.observe(context.path)
        return super().do(step, context)


class Overwrites(FileTarget):
    """A stranger's change is overwritten: nobody looks before the swap."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        if step is StepName.SWAP:
            os.replace(as_planned(context).next(context.upgrade), context.path)
            _sync(context.path.parent)
            return self.observe(context.path)
        return super().do(step, context)


class LosesOld(FileTarget):
    """undo makes the old anew from what it has of it, and loses its mode."""

    def undo(self, step: StepName, context: StepContext) -> Observation:
        observed = super().undo(step, context)
        if step is StepName.SWAP:
            context.path.chmod(0o600)
        return observed


class KeepsNothing(FileTarget):
    """The old is deleted at the commit."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        observed = super().do(step, context)
        if step is StepName.POINT and "location" in observed.attributes:
            Path(observed.attributes["location"]).unlink(missing_ok=True)
        return observed


class ReadsTheClock(FileTarget):
    """What stage answers depends on the day."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        observed = super().do(step, context)
        if step is StepName.STAGE:
            return replace(observed, root=f"{observed.root}-{time.strftime('%Y-%m-%d')}")
        return observed


class LeavesFiles(FileTarget):
    """undo leaves what stage made."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        if step is StepName.STAGE:
            (context.path.parent / "backup").write_bytes(b"")
        return super().do(step, context)


class LeavesOpen(FileTarget):
    """A descriptor is never closed."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        os.open(context.path.parent, os.O_RDONLY)
        return super().do(step, context)


class LeavesProcesses(FileTarget):
    """A helper runs on after its step."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        subprocess.Popen(["sleep", "600"]).returncode = 0
        return super().do(step, context)


class LeavesThreads(FileTarget):
    """A thread waits for ever."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().do(step, context)


class SyncsNothing(FileTarget):
    """The swap is one rename, and no sync."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        if step is StepName.SWAP:
            exchange(as_planned(context).next(context.upgrade), context.path)
            return self.observe(context.path)
        return super().do(step, context)


class PlansByDoing(FileTarget):
    """plan writes."""

    def plan(self, request: TargetRequest) -> TargetPlan:
        (request.path.parent / "planned").touch()
        return super().plan(request)


class Remembers(FileTarget):
    """What one step has found is needed by the next, and is in memory only."""

    def __init__(self) -> None:
        self.seen: list[StepName] = []

    def do(self, step: StepName, context: StepContext) -> Observation:
        self.seen.append(step)
        if step is StepName.SWAP and StepName.STAGE not in self.seen:
            raise KeyError("nothing is staged")
        return super().do(step, context)


class LocksNothing(FileTarget):
    """The lock keeps nobody out."""

    def lock(self, path: Path, home_log: str, *, take_over: bool, claim: bool = True) -> TargetLock:
        super().lock(path, home_log, take_over=take_over, claim=claim).release()
        return _NoLock()


class _NoLock:
    def for_command(self) -> Any:
        return self

    def release(self) -> None:
        return None


class Hangs(FileTarget):
    """A step ends its process."""

    def do(self, step: StepName, context: StepContext) -> Observation:
        if step is StepName.SNAPSHOT:
            os._exit(3)
        return super().do(step, context)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


Drive = Callable[[Site], None]


def steps(count: int, then: Sequence[Drive] = ()) -> Drive:
    """The first steps of an upgrade, and what comes then."""

    def drive(site: Site) -> None:
        old, new, _ = site.versions.examples()
        site.deploy(old)
        site.begin(new)
        for _ in range(count):
            site.forward()
        for one in then:
            one(site)

    return drive


def _steady(site: Site) -> None:
    old, new, _ = site.versions.examples()
    site.deploy(old)
    site.steady(new)


STAGED, SWAPPED, ALL = 3, 4, len(FORWARD)


@dataclass(frozen=True)
class Fault:
    """One planted fault: the law that names it, and the way to it."""

    target: type[FileTarget]
    law: Law
    drive: Drive


FAULTS: Final = (
    Fault(SwapsAgain, Law.AGAIN, steps(SWAPPED, [lambda site: site.again()])),
    Fault(
        TrustsDone,
        Law.BACK,
        steps(STAGED, [lambda site: site.interrupt(0), lambda site: site.back()]),
    ),
    Fault(Lies, Law.PROBE, steps(STAGED, [lambda site: site.interrupt(0)])),
    Fault(WritesInPlace, Law.WHOLE, steps(STAGED, [lambda site: site.forward((3,))])),
    Fault(Overwrites, Law.STRANGER, steps(STAGED, [lambda site: site.stranger()])),
    Fault(LosesOld, Law.BACK, steps(SWAPPED, [lambda site: site.back()])),
    Fault(KeepsNothing, Law.KEPT, steps(ALL)),
    Fault(ReadsTheClock, Law.STEADY, _steady),
    Fault(LeavesFiles, Law.CLEAN, steps(STAGED, [lambda site: site.back()])),
    Fault(LeavesOpen, Law.LEAKS, steps(1)),
    Fault(LeavesProcesses, Law.LEAKS, steps(1)),
    Fault(LeavesThreads, Law.LEAKS, steps(1)),
    Fault(SyncsNothing, Law.DURABLE, steps(SWAPPED)),
    Fault(PlansByDoing, Law.READS, steps(0)),
    Fault(Remembers, Law.WORKS, steps(SWAPPED)),
    Fault(LocksNothing, Law.LOCKED, steps(0, [lambda site: site.locked()])),
    Fault(Hangs, Law.WORKS, steps(2)),
)
