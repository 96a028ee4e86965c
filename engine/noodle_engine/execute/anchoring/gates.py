"""Before which steps a signed head has to have left this machine. Pure."""

from __future__ import annotations

from noodle_engine.execute.anchoring.options import AnchorOptions
from noodle_engine.machine.decide import Decision, Do
from noodle_engine.machine.plan import HookPoint
from noodle_engine.machine.states import TERMINAL, Direction

__all__ = ["is_gated"]

_HOOKS = frozenset(point.value for point in HookPoint)


def is_gated(options: AnchorOptions, decision: Decision) -> bool:
    """Whether what a decision does next has to be anchored first.

    Never on a way back or after the end, nor a step that was begun before: it was anchored
    then, and to stop there would leave it half done.
    """
    action, upgrade = decision.action, decision.upgrade
    if not options.sinks or not isinstance(action, Do) or action.undo or upgrade.undoing:
        return False
    if upgrade.plan.direction is Direction.BACK or upgrade.state in TERMINAL:
        return False
    step = action.step
    if upgrade.step(step.id).attempt > 1:  # its intent is among what is decided
        return False
    if options.strict:
        return True
    if step.name.value not in _HOOKS:
        return False
    return not upgrade.plan.component(step.component).hooks[step.index].reversible
