"""What the machine decides, on single cases in memory."""

from __future__ import annotations

import pytest

from noodle_engine.machine.decide import (
    Decision,
    Do,
    Pause,
    Probe,
    ProbeAnswer,
    Probed,
    ReleaseHold,
    StepResult,
    TimerDue,
    TurnBack,
    Unpause,
    after,
    note,
)
from noodle_engine.machine.failures import InvariantBroken, MessageRefused
from noodle_engine.machine.plan import ABSENT, Hook, HookPoint, StepName
from noodle_engine.machine.records import (
    BACK_TIMER,
    TOTAL_TIMER,
    Alert,
    Entry,
    Observation,
    StepIntent,
    TimerSet,
    Transition,
)
from noodle_engine.machine.states import (
    TERMINAL,
    HoldReason,
    OnCrash,
    Outcome,
    Reason,
    Release,
    State,
)
from noodle_engine.machine.upgrade import RESUMES_WITHOUT_PROGRESS_MAX, fold_upgrade
from tests.unit.machine.drive import HEALTH, ID, TWO, Driven, component, plan_of

FORWARD_STEPS = [
    "check:web",
    "check:api",
    "snapshot:web",
    "stage:web",
    "snapshot:api",
    "stage:api",
    "swap:web",
    "after-swap:web:0",
    "swap:api",
    "health:api:0",
    "recheck:web",
    "recheck:api",
]
ENDING_STEPS = ["point:web", "clean-committed:web", "point:api", "clean-committed:api"]


def crashed_in(step: str, on_crash: OnCrash = OnCrash.FORWARD) -> Driven:
    """A process died after the intent of `step`; another takes it up."""
    driven = Driven.of(on_crash=on_crash)
    driven.until_step(step)
    driven.resume()
    return driven


def test_forward_is_the_order_of_the_plan() -> None:
    driven = Driven.of()
    driven.to_rest()
    assert driven.done_steps == FORWARD_STEPS + ENDING_STEPS
    assert driven.upgrade.state is State.COMMITTED
    assert driven.upgrade.finished


def test_back_is_every_exchange_in_reverse_and_then_of_each_component_hooks_and_stage() -> None:
    """A hook whose undo fails leaves no component new."""
    driven = Driven.of()
    driven.until_step("health:api:0")
    driven.done(error="sick")
    driven.to_rest()
    back = driven.done_steps[driven.done_steps.index("swap:api") + 1 :]
    assert back == [
        "undo swap:api",
        "undo swap:web",
        "undo stage:api",
        "undo after-swap:web:0",
        "undo stage:web",
        "clean-rolled-back:api",
        "clean-rolled-back:web",
    ]
    assert (driven.upgrade.state, driven.upgrade.reason) == (
        State.ROLLED_BACK,
        Reason.HEALTH_FAILED,
    )


@pytest.mark.parametrize("step", FORWARD_STEPS)
def test_an_abort_before_the_commit_leaves_no_begun_step_standing(step: str) -> None:
    driven = Driven.of()
    driven.until_step(step)
    driven.say(TurnBack(Reason.CANCELLED))
    driven.to_rest()
    assert driven.upgrade.state is State.ROLLED_BACK
    for one in driven.upgrade.plan.steps:
        if one.name in (StepName.SWAP, StepName.STAGE) and driven.upgrade.step(one.id).attempt:
            assert driven.upgrade.step(one.id).taken_back, one.id


@pytest.mark.parametrize("step", ENDING_STEPS)
def test_an_abort_after_the_commit_is_refused(step: str) -> None:
    driven = Driven.of()
    driven.until_step(step)
    before = driven.upgrade
    with pytest.raises(MessageRefused) as caught:
        driven.say(TurnBack(Reason.CANCELLED))
    assert caught.value.refusal == "finished"
    assert driven.upgrade == before


@pytest.mark.parametrize("step", ["stage:api", "swap:web", "swap:api"])
def test_a_step_in_doubt_is_probed_before_anything_else(step: str) -> None:
    driven = crashed_in(step)
    assert isinstance(driven.action, Probe)
    assert driven.action.step.id == step


@pytest.mark.parametrize(
    ("found", "root", "following"),
    [
        (ProbeAnswer.DONE, "new web", Do(TWO.steps[7], f"{ID}:after-swap:web:0", 1)),
        (ProbeAnswer.NOT_DONE, "old web", Do(TWO.steps[6], f"{ID}:swap:web", 2)),
    ],
)
def test_what_a_probe_finds_done_is_not_done_again_and_what_it_does_not_is(
    found: ProbeAnswer, root: str, following: Do
) -> None:
    driven = crashed_in("swap:web")
    driven.say(Probed("swap:web", found, Observation(root)))
    assert driven.action == following


