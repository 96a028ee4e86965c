"""The engine's way into the journal: laws N1 and N4, full disks, a lost lease.

A commit fails as the journal sees it fail: its connection reports an I/O error,
before or after the commit took place. All else is real.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.home.opening import open_engine
from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.machine.records import Noted, StepIntent, Transition
from noodle_engine.machine.states import Reason, State
from noodle_engine.machine.upgrade import Fold, fold
from noodle_journal.errors import NoodleError
from noodle_journal.failures import JournalFull, LeaseLost
from noodle_journal.storage.database import sqlite3
from tests.conftest import require_system
from tests.unit.execute.site import WAIT_S_MAX, Driven, Site, hook

IO_ERROR_FSYNC = 10 | (4 << 8)
COMMITS_MAX = 40


class FailingCommit:
    """A connection of which one COMMIT reports an I/O error, before or after it took place."""

    def __init__(self, real: sqlite3.Connection, *, number: int, survives: bool) -> None:
        self.real = real
        self.left = number
        self.survives = survives
        self.failed = False

    def execute(self, statement: str, *values: Any) -> Any:
        if statement != "COMMIT":
            return self.real.execute(statement, *values)
        self.left -= 1
        if self.left:
            return self.real.execute(statement)
        self.failed = True
        if self.survives:
            self.real.execute(statement)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = IO_ERROR_FSYNC
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def fail_commit(driven: Driven, *, survives: bool, number: int = 1) -> FailingCommit:
    """The `number`-th commit from now on fails; a reopened journal has a sound connection."""
    writer = driven.engine.journal._writer
    failing = FailingCommit(writer._connection, number=number, survives=survives)
    double: Any = failing
    writer._connection = double
    return failing


def refold(driven: Driven) -> Fold:
    """The fold of all that the journal holds."""
    world = Fold()
    for entry in driven.entries():
        world = fold(world, entry)
    return world


def codes(driven: Driven) -> list[str]:
    return [one.event.code for one in driven.entries() if isinstance(one.event, Noted)]


def note(driven: Driven, code: str) -> None:
    driven.engine.append([Noted(code, "for a test")], actor="test")


# -- commits of unknown outcome (law N4) ----------------------------------------


@pytest.mark.parametrize("first_of_session", [True, False])
@pytest.mark.parametrize("survives", [True, False])
def test_a_record_of_unknown_outcome_is_there_once(
    driven: Driven, survives: bool, first_of_session: bool
) -> None:
    """Neither lost nor written twice, whether its commit survived or not."""
    if not first_of_session:
        note(driven, "before")
    failing = fail_commit(driven, survives=survives)

    note(driven, "once")
    note(driven, "after")

    assert failing.failed
    assert codes(driven)[-2:] == ["once", "after"]
    assert codes(driven).count("once") == 1
    assert driven.engine.live.seq == driven.engine.journal.size
    assert driven.engine.journal.poisoned is None


@pytest.mark.parametrize("survives", [True, False])
def test_an_upgrade_goes_on_whichever_of_its_commits_fails(site: Site, survives: bool) -> None:
    """N1, N4: at each commit in turn. The fold is that of the records, no intent is there twice."""
    failed = 0
    for number in range(1, COMMITS_MAX):
        name = f"app{number}"
        site.release(name, "1.0.0", hook("after-swap", ["true"], undo=["true"]))
        driven = Driven.open(site)
        try:
            plan = driven.plan(f"{name}@1.0.0")
            failing = fail_commit(driven, survives=survives, number=number)
            upgrade = driven.submit(plan)
            assert driven.engine.wait(upgrade, WAIT_S_MAX)
            if not failing.failed:
                break
            failed += 1
            assert driven.state(upgrade) is State.COMMITTED
            assert site.has(name, "1.0.0")
            intents = Counter(
                (one.step, one.attempt, one.undo)
                for one in driven.events(upgrade)
                if isinstance(one, StepIntent)
            )
            assert set(intents.values()) == {1}
            moves = [one.target for one in driven.events(upgrade) if isinstance(one, Transition)]
            assert len(moves) == len(set(moves))
            assert driven.engine.world == refold(driven)
        finally:
            driven.close()
    assert 8 < failed < COMMITS_MAX - 1


class GroupCommit(FailingCommit):
    """It waits, inside its transaction, until somebody else has queued; then its commit fails."""

    def __init__(self, driven: Driven, *, survives: bool) -> None:
        self.journal = driven.engine.journal
        super().__init__(self.journal._writer._connection, number=1, survives=survives)
        self.began = threading.Event()

    def execute(self, statement: str, *values: Any) -> Any:
        done = super().execute(statement, *values)
        if statement.startswith("BEGIN"):
            self.began.set()
            while not self.journal._queue:
                os.sched_yield()
        return done


@pytest.mark.parametrize("survives", [True, False])
def test_of_two_in_one_failed_group_commit_each_finds_its_own_record(
    driven: Driven, survives: bool
) -> None:
    note(driven, "before")
    failing = GroupCommit(driven, survives=survives)
    double: Any = failing
    driven.engine.journal._writer._connection = double
    failures: list[BaseException] = []

    def write(code: str) -> None:
        try:
            note(driven, code)
        except NoodleError as failure:
            failures.append(failure)

    leader = threading.Thread(target=write, args=("leader",))
    follower = threading.Thread(target=write, args=("follower",))
    leader.start()
    assert failing.began.wait(WAIT_S_MAX)
    follower.start()
    leader.join(WAIT_S_MAX)
    follower.join(WAIT_S_MAX)

    assert failing.failed
    assert failures == []
    assert sorted(codes(driven)[1:]) == ["follower", "leader"]
    assert driven.engine.live.seq == driven.engine.journal.size


def test_while_the_journal_cannot_be_read_again_nothing_is_done_and_then_all_goes_on(
    driven: Driven,
) -> None:
    """N4: the record survived, its caller was told that nobody knows, and the fold has it later."""
    note(driven, "before")
    fail_commit(driven, survives=True)
    journal = driven.site.path / "journal.db"
    away = journal.rename(journal.with_name("away"))
    world = driven.engine.live
    with pytest.raises(NoodleError):
        note(driven, "unknown")
    with pytest.raises(NoodleError):
        note(driven, "not written")
    assert driven.engine.live is world
    away.rename(journal)

    note(driven, "after")

    assert codes(driven) == ["before", "unknown", "after"]
    assert driven.engine.live.seq == driven.engine.journal.size


def test_a_failing_commit_twice_in_a_row_ends_the_thread_and_loses_nothing(
    driven: Driven,
) -> None:
    """The upgrade's thread stops with the failure; the upgrade is open and goes on at resume."""
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    fail_commit(driven, survives=False)
    journal = site.path / "journal.db"
    away = journal.rename(journal.with_name("away"))
    gate.open()
    with pytest.raises(NoodleError):
        driven.engine.wait(upgrade, WAIT_S_MAX)
    assert site.has("web", None), "the step after the unrecorded one did not begin"
    away.rename(journal)

    driven.engine.resume(upgrade, actor="test")
    gate.wait()  # in doubt, so it runs again under the same key
    gate.open()

    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.COMMITTED
    assert driven.engine.world == refold(driven)


