"""The arithmetic of the measurements, and that RESULTS.md is what the code would write."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Final

import pytest

from benchmarks.command import KEYS, MEASUREMENTS, RESULTS
from benchmarks.harness import Answer, Goal, Of, Question, Sense, Spread, Verdict, alternate
from benchmarks.report import HEAD, NOT_MEASURED, Machine, goal_text, render, row

ROW: Final = re.compile(r"^\| `([a-z.]+)` \|")
GOAL: Final = Goal(Sense.AT_MOST, 1.2)
QUESTION: Final = Question("a.row", "a thing", "ms", "a floor", GOAL, "it is slow")


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells of each row, by its key."""
    found = {}
    for line in page.splitlines():
        key = ROW.match(line)
        if key is not None:
            assert key[1] not in found
            found[key[1]] = [cell.strip() for cell in line.strip("|").split(" | ")]
    return found


def once(value: float) -> Spread:
    return Spread(value, 0, 1)


def test_a_ratio_is_taken_within_its_round() -> None:
    """H2. Noise that hits both sides of a round alike does not change the ratio."""
    noise = {"ours": iter([2.0, 20.0, 6.0]), "floor": iter([1.0, 10.0, 3.0])}

    rounds = alternate(
        {name: values.__next__ for name, values in noise.items()}, rounds=3, warm_up_rounds=0
    )

    assert rounds.ratio("ours", "floor") == Spread(2.0, 0.0, 3)
    assert rounds.spread("ours") == Spread(6.0, 4.0, 3)


def test_every_round_runs_every_side_in_another_order_and_warm_up_does_not_count() -> None:
    """H1."""
    ran: list[str] = []

    def side(name: str) -> float:
        ran.append(name)
        return float(len(ran))

    rounds = alternate({one: lambda one=one: side(one) for one in "abc"}, rounds=2)  # type: ignore[misc]

    assert ["".join(ran[at : at + 3]) for at in (0, 3, 6)] == ["abc", "bca", "cab"]
    assert rounds.values == {"a": [6.0, 8.0], "b": [4.0, 9.0], "c": [5.0, 7.0]}


@pytest.mark.parametrize(
    ("goal", "ratios"),
    [(GOAL, (1.2, 1.3)), (Goal(Sense.AT_LEAST, 6, Of.INVERSE), (0.125, 0.25))],
    ids=["at most", "times faster"],
)
def test_a_goal_for_a_ratio_is_judged_on_the_ratio(goal: Goal, ratios: tuple[float, float]) -> None:
    good, bad = (Answer("k", once(1), once(1), once(ratio)) for ratio in ratios)
    assert (goal.verdict(good), goal.verdict(bad)) == (Verdict.MET, Verdict.MISSED)
    with pytest.raises(ValueError, match="ratio"):
        goal.verdict(Answer("k", once(1)))


def test_a_goal_for_a_value_is_judged_on_ours() -> None:
    goal = Goal(Sense.AT_MOST, 4, Of.VALUE)
    assert goal.verdict(Answer("k", once(4))) is Verdict.MET
    assert goal.verdict(Answer("k", once(5), once(9), once(0.5))) is Verdict.MISSED


@pytest.mark.parametrize(
    ("median", "verdict"),
    [
        (1.05, Verdict.MET),
        (1.15, Verdict.UNDECIDED),
        (1.25, Verdict.UNDECIDED),
        (1.35, Verdict.MISSED),
    ],
)
def test_a_goal_within_the_spread_is_undecided(median: float, verdict: Verdict) -> None:
    """H4."""
    assert GOAL.verdict(Answer("k", once(1), once(1), Spread(median, 0.1, 9))) is verdict


def test_a_missed_goal_is_shown_with_its_reason_and_a_met_one_without() -> None:
    def page(ratio: float) -> str:
        answer = Answer("a.row", once(1), once(1), once(ratio), "a remark")
        here = Machine(2, 4, "Linux 6.1", "ext4", "3.11.2", "3.53.4", 0.1)
        return render({"Things": (QUESTION,)}, {"a.row": answer}, here, minutes=1)

    assert "**missed**" in page(1.3)
    assert "it is slow" in page(1.3)
    assert rows_of(page(1.1))["a.row"][-1] == "met"
    assert "it is slow" not in page(1.1)
    assert "a remark" in page(1.1)


def test_what_was_not_measured_is_not_called_met() -> None:
    cells = row(QUESTION, None)
    assert len(cells) == len(HEAD)
    assert cells[HEAD.index("Noodle")] == NOT_MEASURED
    assert cells[HEAD.index("verdict")] == "-"


def test_the_machine_is_told_without_its_name_or_a_path(tmp_path: Path) -> None:
    text = Machine.here(tmp_path).text
    assert "/" not in text
    assert platform.node() not in text.split()


def test_questions_have_keys_of_their_own_and_every_goal_a_reason() -> None:
    assert len(set(KEYS)) == len(KEYS)
    for measurement in MEASUREMENTS:
        for question in measurement.questions:
            assert (question.goal is None) == (question.missed == "")


def test_every_row_of_the_results_comes_from_the_code_and_none_is_left_out() -> None:
    page = RESULTS.read_text()
    found = rows_of(page)
    questions = [question for one in MEASUREMENTS for question in one.questions]
    assert list(found) == [question.key for question in questions]
    for question in questions:
        cells = dict(zip(HEAD, found[question.key], strict=True))
        assert cells["what"] == question.what
        assert cells["beside"] == (question.beside or "-")
        assert cells["goal"] == goal_text(question.goal)
        assert cells["Noodle"] != NOT_MEASURED
        assert (cells["verdict"] == "-") == (question.goal is None)
    titles = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert titles == [one.title for one in MEASUREMENTS]