def test_a_probe_that_finds_a_stranger_holds() -> None:
    driven = crashed_in("swap:web")
    driven.say(Probed("swap:web", ProbeAnswer.FOREIGN, Observation("strange")))
    assert driven.action is None
    assert driven.hold is HoldReason.FOREIGN
    assert driven.upgrade.hold is not None
    assert driven.upgrade.hold.found == "strange"


@pytest.mark.parametrize("found", [ProbeAnswer.NOT_DONE, ProbeAnswer.DONE])
@pytest.mark.parametrize("step", ["stage:web", "stage:api"])
def test_on_crash_back_turns_back_before_the_first_flip(step: str, found: ProbeAnswer) -> None:
    driven = crashed_in(step, OnCrash.BACK)
    driven.say(Probed(step, found, Observation("new")))
    assert driven.going_back
    driven.to_rest()
    assert (driven.upgrade.state, driven.upgrade.reason) == (State.ROLLED_BACK, Reason.CRASH)
    assert driven.upgrade.step(step).taken_back


@pytest.mark.parametrize(
    ("step", "found", "goes_back"),
    [
        ("swap:web", ProbeAnswer.NOT_DONE, True),
        ("swap:web", ProbeAnswer.DONE, False),
        ("swap:api", ProbeAnswer.NOT_DONE, False),
        ("swap:api", ProbeAnswer.DONE, False),
    ],
)
def test_on_crash_back_goes_back_from_an_exchange_only_if_none_was_made(
    step: str, found: ProbeAnswer, *, goes_back: bool
) -> None:
    driven = crashed_in(step, OnCrash.BACK)
    made = driven.upgrade.plan.component(step.partition(":")[2])
    root = made.root if found is ProbeAnswer.DONE else made.root_from
    driven.say(Probed(step, found, Observation(root)))
    assert driven.going_back is goes_back
    driven.to_rest()
    assert driven.upgrade.state is (State.ROLLED_BACK if goes_back else State.COMMITTED)


def test_a_probe_that_ends_after_an_abort_does_not_give_another_reason() -> None:
    driven = crashed_in("stage:api", OnCrash.BACK)
    probing = driven.action
    assert isinstance(probing, Probe)
    driven.say(TurnBack(Reason.CANCELLED))
    driven.say(Probed(probing.step.id, ProbeAnswer.NOT_DONE))
    driven.to_rest()
    assert (driven.upgrade.state, driven.upgrade.reason) == (State.ROLLED_BACK, Reason.CANCELLED)


def test_on_crash_back_asks_a_person_past_a_hook_that_cannot_be_undone() -> None:
    hook = Hook(HookPoint.BEFORE_SWAP, ("migrate",), reversible=False)
    driven = Driven.of(plan_of(component("web", hooks=(hook,))), on_crash=OnCrash.BACK)
    driven.until_step("before-swap:web:0")
    driven.resume()
    driven.say(Probed("before-swap:web:0", ProbeAnswer.NOT_DONE))
    assert (driven.hold, driven.going_back) == (HoldReason.IRREVERSIBLE, False)


def test_an_exchange_that_shows_another_root_is_not_done() -> None:
    driven = Driven.of(plan_of(component("web", new=ABSENT)))
    driven.until_step("swap:web")
    driven.done(foreign="strange")
    assert driven.upgrade.hold is not None
    assert driven.upgrade.step("swap:web").outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("how", "end"),
    [(Release.ADOPT, State.ROLLED_BACK), (Release.RESTORE, State.ROLLED_BACK)],
)
def test_adopting_spares_only_the_exchange_of_that_component(how: Release, end: State) -> None:
    driven = Driven.of()
    driven.until_step("swap:api")
    driven.done(foreign="strange")
    driven.say(ReleaseHold(how))
    driven.to_rest()
    assert driven.upgrade.state is end
    assert ("undo swap:api" in driven.done_steps) is (how is Release.RESTORE)
    assert "undo stage:api" in driven.done_steps
    assert "undo swap:web" in driven.done_steps


def test_promoting_takes_a_failed_check_as_done() -> None:
    hook = Hook(HookPoint.AFTER_SWAP, ("migrate",), reversible=False)
    driven = Driven.of(plan_of(component("web", hooks=(hook,), health=(HEALTH,))))
    driven.until_step("health:web:0")
    driven.done(error="sick")
    assert driven.hold is HoldReason.IRREVERSIBLE
    driven.say(ReleaseHold(Release.PROMOTE))
    driven.to_rest()
    assert driven.upgrade.state is State.COMMITTED


