"""The table as a `transitions` machine.

Owns the one machine that executes moves. It is built from the table, has no
callbacks (the state has already moved when they run), no automatic
transitions, and turns each of the library's three ways of saying no (an
exception, another exception, a False result) into one failure.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.machine.states import Message, State
from noodle_engine.machine.table import MOVES, Move

if TYPE_CHECKING:
    from transitions import Machine

__all__ = ["machine", "take"]


class _Token:
    """What the machine moves: a bare state."""

    state: State


@cache
def machine() -> Machine:
    """The machine; it holds no upgrade, only the moves."""
    from transitions import Machine  # noqa: PLC0415 - off the path of help and status

    built = Machine(
        model=None,
        states=State,
        initial=State.PENDING,
        auto_transitions=False,
        send_event=True,
    )
    for move in MOVES:
        built.add_transition(move.event.value, move.source, move.target)
    return built


def take(move: Move) -> State:
    """Execute one move and return the state it leads to.

    Raises InvariantBroken if the machine and the table disagree.
    """
    return _take(move.source, move.event, move.target)


@cache
def _take(source: State, event: Message, target: State) -> State:
    from transitions import MachineError  # noqa: PLC0415 - see above

    token = _Token()
    built = machine()
    built.add_model(token, initial=source)
    try:
        taken = built.events[event.value].trigger(token)
    except (MachineError, AttributeError, KeyError) as error:
        raise InvariantBroken(law="T1", found=f"{event} in {source}: {error}") from error
    finally:
        built.remove_model(token)
    if taken is not True or token.state is not target:
        raise InvariantBroken(law="T1", found=f"{event} in {source} led to {token.state}")
    return target
