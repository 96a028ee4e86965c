"""One target on a real file system, upgraded as the engine does it, and held to the laws.

Owns the order of steps, the contexts that they get, and every look whether a law holds.
What a step is said to have done is never believed: `Versions.read` looks at the target
as a user of it does. Each act is a process of its own (see `acting`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import ABSENT, PlanComponent, StepName
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import path_bytes
from noodle_engine.targets.base import ProbeFound, Source, StepContext, Target, TargetRequest
from noodle_engine.testing.acting import Ended, act
from noodle_engine.testing.failures import ContractBroken
from noodle_engine.testing.laws import PROMISES, Law
from noodle_engine.testing.striking import SYNCS
from noodle_engine.testing.versions import Versions, look

__all__ = ["FORWARD", "LOG", "Driven", "difference"]

FORWARD: Final = (
    StepName.CHECK,
    StepName.SNAPSHOT,
    StepName.STAGE,
    StepName.SWAP,
    StepName.RECHECK,
    StepName.POINT,
    StepName.CLEAN_COMMITTED,
)
LOG: Final = "log-testing"
_NAMING: Final = frozenset({"rename", "replace", "link", "symlink"})
_WRITING: Final = frozenset({"write", "pwrite", "writev", "copy_file_range", "sendfile"})


@dataclass(slots=True)
class Driven:
    """A folder with one target in it; `begin` opens an upgrade of it.

    `installed` is the version at the target, `begun` the steps whose intent a journal
    would have, `done` those that ended, `location` where the last old is kept.
    """

    target: Target
    versions: Versions
    folder: Path
    story: list[str] = field(default_factory=list)
    installed: Any = None
    new: Any = None
    old: Any = None
    begun: list[StepName] = field(default_factory=list)
    done: list[StepName] = field(default_factory=list)
    context: StepContext | None = None
    location: Path | None = None
    kept_content: str = ""
    kept: Any = None
    kills: int = 0
    _number: int = 0
    _was: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _root: str | None = None
    _content: str | None = None
    _options: dict[str, str] = field(default_factory=dict)
    _look_old: dict[str, tuple[str, ...]] | None = None

    # -- what is there ------------------------------------------------------

    @property
    def srv(self) -> Path:
        """The target's folder."""
        return self.folder / "srv"

    @property
    def path(self) -> Path:
        """The target."""
        return self.srv / "target"

    @property
    def step(self) -> StepName | None:
        """The step that comes next; None once all are done."""
        return FORWARD[len(self.done)] if len(self.done) < len(FORWARD) else None

    def seen(self) -> Any:
        """What a user of the target finds."""
        return self.versions.read(self.path)

    def broken(self, law: Law, found: str) -> NoReturn:
        """Raise ContractBroken."""
        raise ContractBroken(
            kind=self.target.kind,
            law=law.value,
            promise=PROMISES[law],
            found=found,
            story=tuple(self.story),
        )

    def _word(self, seen: Any) -> str:
        if seen == self.shown(self.old):
            return "the old"
        if seen == self.shown(self.new):
            return "the new"
        text = repr(seen)
        return "nothing" if seen is None else text if len(text) < 80 else f"{text[:77]}..."

    def shown(self, version: Any) -> Any:
        """What a user finds of a version, None for none."""
        return None if version is None else self.versions.shown(version)

    # -- acts ---------------------------------------------------------------

    def _act(self, name: str, work: Callable[[], Any], **how: Any) -> Ended:
        die_at = how.get("die_at")
        self.story.append(name if die_at is None else f"{name}, killed after {die_at} calls")
        if isinstance(work, Locked):
            how["around"] = work.around
        ended = act(work, **how)
        self.kills += ended.killed
        if die_at is not None and not ended.killed:
            self.story[-1] = f"{name}, which ended before its kill"
        if ended.late:
            self.broken(Law.WORKS, ended.why)
        if ended.killed and die_at is None:
            self.broken(Law.WORKS, "its process was killed by itself")
        if ended.failure == "death":
            self.broken(Law.WORKS, ended.why)
        if ended.left:
            self.broken(Law.LEAKS, f"{name} left {', '.join(ended.left)}")
        if ended.failure is not None and not ended.refused:
            self.broken(Law.WORKS, f"{name} raised {ended.failure}: {ended.why}\n{ended.trace}")
        return ended

    def _locked(self, work: Callable[[], Any]) -> Locked:
        return Locked(work, self._held)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        lock = self.target.lock(self.path, LOG, take_over=False)
        try:
            yield
        finally:
            lock.release()

    def _must(self, ended: Ended, name: str) -> Any:
        if ended.failure is not None:
            self.broken(Law.WORKS, f"{name} raised {ended.failure}: {ended.why}")
        return ended.answer

    # -- an upgrade ---------------------------------------------------------

    def deploy(self, version: Any) -> None:
        """Make the folder anew, with a version at the target that nobody has installed."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.srv.mkdir(parents=True)
        if version is not None:
            self.versions.deploy(self.path, version)
        self.installed = version

    def begin(self, new: Any, *, from_point: bool = False) -> None:
        """Plan an upgrade to `new` (None: a removal), or back to the old that is kept."""
        self._number += 1
        self.story.append(f"begin upgrade {self._number}")
        self.old, self.new = self.installed, self.kept if from_point else new
        self.begun, self.done = [], []
        source = self._source(from_point=from_point)
        self._must(self._act("lock", self._locked(lambda: None)), "lock")
        self._was, self._look_old = look(self.srv), self._looked()
        request = TargetRequest(
            component="tested",
            path=self.path,
            home_log=LOG,
            new=source,
            installed_root=self._root,
            installed_content=self._content,
            installed_options=self._options,
            options=dict(self.versions.options),
        )
        plan = self._must(self._act("plan", lambda: self.target.plan(request)), "plan")
        self._unchanged("plan", self._was)
        component = PlanComponent(
            name="tested",
            kind=self.target.kind,
            target=str(self.path),
            root_from=plan.root_from,
            root=plan.root_to,
            from_version=None if self.old is None else "1.0.0",
            to_version=None if self.new is None else "1.1.0",
            options=dict(self.versions.options if plan.options is None else plan.options),
        )
        self.context = StepContext(
            upgrade=f"01TESTING{self._number:017}",
            key="",
            component=component,
            path=self.path,
            home_log=LOG,
            source=None if source is None else replace(source, content=plan.root_to),
            expected_old=plan.root_from,
            expected_new=ABSENT if source is None else None,
            snapshot=None,
            from_version=component.from_version,
        )

    def _source(self, *, from_point: bool) -> Source | None:
        if from_point and self.location is not None:
            return Source(self.location, self.kept_content, point=True)
        if self.new is None:
            return None
        folder = self.folder / f"release-{self._number}"
        folder.mkdir()
        return self.versions.pay(folder, self.new)

    def _looked(self) -> dict[str, tuple[str, ...]] | None:
        return look(self.path.resolve()) if os.path.lexists(self.path) else None

    def _in(self) -> StepContext:
        if self.context is None:
            raise LookupError("no upgrade was begun")
        return replace(self.context, key=f"{self.context.upgrade}:{self.step}")

    def forward(self, schedule: tuple[int, ...] = ()) -> None:
        """Do the next step; its process is killed at the points of the schedule first.

        After each kill the target is looked at, and the engine's question is asked: probe.
        """
        step = self.step
        if step is None:
            raise LookupError("every step is done")
        self.begun.append(step)
        for die_at in schedule:
            ended = self._do(step, die_at)
            if not ended.killed:
                return self._did(step, self._must(ended, f"do {step}"))
            self.whole()
            probed = self.probe(step)
            if probed.answer is ProbeAnswer.DONE:
                return self._did(step, probed.observed)
        ended = self._do(step, None)
        observed = self._must(ended, f"do {step}")
        if not schedule:
            self._durable(step, ended.calls)
        return self._did(step, observed)

    def interrupt(self, die_at: int) -> None:
        """Begin the next step, and kill its process; it stays in doubt unless it ended before."""
        step = self.step
        if step is None:
            raise LookupError("every step is done")
        self.begun.append(step)
        ended = self._do(step, die_at)
        if ended.killed:
            self.whole()
            self.probe(step)
            return
        self._did(step, self._must(ended, f"do {step}"))

    def _do(self, step: StepName, die_at: int | None) -> Ended:
        context = self._in()
        work = self._locked(lambda: self.target.do(step, context))
        return self._act(f"do {step}", work, die_at=die_at)

    def _did(self, step: StepName, observed: Any) -> None:
        self._remember(step, observed)
        self.done.append(step)
        seen = self.seen()
        flipped = StepName.SWAP in self.done
        if seen != self.shown(self.new if flipped else self.old):
            found = f"after {step} a user of the target finds {self._word(seen)}"
            self.broken(Law.WORKS if flipped else Law.WHOLE, found)
        if step is StepName.CLEAN_COMMITTED:
            self._committed()

    def _remember(self, step: StepName, observed: Any) -> None:
        """Take over what the journal would have of a step's answer."""
        if not isinstance(observed, Observation):
            self.broken(Law.WORKS, f"{step} answered {observed!r}, which is no Observation")
        context = self._in()
        if step is StepName.CHECK:
            context = replace(context, checked=observed)
        if step is StepName.SNAPSHOT:
            context = replace(context, snapshot=observed, expected_old=observed.root)
        if step is StepName.STAGE:
            context = replace(context, staged=observed, expected_new=observed.root)
        if step is StepName.POINT:
            self._point(observed)
        self.context = context

    def _point(self, observed: Observation) -> None:
        where = observed.attributes.get("location")
        if where is None and self.old is not None:
            self.broken(Law.KEPT, "point says no `location` of the old")
        self.location = None if where is None else Path(os.fsdecode(path_bytes(where)))
        self.kept_content = observed.attributes.get("content", "")
        self.kept = self.old

    def _committed(self) -> None:
        context = self._in()
        self.installed = self.new
        self._root = None if self.new is None else context.expected_new
        self._content = None if self.new is None else context.component.root
        self._options = {} if self.new is None else dict(context.component.options)
        self.kept_is_whole()

    def forget(self) -> None:
        """Forget every upgrade: what is at the target was put there by hand."""
        self.begun, self.done, self.context, self.location = [], [], None, None
        self._root = self._content = self.kept = None
        self._options = {}

    # -- the laws -----------------------------------------------------------

    def whole(self) -> None:
        """Law WHOLE: old or new, and nothing between."""
        seen = self.seen()
        if seen not in (self.shown(self.old), self.shown(self.new)):
            self.broken(Law.WHOLE, f"a user of the target finds {self._word(seen)}")

    def probe(self, step: StepName) -> ProbeFound:
        """Law PROBE, and READS of it: its answer, once that is true."""
        context = self._in()
        before, seen = look(self.srv), self.seen()
        work = self._locked(lambda: self.target.probe(step, context))
        found = self._must(self._act(f"probe {step}", work), f"probe {step}")
        if not isinstance(found, ProbeFound):
            self.broken(Law.PROBE, f"it answered {found!r}, which is no ProbeFound")
        self._unchanged(f"probe {step}", before)
        known = seen in (self.shown(self.old), self.shown(self.new))
        if known and found.answer is ProbeAnswer.FOREIGN:
            self.broken(Law.PROBE, f"of {step} it says foreign, and {self._word(seen)} is there")
        if step is StepName.SWAP and self.shown(self.old) != self.shown(self.new):
            lied = found.answer is ProbeAnswer.DONE and seen != self.shown(self.new)
            if lied or (not known and found.answer is not ProbeAnswer.FOREIGN):
                there = self._word(seen)
                self.broken(Law.PROBE, f"of swap it says {found.answer}, and {there} is there")
        return found

    def _durable(self, step: StepName, calls: tuple[str, ...]) -> None:
        """Law DURABLE: the last call that names or writes is not the last of all."""
        if step not in (StepName.STAGE, StepName.SWAP):
            return
        what = _NAMING if step is StepName.SWAP else _NAMING | _WRITING
        changed = [at for at, name in enumerate(calls) if name in what]
        synced = [at for at, name in enumerate(calls) if name in SYNCS]
        if changed and (not synced or synced[-1] < changed[-1]):
            self.broken(Law.DURABLE, f"{step} ends with {calls[changed[-1]]} and no sync after it")

    def kept_is_whole(self) -> None:
        """Law KEPT: the old, whole, where it is said to be."""
        if self.location is None:
            return
        kept = self.versions.read_kept(self.path, self.location)
        if kept != self.shown(self.kept):
            self.broken(Law.KEPT, f"at {self.location.name} is {self._word(kept)}, not the old")

    def _unchanged(self, name: str, before: dict[str, tuple[str, ...]]) -> None:
        after = look(self.srv)
        if after != before:
            self.broken(Law.READS, f"{name} {difference(before, after)}")


@dataclass(frozen=True, slots=True)
class Locked:
    """Work that is done with the target locked, as an engine has it."""

    work: Callable[[], Any]
    around: Callable[[], contextlib.AbstractContextManager[None]]

    def __call__(self) -> Any:
        """Do it; who calls has the lock."""
        return self.work()


def difference(before: dict[str, tuple[str, ...]], after: dict[str, tuple[str, ...]]) -> str:
    """How two looks at a folder differ, in words."""
    words = [f"made {name}" for name in sorted(after.keys() - before.keys())]
    words += [f"removed {name}" for name in sorted(before.keys() - after.keys())]
    words += [
        f"changed {name}"
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    ]
    return ", ".join(words[:5]) or "changed nothing"
