"""Why a mutant may survive."""

from __future__ import annotations

from typing import Final

MACHINE: Final = "engine/noodle_engine/machine"
BACK_IS_REFUSED_ALREADY: Final = (
    "what goes back refuses to turn back before it is asked what the hold is about"
)
THE_LIBRARY: Final = "the library would have to move to another state than it was told"
NO_CIRCLE: Final = "no table that is imported leads in a circle, so the bound is never reached"

REASONS: Final[dict[str, str]] = {
    f"{MACHINE}/moves.py machine: True -> False": "it is about callbacks, and there are none",
    f"{MACHINE}/moves.py _take: raise InvariantBroken(law='T1', found=f'{{event}} in {{source}} "
    "led to {token.state}') -> pass": THE_LIBRARY,
    f"{MACHINE}/moves.py _take: taken is not True or token.state is not target -> taken is not "
    "True and token.state is not target": THE_LIBRARY,
    f"{MACHINE}/decide.py _ask: hold is not None -> hold is None": BACK_IS_REFUSED_ALREADY,
    f"{MACHINE}/decide.py _ask: hold is not None and upgrade.undoing -> hold is not None or "
    "upgrade.undoing": BACK_IS_REFUSED_ALREADY,
    f"{MACHINE}/decide.py _needs_undo: return False -> return None": "only its truth is asked",
    f"{MACHINE}/decide.py _note_timer: _ask(upgrade, Message.TIMER_DUE) -> pass": (
        "the table refuses no deadline anywhere"
    ),
    f"{MACHINE}/decide.py advance: 2 * len(State) + 1 -> 2 * len(State) - 1": NO_CIRCLE,
    f"{MACHINE}/decide.py advance: raise InvariantBroken(law='D1', found='the table of moves does "
    "not end') -> pass": NO_CIRCLE,
    f"{MACHINE}/codec.py _reader: origin in (dict, Mapping) or (isinstance(origin, type) and "
    "issubclass(origin, Mapping)) -> origin in (dict, Mapping) and (isinstance(origin, type) and "
    "issubclass(origin, Mapping))": "both say the same of the two types that fields have",
}
