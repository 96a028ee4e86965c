"""The events that the engine writes into the journal, one type a kind.

Owns the fields of every record kind built so far. An event knows nothing of
sequence numbers or keys; the driver wraps it in an envelope (who, when, which
upgrade) and hands it to the journal. Stored names are for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noodle_engine.machine.codec import JsonObject, decode, encode
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.states import (
    HoldReason,
    Message,
    OnCrash,
    Outcome,
    Reason,
    Release,
    State,
)

__all__ = [
    "AT_ONCE_POLICY",
    "BACK_TIMER",
    "EVENT_KINDS",
    "OUTPUT_BYTES_MAX",
    "TOTAL_TIMER",
    "Access",
    "Alert",
    "Anchored",
    "ConfigChanged",
    "Decided",
    "Entry",
    "Event",
    "Noted",
    "Observation",
    "Requested",
    "StepDone",
    "StepIntent",
    "TimerSet",
    "Transition",
    "entry_of",
    "fields_of",
]

TOTAL_TIMER = "total"
"""The id of the deadline of a way forward."""
BACK_TIMER = "back"
"""The id of the deadline of a way back."""
AT_ONCE_POLICY = "concurrency"
"""The policy that lets an upgrade wait while as many run as may."""
OUTPUT_BYTES_MAX = 8192
"""How much of a command's output a record keeps: its end."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was found at a target: its root, and the attributes that matter."""

    root: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Requested:
    """An upgrade was asked for; the whole plan by value."""

    plan: Plan
    plan_hash: str
    settings_hash: str
    on_crash: OnCrash = OnCrash.FORWARD
    settings: dict[str, Any] | None = None
    request_key: str | None = None
    retry_of: str | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A message that was taken: a move, or a change while the state stays."""

    source: State = field(metadata={"name": "from"})
    target: State = field(metadata={"name": "to"})
    message: Message
    undoing: bool = False
    reason: Reason | None = None
    hold: HoldReason | None = None
    how: Release | None = None
    component: str | None = None
    expected: str | None = None
    found: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class StepIntent:
    """A step is about to be done (or, with `undo`, taken back)."""

    step: str
    key: str
    attempt: int
    undo: bool = False
    expected_old: str | None = None
    expected_new: str | None = None


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step ended."""

    step: str
    key: str
    attempt: int
    outcome: Outcome
    undo: bool = False
    observed: Observation | None = None
    duration_ms: int = 0
    error: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class TimerSet:
    """A deadline, absolute, in journal time."""

    id: str
    due_ms: int
    message: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A policy's verdict with its inputs and reasons."""

    policy: str
    verdict: str
    inputs: dict[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should see; it never changes an outcome."""

    name: str
    verdict: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Anchored:
    """A signed head was sent to a sink. `outcome` is kept or unreachable, `problem` says why.

    size: how many records the head is of.
    """

    sink: str
    size: int
    outcome: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The settings changed while a process held the home.

    keys: those that differ, or that are wrong. A hash is that of all values; `new_hash`
    is null for settings that cannot be used: then those of before stay in force, and
    `errors` says where and what is wrong, without any value.
    """

    keys: tuple[str, ...]
    old_hash: str | None
    new_hash: str | None
    accepted: bool
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """Whether a caller was allowed something, and how they came."""

    subject: str
    permission: str
    allowed: bool
    via: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Anything else worth keeping; `code` is stable, `text` is for people."""

    code: str
    text: str
    data: dict[str, str] = field(default_factory=dict)


Event = (
    Requested
    | Transition
    | StepIntent
    | StepDone
    | TimerSet
    | Decided
    | Alert
    | Anchored
    | ConfigChanged
    | Access
    | Noted
)

EVENT_KINDS: dict[str, type[Event]] = {
    "upgrade.requested": Requested,
    "transition": Transition,
    "step.intent": StepIntent,
    "step.done": StepDone,
    "timer": TimerSet,
    "decision": Decided,
    "alert": Alert,
    "anchor": Anchored,
    "config.changed": ConfigChanged,
    "access": Access,
    "note": Noted,
}
_LABELS: dict[type[Event], str] = {kind: label for label, kind in EVENT_KINDS.items()}
_ENVELOPE = ("upgrade", "actor", "at_ms")


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with who caused it, when (journal time), and its upgrade."""

    event: Event
    actor: str
    at_ms: int
    upgrade: str | None = None

    @property
    def label(self) -> str:
        """The record kind's stored name."""
        return _LABELS[type(self.event)]


def fields_of(entry: Entry) -> JsonObject:
    """The fields of the record that stores `entry`."""
    body = encode(entry.event)
    body["actor"] = entry.actor
    body["at_ms"] = entry.at_ms
    if entry.upgrade is not None:
        body["upgrade"] = entry.upgrade
    return body


def entry_of(label: str, body: Mapping[str, Any]) -> Entry | None:
    """The entry that a record holds, or None for a kind the engine has no use for.

    Raises RecordUnreadable if the fields do not fit the kind.
    """
    kind = EVENT_KINDS.get(label)
    if kind is None:
        return None
    inner = {name: value for name, value in body.items() if name not in _ENVELOPE}
    return Entry(
        event=decode(kind, inner),
        actor=str(body.get("actor", "")),
        at_ms=int(body.get("at_ms", 0)),
        upgrade=body.get("upgrade"),
    )