def test_a_release_without_a_hold_is_refused() -> None:
    driven = Driven.of()
    driven.begin()
    with pytest.raises(MessageRefused) as caught:
        driven.say(ReleaseHold(Release.RETRY))
    assert caught.value.refusal == "not_on_hold"


def test_a_pause_stops_after_the_step_that_runs() -> None:
    driven = Driven.of()
    driven.until_step("stage:web")
    driven.say(Pause())
    driven.action = Do(TWO.steps[3], f"{ID}:stage:web", 1)
    driven.done()
    waiting = driven.step
    driven.say(Unpause())
    assert (waiting, driven.step) == (None, "snapshot:api")


def timed(driven: Driven, timer: str, due_ms: int) -> None:
    event = TimerSet(timer, due_ms, "timer_due")
    driven.upgrade = fold_upgrade(driven.upgrade, Entry(event, "test", 0, ID))


def test_a_total_limit_turns_back_once_it_is_due_and_not_before() -> None:
    driven = Driven.of()
    driven.until_step("stage:web")
    timed(driven, TOTAL_TIMER, 1000)
    driven.say(TimerDue(TOTAL_TIMER), now_ms=999)
    early = driven.going_back
    driven.say(TimerDue(TOTAL_TIMER), now_ms=1000)
    assert (early, driven.going_back) == (False, True)
    assert driven.upgrade.reason is Reason.TIMED_OUT


def test_a_way_back_that_is_overdue_calls_a_person_and_a_resume_goes_on() -> None:
    driven = Driven.of()
    driven.until_step("swap:api")
    driven.say(TurnBack(Reason.CANCELLED))
    timed(driven, BACK_TIMER, 1000)
    driven.say(TimerDue(BACK_TIMER), now_ms=1000)
    assert driven.hold is HoldReason.BACK_OVERDUE
    assert any(isinstance(event, Alert) for event in driven.events)
    driven.resume()
    driven.to_rest()
    assert driven.upgrade.state is State.ROLLED_BACK


def test_a_clean_up_that_fails_is_done_again_by_a_resume() -> None:
    driven = Driven.of()
    driven.until_step("point:web")
    driven.done(error="disk full")
    driven.to_rest()
    assert driven.upgrade.state is State.COMMITTED
    assert not driven.upgrade.finished
    driven.resume()
    assert driven.step == "point:web"
    driven.to_rest()
    assert driven.upgrade.finished


def test_a_clean_up_that_fails_for_ever_is_given_up() -> None:
    driven = Driven.of()
    driven.until_step("point:web")
    driven.done(error="in the way")
    driven.to_rest()
    for resumes in range(1, RESUMES_WITHOUT_PROGRESS_MAX + 1):
        assert not driven.upgrade.finished, resumes
        driven.resume()
        driven.done(error="in the way")
    assert driven.action is None
    assert driven.upgrade.finished


def test_a_staged_file_that_cannot_be_removed_holds_nobody_up() -> None:
    driven = Driven.of()
    driven.until_step("swap:web")
    driven.say(TurnBack(Reason.CANCELLED))
    driven.until_step("stage:web", undo=True)
    driven.done(error="I/O error")
    driven.to_rest()
    assert driven.upgrade.state is State.ROLLED_BACK
    assert "clean-rolled-back:web" in driven.done_steps


def test_resumes_that_end_nothing_call_a_person() -> None:
    driven = Driven.of()
    driven.until_step("health:api:0")
    for _ in range(RESUMES_WITHOUT_PROGRESS_MAX):
        assert driven.hold is None
        driven.resume()
    assert driven.hold is HoldReason.FAILURE_KEPT


def test_the_same_inputs_give_the_same_records() -> None:
    first, second = Driven.of(), Driven.of()
    for driven in (first, second):
        driven.until_step("health:api:0")
        driven.done(error="sick")
        driven.to_rest()
    assert first.events == second.events


def test_every_transition_is_one_of_the_table_or_stays() -> None:
    driven = Driven.of()
    driven.to_rest()
    moves = [event for event in driven.events if isinstance(event, Transition)]
    assert [move.target for move in moves] == [
        State.VALIDATED,
        State.SNAPSHOTTED,
        State.SWAPPING,
        State.VERIFIED,
        State.COMMITTED,
    ]
    assert moves[-1].target in TERMINAL


