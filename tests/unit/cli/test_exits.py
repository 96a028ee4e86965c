"""Exit codes of upgrades as they stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from noodle_engine.cli import exits
from noodle_engine.cli.show.terminal import Invocation
from noodle_engine.cli.waiting import answer_upgrade
from noodle_engine.execute.answers.views import HoldView, JournalHead, UpgradeView
from noodle_engine.machine.states import Direction, HoldReason, Reason, State, Status

OPEN: Final = UpgradeView(
    upgrade="01ABC",
    state=State.SWAPPING,
    status=Status.IN_PROGRESS,
    direction=Direction.FORWARD,
    undoing=False,
    reason=None,
    detail=None,
    waiting=None,
    hold=None,
    components=(),
    step=None,
    allowed=(),
    journal=JournalHead(1, "00"),
    plan_hash="00",
    requested_ms=0,
    finished=False,
)
COMMITTED: Final = replace(OPEN, state=State.COMMITTED, finished=True)
UNCLEAN: Final = replace(COMMITTED, finished=False)
HELD: Final = replace(OPEN, hold=HoldView(HoldReason.FOREIGN))


def rolled_back(reason: Reason) -> UpgradeView:
    return replace(OPEN, state=State.ROLLED_BACK, reason=reason)


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (COMMITTED, 0),
        (UNCLEAN, 5),
        (HELD, 5),
        (OPEN, 8),
        (rolled_back(Reason.REFUSED), 3),
        *((rolled_back(reason), 4) for reason in Reason if reason is not Reason.REFUSED),
    ],
)
def test_a_change_ends_with_the_code_of_where_the_upgrade_stands(
    view: UpgradeView, code: int
) -> None:
    assert exits.of_upgrade(view) == code


@pytest.mark.parametrize("reason", [Reason.CANCELLED, Reason.OPERATOR])
def test_going_back_as_asked_is_done(reason: Reason) -> None:
    assert exits.of_upgrade(rolled_back(reason), asked_back=True) == 0


def test_going_back_unasked_is_a_failure_for_resume_too() -> None:
    assert exits.of_upgrade(rolled_back(Reason.HEALTH_FAILED), asked_back=True) == 4


def test_not_waiting_is_done_whatever_comes() -> None:
    assert exits.of_upgrade(OPEN, waited=False) == 0


def test_of_several_the_one_that_most_needs_a_look_wins() -> None:
    assert exits.worst([]) == 0
    assert exits.worst([0, 8, 4, 3]) == 4
    assert exits.worst([4, 5, 0]) == 5


def test_every_code_that_a_view_gives_is_documented() -> None:
    views = [COMMITTED, HELD, OPEN, *(rolled_back(reason) for reason in Reason)]
    assert {exits.of_upgrade(view) for view in views} <= set(exits.ALL)


@pytest.mark.parametrize("view", [rolled_back(Reason.HEALTH_FAILED), HELD, OPEN, COMMITTED])
def test_with_quiet_only_what_is_no_success_is_told_and_on_standard_error(
    view: UpgradeView, capsys: pytest.CaptureFixture[str]
) -> None:
    code = answer_upgrade(Invocation(quiet=True), view)
    told = capsys.readouterr()
    assert told.out == ""
    assert bool(told.err) is (code != exits.DONE)
    assert answer_upgrade(Invocation(quiet=True, json=True), view) == code
    told = capsys.readouterr()
    assert (told.out[:1], told.err) == ("{", "")
