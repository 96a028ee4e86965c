"""Performing one action: laws A1 to A3. Real commands, real targets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.disk.failures import DiskError
from noodle_engine.execute.actions import Performer
from noodle_engine.execute.commands.processes import Identity, identify
from noodle_engine.machine.decide import Do, Probe, ProbeAnswer, StepResult
from noodle_engine.machine.plan import (
    HealthCheck,
    Hook,
    HookPoint,
    Plan,
    PlanComponent,
    Step,
    StepName,
    World,
    plan_hash,
    steps_for,
)
from noodle_engine.machine.records import OUTPUT_BYTES_MAX
from noodle_engine.machine.states import Direction, HoldReason, OnCrash, Outcome
from noodle_engine.machine.upgrade import Upgrade
from noodle_journal.failures import JournalError, JournalFull, JournalIoError, LeaseLost

UPGRADE = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
LOG = "0" * 32


def upgrade_of(folder: Path, *hooks: Hook, health: HealthCheck | None = None) -> Upgrade:
    component = PlanComponent(
        name="web",
        kind="file",
        target=str(folder / "web"),
        root_from="absent",
        root="sha256:" + "0" * 64,
        from_version="1.0.0",
        to_version="1.1.0",
        hooks=hooks,
        health=() if health is None else (health,),
    )
    plan = Plan(
        home=LOG,
        direction=Direction.FORWARD,
        components=(component,),
        steps=steps_for([component]),
        world=World(versions={"web": "1.0.0"}, targets={"web": "absent"}, settings_hash=""),
    )
    return Upgrade(
        id=UPGRADE,
        plan=plan,
        plan_hash=plan_hash(plan),
        settings_hash="",
        actor="test",
        requested_ms=0,
        on_crash=OnCrash.FORWARD,
    )


def hook(*command: str, undo: tuple[str, ...] | None = None, reversible: bool = True) -> Hook:
    return Hook(HookPoint.BEFORE_SWAP, command, undo, reversible, timeout_ms=20_000)


def step(upgrade: Upgrade, name: StepName) -> Step:
    return next(one for one in upgrade.plan.steps if one.name is name)


def do(upgrade: Upgrade, name: StepName, *, undo: bool = False, attempt: int = 1) -> Do:
    found = step(upgrade, name)
    return Do(found, key=f"{UPGRADE}:{found.id}", attempt=attempt, undo=undo)


def performer(started: Callable[[str, Identity], None] = lambda _step, _child: None) -> Performer:
    return Performer(
        log_id=LOG,
        now_ms=lambda: 0,
        child_started=started,
        restore_source=lambda _component: None,
    )


def run_hook(folder: Path, made: Hook, *, undo: bool = False) -> StepResult:
    upgrade = upgrade_of(folder, made)
    return performer().do(upgrade, do(upgrade, StepName.BEFORE_SWAP, undo=undo))


# -- one result for each action (law A1) ----------------------------------------


def test_a_command_that_succeeds_is_done_and_one_that_fails_has_failed(tmp_path: Path) -> None:
    done = run_hook(tmp_path, hook("sh", "-c", "echo told"))
    assert (done.outcome, done.error) == (Outcome.DONE, None)
    assert done.output == "told\n"

    failed = run_hook(tmp_path, hook("sh", "-c", "echo why >&2; exit 3"))
    assert failed.outcome is Outcome.FAILED
    assert failed.error is not None
    assert "3" in failed.error
    assert failed.output == "why\n"


@pytest.mark.parametrize("command", ["/absent/program", "absent-program", "/etc"])
def test_a_command_that_cannot_be_run_has_failed(tmp_path: Path, command: str) -> None:
    assert run_hook(tmp_path, hook(command)).outcome is Outcome.FAILED


def test_an_undo_runs_the_undo_command_and_without_one_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    made = hook("touch", str(tmp_path / "forward"), undo=("touch", str(mark)))
    assert run_hook(tmp_path, made, undo=True).outcome is Outcome.DONE
    assert mark.exists()

    nothing = run_hook(tmp_path, hook("touch", str(tmp_path / "forward")), undo=True)
    assert (nothing.outcome, nothing.hold) == (Outcome.DONE, None)
    assert not (tmp_path / "forward").exists()


def test_an_undo_of_what_cannot_be_undone_holds(tmp_path: Path) -> None:
    found = run_hook(tmp_path, hook("true", reversible=False), undo=True)
    assert found.outcome is Outcome.FAILED
    assert found.hold is HoldReason.IRREVERSIBLE


@pytest.mark.parametrize("undo", [False, True])
@pytest.mark.parametrize("name", [StepName.CHECK, StepName.STAGE, StepName.SWAP])
def test_a_step_of_a_kind_that_is_not_known_has_failed(
    tmp_path: Path, name: StepName, undo: bool
) -> None:
    upgrade = upgrade_of(tmp_path)
    (component,) = upgrade.plan.components
    alien = replace(upgrade, plan=replace(upgrade.plan, components=(replace(component, kind="x"),)))
    found = performer().do(alien, do(alien, name, undo=undo))
    assert found.outcome is Outcome.FAILED
    assert found.error


def test_what_a_step_raises_that_is_no_failure_of_ours_ends_in_a_result_too(tmp_path: Path) -> None:
    def broken(_step: str, _child: Identity) -> None:
        raise ZeroDivisionError("a bug of another")

    upgrade = upgrade_of(tmp_path, hook("true"))
    found = performer(broken).do(upgrade, do(upgrade, StepName.BEFORE_SWAP))
    assert found.outcome is Outcome.FAILED
    assert found.error is not None
    assert "a bug of another" in found.error


def test_a_result_carries_what_it_is_the_result_of(tmp_path: Path) -> None:
    upgrade = upgrade_of(tmp_path, hook("true"))
    action = do(upgrade, StepName.BEFORE_SWAP, attempt=7)
    found = performer().do(upgrade, action)
    assert (found.step, found.key, found.attempt, found.undo) == (
        action.step.id,
        action.key,
        7,
        False,
    )


def test_output_is_kept_within_its_limit_and_it_is_its_end(tmp_path: Path) -> None:
    found = run_hook(tmp_path, hook("sh", "-c", "yes äöü | head -c 200000; echo; echo last"))
    assert found.outcome is Outcome.DONE
    assert found.output is not None
    assert len(found.output.encode()) <= OUTPUT_BYTES_MAX
    assert found.output.endswith("last\n")


def test_what_a_command_leaves_running_is_ended_and_named_in_its_output(tmp_path: Path) -> None:
    many = "for i in 1 2 3 4 5; do sleep 1000 & done; echo begun"
    found = run_hook(tmp_path, hook("sh", "-c", many))
    assert found.outcome is Outcome.DONE
    assert found.output is not None
    assert found.output.startswith("begun\n")
    assert "and 2 more" in found.output


# -- the child and the journal (law A2) -----------------------------------------


def test_a_command_runs_only_after_its_identity_was_told(tmp_path: Path) -> None:
    """And the identity is that of the process that the command becomes."""
    mark = tmp_path / "pid"
    told: list[Identity] = []

    def started(step_id: str, child: Identity) -> None:
        assert step_id == "before-swap:web:0"
        assert not mark.exists()
        assert identify(child.pid) == child
        told.append(child)

    upgrade = upgrade_of(tmp_path, hook("sh", "-c", f"echo $$ > {mark}"))
    found = performer(started).do(upgrade, do(upgrade, StepName.BEFORE_SWAP))
    assert found.outcome is Outcome.DONE
    assert [one.pid for one in told] == [int(mark.read_text())]


@pytest.mark.parametrize("kind", [JournalIoError, LeaseLost])
def test_a_journal_that_fails_below_a_step_is_not_the_steps_failure(
    tmp_path: Path, kind: type[JournalError]
) -> None:
    """What is recorded is not known any more: the thread ends, nothing ran."""
    lost = LeaseLost(fence=1, found=2)
    failure = lost if kind is LeaseLost else JournalIoError(path="journal.db", reason="a test")

    def started(_step: str, _child: Identity) -> None:
        raise failure

    mark = tmp_path / "mark"
    upgrade = upgrade_of(tmp_path, hook("touch", str(mark)))
    with pytest.raises(kind):
        performer(started).do(upgrade, do(upgrade, StepName.BEFORE_SWAP))
    assert not mark.exists()


def test_a_full_disk_below_a_step_fails_the_step(tmp_path: Path) -> None:
    """It turns back: for that there is room."""

    def started(_step: str, _child: Identity) -> None:
        raise JournalFull(path="journal.db")

    mark = tmp_path / "mark"
    upgrade = upgrade_of(tmp_path, hook("touch", str(mark)))
    found = performer(started).do(upgrade, do(upgrade, StepName.BEFORE_SWAP))
    assert found.outcome is Outcome.FAILED
    assert not mark.exists()


# -- what a command gets (law A3) -----------------------------------------------


def test_a_command_gets_its_steps_key_on_each_attempt_and_nothing_of_ours(tmp_path: Path) -> None:
    out = tmp_path / "environment"
    made = replace(hook("sh", "-c", f"env > {out}; pwd >> {out}"), pass_env=("PASSED",))
    upgrade = upgrade_of(tmp_path, made)
    base = {"PASSED": "yes", "SECRET": "no", "NOODLE_JOURNAL_KEY": "key"}
    given = []
    for attempt in (1, 2):
        one = replace(performer(), environment=base)
        one.do(upgrade, do(upgrade, StepName.BEFORE_SWAP, attempt=attempt))
        lines = out.read_text().splitlines()
        given.append(next(line for line in lines if line.startswith("NOODLE_STEP_KEY=")))
        assert "PASSED=yes" in lines
        assert f"NOODLE_UPGRADE_ID={UPGRADE}" in lines
        assert {"NOODLE_FROM=1.0.0", "NOODLE_TO=1.1.0"} <= set(lines)
        assert not any(line.startswith(("SECRET", "NOODLE_JOURNAL")) for line in lines)
        assert lines[-1] == str(tmp_path)
    assert given[0] == given[1] == f"NOODLE_STEP_KEY={UPGRADE}:before-swap:web:0"


def test_a_command_inherits_the_locks_and_they_are_given_up_at_its_end(tmp_path: Path) -> None:
    held: list[str] = []
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    out = tmp_path / "inherited"

    @contextmanager
    def locks() -> Iterator[Sequence[int]]:
        held.append("taken")
        yield [lock]
        held.append("freed")

    upgrade = upgrade_of(tmp_path, hook("sh", "-c", f"ls -l /proc/self/fd > {out}"))
    one = replace(performer(), command_locks=locks)
    try:
        assert one.do(upgrade, do(upgrade, StepName.BEFORE_SWAP)).outcome is Outcome.DONE
        assert str(tmp_path / "lock") in out.read_text()
        assert held == ["taken", "freed"]
    finally:
        os.close(lock)


# -- stopping -------------------------------------------------------------------


def test_stop_ends_a_command_and_its_step_has_failed(tmp_path: Path) -> None:
    stop = threading.Event()
    upgrade = upgrade_of(tmp_path, hook("sleep", "1000"))
    one = replace(performer(lambda _step, _child: stop.set()), stop=stop)
    assert one.do(upgrade, do(upgrade, StepName.BEFORE_SWAP)).outcome is Outcome.FAILED


def test_hurry_ends_the_waiting_between_two_checks_and_no_command(tmp_path: Path) -> None:
    """The result says that it was stopped: it counts neither as healthy nor as sick."""
    hurry = threading.Event()
    hurry.set()
    check = HealthCheck(file=str(tmp_path / "never"), passes=2, interval_ms=60_000)
    upgrade = upgrade_of(tmp_path, health=check)
    found = replace(performer(), hurry=hurry).do(upgrade, do(upgrade, StepName.HEALTH))
    assert found.stopped

    upgrade = upgrade_of(tmp_path, hook("true"))
    found = replace(performer(), hurry=hurry).do(upgrade, do(upgrade, StepName.BEFORE_SWAP))
    assert (found.stopped, found.outcome) == (False, Outcome.DONE)


# -- probing --------------------------------------------------------------------


def test_a_hook_and_a_check_are_never_known_to_be_done(tmp_path: Path) -> None:
    check = HealthCheck(file=str(tmp_path), passes=1)
    upgrade = upgrade_of(tmp_path, hook("true"), health=check)
    for name in (StepName.BEFORE_SWAP, StepName.HEALTH):
        found = performer().probe(upgrade, Probe(step(upgrade, name)))
        assert found.answer is ProbeAnswer.NOT_DONE


def test_a_target_that_cannot_be_looked_at_stays_in_doubt(tmp_path: Path) -> None:
    """Its folder is no folder any more: who resumes is told what to mend."""
    (tmp_path / "file").touch()
    upgrade = upgrade_of(tmp_path / "file" / "inner")
    with pytest.raises(DiskError):
        performer().probe(upgrade, Probe(step(upgrade, StepName.SWAP)))
