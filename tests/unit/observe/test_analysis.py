"""Y1, Y2: which failures are one, and what is offered against it."""

from __future__ import annotations

from noodle_engine.machine.plan import Plan, PlanComponent, World
from noodle_engine.machine.records import Entry, Event, Requested, StepDone, Transition
from noodle_engine.machine.states import (
    Direction,
    HoldReason,
    Message,
    OnCrash,
    Outcome,
    Reason,
    Release,
    State,
)
from noodle_engine.observe.diagnosis.analysis import Run, analysed

ERROR = "sh ended with exit code 3"


def run(start: int, *events: Event, version: str = "2.0.0", back: bool = False) -> Run:
    component = PlanComponent("web", "file", "/srv/web", "a", "b", "1.0.0", version)
    way = Direction.BACK if back else Direction.FORWARD
    plan = Plan("home", way, (component,), (), World({}, {}, ""))
    asked = Requested(plan, "hash", "settings", OnCrash.FORWARD)
    records = tuple(
        (start + number, Entry(event, "uid:0", 0)) for number, event in enumerate((asked, *events))
    )
    return Run(f"upgrade-{start}", records)


def failed(error: str = ERROR, step: str = "after-swap:web:0") -> StepDone:
    return StepDone(step, "key", 1, Outcome.FAILED, error=error)


def move(message: Message, source: State, target: State, **more: object) -> Transition:
    return Transition(source, target, message, **more)  # type: ignore[arg-type]


TURNED = move(
    Message.TURN_BACK, State.SWAPPING, State.SWAPPING, undoing=True, reason=Reason.STEP_FAILED
)
UNDONE = move(Message.UNDONE, State.SWAPPING, State.ROLLED_BACK, undoing=True)
COMMITTED = move(Message.COMMIT, State.VERIFIED, State.COMMITTED)
HELD = move(Message.HOLD, State.SWAPPING, State.SWAPPING, hold=HoldReason.FAILURE_KEPT)
RETRIED = move(Message.RELEASE, State.SWAPPING, State.SWAPPING, how=Release.RETRY)


def test_what_did_not_fail_has_no_analysis() -> None:
    assert analysed(run(1, COMMITTED), [], ranked=True) is None


def test_the_chain_goes_from_the_first_failure_to_the_end() -> None:
    found = analysed(run(1, failed(), TURNED, UNDONE), [], ranked=True)
    assert found is not None
    assert [(one.seq, one.what) for one in found.chain] == [
        (2, "step"),
        (3, "turned back"),
        (4, "ended"),
    ]
    assert (found.step, found.reason) == ("after-swap:web:0", "step_failed")


def test_only_the_same_failure_before_is_like() -> None:
    """The step, the reason and the words count; numbers, paths and ids in them do not."""
    same = run(1, failed("cannot open /srv/a: code 7"), TURNED, UNDONE)
    other_words = run(11, failed("cannot read /srv/a: code 7"), TURNED, UNDONE)
    other_step = run(21, failed("cannot open /srv/a: code 7", "health:web:0"), TURNED, UNDONE)
    later = run(41, failed("cannot open /srv/a: code 7"), TURNED, UNDONE)
    this = run(31, failed("cannot open /srv/other/b: code 12"), TURNED, UNDONE)
    found = analysed(this, [same, other_words, other_step, this, later], ranked=True)
    assert found is not None
    assert [(one.upgrade, one.seq, one.ended) for one in found.like] == [
        ("upgrade-1", 2, "rolled_back")
    ]


def test_what_worked_after_it_comes_first_and_the_errors_own_word_stays() -> None:
    """Y1, Y2: a retry that ended in a commit is better than one that did not."""
    worked = [run(n, failed(), HELD, RETRIED, COMMITTED) for n in (1, 11)]
    in_vain = run(21, failed(), TURNED, UNDONE)
    again = run(31, failed(), TURNED, UNDONE)  # the same version again: failed again
    newer = run(41, COMMITTED, version="2.1.0")
    this_held = run(51, failed(), HELD)
    this = run(61, failed(), TURNED, UNDONE)
    runs = [*worked, in_vain, again, newer, this_held, this]
    found = analysed(this_held, runs, ranked=True)
    assert found is not None
    assert [one.upgrade for one in found.like] == ["upgrade-1", "upgrade-11"]
    assert (found.remedies[0].do, found.remedies[0].worked) == ("`noodle resume ID --retry`", 2)
    found = analysed(this, runs, ranked=True)
    assert found is not None
    table = {one.do.split(":")[0]: (one.worked, one.tried) for one in found.remedies}
    assert table["another version"] == (1, 1)
    assert table["the same version again"] == (0, 1)
    order = [one.do.split(":")[0] for one in found.remedies]
    assert order == ["another version", "see what the command printed", "the same version again"]
    plain = analysed(this, runs, ranked=False)
    assert plain is not None
    assert [one.source for one in plain.remedies] == ["the error"]


def test_the_errors_own_remedy_is_what_it_says() -> None:
    said = "could not write x (the disk is full); free space on that file system"
    found = analysed(run(1, failed(said, "stage:web"), TURNED, UNDONE), [], ranked=False)
    assert found is not None
    assert found.remedies[0].do == "free space on that file system"


def test_going_back_by_hand_counts_as_what_was_done() -> None:
    before = run(1, failed(), TURNED, UNDONE)
    back = run(11, COMMITTED, back=True)
    found = analysed(run(21, failed(), TURNED, UNDONE), [before, back], ranked=True)
    assert found is not None
    assert found.remedies[0].do.startswith("go back")
