"""A plan as a diff that a person can say yes to.

Owns the text form of a plan, and nothing else. Pure but for colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import bytes_words, versions
from noodle_engine.execute.answers.wording import step_words
from noodle_engine.machine.plan import ABSENT, HookPoint, StepName

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import Difference, PlanView
    from noodle_engine.machine.plan import Plan, PlanComponent, Step

__all__ = ["DIFFERENCES_SHOWN", "difference_lines", "forward_steps", "plan_lines"]

DIFFERENCES_SHOWN = 20
"""How many files of a component are named, where not all are asked for."""
_SIGNS = {
    "added": ("+", "good"),
    "removed": ("-", "bad"),
    "changed": ("~", "warn"),
    "attributes": ("~", "warn"),
}
_DIGITS = 12
_ONLY_BACK = frozenset({StepName.AFTER_ROLLBACK, StepName.CLEAN_ROLLED_BACK})


def forward_steps(plan: Plan) -> tuple[Step, ...]:
    """The steps that are done if nothing goes wrong."""
    return tuple(step for step in plan.steps if step.name not in _ONLY_BACK)


def plan_lines(out: Invocation, view: PlanView, *, everything: bool = False) -> Iterator[str]:
    """What would change, by which steps, at what cost, and the plan's hash.

    Of each component at most DIFFERENCES_SHOWN files are named, unless `everything`.
    """
    for one in view.already:
        yield f"  = {clean(one)} is in place already"
    plan = view.plan
    if plan is None:
        yield "nothing to do"
        return
    for component in plan.components:
        yield from _component_lines(out, component)
        own = [one for one in view.differences if one.component == component.name]
        yield from difference_lines(out, own, view.left_out, everything=everything)
    yield ""
    yield "steps:"
    for number, step in enumerate(forward_steps(plan), 1):
        yield f"  {number:>3}. {clean(_step_words(plan, step))}"
    yield "       if one fails, what was done is taken back in reverse"
    yield ""
    changed = _counted(plan)
    if changed:
        yield f"files: {changed}"
    yield f"needs: {_needs(plan)}"
    for notice in plan.notices:
        yield f"note:  {clean(notice)}"
    yield f"hash:  {view.plan_hash}"


def difference_lines(
    out: Invocation, differences: Sequence[Difference], left_out: int, *, everything: bool = False
) -> Iterator[str]:
    """The files and links that differ, with a sign, and what differs in them."""
    shown = [one for one in differences if one.path]
    if not shown:
        return
    most = len(shown) if everything else DIFFERENCES_SHOWN
    for one in shown[:most]:
        sign, style = _SIGNS[one.change]
        size = (
            f"  {bytes_words(one.size)}" if one.size and one.change in ("added", "changed") else ""
        )
        what = [word for word in one.what if word != "content"]
        attributes = f"  ({', '.join(what)})" if what else ""
        yield out.style(f"      {sign} {clean(one.path)}{size}{clean(attributes)}", style)
    more = len(shown) - most + left_out
    if more > 0:
        how = "" if left_out else " (--all names them)"
        yield f"        and {more} more{how}"


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
    kind, colon, digits = root.partition(":")
    short = digits if len(digits) <= _DIGITS else f"{digits[:_DIGITS]}..."
    return clean(f"{kind}{colon}{short}")


def _step_words(plan: Plan, step: Step) -> str:
    words = step_words(step.id, undo=False, done=False)
    component = plan.component(step.component)
    if step.name.value in set(HookPoint):
        return f"{words}: {' '.join(component.hooks[step.index].command)}"
    if step.name is StepName.HEALTH:
        check = component.health[step.index]
        what = check.http or check.tcp or check.file or " ".join(check.command or ())
        passes = f", {check.passes} times in a row" if check.passes > 1 else ""
        return f"{words}: {what}{passes}"
    return words


def _counted(plan: Plan) -> str:
    diff = plan.diff
    counts = ((diff.added, "added"), (diff.changed, "changed"), (diff.removed, "removed"))
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _needs(plan: Plan) -> str:
    needs, diff = plan.needs, plan.diff
    parts = [f"{bytes_words(needs.disk_bytes)} of disk space"]
    if needs.inodes:
        parts.append(f"{needs.inodes} inodes")
    if needs.seconds:
        parts.append(f"at least {needs.seconds} s")
    parts.append(f"{bytes_words(diff.bytes_copied)} to copy")
    if diff.bytes_shared:
        parts.append(f"{bytes_words(diff.bytes_shared)} shared with what is there")
    return ", ".join(parts)
