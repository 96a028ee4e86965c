"""The one table of moves.

Owns which message moves which state where, what is refused, how a state is
left on the way back and what a resume does in it. Everything else that shows
the machine (the `transitions` machine, the diagram in the docs, the commands
that are allowed, the specification's actions, the laws) is made from it.

Laws, checked when this module is imported
T1. Every state and message is one move or one refusal.
T2. Every state is reachable from `pending`.
T3. A terminal state has no way out; every other has a rule for resume.
T4. `rolled_back` is reachable from every state that is not terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.machine.states import TERMINAL, Message, State

__all__ = [
    "FORWARD",
    "MOVES",
    "Effect",
    "Move",
    "Refusal",
    "Turn",
    "answer",
    "check_moves",
    "forward_message",
]


class Effect(StrEnum):
    """What a message does where it is taken."""

    MOVE = "move"
    """go to `target`"""
    TURN = "turn"
    """stay, and undoing begins"""
    STAY = "stay"
    """stay"""


class Refusal(StrEnum):
    """Why a message is not taken."""

    OUT_OF_ORDER = "out_of_order"
    FINISHED = "finished"
    ALREADY_UNDOING = "already_undoing"
    ON_HOLD = "on_hold"
    PAUSED = "paused"
    NOT_ON_HOLD = "not_on_hold"
    NOT_PAUSED = "not_paused"


class Turn(StrEnum):
    """What has to be undone in a state on the way back."""

    NOTHING = "nothing"
    STAGED = "staged"
    """delete what was staged"""
    FLIPPED = "flipped"
    """exchange back, then delete what was staged"""


@dataclass(frozen=True, slots=True)
class Move:
    """One row: in `source`, `event` leads to `target`.

    `undo` is what the way back has to take away in `target`. `on_resume`
    says what a resume does that finds the upgrade in `target`.
    """

    source: State
    event: Message
    target: State
    undo: Turn
    on_resume: str


# fmt: off
MOVES: tuple[Move, ...] = (
    #    source             event                        target             undo          on resume
    Move(State.PENDING,     Message.CHECKS_PASSED,       State.VALIDATED,   Turn.STAGED,  "stage again, or back, as on_crash says"),
    Move(State.VALIDATED,   Message.SNAPSHOT_TAKEN,      State.SNAPSHOTTED, Turn.STAGED,  "forward if what follows is still valid, else back"),
    Move(State.SNAPSHOTTED, Message.SWAP_BEGUN,          State.SWAPPING,    Turn.FLIPPED, "probe; before the first flip as on_crash says, after it forward"),
    Move(State.SWAPPING,    Message.VERIFICATION_PASSED, State.VERIFIED,    Turn.FLIPPED, "look again and commit"),
    Move(State.VERIFIED,    Message.COMMIT,              State.COMMITTED,   Turn.NOTHING, "finish keeping the old and cleaning up"),
    Move(State.PENDING,     Message.UNDONE,              State.ROLLED_BACK, Turn.NOTHING, "finish cleaning up"),
    Move(State.VALIDATED,   Message.UNDONE,              State.ROLLED_BACK, Turn.NOTHING, "finish cleaning up"),
    Move(State.SNAPSHOTTED, Message.UNDONE,              State.ROLLED_BACK, Turn.NOTHING, "finish cleaning up"),
    Move(State.SWAPPING,    Message.UNDONE,              State.ROLLED_BACK, Turn.NOTHING, "finish cleaning up"),
    Move(State.VERIFIED,    Message.UNDONE,              State.ROLLED_BACK, Turn.NOTHING, "finish cleaning up"),
)
# fmt: on

FORWARD: frozenset[Message] = frozenset(
    move.event for move in MOVES if move.event is not Message.UNDONE
)
"""The messages that take an upgrade on."""

_STAYING: frozenset[Message] = frozenset(Message) - FORWARD - {Message.UNDONE, Message.TURN_BACK}

NOTED: frozenset[Message] = frozenset(
    {
        Message.STEP_RESULT,
        Message.TIMER_DUE,
        Message.GATE,
        Message.APPROVAL,
        Message.HEALTH,
        Message.SAMPLE,
        Message.RESUMED,
    }
)
"""What a finished upgrade still notes (its clean-up), though it refuses it as a move."""

_BY_PLACE: dict[tuple[State, Message], Move] = {(move.source, move.event): move for move in MOVES}


def forward_message(state: State) -> Message | None:
    """The message that takes `state` on, or None where it is terminal."""
    for move in MOVES:
        if move.source is state and move.event in FORWARD:
            return move.event
    return None


def answer(  # noqa: PLR0911 - one return per row of the table in the design
    state: State,
    message: Message,
    *,
    undoing: bool = False,
    held: bool = False,
    held_about_back: bool = False,
    paused: bool = False,
) -> Move | Effect | Refusal:
    """What the table says to `message` in `state`.

    Returns a Move, an Effect (TURN or STAY), or a Refusal. Total: every
    combination of arguments has exactly one answer, and asking changes
    nothing.
    """
    if state in TERMINAL:
        return Effect.STAY if message in NOTED else Refusal.FINISHED
    if message is Message.UNDONE:
        return _BY_PLACE[state, message] if undoing else Refusal.OUT_OF_ORDER
    if message is Message.TURN_BACK:
        if undoing:
            return Refusal.ALREADY_UNDOING
        return Refusal.ON_HOLD if held and held_about_back else Effect.TURN
    if message in FORWARD:
        move = _BY_PLACE.get((state, message))
        if move is None:
            return Refusal.OUT_OF_ORDER
        if undoing:
            return Refusal.ALREADY_UNDOING
        if held:
            return Refusal.ON_HOLD
        return Refusal.PAUSED if paused else move
    if message is Message.RELEASE and not held:
        return Refusal.NOT_ON_HOLD
    if message is Message.UNPAUSE and not paused:
        return Refusal.NOT_PAUSED
    return Effect.STAY


def check_moves(moves: Sequence[Move]) -> None:
    """Raise InvariantBroken, naming the law, if a table of moves breaks T1 to T4."""
    if len({(move.source, move.event) for move in moves}) != len(moves):
        raise InvariantBroken(law="T1", found="two rows for one state and message")
    reached = {State.PENDING}
    for _ in State:
        reached |= {move.target for move in moves if move.source in reached}
    if reached != set(State):
        raise InvariantBroken(law="T2", found=f"unreachable: {sorted(set(State) - reached)}")
    leaving = {move.source for move in moves}
    if leaving != set(State) - TERMINAL:
        raise InvariantBroken(law="T3", found=f"states with a way out: {sorted(leaving)}")
    if any(not move.on_resume for move in moves):
        raise InvariantBroken(law="T3", found="a row without a rule for resume")
    back = {move.source for move in moves if move.target is State.ROLLED_BACK}
    if back != set(State) - TERMINAL:
        raise InvariantBroken(law="T4", found=f"states with a way back: {sorted(back)}")
    moving = {move.event for move in moves}
    if moving | _STAYING | {Message.TURN_BACK} != set(Message) or moving & _STAYING:
        raise InvariantBroken(law="T1", found="a message without an answer, or with two")


check_moves(MOVES)
