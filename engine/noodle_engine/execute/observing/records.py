"""From a record of the journal to a line of the log and one of the audit log.

Owns what each kind of record is called in them, and from which level on it is told. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from noodle_engine.execute.answers.wording import sentence
from noodle_engine.execute.recording import Heard
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.records import (
    Access,
    Alert,
    Anchored,
    ConfigChanged,
    Decided,
    Noted,
    Requested,
    StepDone,
    StepIntent,
    TimerSet,
    Transition,
)
from noodle_engine.machine.states import Message, Outcome, Reason, State
from noodle_engine.observe.audit import AuditLine
from noodle_engine.observe.levels import Level
from noodle_engine.observe.lines import Line

__all__ = ["MEANT", "READS", "audit_line", "log_line"]

READS: Final = frozenset({"ping"})
"""What may be asked over the socket and changes nothing."""
_QUIET: Final = frozenset({"child.started"})
_LOUD: Final = frozenset({"clock.jumped", "journal.taken_over"})
MEANT: Final = frozenset({Reason.CANCELLED, Reason.OPERATOR, None})
"""Reasons for which a person turns an upgrade back: nothing has failed then."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What both logs are made of. `open` names nothing of the user's, `names` does."""

    logger: str
    level: int
    event: str
    open: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)
    audited: int | None = None


def log_line(heard: Heard) -> Line:
    """The line of the log for a record."""
    entry, told = heard.entry, _told(heard)
    fields = {**told.open, **told.names, "actor": entry.actor}
    return Line(
        told.logger,
        told.level,
        told.event,
        sentence(entry),
        entry.at_ms,
        entry.upgrade,
        heard.seq,
        fields,
    )


def audit_line(heard: Heard) -> AuditLine | None:
    """The line of the audit log for a record; None for what is neither decision nor change."""
    entry, told = heard.entry, _told(heard)
    if told.audited is None:
        return None
    return AuditLine(
        told.audited,
        told.event,
        entry.at_ms,
        entry.actor,
        entry.upgrade,
        heard.seq,
        told.open,
        told.names,
    )


def _told(heard: Heard) -> _Told:  # noqa: PLR0911 - one return per kind
    facts: dict[str, Any]
    names: dict[str, Any]
    match heard.entry.event:
        case Requested(plan=plan, plan_hash=digest):
            open_facts = {"direction": plan.direction.value, "plan_hash": digest}
            names = {"components": _changes(plan)}
            return _Told("upgrade", Level.INFO, "upgrade.requested", open_facts, names, Level.INFO)
        case Transition() as event:
            return _moved(event)
        case StepIntent(step=step, attempt=attempt, undo=undo):
            facts = {**_step(step), "attempt": attempt, "undo": undo or None}
            return _Told("upgrade.step", Level.DEBUG, "step.begun", facts, _component(step))
        case StepDone() as event:
            return _ended(event)
        case TimerSet(id=timer, due_ms=due):
            facts = {"timer": timer, "due_ms": due}
            return _Told("upgrade.timer", Level.DEBUG, "timer.set", facts)
        case Decided(policy=policy, verdict=verdict, reasons=reasons):
            facts = {"policy": policy, "verdict": verdict}
            names = {"reasons": list(reasons) or None}
            return _Told("policy", Level.INFO, "decided", facts, names, Level.INFO)
        case Alert(name=name, verdict=verdict, value=value):
            facts = {"alert": name, "verdict": verdict}
            return _Told("alert", Level.WARNING, "alert", facts, {"value": value}, Level.WARNING)
        case Anchored(sink=sink, size=size, outcome=outcome, problem=problem):
            failed = problem is not None
            facts = {"size": size, "outcome": outcome}
            return _Told(
                "journal",
                Level.WARNING if failed else Level.DEBUG,
                "anchor.unreachable" if failed else "anchor.kept",
                facts,
                {"sink": sink, "problem": problem},
                Level.WARNING if failed else Level.DEBUG,
            )
        case Access(subject=subject, permission=permission, allowed=allowed, via=via):
            facts = {"permission": permission, "allowed": allowed, "via": via}
            read = Level.DEBUG if permission in READS else Level.INFO
            return _Told(
                "access",
                Level.DEBUG if allowed else Level.WARNING,
                "access.allowed" if allowed else "access.denied",
                facts,
                {} if subject == heard.entry.actor else {"subject": subject},
                read if allowed else Level.WARNING,
            )
        case ConfigChanged(keys=keys, accepted=accepted, errors=errors):
            level = Level.INFO if accepted else Level.WARNING
            name = "settings.changed" if accepted else "settings.refused"
            return _Told("settings", level, name, *_settings(keys, errors), level)
        case Noted(code=code, data=data):
            level = Level.WARNING if code in _LOUD else Level.INFO
            quiet = code in _QUIET
            ours = heard.entry.upgrade is not None
            names = {name: value for name, value in data.items() if name != "child"}
            return _Told(
                "upgrade" if ours else "home",
                Level.DEBUG if quiet else level,
                code,
                {},
                names,
                None if quiet else level,
            )


def _moved(event: Transition) -> _Told:
    """A move, or a word of a person. What went wrong is a warning; what waits, an error."""
    level, name = Level.INFO, "upgrade.moved"
    if event.message is Message.HOLD:
        level, name = Level.ERROR, "upgrade.held"
    elif event.message is Message.TURN_BACK:
        name = "upgrade.turned_back"
        level = Level.INFO if event.reason in MEANT else Level.WARNING
    elif event.message is Message.RELEASE:
        name = "upgrade.released"
    elif event.target is State.COMMITTED and event.source is not event.target:
        name = "upgrade.committed"
    elif event.target is State.ROLLED_BACK and event.source is not event.target:
        level, name = Level.WARNING, "upgrade.rolled_back"
    facts = {
        "from": event.source.value,
        "to": event.target.value,
        "reason": event.reason.value if event.reason else None,
        "hold": event.hold.value if event.hold else None,
        "how": event.how.value if event.how else None,
        "undoing": event.undoing or None,
    }
    names = {
        "component": event.component,
        "expected": event.expected,
        "found": event.found,
        "detail": event.detail,
    }
    return _Told("upgrade", level, name, facts, names, max(level, Level.INFO))


def _ended(event: StepDone) -> _Told:
    failed = event.outcome is Outcome.FAILED
    facts = {
        **_step(event.step),
        "attempt": event.attempt,
        "undo": event.undo or None,
        "duration_ms": event.duration_ms,
    }
    names = {**_component(event.step), "error": event.error}
    level = Level.WARNING if failed else Level.INFO
    name = "step.failed" if failed else "step.done"
    return _Told("upgrade.step", level, name, facts, names, level if failed else None)


def _step(step: str) -> dict[str, Any]:
    name, _, rest = step.partition(":")
    index = rest.partition(":")[2]
    return {"step": f"{name}:{index}" if index else name}


def _settings(keys: Sequence[str], errors: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What names nothing of the user's, and what does.

    Those are the files that something is wrong in, what is unknown there, and the entries
    that they named: all keys where anything is wrong.
    """
    theirs = [key for key in keys if errors or key.startswith(_ENTRIES)]
    ours = [key for key in keys if key not in theirs]
    return {"keys": ours}, {"own_keys": theirs or None, "errors": list(errors) or None}


_ENTRIES: Final = ("deployment.policies.", "deployment.maintenance_windows.")


def _component(step: str) -> dict[str, Any]:
    return {"component": step.partition(":")[2].partition(":")[0]}


def _changes(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "from": one.from_version or "absent",
            "to": one.to_version or "absent",
            "target": one.target,
        }
        for one in plan.components
    ]
