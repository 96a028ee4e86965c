"""What stands in journals for ever: names, forms and hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_engine.execute.answers.views import AuditEntry
from noodle_engine.machine.codec import decode, encode
from noodle_engine.machine.failures import RecordUnreadable
from noodle_engine.machine.plan import (
    ABSENT,
    HEALTH_MS_MAX,
    HealthCheck,
    Hook,
    HookPoint,
    Plan,
    StepName,
    plan_hash,
)
from noodle_engine.machine.records import (
    EVENT_KINDS,
    Access,
    Alert,
    Anchored,
    ConfigChanged,
    Decided,
    Entry,
    Event,
    Noted,
    Observation,
    Requested,
    StepDone,
    StepIntent,
    TimerSet,
    Transition,
    entry_of,
    fields_of,
)
from noodle_engine.machine.states import (
    Direction,
    HoldReason,
    Message,
    OnCrash,
    Outcome,
    Reason,
    Release,
    State,
    Status,
    status_of,
)
from noodle_engine.machine.text import path_bytes, path_text, some
from tests.unit.machine.drive import HEALTH, TWO, component, plan_of

NAMES: dict[type, str] = {
    State: "pending validated snapshotted swapping verified committed rolled_back",
    Message: "checks_passed snapshot_taken swap_begun verification_passed commit turn_back undone "
    "hold pause release unpause step_result timer_due gate approval health sample resumed",
    Direction: "forward back",
    Reason: "refused validation_failed cancelled timed_out health_failed judged_bad step_failed "
    "crash operator",
    HoldReason: "foreign irreversible failure_kept old_broken newer_data back_overdue",
    Release: "retry promote back adopt restore",
    Outcome: "done failed",
    OnCrash: "forward back",
    Status: "pending in_progress completed failed cancelled rolled_back",
    StepName: "check snapshot stage before-swap quiesce swap unquiesce after-swap health recheck "
    "point after-commit after-rollback clean-committed clean-rolled-back",
    HookPoint: "before-swap quiesce unquiesce after-swap after-commit after-rollback",
}
LABELS = (
    "upgrade.requested transition step.intent step.done timer decision alert anchor config.changed "
    "access note"
)
PLAN_HASH = "164e7182e8da24c0c726ba7470b980275d45fc1b264651f4f50252e76db18aed"

text = st.text(max_size=8)
texts = st.dictionaries(text, text, max_size=2)
maybe = st.none() | text
observations = st.builds(Observation, text, texts)
plans = st.sampled_from([TWO, plan_of(component("web", new="absent")), plan_of()])
EVENTS: dict[type, st.SearchStrategy[Any]] = {
    Requested: st.builds(Requested, plans, text, text, st.sampled_from(OnCrash), st.none() | texts),
    Transition: st.builds(
        Transition,
        st.sampled_from(State),
        st.sampled_from(State),
        st.sampled_from(Message),
        st.booleans(),
        st.none() | st.sampled_from(Reason),
        st.none() | st.sampled_from(HoldReason),
        st.none() | st.sampled_from(Release),
        maybe,
    ),
    StepIntent: st.builds(StepIntent, text, text, st.integers(), st.booleans(), maybe, maybe),
    StepDone: st.builds(
        StepDone,
        text,
        text,
        st.integers(),
        st.sampled_from(Outcome),
        st.booleans(),
        st.none() | observations,
        st.integers(),
        maybe,
        maybe,
    ),
    TimerSet: st.builds(TimerSet, text, st.integers(), text),
    Decided: st.builds(Decided, text, text, texts, st.lists(text, max_size=2).map(tuple)),
    Alert: st.builds(Alert, text, text, maybe),
    Anchored: st.builds(Anchored, text, st.integers(min_value=0), text, maybe),
    ConfigChanged: st.builds(
        ConfigChanged,
        st.lists(text, max_size=2).map(tuple),
        maybe,
        maybe,
        st.booleans(),
        st.lists(text, max_size=2).map(tuple),
    ),
    Access: st.builds(Access, text, text, st.booleans(), text),
    Noted: st.builds(Noted, text, text, texts),
}


@pytest.mark.parametrize("kind", NAMES, ids=lambda kind: kind.__name__)
def test_a_stored_name_is_never_changed_nor_taken_away(kind: Any) -> None:
    assert [member.value for member in kind] == NAMES[kind].split()


def test_a_record_kind_keeps_its_label() -> None:
    assert list(EVENT_KINDS) == LABELS.split()
    assert set(EVENTS) == set(EVENT_KINDS.values())


@given(st.sampled_from(sorted(EVENT_KINDS)).flatmap(lambda one: EVENTS[EVENT_KINDS[one]]), maybe)
def test_a_record_gives_back_the_entry_that_it_was_made_of(
    event: Event, upgrade: str | None
) -> None:
    entry = Entry(event, "uid:0", 7, upgrade)
    assert entry_of(entry.label, fields_of(entry)) == entry


@given(plans)
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    assert decode(Plan, encode(plan)) == plan
    assert decode(Plan, encode(plan, keep_none=True)) == plan


def test_a_plan_keeps_its_hash_and_only_its_time_is_not_in_it() -> None:
    whole = plan_of(
        component(
            "web",
            hooks=(Hook(HookPoint.AFTER_SWAP, ("sh", "-c", "true"), pass_env=("LANG",)),),
            health=(HealthCheck(http="http://localhost/", within_ms=300_000),),
        )
    )
    assert plan_hash(whole) == PLAN_HASH
    found = encode(whole)
    found["created_ms"] = 99
    assert plan_hash(decode(Plan, found)) == PLAN_HASH
    found["home"] = "another"
    assert plan_hash(decode(Plan, found)) != PLAN_HASH


@pytest.mark.parametrize(
    ("change", "value"),
    [("unknown", 1), ("direction", "sideways"), ("home", 7), ("steps", {}), ("world", [])],
)
def test_what_is_not_a_plan_is_refused(change: str, value: object) -> None:
    found: dict[str, Any] = {**encode(TWO), change: value}
    with pytest.raises(RecordUnreadable):
        decode(Plan, found)
    del found[change]
    if change != "unknown":
        with pytest.raises(RecordUnreadable):
            decode(Plan, found)


def test_an_answer_with_fields_of_any_kind_is_read_back() -> None:
    entry = AuditEntry(
        seq=1,
        epoch=1,
        fence=1,
        kind="note",
        at_ms=2,
        upgrade=None,
        actor="a",
        text="t",
        fields={"a": [1, {"b": None}]},
    )
    assert decode(AuditEntry, encode(entry)) == entry


@dataclass(frozen=True)
class Odd:
    """A shape without a JSON form."""

    both: int | str


def test_a_shape_without_a_json_form_is_refused() -> None:
    with pytest.raises(RecordUnreadable):
        decode(Odd, {"both": 1})


Name = NewType("Name", str)


@dataclass(frozen=True)
class Named:
    """A type of its own for a text."""

    name: Name


def test_a_type_of_ones_own_is_read_as_what_it_is_made_of() -> None:
    assert decode(Named, {"name": "a"}) == Named(Name("a"))
    with pytest.raises(RecordUnreadable):
        decode(Named, {"name": 1})


@pytest.mark.parametrize("value", [[], "text", None, 1])
def test_what_is_not_an_object_is_refused(value: Any) -> None:
    with pytest.raises(RecordUnreadable):
        decode(Named, value)


@given(st.binary(max_size=40))
def test_a_path_of_any_bytes_is_printable_text_and_comes_back(raw: bytes) -> None:
    stored = path_text(raw)
    assert stored.isprintable()
    assert path_bytes(stored) == raw


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_status(state: State) -> None:
    for reason in (None, *Reason):
        assert isinstance(status_of(state, reason), Status)


@pytest.mark.parametrize(
    ("texts", "said"),
    [([], ""), (["a", "b"], "a, b"), (["a", "b", "c"], "a, b and 1 more")],
)
def test_the_first_few_texts_say_how_many_there_are_more(texts: list[str], said: str) -> None:
    assert some(texts, 2) == said


def test_a_health_check_without_a_limit_has_the_longest() -> None:
    assert HealthCheck(file="/ready", within_ms=7).limit_ms == 7
    assert HealthCheck(file="/ready").limit_ms == HEALTH_MS_MAX


@pytest.mark.parametrize(
    ("path", "stored"),
    [("100%", "100%25"), ("a b", "a b"), ("\udcff", "%FF"), (b"\xff", "%FF"), ("é\n", "é%0A")],
)
def test_a_path_is_stored_so(path: str | bytes, stored: str) -> None:
    assert path_text(path) == stored


def test_what_is_not_a_mapping_is_refused() -> None:
    with pytest.raises(RecordUnreadable):
        decode(Noted, {"code": "c", "text": "t", "data": "none"})


def test_a_record_that_cannot_be_read_says_of_what_kind_it_is() -> None:
    with pytest.raises(RecordUnreadable) as refused:
        decode(Named, {"name": 1})
    assert refused.value.data["kind"] == "Named.name"


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Reason.CANCELLED, Status.CANCELLED),
        (Reason.OPERATOR, Status.ROLLED_BACK),
        (Reason.HEALTH_FAILED, Status.FAILED),
        (None, Status.FAILED),
    ],
)
def test_the_status_of_what_went_back_says_why(reason: Reason | None, status: Status) -> None:
    assert status_of(State.ROLLED_BACK, reason) is status


def test_a_plan_is_hashed_as_utf8_json_with_sorted_keys() -> None:
    made = plan_of(component("éa"))
    fields = {name: value for name, value in encode(made).items() if name != "created_ms"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plan_hash(made) == hashlib.sha256(text.encode()).hexdigest()


def test_what_is_removed_has_no_health_and_the_others_have() -> None:
    made = plan_of(component("web", new=ABSENT), component("api", health=(HEALTH,)))
    assert [step.id for step in made.steps if step.name is StepName.HEALTH] == ["health:api:0"]


@dataclass(frozen=True)
class Measured:
    """A number with a point."""

    number: float


def test_a_whole_number_is_read_as_one_with_a_point() -> None:
    found = decode(Measured, {"number": 2})
    assert (found.number, type(found.number)) == (2.0, float)
