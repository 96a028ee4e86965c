"""Records in plain sentences, for people who have never seen one.

Owns the one sentence that each event has everywhere: while following an
upgrade, in `audit show`, in logs. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from noodle_engine.machine.plan import PlanComponent, StepName
from noodle_engine.machine.records import (
    Access,
    Alert,
    Anchored,
    ConfigChanged,
    Decided,
    Entry,
    Noted,
    Observation,
    Requested,
    StepDone,
    StepIntent,
    TimerSet,
    Transition,
)
from noodle_engine.machine.states import Direction, Message, Outcome

__all__ = ["change_of", "sentence", "step_words"]

_YEAR_10000_MS = 253_402_300_800_000
_STEPS: dict[StepName, tuple[str, str]] = {
    StepName.CHECK: ("checking that {0} can be upgraded", "{0} can be upgraded"),
    StepName.SNAPSHOT: ("looking at the old {0}", "the old {0} is known"),
    StepName.STAGE: ("putting the new {0} beside the old", "the new {0} is on disk and proved"),
    StepName.BEFORE_SWAP: ("running {0}'s command before the swap", "{0}'s command has run"),
    StepName.QUIESCE: ("stopping who writes {0}", "nobody writes {0}"),
    StepName.SWAP: ("exchanging {0}", "{0} is exchanged"),
    StepName.UNQUIESCE: ("starting who writes {0}", "who writes {0} is started"),
    StepName.AFTER_SWAP: ("running {0}'s command after the swap", "{0}'s command has run"),
    StepName.HEALTH: ("asking whether {0} is healthy", "{0} is healthy"),
    StepName.RECHECK: ("looking at old and new {0} once more", "{0} is as it should be"),
    StepName.POINT: ("keeping the old {0}", "the old {0} is kept"),
    StepName.AFTER_COMMIT: ("running {0}'s command after the commit", "{0}'s command has run"),
    StepName.AFTER_ROLLBACK: ("running {0}'s command after going back", "{0}'s command has run"),
    StepName.CLEAN_COMMITTED: ("cleaning up after {0}", "{0} is cleaned up"),
    StepName.CLEAN_ROLLED_BACK: ("cleaning up after {0}", "{0} is cleaned up"),
}
_UNDONE: dict[StepName, tuple[str, str]] = {
    StepName.QUIESCE: ("starting who writes {0}", "who writes {0} is started"),
    StepName.UNQUIESCE: ("stopping who writes {0}", "nobody writes {0}"),
    StepName.SWAP: ("putting the old {0} back", "the old {0} is back"),
    StepName.STAGE: ("removing the staged {0}", "the staged {0} is removed"),
}
_MOVES: dict[Message, str] = {
    Message.CHECKS_PASSED: "checks passed",
    Message.SNAPSHOT_TAKEN: "the new is ready, the old is identified",
    Message.SWAP_BEGUN: "the swap begins",
    Message.VERIFICATION_PASSED: "all targets are new and healthy",
    Message.COMMIT: "it counts from here; the old is kept",
    Message.UNDONE: "what was done is taken back",
    Message.PAUSE: "paused",
    Message.UNPAUSE: "goes on",
}


def change_of(component: PlanComponent) -> str:
    """`web 1.0.0 -> 1.1.0`, with what is not there called absent."""
    old = component.from_version or ("absent" if component.root_from == "absent" else "unversioned")
    new = component.to_version or ("absent" if component.root == "absent" else "unversioned")
    return f"{component.name} {old} -> {new}"


def step_words(step_id: str, *, undo: bool, done: bool) -> str:
    """What a step does, or has done, in words."""
    name, _, rest = step_id.partition(":")
    component = rest.partition(":")[0]
    try:
        step = StepName(name)
    except ValueError:
        return step_id
    words = _STEPS[step]
    if undo:
        words = _UNDONE.get(step, ("undoing {0}'s command", "{0}'s command is undone"))
    return words[1 if done else 0].format(component)


def sentence(entry: Entry) -> str:  # noqa: PLR0911 - one return per kind
    """One plain sentence for a record."""
    match entry.event:
        case Requested(plan=plan):
            way = "go back: " if plan.direction is Direction.BACK else ""
            return f"{way}{', '.join(change_of(one) for one in plan.components)} requested"
        case Transition() as event:
            return _transition(event)
        case StepIntent(step=step, undo=undo):
            return step_words(step, undo=undo, done=False)
        case StepDone() as event:
            words = step_words(event.step, undo=event.undo, done=event.outcome is Outcome.DONE)
            words += "".join(_noted(event.observed))
            return words if event.error is None else f"{words}: {event.error}"
        case TimerSet(id=timer, due_ms=due):
            if not 0 <= due < _YEAR_10000_MS:
                return f"limit {timer}: until {due} ms"
            until = datetime.fromtimestamp(due // 1000, UTC)
            return f"limit {timer}: until {until:%Y-%m-%d %H:%M:%S} UTC"
        case Decided(policy=policy, verdict=verdict, reasons=reasons):
            return f"{policy} decided: {verdict}" + (f" ({'; '.join(reasons)})" if reasons else "")
        case Alert() | Anchored() as event:
            return _told(event)
        case ConfigChanged() as event:
            return _config_changed(event)
        case Access(subject=subject, permission=permission, allowed=allowed):
            return f"{subject} {'may' if allowed else 'may not'} {permission}"
        case Noted(text=text):
            return text


_NOTES: dict[str, str] = {
    "kept": "what stood there is kept as {0}",
    "stayed": "what is unmanaged there could not be moved back, and is kept with it: {0}",
    "kept_beside": "what stood beside it is kept as {0}",
    "kept_data": "what somebody wrote into the data of then is kept: {0}",
    "kept_release": "the tree that stood for the old one is kept as {0}",
    "left": "{0} is not of this upgrade and was left",
    "written": "somebody changed it after it was replaced, and {0} is what they left",
    "rebuilt": "the {0} one was made again from its release",
    "recreated": "the {0} one had vanished and was made again",
}
"""What a target may have met, by the name it has in the observation."""


def _noted(observed: Observation | None) -> Iterator[str]:
    for name, words in _NOTES.items():
        found = observed.attributes.get(name) if observed else None
        if found:
            yield f"; {words.format(found)}"


def _told(event: Alert | Anchored) -> str:
    if isinstance(event, Alert):
        return f"alert {event.name}: {event.value or ''}".rstrip(": ")
    head = f"the signed head of {event.size} records"
    if event.problem is None:
        return f"{head} is kept by {event.sink}"
    return f"{head} did not reach {event.sink}: {event.problem}"


NAMED_MAX = 8
"""How many keys or problems a sentence names."""


def _config_changed(event: ConfigChanged) -> str:
    if event.accepted:
        what = "they can be used" if event.old_hash is None else "they are as they were before"
        return f"the settings changed: {_some(event.keys) or what}"
    return f"the settings cannot be used, those of before stay: {_some(event.errors)}"


def _some(named: tuple[str, ...]) -> str:
    more = len(named) - NAMED_MAX
    return ", ".join(named[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _transition(event: Transition) -> str:
    why = f": {event.detail}" if event.detail else ""
    match event.message:
        case Message.TURN_BACK:
            reason = event.reason.value.replace("_", " ") if event.reason else ""
            return f"turned back ({reason}){why}"
        case Message.HOLD:
            reason = event.hold.value.replace("_", " ") if event.hold else ""
            return f"on hold ({reason}){why}"
        case Message.RELEASE:
            return f"released: {event.how.value if event.how else ''}"
        case _:
            words = _MOVES.get(event.message, event.message.value)
            return f"{event.target.value}: {words}" if event.source != event.target else words
