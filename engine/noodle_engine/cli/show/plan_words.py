"""A plan as a diff that a person can say yes to.

Owns the text form of a plan, and nothing else. Pure but for colours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import bytes_words, versions
from noodle_engine.execute.answers.wording import step_words
from noodle_engine.machine.plan import ABSENT, StepName

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import PlanView
    from noodle_engine.machine.plan import Plan, PlanComponent, Step

__all__ = ["forward_steps", "plan_lines"]

_DIGITS = 12
_ONLY_BACK = frozenset({StepName.AFTER_ROLLBACK, StepName.CLEAN_ROLLED_BACK})


def forward_steps(plan: Plan) -> tuple[Step, ...]:
    """The steps that are done if nothing goes wrong."""
    return tuple(step for step in plan.steps if step.name not in _ONLY_BACK)


def plan_lines(out: Invocation, view: PlanView) -> Iterator[str]:
    """What would change, by which steps, at what cost, and the plan's hash."""
    for one in view.already:
        yield f"  = {clean(one)} is in place already"
    plan = view.plan
    if plan is None:
        yield "nothing to do"
        return
    for component in plan.components:
        yield from _component_lines(out, component)
    yield ""
    yield "steps:"
    for number, step in enumerate(forward_steps(plan), 1):
        yield f"  {number:>3}. {clean(_step_words(plan, step))}"
    yield "       if one fails, what was done is taken back in reverse"
    yield ""
    yield f"needs: {_needs(plan)}"
    for notice in plan.notices:
        yield f"note:  {clean(notice)}"
    yield f"hash:  {view.plan_hash}"


def _component_lines(out: Invocation, component: PlanComponent) -> Iterator[str]:
    removed = component.root == ABSENT
    added = component.root_from == ABSENT
    sign, style = ("-", "bad") if removed else ("+", "good") if added else ("~", "warn")
    old = component.from_version or (None if added else "unversioned")
    new = component.to_version or (None if removed else "unversioned")
    yield out.style(f"  {sign} {clean(component.name)}  {versions(old, new)}", style)
    yield f"      {component.kind}  {clean(component.target)}"
    if not added:
        yield f"      - {_short(component.root_from)}"
    if not removed:
        yield f"      + {_short(component.root)}"


def _short(root: str) -> str:
    kind, colon, digits = root.rpartition(":")
    short = digits if len(digits) <= _DIGITS else f"{digits[:_DIGITS]}..."
    return clean(f"{kind}{colon}{short}")


def _step_words(plan: Plan, step: Step) -> str:
    words = step_words(step.id, undo=False, done=False)
    component = plan.component(step.component)
    if step.name in (StepName.BEFORE_SWAP, StepName.AFTER_SWAP, StepName.AFTER_COMMIT):
        return f"{words}: {' '.join(component.hooks[step.index].command)}"
    if step.name is StepName.HEALTH:
        check = component.health[step.index]
        what = check.http or check.tcp or check.file or " ".join(check.command or ())
        passes = f", {check.passes} times in a row" if check.passes > 1 else ""
        return f"{words}: {what}{passes}"
    return words


def _needs(plan: Plan) -> str:
    needs, diff = plan.needs, plan.diff
    parts = [f"{bytes_words(needs.disk_bytes)} of disk space"]
    if needs.seconds:
        parts.append(f"at least {needs.seconds} s")
    parts.append(f"{bytes_words(diff.bytes_copied)} to copy")
    return ", ".join(parts)
