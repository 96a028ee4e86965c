"""Write the part of the model that is the code's: `table.pml`.

States, messages, moves, the steps of a plan in their order, the state each is
done in, the order of the way back and what of an end is tried again are read
from `noodle_engine.machine` and printed as Promela. Change the table, the order of
steps or `undo_order`, and the next `make specs` checks the change.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
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
from noodle_engine.machine.states import (
    TERMINAL,
    Direction,
    Message,
    OnCrash,
    Outcome,
    State,
)
from noodle_engine.machine.table import FORWARD, MOVES
from noodle_engine.machine.upgrade import StepState, Upgrade

RESTART = Hook(at=HookPoint.AFTER_SWAP, command=("restart",), undo=("restart",))
"""A restart after the exchange, and again after the exchange back."""
PREPARE = Hook(at=HookPoint.BEFORE_SWAP, command=("prepare",), undo=("unprepare",))
STOP = Hook(at=HookPoint.QUIESCE, command=("stop",), undo=("start",))
START = Hook(at=HookPoint.UNQUIESCE, command=("start",), undo=("stop",))
HEALTH = HealthCheck(command=("look",))
HOOKS: dict[str, dict[str, tuple[Hook, ...]]] = {
    "pair": {"a": (RESTART,), "b": (RESTART,)},
    "writers": {"a": (PREPARE, STOP, START)},
    "leases": {"a": (RESTART,)},
}
"""The plans that are modelled: of each its components with their hooks."""
CHECKED = {"pair": "b"}
"""The component of a plan that has a health check."""
COMPONENTS_MAX = 2
"""For how many components the models have names on disk."""


def plan(name: str) -> Plan:
    """A plan that a model upgrades."""
    components = tuple(
        PlanComponent(
            name=one,
            kind="file",
            target=f"/{one}",
            root_from="old",
            root="new",
            hooks=hooks,
            health=(HEALTH,) if CHECKED.get(name) == one else (),
        )
        for one, hooks in HOOKS[name].items()
    )
    return Plan(
        home="0",
        direction=Direction.FORWARD,
        components=components,
        steps=steps_for(components),
        world=World(versions={}, targets={}, settings_hash=""),
    )


def upgrade_of(made: Plan) -> Upgrade:
    """An upgrade of which nothing was done yet."""
    return Upgrade(
        id="0",
        plan=made,
        plan_hash="",
        settings_hash="",
        actor="",
        requested_ms=0,
        on_crash=OnCrash.FORWARD,
    )


def all_begun(made: Plan) -> Upgrade:
    """An upgrade of which every step was begun: the longest way back."""
    begun = {step.id: StepState(attempt=1) for step in made.steps}
    return replace(upgrade_of(made), undoing=True, steps=begun)


def touching(made: Plan) -> frozenset[str]:
    """The steps after which a component has something to clean up on the way back."""
    return frozenset(
        step.id
        for step in made.steps
        if replace(
            upgrade_of(made),
            state=State.ROLLED_BACK,
            steps={step.id: StepState(attempt=1)},
        ).steps_left
    )


def tried_again(made: Plan) -> frozenset[str]:
    """The steps of an end that a resume does again if they failed."""
    failed = {step.id: StepState(attempt=1, outcome=Outcome.FAILED) for step in made.steps}
    return frozenset(
        step.id
        for state in TERMINAL
        for step in replace(upgrade_of(made), state=state, steps=failed).failed_clean_up
    )


def table(name: str) -> str:
    """The text of `table.pml` for a plan."""
    made = plan(name)
    right = undo_order(all_begun(made))
    return "\n".join(
        itertools.chain(
            ["/* Written by specs/model/generate.py from noodle_engine.machine. */"],
            _names("states", State),
            _names("messages", Message),
            _terminal(),
            _steps(made),
            _move(),
            _forward(),
            _undo(made, "first_undo", right),
            _faulty_undo(made, right),
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


def _steps(made: Plan) -> Iterator[str]:
    yield "\n/* steps, by their place in the plan; sets of steps are masks */"
    for number, step in enumerate(made.steps):
        yield f"/* {number:2} {step.id} */"
    yield f"#define STEPS {len(made.steps)}"
    for name in StepName:
        yield f"#define {_upper(name)} {_mask(made, (s for s in made.steps if s.name is name))}"
    names = [component.name for component in made.components]
    for place in range(COMPONENTS_MAX):
        own = (s for s in made.steps if s.component in names[place : place + 1])
        yield f"#define OF_{place} {_mask(made, own)}"
    undoable = {step.id for step in undo_order(all_begun(made))}
    for title, ids in (
        ("UNDOABLE", undoable),
        ("TOUCHING", touching(made)),
        ("CLEAN_UP", tried_again(made)),
    ):
        yield f"#define {title} {_mask(made, (s for s in made.steps if s.id in ids))}"
    masks = {
        state: _mask(made, (s for s in made.steps if state_of(s.name) is state)) for state in State
    }
    sums = (f"((state) == {state.name}) * {mask}" for state, mask in masks.items())
    yield "#define STEPS_OF(state) ( \\\n\t" + " + \\\n\t".join(sums) + ")"


def _upper(name: StepName) -> str:
    return "STEP_" + name.value.replace("-", "_").upper()


def _mask(made: Plan, chosen: Iterable[Step]) -> str:
    return str(sum(1 << made.steps.index(step) for step in chosen))


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


def _undo(made: Plan, name: str, order: tuple[Step, ...]) -> Iterator[str]:
    numbers = {step.id: number for number, step in enumerate(made.steps)}
    yield f"\n/* the first step of `todo` in this order: {', '.join(s.id for s in order)} */"
    yield f"inline {name}() {{"
    for depth, step in enumerate(order):
        number = numbers[step.id]
        head = "\tif\n" if depth == 0 else "\t:: else -> if\n"
        yield f"{head}\t:: todo & {1 << number} -> step = {number}"
    yield "\t:: else -> assert(false)\n\tfi" + " fi" * (len(order) - 1) + "\n}"


def _faulty_undo(made: Plan, right: tuple[Step, ...]) -> Iterator[str]:
    """Two orders that are wrong, for the seeded faults."""
    first = made.components[0].name
    components = sorted(right, key=lambda step: step.component != first)
    yield from _undo(made, "first_undo_components_forward", tuple(components))
    hooks_first = (StepName.AFTER_SWAP, StepName.BEFORE_SWAP)
    hooks = sorted(right, key=lambda s: s.name not in hooks_first)
    yield from _undo(made, "first_undo_hooks_first", tuple(hooks))


if __name__ == "__main__":
    print(table("pair"))