def test_the_intent_of_an_exchange_alone_says_what_it_expects() -> None:
    driven = Driven.of(TWO)
    driven.begin()
    driven.to_rest()
    expected = {
        event.step: (event.expected_old, event.expected_new)
        for event in driven.events
        if isinstance(event, StepIntent)
    }
    assert expected.pop("swap:web") == ("old web", "new web")
    assert expected.pop("swap:api") == ("old api", "new api")
    assert set(expected.values()) == {(None, None)}


@pytest.mark.parametrize("on_crash", OnCrash)
@pytest.mark.parametrize(("step", "goes_back"), [("stage:web", True), ("swap:web", False)])
def test_a_resume_between_two_steps_goes_back_only_before_the_first_flip(
    on_crash: OnCrash, step: str, *, goes_back: bool
) -> None:
    """A process that leaves records the result, and no further intent."""
    driven = Driven.of(TWO, on_crash)
    driven.until_step(step)
    assert isinstance(driven.action, Do)
    root = "new web"
    result = StepResult(step, driven.action.key, 1, Outcome.DONE, observed=Observation(root))
    noted = note(driven.upgrade, result, 0)
    driven.take(Decision(noted, None, after(driven.upgrade, noted, 0)))
    driven.resume()
    assert driven.going_back is (goes_back and on_crash is OnCrash.BACK)
    assert driven.upgrade.reason is (Reason.CRASH if driven.going_back else None)


def test_a_release_gives_all_resumes_anew() -> None:
    driven = Driven.of()
    driven.until_step("health:api:0")
    for _ in range(RESUMES_WITHOUT_PROGRESS_MAX):
        driven.resume()
    driven.say(ReleaseHold(Release.RETRY))
    for _ in range(RESUMES_WITHOUT_PROGRESS_MAX):
        assert driven.hold is None
        driven.resume()
    assert driven.hold is HoldReason.FAILURE_KEPT


@pytest.mark.parametrize(
    ("step", "undo", "expected"),
    [
        ("check:web", False, "old web"),
        ("swap:web", False, "old web"),
        ("swap:api", True, "new api"),
    ],
)
def test_a_hold_says_which_root_was_expected(step: str, undo: bool, expected: str) -> None:
    driven = Driven.of()
    if undo:
        driven.until_step("health:api:0")
        driven.done(error="sick")
    driven.until_step(step, undo=undo)
    driven.done(foreign="theirs")
    assert driven.upgrade.hold is not None
    assert (driven.upgrade.hold.expected, driven.upgrade.hold.found) == (expected, "theirs")


def test_a_recheck_that_finds_a_stranger_expected_the_new() -> None:
    driven = Driven.of()
    driven.until_step("recheck:web")
    driven.done(foreign="theirs")
    assert driven.upgrade.hold is not None
    assert driven.upgrade.hold.expected == "new web"


def test_a_word_about_a_step_that_the_plan_has_not_is_a_broken_law() -> None:
    driven = Driven.of()
    driven.begin()
    with pytest.raises(InvariantBroken) as broken:
        driven.say(Probed("swap:nobody", ProbeAnswer.DONE))
    assert broken.value.data["law"] == "F3"


def test_a_step_that_is_done_at_last_is_progress() -> None:
    driven = Driven.of()
    driven.until_step("stage:web")
    for _ in range(3):
        driven.resume()
        driven.say(Probed("stage:web", ProbeAnswer.NOT_DONE))
    assert driven.upgrade.resumes_without_progress == 3
    driven.done()
    assert driven.upgrade.resumes_without_progress == 0


def test_a_deadline_that_is_not_of_this_way_says_nothing() -> None:
    driven = Driven.of()
    driven.begin()
    timer = TimerSet(BACK_TIMER, 1, "timer_due")
    upgrade = after(driven.upgrade, (timer,), 0)
    assert note(upgrade, TimerDue(BACK_TIMER), 2) == ()


def test_a_refusal_says_what_was_refused_where_and_why() -> None:
    driven = Driven.of()
    driven.begin()
    with pytest.raises(MessageRefused) as refused:
        driven.say(Unpause())
    assert refused.value.data == {
        "upgrade": ID,
        "state": "pending",
        "message": "unpause",
        "refusal": "not_paused",
    }


def test_an_exchange_of_which_nothing_was_seen_is_foreign_and_unknown() -> None:
    driven = Driven.of()
    driven.until_step("swap:web")
    assert isinstance(driven.action, Do)
    driven.say(StepResult("swap:web", driven.action.key, 1, Outcome.DONE))
    assert driven.upgrade.hold is not None
    assert (driven.upgrade.hold.reason, driven.upgrade.hold.found) == (
        HoldReason.FOREIGN,
        "unknown",
    )
