"""The machine as people read it: a diagram and a table, made from the one table. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from noodle_engine.machine.plan import StepName, state_of
from noodle_engine.machine.states import TERMINAL, Message, State
from noodle_engine.machine.table import MOVES, Effect, Move, Refusal, Turn, answer

__all__ = ["diagram", "machine_page"]

_UNDO: dict[Turn, str] = {
    Turn.NOTHING: "nothing",
    Turn.STAGED: "what was staged is removed",
    Turn.FLIPPED: "the exchange is taken back, then what was staged is removed",
}
_REFUSED: dict[Refusal, str] = {
    Refusal.OUT_OF_ORDER: "refused: not in this state",
    Refusal.FINISHED: "refused: an end is final",
    Refusal.ALREADY_UNDOING: "refused: it goes back already",
    Refusal.ON_HOLD: "refused: it is on hold",
    Refusal.PAUSED: "refused: it is paused",
    Refusal.NOT_ON_HOLD: "refused: it is not on hold",
    Refusal.NOT_PAUSED: "refused: it is not paused",
}

_INTRODUCTION = (
    "An upgrade is in one of seven states. `undone` is said once all that was begun has been",
    "taken back; until then an upgrade that goes back stays in the state in which it turned.",
)
_CLOSING = (
    "On the way back each message that takes an upgrade on is refused, and so is `turn_back`.",
    "On hold, what takes it on is refused until a person releases it; a hold over the way back",
    "itself refuses `turn_back` too. While it is paused, what takes it on is refused.",
)


def diagram() -> str:
    """The states and moves as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.PENDING.value}"]
    lines += [
        f"    {move.source.value} --> {move.target.value}: {_said(move.event)}" for move in MOVES
    ]
    lines += [f"    {state.value} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(lines)


def machine_page() -> str:
    """The reference page of the machine."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# The machine"
    yield ""
    yield "Made from the table of moves by `python -m noodle_engine.cli.pages`; do not edit."
    yield ""
    yield from _INTRODUCTION
    yield ""
    yield "```mermaid"
    yield diagram()
    yield "```"
    yield ""
    yield "## States"
    yield ""
    yield "| state | steps done in it | on the way back | a resume that finds it here |"
    yield "|---|---|---|---|"
    for state in State:
        yield f"| `{state.value}` | {_steps_of(state)} | {_undo_in(state)} | {_resume_in(state)} |"
    yield ""
    yield "## What each message does"
    yield ""
    yield "Said to an upgrade that goes forward, is not on hold and not paused."
    yield ""
    yield "| message | " + " | ".join(f"`{state.value}`" for state in State) + " |"
    yield "|---|" + "---|" * len(State)
    for message in Message:
        cells = (_cell(answer(state, message)) for state in State)
        yield f"| {_said(message)} | " + " | ".join(cells) + " |"
    yield ""
    yield from _CLOSING


def _said(message: Message) -> str:
    return message.value.replace("_", " ")


def _steps_of(state: State) -> str:
    names = [f"`{name.value}`" for name in StepName if state_of(name) is state]
    return ", ".join(names) or "none"


def _undo_in(state: State) -> str:
    if state in TERMINAL:
        return "an end is final"
    found = {move.undo for move in MOVES if move.target is state}
    return _UNDO[found.pop()] if found else _UNDO[Turn.NOTHING]


def _resume_in(state: State) -> str:
    found = {move.on_resume for move in MOVES if move.target is state}
    return found.pop() if found else "check again, or back, as on_crash says"


def _cell(found: Move | Effect | Refusal) -> str:
    match found:
        case Move():
            return f"to `{found.target.value}`"
        case Effect.TURN:
            return "goes back"
        case Effect():
            return "noted"
        case Refusal():
            return _REFUSED[found]
