"""What the records say: the fold, on each kind of record and over whole upgrades."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from noodle_engine.machine.codec import encode
from noodle_engine.machine.decide import ReleaseHold
from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import (
    AT_ONCE_POLICY,
    Access,
    Alert,
    Anchored,
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
)
from noodle_engine.machine.states import Direction, Message, Outcome, Reason, Release, State
from noodle_engine.machine.upgrade import (
    AnchorMark,
    Fold,
    Installed,
    Point,
    fold,
    fold_state,
    fold_upgrade,
    requested,
)
from tests.unit.machine.drive import ID, TWO, Driven, component, plan_of

REQUEST = Entry(
    Requested(
        plan=TWO, plan_hash="p", settings_hash="s", settings={"retention": 1}, request_key="k"
    ),
    "test",
    1,
    ID,
)
BEFORE = Fold(
    components={
        name: Installed(name, "file", f"/{name}", f"old {name}", 0, "earlier", "1.0.0")
        for name in ("web", "api")
    },
    points=(Point("web", "file", "/web", "oldest web", "earlier", 0, "/kept"),),
)


def entries(driven: Driven) -> list[Entry]:
    """All records of a driven upgrade, its request first; a point says where it is."""
    found = [Entry(event, "test", at_ms, ID) for at_ms, event in enumerate(driven.events, start=2)]
    return [REQUEST, *(replace(entry, event=_placed(entry.event)) for entry in found)]


def _placed(event: Event) -> Event:
    if not (isinstance(event, StepDone) and event.step.startswith("point:")):
        return event
    return replace(event, observed=Observation("", {"location": f"/kept/{event.step}"}))


def folded(records: Iterable[Entry], world: Fold = BEFORE) -> Fold:
    for entry in records:
        world = fold(world, entry)
    return world


def committed() -> list[Entry]:
    driven = Driven.of()
    driven.to_rest()
    return entries(driven)


def taken_back() -> list[Entry]:
    driven = Driven.of()
    driven.until_step("health:api:0")
    driven.done(error="sick")
    driven.to_rest()
    return entries(driven)


def adopted() -> list[Entry]:
    driven = Driven.of()
    driven.until_step("swap:api")
    driven.done(error="stranger", foreign="strange api")
    driven.say(ReleaseHold(Release.ADOPT))
    driven.to_rest()
    return entries(driven)


RUNS = {"committed": committed, "taken back": taken_back, "adopted": adopted}


@pytest.mark.parametrize("name", RUNS)
def test_a_state_record_and_what_follows_say_the_same_as_all_records(name: str) -> None:
    records = RUNS[name]()
    whole = folded(records)
    for cut in range(len(records) + 1):
        stored = fold_state(encode(folded(records[:cut])))
        assert folded(records[cut:], stored) == whole, cut


def test_a_request_is_alive_with_its_key_until_it_has_ended() -> None:
    """Its settings stay until the next one: who requests them by their hash has looked."""
    records = committed()
    asked = fold(BEFORE, records[0])
    assert asked.upgrades[ID].plan == TWO
    assert asked.settings == {"s": {"retention": 1}}
    assert asked.request_keys == {"k": ID}
    ended = folded(records)
    assert (ended.upgrades, ended.request_keys) == ({}, {})
    assert ended.settings == {"s": {"retention": 1}}
    request = records[0].event
    assert isinstance(request, Requested)
    other = replace(request, settings_hash="t", settings={"retention": 2})
    assert fold(ended, replace(records[0], event=other)).settings == {"t": {"retention": 2}}
    same = replace(request, settings=None)
    assert fold(ended, replace(records[0], event=same)).settings == {"s": {"retention": 1}}


def test_versions_change_at_the_one_record_that_commits() -> None:
    records = committed()
    world = BEFORE
    for entry in records:
        after = fold(world, entry)
        event = entry.event
        commits = isinstance(event, Transition) and event.message is Message.COMMIT
        assert (after.components != world.components) == commits, event
        world = after
    assert {one.version for one in world.components.values()} == {"2.0.0"}
    assert {one.root for one in world.components.values()} == {"new web", "new api"}


def test_each_point_that_was_made_is_kept_beside_the_earlier_ones() -> None:
    points = folded(committed()).points
    assert [(one.component, one.root, one.upgrade) for one in points] == [
        ("web", "oldest web", "earlier"),
        ("web", "old web", ID),
        ("api", "old api", ID),
    ]


def test_an_upgrade_that_was_taken_back_changes_no_version_and_leaves_no_point() -> None:
    world = folded(taken_back())
    assert (world.components, world.points) == (BEFORE.components, BEFORE.points)


def test_what_was_adopted_is_what_is_installed_though_the_upgrade_went_back() -> None:
    world = folded(adopted())
    assert world.components["api"].root == "strange api"
    assert world.components["web"] == BEFORE.components["web"]


def test_a_component_that_was_removed_is_not_installed_any_more() -> None:
    driven = Driven.of(plan_of(component("web", new=ABSENT)))
    driven.to_rest()
    request = Entry(
        Requested(plan=driven.upgrade.plan, plan_hash="p", settings_hash="s"), "test", 1, ID
    )
    world = folded([request, *entries(driven)[1:]])
    assert set(world.components) == {"api"}


def test_a_forgotten_component_takes_its_points_with_it() -> None:
    note = Noted("component.forgotten", "", {"component": "web"})
    world = fold(BEFORE, Entry(note, "test", 1))
    assert (set(world.components), world.points) == ({"api"}, ())


def test_dropped_points_are_those_named_and_no_others() -> None:
    for upgrades, left in (("earlier other", 0), ("other", 1)):
        note = Noted("points.dropped", "", {"component": "web", "upgrades": upgrades})
        assert len(fold(BEFORE, Entry(note, "test", 1)).points) == left


@pytest.mark.parametrize(
    "event",
    [
        Alert("disk", "low"),
        Access("somebody", "upgrade", allowed=False, via="socket"),
        Decided("window", "closed"),
        Noted("clock.jumped", ""),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_only_informs_changes_nothing_but_the_time(event: Event) -> None:
    asked = fold(BEFORE, REQUEST)
    for upgrade in (None, ID, "one that has ended"):
        after = fold(asked, Entry(event, "test", 9, upgrade))
        assert (after.upgrades, after.components, after.points) == (
            asked.upgrades,
            asked.components,
            asked.points,
        )
        assert after.at_ms == 9


def test_journal_time_never_goes_back() -> None:
    later = fold(BEFORE, Entry(Alert("a", "b"), "test", 9))
    assert fold(later, Entry(Alert("a", "b"), "test", 5)).at_ms == 9


def test_a_timer_is_set_and_set_again() -> None:
    upgrade = fold(BEFORE, REQUEST).upgrades[ID]
    for due_ms in (5, 7):
        upgrade = fold_upgrade(upgrade, Entry(TimerSet("total", due_ms, "m"), "test", 1, ID))
        assert upgrade.timers == {"total": due_ms}


def test_an_intent_is_in_doubt_until_its_result() -> None:
    upgrade = fold(BEFORE, REQUEST).upgrades[ID]
    upgrade = fold_upgrade(upgrade, Entry(StepIntent("stage:web", "k", 1), "test", 1, ID))
    assert upgrade.step("stage:web").in_doubt
    done = StepDone("stage:web", "k", 1, Outcome.DONE, observed=Observation("new web"))
    upgrade = fold_upgrade(upgrade, Entry(done, "test", 1, ID))
    assert not upgrade.step("stage:web").in_doubt
    assert upgrade.expected_new(TWO.component("web")) == "new web"


@pytest.mark.parametrize(
    ("law", "event"),
    [
        ("F3", StepDone("stage:web", "k", 1, Outcome.DONE)),
        ("F3", StepDone("stage:web", "k", 1, Outcome.DONE, undo=True)),
        ("F1", Transition(State.SWAPPING, State.VERIFIED, Message.VERIFICATION_PASSED)),
        ("F1", REQUEST.event),
    ],
    ids=["result", "undo result", "move", "request"],
)
def test_a_record_that_cannot_follow_is_a_broken_law(law: str, event: Event) -> None:
    asked = fold(BEFORE, REQUEST)
    with pytest.raises(InvariantBroken) as caught:
        fold(asked, Entry(event, "test", 2, ID))
    assert caught.value.data["law"] == law


def test_a_late_word_about_one_that_has_ended_changes_nothing() -> None:
    ended = folded(committed())
    turned = Transition(
        State.PENDING, State.PENDING, Message.TURN_BACK, undoing=True, reason=Reason.OPERATOR
    )
    after = fold(ended, Entry(turned, "test", ended.at_ms, ID))
    assert after == ended


def test_turning_back_ends_a_hold_and_a_pause() -> None:
    upgrade = fold(BEFORE, REQUEST).upgrades[ID]
    here = State.PENDING
    for message in (Message.PAUSE, Message.HOLD):
        upgrade = fold_upgrade(upgrade, Entry(Transition(here, here, message), "test", 2, ID))
    assert upgrade.hold is not None
    assert upgrade.paused
    turned = Transition(here, here, Message.TURN_BACK, undoing=True, reason=Reason.CANCELLED)
    upgrade = fold_upgrade(upgrade, Entry(turned, "test", 3, ID))
    assert upgrade.hold is None
    assert not upgrade.paused
    assert upgrade.undoing


def test_a_child_is_known_until_its_step_has_ended() -> None:
    driven = Driven.of(TWO)
    driven.until_step("swap:web")
    started = Noted("child.started", "", {"step": "swap:web", "child": "7:1"})
    with_child = fold_upgrade(driven.upgrade, Entry(started, "test", 0, ID))
    assert with_child.children == {"swap:web": "7:1"}
    other = StepDone("stage:web", "", 1, Outcome.DONE)
    assert fold_upgrade(with_child, Entry(other, "test", 0, ID)).children == with_child.children
    ended = StepDone("swap:web", "", 1, Outcome.FAILED)
    assert fold_upgrade(with_child, Entry(ended, "test", 0, ID)).children == {}


def test_an_old_that_is_being_dropped_is_no_point_any_more_until_it_is_gone() -> None:
    data = {"component": "web", "upgrades": "earlier"}
    going = fold(BEFORE, Entry(Noted("points.dropping", "", data), "test", 1))
    assert (going.points, going.dropping) == ((), BEFORE.points)
    gone = fold(going, Entry(Noted("points.dropped", "", data), "test", 2))
    assert (gone.points, gone.dropping) == ((), ())


def test_a_way_back_takes_the_point_that_it_went_back_to_and_leaves_the_others() -> None:
    other = replace(BEFORE.points[0], upgrade="other")
    one = replace(component("web"), point="earlier")
    driven = Driven.of(replace(plan_of(one), direction=Direction.BACK))
    driven.to_rest()
    asked = Requested(plan=driven.upgrade.plan, plan_hash="p", settings_hash="s")
    records = [Entry(asked, "test", 1, ID), *entries(driven)[1:]]
    world = folded(records, replace(BEFORE, points=(*BEFORE.points, other)))
    assert [point.upgrade for point in world.points] == ["other", ID]


def test_what_is_installed_is_what_was_staged_and_not_what_was_planned() -> None:
    staged = [
        replace(entry, event=replace(entry.event, observed=Observation("staged web")))
        if isinstance(entry.event, StepDone) and entry.event.step == "stage:web"
        else entry
        for entry in committed()
    ]
    assert folded(staged).components["web"].root == "staged web"


def test_one_that_waits_for_a_limit_waits_until_anything_happens_to_it() -> None:
    waits = Decided(AT_ONCE_POLICY, "wait", {"key": "limit"})
    upgrade = fold_upgrade(Driven.of().upgrade, Entry(waits, "test", 1, ID))
    assert upgrade.waits_for == "limit"
    said = fold_upgrade(upgrade, Entry(Alert("disk", "low"), "test", 2, ID))
    assert said.waits_for == "limit"
    begun = fold_upgrade(upgrade, Entry(StepIntent("check:web", "", 1), "test", 2, ID))
    assert begun.waits_for is None


@pytest.mark.parametrize(
    ("attributes", "changed"),
    [({"location": "/kept"}, False), ({"location": "/kept", "written": "later"}, True)],
)
def test_a_point_says_whether_somebody_wrote_to_the_old(
    attributes: dict[str, str], *, changed: bool
) -> None:
    driven = Driven.of()
    driven.to_rest()
    records = [
        replace(entry, event=replace(entry.event, observed=Observation("", attributes)))
        if isinstance(entry.event, StepDone) and entry.event.step == "point:web"
        else entry
        for entry in [REQUEST, *entries(driven)[1:]]
    ]
    made = [point for point in folded(records).points if point.location == "/kept"]
    assert [point.changed for point in made if point.upgrade == ID] == [changed]


def test_a_point_that_could_not_be_made_is_none() -> None:
    driven = Driven.of()
    driven.until_step("point:web")
    driven.done(error="no room")
    world = folded([REQUEST, *(Entry(one, "test", 2, ID) for one in driven.events)])
    assert world.points == BEFORE.points


def test_only_a_request_with_an_id_begins_an_upgrade() -> None:
    for entry in (Entry(Alert("disk", "low"), "test", 1, ID), replace(REQUEST, upgrade=None)):
        with pytest.raises(InvariantBroken):
            requested(entry)


def test_what_is_dropped_for_one_component_stays_for_another() -> None:
    other = replace(BEFORE.points[0], component="api")
    world = replace(BEFORE, points=(), dropping=(*BEFORE.points, other))
    note = Noted("points.dropped", "", {"component": "web", "upgrades": "earlier"})
    assert fold(world, Entry(note, "test", 1)).dropping == (other,)


def test_a_sink_keeps_its_last_head_while_it_fails_and_says_since_when() -> None:
    world = Fold()
    for at_ms, event in (
        (1, Anchored("mount", 7, "kept")),
        (2, Anchored("http", 7, "unreachable", "refused")),
        (3, Anchored("mount", 9, "unreachable")),
        (4, Anchored("mount", 9, "unreachable", "full")),
    ):
        world = fold(world, Entry(event, "test", at_ms))
    assert world.anchors == {
        "mount": AnchorMark(7, 1, failing="full", since_ms=3),
        "http": AnchorMark(0, 0, failing="refused", since_ms=2),
    }
    kept = fold(world, Entry(Anchored("mount", 9, "kept"), "test", 5)).anchors
    assert kept is not None
    assert kept["mount"] == AnchorMark(9, 5)
