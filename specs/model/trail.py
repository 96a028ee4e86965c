"""A run that Spin found, as people read it: one line a step, with what it changed.

Spin prints each statement, and after it all that has changed so far in its step.
What is numbered in the model is given its name again: states, steps, what is on
disk, what the engine does next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from noodle_engine.machine.states import State

STATES = [state.value for state in State]
ON_DISK = ["nothing", "old", "new", "torn", "foreign"]
ACTIONS = ["wait", "do", "undo", "probe", "held"]
OUTCOMES = ["-", "done", "not done", "failed", "found"]
SCRATCH = {"todo", "advancing", "where"}
HOLDS = ["none", "for a person", "overdue"]
LOCKS = {"home", "target_lock", "writing"}
ONES = ("target", "kept_target", "runs", "synced", "writes")
AT_FIRST = {f"{name}[{place}]": 1 for name in ONES for place in (0, 1)} | {"up": 1}
MASK = re.compile(r"[wd]_(?:begun|done|failed|undo_begun|undone)|told_done")
DISK = re.compile(r"(?:target|beside|kept_target|kept_beside|runs)\[\d\]")
STATEMENT = re.compile(r"\s*(\d+):\s+proc\s+\d+ \((\w+):\d+\)")
VALUE = re.compile(r"\s+(?:(\w+)\((\d+)\):)?(\w+(?:\[\d\])?) = (-?\d+)$")


def readable(text: str, steps: list[str]) -> Iterator[str]:
    """The lines of what `spin -t -p -g -l` printed, one for each step that changed something."""
    values = dict(AT_FIRST)
    begun: tuple[str, str] | None = None
    changed: dict[str, int] = {}
    for line in text.splitlines():
        if "trail ends" in line or "START OF CYCLE" in line:
            yield from _step(begun, changed, values, steps)
            changed = {}
            yield line.strip(" <>")
            if "trail ends" in line:
                return
        elif found := STATEMENT.match(line):
            if begun != found.groups():
                yield from _step(begun, changed, values, steps)
                begun, changed = (found[1], found[2]), {}
        elif found := VALUE.match(line):
            own = f"{found[1]} {found[2]}." if found[1] else ""
            changed[own + found[3]] = int(found[4])


def _step(
    begun: tuple[str, str] | None,
    changed: dict[str, int],
    values: dict[str, int],
    steps: list[str],
) -> Iterator[str]:
    new = [
        _said(name, value, values.get(name, 0), steps)
        for name, value in changed.items()
        if name.rpartition(".")[2] not in SCRATCH and values.get(name, 0) != value
    ]
    values.update(changed)
    if begun is not None and new:
        yield f"{begun[0]:>5} {begun[1]:<7} {', '.join(new)}"


def _said(shown: str, value: int, before: int, steps: list[str]) -> str:
    worker, _, name = shown.rpartition(".")
    return f"{worker} {_named(name, value, before, steps)}".strip()


def _named(name: str, value: int, before: int, steps: list[str]) -> str:  # noqa: PLR0911 - one a kind
    if name in ("w_state", "d_state"):
        return f"{name} {STATES[value]}"
    if MASK.fullmatch(name):
        added = [f"+{step}" for step in _members(value & ~before, steps)]
        return (
            f"{name} {' '.join(added + [f'-{step}' for step in _members(before & ~value, steps)])}"
        )
    if DISK.fullmatch(name):
        return f"{name.replace('[0]', ' a').replace('[1]', ' b')} {ON_DISK[value]}"
    if name == "step":
        return f"step {steps[value]}"
    if name in ("w_hold", "d_hold"):
        return f"{name} {HOLDS[value]}"
    if name in LOCKS:
        return f"{name} of {value - 1}" if value else f"{name} free"
    if name == "action":
        return f"action {ACTIONS[value]}"
    if name == "outcome":
        return f"outcome {OUTCOMES[value]}"
    return f"{name} {value}"


def _members(mask: int, steps: list[str]) -> list[str]:
    return [step for number, step in enumerate(steps) if mask >> number & 1]