def test_a_fold_that_failed_stops_all_further_records(driven: Driven) -> None:
    """N1: what is behind the journal decides nothing more."""
    note(driven, "before")

    def deaf(_heard: object) -> None:
        raise OSError("its ear is broken")

    unlisten = driven.engine.listen(deaf)
    with pytest.raises(OSError, match="ear"):
        note(driven, "durable")
    unlisten()
    size = driven.engine.journal.size

    for _ in range(2):
        with pytest.raises(InvariantBroken):
            note(driven, "never")

    assert driven.engine.journal.size == size
    assert codes(driven) == ["before", "durable"]


# -- a full disk ----------------------------------------------------------------


@pytest.fixture
def small_site() -> Iterator[Site]:
    """A home on a file system of its own, with little room."""
    require_system("mount", lambda: os.geteuid() == 0, install="run as root, to mount a tmpfs")
    with tempfile.TemporaryDirectory(prefix="noodle-full-") as name:
        folder = Path(name)
        (folder / "disk").mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=7m", "none", folder / "disk"], check=True
        )
        try:
            made = Site(folder, path=folder / "disk" / "home")
            yield made
            made.close()
        finally:
            subprocess.run(["umount", folder / "disk"], check=True)


def filling(site: Site) -> list[str]:
    """A command that fills the journal's disk, and succeeds."""
    return ["sh", "-c", f"cat /dev/zero > {site.path.parent}/ballast 2> /dev/null; true"]


def ballast(site: Site) -> Path:
    return site.path.parent / "ballast"


