"""The laws of the table: every question has one answer, and an end is an end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from noodle_engine.machine.failures import InvariantBroken, MessageRefused
from noodle_engine.machine.states import TERMINAL, Message, State
from noodle_engine.machine.table import (
    FORWARD,
    MOVES,
    NOTED,
    Effect,
    Move,
    Refusal,
    answer,
    check_moves,
    forward_message,
)


@dataclass(frozen=True)
class Asked:
    """Everything that an answer may depend on."""

    state: State
    message: Message
    undoing: bool
    held: bool
    held_about_back: bool
    paused: bool

    @property
    def answer(self) -> Move | Effect | Refusal:
        return answer(
            self.state,
            self.message,
            undoing=self.undoing,
            held=self.held,
            held_about_back=self.held_about_back,
            paused=self.paused,
        )


def everything() -> Iterator[Asked]:
    booleans = (False, True)
    for found in itertools.product(State, Message, booleans, booleans, booleans, booleans):
        yield Asked(*found)


def test_every_question_has_one_answer() -> None:
    for asked in everything():
        assert isinstance(asked.answer, (Move, Effect, Refusal)), asked
        assert asked.answer == asked.answer


FIRST, *OTHERS = MOVES
COMMITS = next(move for move in MOVES if move.event is Message.COMMIT)
EXIT = replace(FIRST, source=State.COMMITTED, event=Message.COMMIT, target=State.ROLLED_BACK)
BROKEN: dict[str, tuple[str, list[Move]]] = {
    "two rows for one question": ("T1", [*MOVES, replace(FIRST, target=State.ROLLED_BACK)]),
    "a message that nothing takes": ("T1", [replace(FIRST, event=Message.COMMIT), *OTHERS]),
    "a message that is taken twice": ("T1", [replace(FIRST, event=Message.RESUMED), *OTHERS]),
    "a state out of reach": ("T2", [replace(FIRST, target=State.PENDING), *OTHERS]),
    "a way out of an end": ("T3", [*MOVES, EXIT]),
    "no rule for a resume": ("T3", [replace(FIRST, on_resume=""), *OTHERS]),
    "no way back": (
        "T4",
        [move for move in MOVES if move.source is not State.VERIFIED] + [COMMITS],
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_table_that_breaks_a_law_is_refused(broken: str) -> None:
    law, moves = BROKEN[broken]
    with pytest.raises(InvariantBroken) as refused:
        check_moves(moves)
    assert refused.value.data["law"] == law


def test_the_table_itself_breaks_none() -> None:
    check_moves(MOVES)


def test_an_end_is_never_left_nor_turned() -> None:
    for asked in everything():
        if asked.state in TERMINAL:
            wanted = Effect.STAY if asked.message in NOTED else Refusal.FINISHED
            assert asked.answer is wanted, asked


def test_what_goes_back_never_goes_forward() -> None:
    for asked in everything():
        if asked.undoing and asked.message in FORWARD:
            assert isinstance(asked.answer, Refusal), asked


def test_a_hold_or_a_pause_stops_only_what_takes_an_upgrade_on() -> None:
    for asked in everything():
        if asked.message in FORWARD and (asked.held or asked.paused):
            assert isinstance(asked.answer, Refusal), asked
        if asked.message is Message.UNDONE and asked.undoing and asked.state not in TERMINAL:
            assert isinstance(asked.answer, Move), asked


def test_going_back_is_refused_only_by_an_end_a_way_back_or_a_hold_about_it() -> None:
    for asked in everything():
        if asked.message is Message.TURN_BACK:
            free = (
                asked.state not in TERMINAL
                and not asked.undoing
                and not (asked.held and asked.held_about_back)
            )
            assert (asked.answer is Effect.TURN) == free, asked


def test_a_move_leads_where_its_row_says_and_only_its_message_makes_it() -> None:
    for asked in everything():
        if isinstance(asked.answer, Move):
            assert asked.answer in MOVES
            assert (asked.answer.source, asked.answer.event) == (asked.state, asked.message)


@pytest.mark.parametrize("state", [state for state in State if state not in TERMINAL])
def test_from_every_state_both_ends_can_be_reached(state: State) -> None:
    forward = state
    for _ in State:
        message = forward_message(forward)
        if message is None:
            break
        found = answer(forward, message)
        assert isinstance(found, Move)
        forward = found.target
    assert forward is State.COMMITTED
    back = answer(state, Message.UNDONE, undoing=True)
    assert isinstance(back, Move)
    assert back.target is State.ROLLED_BACK


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_is_explained(refusal: Refusal) -> None:
    failure = MessageRefused(
        upgrade="01J", state="swapping", message="commit", refusal=refusal.value
    )
    assert failure.cause != refusal.value
