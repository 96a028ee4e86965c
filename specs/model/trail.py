"""A run that Spin found, as people read it: one line a step, with what it changed.

Spin prints each statement, and after it all that has changed so far in its step.
What is numbered in the model is given its name again: states, steps, what is on
disk, what the engine does next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generate import plan

from noodle_engine.machine.states import State

STATES = [state.value for state in State]
STEPS = [step.id for step in plan().steps]
ON_DISK = ["nothing", "old", "new", "torn", "foreign"]
ACTIONS = ["wait", "do", "undo", "probe", "held"]
OUTCOMES = ["-", "done", "not done", "failed", "found"]
SCRATCH = {"todo", "advancing", "where"}
ONES = ("target", "kept_target", "runs", "synced")
AT_FIRST = {f"{name}[{place}]": 1 for name in ONES for place in (0, 1)} | {"up": 1}
MASK = re.compile(r"[wd]_(?:begun|done|failed|undo_begun|undone)|told_done")
DISK = re.compile(r"(?:target|beside|kept_target|kept_beside|runs)\[\d\]")
STATEMENT = re.compile(r"\s*(\d+):\s+proc\s+\d+ \((\w+):\d+\)")
VALUE = re.compile(r"\s+(\w+(?:\[\d\])?) = (-?\d+)$")


def readable(text: str) -> Iterator[str]:
    """The lines of what `spin -t -p -g` printed, one for each step that changed something."""
    values = dict(AT_FIRST)
    begun: tuple[str, str] | None = None
    changed: dict[str, int] = {}
    for line in text.splitlines():
        if "trail ends" in line or "START OF CYCLE" in line:
            yield from _step(begun, changed, values)
            changed = {}
            yield line.strip(" <>")
            if "trail ends" in line:
                return
        elif found := STATEMENT.match(line):
            if begun != found.groups():
                yield from _step(begun, changed, values)
                begun, changed = (found[1], found[2]), {}
        elif found := VALUE.match(line):
            changed[found[1]] = int(found[2])


def _step(
    begun: tuple[str, str] | None, changed: dict[str, int], values: dict[str, int]
) -> Iterator[str]:
    new = [
        _said(name, value, values.get(name, 0))
        for name, value in changed.items()
        if name not in SCRATCH and values.get(name, 0) != value
    ]
    values.update(changed)
    if begun is not None and new:
        yield f"{begun[0]:>5} {begun[1]:<7} {', '.join(new)}"


def _said(name: str, value: int, before: int) -> str:
    if name in ("w_state", "d_state"):
        return f"{name} {STATES[value]}"
    if MASK.fullmatch(name):
        added = [f"+{step}" for step in _members(value & ~before)]
        return f"{name} {' '.join(added + [f'-{step}' for step in _members(before & ~value)])}"
    if DISK.fullmatch(name):
        return f"{name.replace('[0]', ' a').replace('[1]', ' b')} {ON_DISK[value]}"
    if name == "step":
        return f"step {STEPS[value]}"
    if name == "action":
        return f"action {ACTIONS[value]}"
    if name == "outcome":
        return f"outcome {OUTCOMES[value]}"
    return f"{name} {value}"


def _members(mask: int) -> list[str]:
    return [step for number, step in enumerate(STEPS) if mask >> number & 1]
