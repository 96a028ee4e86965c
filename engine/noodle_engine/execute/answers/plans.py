"""The answer of plan, from what planning found."""

from __future__ import annotations

from noodle_engine.execute.answers.views import DIFFERENCES_MAX, Difference, PlanView
from noodle_engine.execute.planning import Planned
from noodle_engine.machine.plan import plan_hash

__all__ = ["plan_view"]


def plan_view(planned: Planned) -> PlanView:
    """A plan as callers see it."""
    plan = planned.plan
    found = [
        Difference(component, one.change, one.path, one.size, one.what)
        for component, one in planned.differences[:DIFFERENCES_MAX]
    ]
    return PlanView(
        changes=plan is not None,
        plan_hash=plan_hash(plan) if plan else None,
        plan=plan,
        already=planned.already,
        differences=tuple(found),
        left_out=len(planned.differences) - len(found),
    )
