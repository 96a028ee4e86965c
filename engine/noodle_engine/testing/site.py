"""One target held to the laws that the way forward alone does not show.

Owns what somebody does to an upgrade: doing a step again, taking all back, a stranger's
change, dropping what is kept, another clock, a second lock. `driving` does the steps.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import ABSENT, StepName
from noodle_engine.targets.base import StepContext, Target
from noodle_engine.testing.driving import FORWARD, LOG, Driven, difference
from noodle_engine.testing.laws import Law
from noodle_engine.testing.versions import MARK, look, remove

__all__ = ["FORWARD", "Site"]

_OTHER_LOG: Final = "log-of-another"
_ROOM: Final = (
    ".noodle",
    ".noodle/*",
    *(f".noodle/*/{name}" for name in ("lock", "commands", "owner", "releases", "data")),
    ".noodle/*/manifests*",
)
"""What stays beside a target for ever: its lock, its mark, and what is known of trees."""
_A_YEAR_S: Final = 366 * 24 * 3600


class Site(Driven):
    """A target under test; see `Driven` for how an upgrade of it is begun and done."""

    __slots__ = ()

    def again(self) -> None:
        """Law AGAIN: the last step that is done, done once more."""
        step = self.done[-1]
        before = look(self.srv)
        context = self._in()
        first = self._answer_of(step)
        work = self._locked(lambda: self.target.do(step, context))
        ended = self._act(f"do {step} again", work)
        if ended.failure is not None:
            self.broken(Law.AGAIN, f"{step}, done again, raised {ended.failure}: {ended.why}")
        if first is not None and ended.answer.root != first:
            self.broken(Law.AGAIN, f"{step} answered {first}, and then {ended.answer.root}")
        after = look(self.srv)
        if after != before:
            self.broken(Law.AGAIN, f"{step}, done again, {difference(before, after)}")
        if step is StepName.POINT:
            self._remember(step, ended.answer)

    def _answer_of(self, step: StepName) -> str | None:
        context = self._in()
        if step is StepName.STAGE:
            return context.expected_new
        return context.expected_old if step is StepName.SNAPSHOT else None

    def back(self, schedule: tuple[int, ...] = ()) -> None:
        """Take all back that was begun, in reverse; laws BACK and CLEAN."""
        for step in (StepName.SWAP, StepName.STAGE):
            if step in self.begun:
                self._undo(step, schedule)
        if StepName.STAGE in self.begun:  # before it nothing was done that could be cleaned up
            self._clean_up(schedule)
        self._is_old()
        self._left_nothing()
        self.begun, self.done, self.context = [], [], None

    def _undo(self, step: StepName, schedule: tuple[int, ...]) -> None:
        context = self._in()
        work = self._locked(lambda: self.target.undo(step, context))
        self._until_done(f"undo {step}", work, schedule)
        if step is StepName.SWAP:
            self._is_old()
        before = look(self.srv)
        self._until_done(f"undo {step} again", work, ())
        if look(self.srv) != before:
            found = difference(before, look(self.srv))
            self.broken(Law.AGAIN, f"undo {step}, done again, {found}")

    def _clean_up(self, schedule: tuple[int, ...]) -> None:
        context = self._in()
        clean = StepName.CLEAN_ROLLED_BACK
        work = self._locked(lambda: self.target.do(clean, context))
        self._until_done(f"do {clean}", work, schedule)

    def _until_done(self, name: str, work: Callable[[], Any], schedule: tuple[int, ...]) -> None:
        for die_at in (*schedule, None):
            ended = self._act(name, work, die_at=die_at)
            if not ended.killed:
                if ended.failure is not None:
                    self.broken(Law.BACK, f"{name} raised {ended.failure}: {ended.why}")
                return
            self.whole()

    def _is_old(self) -> None:
        seen = self.seen()
        if seen != self.shown(self.old):
            self.broken(Law.BACK, f"a user of the target finds {self._word(seen)}")
        found = self._looked()
        if found != self._look_old:
            told = difference(self._look_old or {}, found or {})
            self.broken(Law.BACK, f"the old is back, but not as it was: the way there {told}")

    def _left_nothing(self) -> None:
        after = look(self.srv)
        left = [
            name
            for name in after.keys() - self._was.keys()
            if not _may_stay(name) or (self.context is not None and self.context.upgrade in name)
        ]
        gone = [name for name in self._was.keys() - after.keys() if not name.startswith(".noodle")]
        if left or gone:
            words = [f"left {name}" for name in sorted(left)]
            words += [f"lost {name}" for name in sorted(gone)]
            self.broken(Law.CLEAN, f"what was taken back {', '.join(words)}")

    def stranger(self, schedule: tuple[int, ...] = ()) -> None:
        """Law STRANGER: somebody puts something else at the target, now.

        Then the next step must refuse, so must the way back, and `restore` puts the old
        back and keeps what is not ours. The upgrade is over then.
        """
        step = self.step
        self.story.append("a stranger puts something at the target")
        self.versions.trespass(self.path)
        theirs = self.seen()
        if step is StepName.SWAP:
            self.begun.append(step)
        if step in (StepName.SWAP, StepName.RECHECK):
            self._refused(f"do {step}", lambda context: self.target.do(step, context), theirs)
            if self.probe(StepName.SWAP).answer is not ProbeAnswer.FOREIGN:
                self.broken(Law.PROBE, "of swap it does not say foreign of a stranger's")
        if StepName.SWAP in self.begun:
            swap = StepName.SWAP
            self._refused(f"undo {swap}", lambda context: self.target.undo(swap, context), theirs)
        self._restore(schedule)

    def _refused(self, name: str, work: Callable[[StepContext], Any], theirs: Any) -> None:
        context = self._in()
        ended = self._act(name, self._locked(lambda: work(context)))
        if self.seen() != theirs:
            found = f"{name} put {self._word(self.seen())} in a stranger's place"
            self.broken(Law.STRANGER, found)
        if ended.failure is None:
            self.broken(Law.STRANGER, f"{name} found a stranger's, and says that all is well")

    def _restore(self, schedule: tuple[int, ...]) -> None:
        restore_source = None
        if self.old is not None:
            folder = self.folder / f"restore-{self._number}"
            folder.mkdir()
            restore_source = self.versions.pay(folder, self.old)
        self.context = replace(self._in(), restore=True, restore_source=restore_source)
        self.story.append("a person says: restore")
        context = self._in()
        work = self._locked(lambda: self.target.undo(StepName.SWAP, context))
        for die_at in (*schedule, None):
            ended = self._act("undo swap", work, die_at=die_at)
            self._marked()
            if ended.killed:
                continue
            if ended.failure is not None and StepName.SWAP not in self.done:
                # The old was at the target when the stranger came: it may be gone for good.
                self._start_over()
                return
            self._must(ended, "undo swap")
            break
        self._is_old()
        if StepName.STAGE in self.begun:
            stage = StepName.STAGE
            undo = self._locked(lambda: self.target.undo(stage, context))
            self._until_done("undo stage", undo, ())
        self._clean_up(())
        self._is_old()
        self._marked()
        self.begun, self.done, self.context = [], [], None

    def _start_over(self) -> None:
        self.story.append("refused; the folder is made anew")
        self.forget()
        self.deploy(self.old)

    def _marked(self) -> None:
        if not any(MARK in path.read_bytes() for path in _files(self.srv)):
            self.broken(Law.STRANGER, "what a stranger wrote is nowhere any more")

    def drop(self) -> None:
        """Law KEPT, its end: a kept old that is dropped is gone, and twice is once."""
        location = self.location
        if location is None:
            return
        before = look(self.srv)
        ended = self._act("cost", lambda: (self.target.cost(location), self.target.users(location)))
        cost, _ = self._must(ended, "cost")
        self._unchanged("cost", before)
        if cost is None:
            self.broken(Law.KEPT, "cost says that a kept old is gone")
        for name in ("drop", "drop again"):
            work = self._locked(lambda: self.target.drop(location))
            self._must(self._act(name, work), name)
            if os.path.lexists(location):
                self.broken(Law.KEPT, f"after {name} the kept old is still there")
        if self.seen() != self.shown(self.installed):
            self.broken(Law.KEPT, f"drop took away {self._word(self.seen())}")
        self.location = self.kept = None

    def steady(self, new: Any) -> None:
        """Law STEADY: the same upgrade, a year later, answers the same. Ends as `deploy` did."""
        told = []
        clock_of = importlib.import_module(type(self.target).__module__)
        old, number = self.installed, self._number
        for clock_s in (0, _A_YEAR_S):
            self.deploy(old)
            self._number = number  # an upgrade's id may be in what it makes
            self.begin(new)
            context = self._in()
            ahead = {"clock_s": clock_s, "clock_of": clock_of}
            roots = [context.component.root_from, context.component.root]
            for step in (StepName.CHECK, StepName.SNAPSHOT, StepName.STAGE):
                context = self._in()
                work = self._locked(_doing(self.target, step, context))
                ended = self._act(f"do {step}, clock {clock_s} s ahead", work, **ahead)
                observed = self._must(ended, f"do {step}")
                self._remember(step, observed)
                roots.append(observed.root)
            told.append(roots)
        for first, second in zip(*told, strict=True):
            if first != second:
                self.broken(Law.STEADY, f"it answered {first}, and a year later {second}")
        self.deploy(old)

    def locked(self) -> None:
        """Law LOCKED: a lock keeps others out, and a mark other homes."""

        def tried() -> str | None:
            lock = self.target.lock(self.path, LOG, take_over=False)
            with contextlib.suppress(Exception):
                self.target.lock(self.path, LOG, take_over=False).release()
                return "two held one lock"
            lock.release()
            lock.release()
            with contextlib.suppress(Exception):
                self.target.lock(self.path, _OTHER_LOG, take_over=False).release()
                return "another home got the lock of a target that is marked"
            return None

        found = self._must(self._act("lock twice", tried), "lock")
        if found is not None:
            self.broken(Law.LOCKED, found)

    def lock_killed(self, die_at: int) -> bool:
        """Law LOCKED: a process that dies while it locks holds nobody up. Whether it died."""

        def locking() -> None:
            self.target.lock(self.path, LOG, take_over=False).release()

        before = look(self.srv).keys()
        killed = self._act("lock", locking, die_at=die_at).killed
        ended = self._act("lock", locking)
        if ended.failure is not None:
            self.broken(Law.LOCKED, f"after a kill, lock raised {ended.failure}: {ended.why}")
        self._was = {name: self._was.get(name, ()) for name in before}
        self._left_nothing()
        return killed

    def observed(self) -> None:
        """Law READS of observe: it changes nothing, and answers the same twice."""
        before, options = look(self.srv), dict(self.versions.options)
        work = lambda: self.target.observe(self.path, options=options)  # noqa: E731
        first, second = (self._must(self._act("observe", work), "observe") for _ in range(2))
        self._unchanged("observe", before)
        if first.root != second.root or (first.root == ABSENT) != (self.seen() is None):
            self.broken(Law.READS, f"it observes {first.root}, then {second.root}")

    def close(self) -> None:
        """Remove the folder."""
        remove(self.folder)


def _may_stay(name: str) -> bool:
    return any(fnmatch.fnmatch(name, one) for one in _ROOM)


def _doing(target: Target, step: StepName, context: StepContext) -> Callable[[], Any]:
    return lambda: target.do(step, context)


def _files(folder: Path) -> Iterator[Path]:
    return (one for one in folder.rglob("*") if one.is_file() and not one.is_symlink())