def fill_up(driven: Driven) -> None:
    """Fill the disk, and the room that is left in the journal's own files."""
    subprocess.run(filling(driven.site), check=True)
    for _ in range(COMMITS_MAX):
        try:
            driven.engine.append([Noted("long", "x" * 4000)], actor="test")
        except JournalFull:
            return
    pytest.fail("the disk is not full")


def test_a_full_disk_turns_an_upgrade_back_from_the_reserve(small_site: Site) -> None:
    site = small_site
    gate = site.gate("gate")
    site.release("web", "1.0.0")
    site.release("web", "1.1.0", hook("after-swap", gate.command))
    driven = Driven.open(site)
    try:
        driven.apply("web@1.0.0")
        upgrade = driven.submit(driven.plan("web@1.1.0"))
        gate.wait()
        assert site.has("web", "1.1.0")
        fill_up(driven)
        gate.open()

        assert driven.engine.wait(upgrade, WAIT_S_MAX)

        assert driven.state(upgrade) is State.ROLLED_BACK
        assert site.has("web", "1.0.0")
        (turned,) = [
            one
            for one in driven.events(upgrade)
            if isinstance(one, Transition)
            and one.reason is Reason.STEP_FAILED
            and one.undoing
            and one.target is State.SWAPPING
        ]
        assert turned.detail is not None
        ballast(site).unlink()
        assert driven.engine.journal.restore_reserve()
    finally:
        driven.close()
    with site.open() as noodle:
        assert noodle.audit_verify().ok


def test_on_a_full_disk_a_request_is_refused_and_an_abort_and_a_rollback_are_not(
    small_site: Site,
) -> None:
    """Promise 7: space for going back is set aside."""
    site = small_site
    gate = site.gate("gate")
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    site.release("api", "1.0.0", hook("before-swap", gate.command))
    site.release("new", "1.0.0")
    driven = Driven.open(site)
    try:
        driven.apply("web@1.0.0")
        driven.apply("web@1.1.0")
        api = driven.submit(driven.plan("api@1.0.0"))
        gate.wait()
        fill_up(driven)
        world, size = driven.engine.world, driven.engine.journal.size
        with pytest.raises(JournalFull):
            driven.submit(driven.plan("new@1.0.0"))
        assert (driven.engine.world, driven.engine.journal.size) == (world, size)

        driven.engine.abort(api, actor="test")
        assert driven.engine.wait(api, WAIT_S_MAX)
        assert driven.state(api) is State.ROLLED_BACK

        plan = driven.planner().back("web").plan
        assert plan is not None
        back = driven.submit(plan)
        assert driven.engine.wait(back, WAIT_S_MAX)
        assert driven.state(back) is State.COMMITTED
        assert site.has("web", "1.0.0")
    finally:
        driven.close()


def test_on_a_full_disk_a_resume_is_recorded_and_goes_back(small_site: Site) -> None:
    site = small_site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("after-swap", gate.command))
    first = Driven.open(site)
    upgrade = first.submit(first.plan("web@1.0.0"))
    gate.wait()
    first.engine.leave()
    fill_up(first)
    gate.open()
    with pytest.raises(JournalFull):
        first.engine.wait(upgrade, WAIT_S_MAX)  # its result found no room: it is in doubt
    first.close()
    second = Driven.open(site)
    try:
        second.engine.resume(upgrade, actor="test")
        assert second.engine.wait(upgrade, WAIT_S_MAX)
        assert second.state(upgrade) is State.ROLLED_BACK
        assert site.has("web", None)
    finally:
        second.close()


# -- a lost lease ---------------------------------------------------------------


def test_an_engine_that_lost_its_lease_neither_writes_nor_touches_a_target(site: Site) -> None:
    """Promise 6: its lock file was removed under it, and another engine opened the home."""
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    first = Driven.open(site)
    upgrade = first.submit(first.plan("web@1.0.0"))
    gate.wait()
    site.home.lock_file.unlink()
    second = open_engine(site.home, lock_file(site.home.lock_file), {})
    try:
        size = second.journal.size
        gate.open()

        with pytest.raises(LeaseLost):
            first.engine.wait(upgrade, WAIT_S_MAX)
        with pytest.raises(LeaseLost):
            note(first, "late")

        assert site.has("web", None)
        assert second.journal.size == size
        assert begun_last(first, upgrade) == "before-swap:web:0"
    finally:
        second.close()
        first.close()


def begun_last(driven: Driven, upgrade: str) -> str:
    return [one.step for one in driven.events(upgrade) if isinstance(one, StepIntent)][-1]
