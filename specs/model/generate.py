"""Write the part of the model that is the code's: `table.pml`.

States, messages, moves, the steps of a plan of two components in their order,
the state each is done in, and the order of the way back are read from
`noodle_engine.machine` and printed as Promela. Change the table, the order of
steps or `undo_order`, and the next `make specs` checks the change.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from noodle_engine.machine.decide import undo_order
from noodle_engine.machine.plan import (
    HealthCheck,
    Hook,
    HookPoint,
    Plan,
    PlanComponent,
    Step,
    StepName,
    World,
    state_of,
    steps_for,
)
from noodle_engine.machine.states import TERMINAL, Direction, Message, OnCrash, State
from noodle_engine.machine.table import FORWARD, MOVES
from noodle_engine.machine.upgrade import StepState, Upgrade

HOOK = Hook(at=HookPoint.AFTER_SWAP, command=("restart",), undo=("restart",))
"""A restart after the exchange, and again after the exchange back."""
HEALTH = HealthCheck(command=("look",))


def plan() -> Plan:
    """The plan that the model upgrades: two components, each with a restart."""
    components = tuple(
        PlanComponent(
            name=name,
            kind="file",
            target=f"/{name}",
            root_from="old",
            root="new",
            hooks=(HOOK,),
            health=health,
        )
        for name, health in (("a", ()), ("b", (HEALTH,)))
    )
    return Plan(
        home="0",
        direction=Direction.FORWARD,
        components=components,
        steps=steps_for(components),
        world=World(versions={}, targets={}, settings_hash=""),
    )


def all_begun() -> Upgrade:
    """An upgrade of which every step was begun: the longest way back."""
    made = plan()
    upgrade = Upgrade(
        id="0",
        plan=made,
        plan_hash="",
        settings_hash="",
        actor="",
        requested_ms=0,
        on_crash=OnCrash.FORWARD,
        undoing=True,
    )
    return replace(upgrade, steps={step.id: StepState(attempt=1) for step in made.steps})


def table() -> str:
    """The text of `table.pml`."""
    return "\n".join(
        itertools.chain(
            ["/* Written by specs/model/generate.py from noodle_engine.machine. */"],
            _names("states", State),
            _names("messages", Message),
            _terminal(),
            _steps(),
            _move(),
            _forward(),
            _undo("first_undo", undo_order(all_begun())),
            _faulty_undo(),
            [""],
        )
    )


def _names(title: str, kind: type[State | Message]) -> Iterator[str]:
    yield f"\n/* {title} */"
    for number, member in enumerate(kind):
        yield f"#define {member.name} {number}"


def _terminal() -> Iterator[str]:
    either = " || ".join(f"(state) == {state.name}" for state in State if state in TERMINAL)
    yield f"\n#define TERMINAL(state) ({either})"


def _steps() -> Iterator[str]:
    made = plan()
    yield "\n/* steps, by their place in the plan; sets of steps are masks */"
    for number, step in enumerate(made.steps):
        yield f"/* {number:2} {step.id} */"
    yield f"#define STEPS {len(made.steps)}"
    for name in StepName:
        yield f"#define {_upper(name)} {_mask(made, lambda s, name=name: s.name is name)}"
    for place, component in enumerate(made.components):
        mask = _mask(made, lambda s, name=component.name: s.component == name)
        yield f"#define OF_{place} {mask}"
    undoable = {step.id for step in undo_order(all_begun())}
    yield f"#define UNDOABLE {_mask(made, lambda s: s.id in undoable)}"
    masks = {
        state: _mask(made, lambda s, state=state: state_of(s.name) is state) for state in State
    }
    sums = (f"((state) == {state.name}) * {mask}" for state, mask in masks.items())
    yield "#define STEPS_OF(state) ( \\\n\t" + " + \\\n\t".join(sums) + ")"


def _upper(name: StepName) -> str:
    return "STEP_" + name.value.replace("-", "_").upper()


def _mask(made: Plan, chosen) -> str:  # noqa: ANN001 - a predicate over steps
    bits = sum(1 << number for number, step in enumerate(made.steps) if chosen(step))
    return str(bits)


def _move() -> Iterator[str]:
    yield "\n/* one option a row of the table; anything else is a fault of the model */"
    yield "inline move(message) {\n\tif"
    for row in MOVES:
        undoing = "" if row.event in FORWARD else " && w_undoing"
        yield (
            f"\t:: w_state == {row.source.name} && message == {row.event.name}{undoing}"
            f" -> w_state = {row.target.name}"
        )
    yield "\t:: else -> assert(false)\n\tfi\n}"


def _forward() -> Iterator[str]:
    yield "\ninline move_forward() {\n\tif"
    for row in MOVES:
        if row.event in FORWARD:
            yield f"\t:: w_state == {row.source.name} -> move({row.event.name})"
    yield "\t:: else -> assert(false)\n\tfi\n}"


def _undo(name: str, order: tuple[Step, ...]) -> Iterator[str]:
    numbers = {step.id: number for number, step in enumerate(plan().steps)}
    yield f"\n/* the first step of `todo` in this order: {', '.join(s.id for s in order)} */"
    yield f"inline {name}() {{"
    for depth, step in enumerate(order):
        number = numbers[step.id]
        head = "\tif\n" if depth == 0 else "\t:: else -> if\n"
        yield f"{head}\t:: todo & {1 << number} -> step = {number}"
    yield "\t:: else -> assert(false)\n\tfi" + " fi" * (len(order) - 1) + "\n}"


def _faulty_undo() -> Iterator[str]:
    """Two orders that are wrong, for the seeded faults."""
    right = undo_order(all_begun())
    first = plan().components[0].name
    components = sorted(right, key=lambda step: step.component != first)
    yield from _undo("first_undo_components_forward", tuple(components))
    hooks_first = (StepName.AFTER_SWAP, StepName.SWAP, StepName.STAGE)
    hooks = sorted(right, key=lambda s: (s.component == first, hooks_first.index(s.name)))
    yield from _undo("first_undo_hooks_first", tuple(hooks))


if __name__ == "__main__":
    print(table())
