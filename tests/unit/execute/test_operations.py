"""What can be asked of an engine: the answers, and what is refused before anything is recorded."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from noodle_engine.execute.failures import (
    ComponentBusy,
    Interrupted,
    PlanStale,
    RequestMalformed,
    RequestRefused,
    UpgradeUnknown,
)
from noodle_engine.execute.home.service import Peer
from noodle_engine.execute.operations import NOTES, Operations, heard_object
from noodle_engine.execute.recording import Heard
from noodle_engine.machine.codec import encode
from noodle_engine.machine.failures import MessageRefused
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.records import Requested
from noodle_engine.machine.states import OnCrash, Release, State
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.values import Values
from tests.unit.execute.site import Driven, hook

PEER = Peer(1, 2, 3)


def deaf(_heard: object) -> None:
    """Hear nothing."""


@pytest.fixture
def asked(driven: Driven) -> Operations:
    return Operations(driven.engine, {})


def plan(driven: Driven, *wanted: str) -> Plan:
    """A plan under the settings of a new home."""
    by_key = {**catalogue().defaults, "encryption.key_source": "file"}
    planner = replace(driven.planner(), settings_hash=Values(by_key).hash)
    made = planner.forward(wanted).plan
    assert made is not None
    return made


def held_one(driven: Driven, asked: Operations) -> str:
    """An upgrade of `api` that is on hold."""
    driven.site.release(
        "api",
        "1.0.0",
        hook("before-swap", ["true"], reversible=False) + hook("before-swap", ["false"]),
    )
    held = asked.apply(plan(driven, "api@1.0.0"), actor="test")
    assert asked.follow(held).hold is not None
    return held


# -- requests -------------------------------------------------------------------


def test_the_same_request_key_is_the_same_upgrade_though_the_world_has_moved(
    driven: Driven, asked: Operations
) -> None:
    """A caller that lost the answer asks again: the plan is stale by then, its upgrade is not."""
    driven.site.release("web", "1.0.0")
    wanted = plan(driven, "web@1.0.0")
    first = asked.apply(wanted, actor="test", request_key="k")
    asked.follow(first)
    size = driven.engine.journal.size

    assert asked.apply(wanted, actor="test", request_key="k") == first
    with pytest.raises(PlanStale):
        asked.apply(wanted, actor="test", request_key="other")
    with pytest.raises(PlanStale):
        asked.apply(wanted, actor="test")
    assert driven.engine.journal.size == size


def test_a_request_key_of_another_plan_is_refused(driven: Driven, asked: Operations) -> None:
    for name in ("web", "api"):
        driven.site.release(name, "1.0.0")
    asked.follow(asked.apply(plan(driven, "web@1.0.0"), actor="test", request_key="k"))
    with pytest.raises(RequestRefused):
        asked.apply(plan(driven, "api@1.0.0"), actor="test", request_key="k")


def test_the_actor_and_the_settings_are_in_the_request(driven: Driven, asked: Operations) -> None:
    driven.site.settings('{"runtime_upgrade_manager": {"default_timeout": 77}}')
    driven.site.release("web", "1.0.0")
    with driven.site.open() as noodle:
        wanted = noodle.plan(["web@1.0.0"]).plan
    assert wanted is not None
    upgrade = asked.apply(wanted, actor="somebody", on_crash=OnCrash.BACK)
    asked.follow(upgrade)
    entries = driven.entries(upgrade)
    assert {entry.actor for entry in entries} == {"somebody"}
    (request,) = [one.event for one in entries if isinstance(one.event, Requested)]
    assert request.on_crash is OnCrash.BACK
    assert request.settings is not None
    assert request.settings["runtime_upgrade_manager"]["default_timeout"] == 77


# -- following ------------------------------------------------------------------


def test_who_follows_hears_each_record_once_and_in_order_and_then_how_it_stands(
    driven: Driven, asked: Operations
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    since = driven.engine.journal.size
    upgrade = asked.apply(plan(driven, "web@1.0.0"), actor="test")
    gate.wait()  # some of it is recorded by now
    heard: list[Heard] = []
    gate.open()

    view = asked.follow(upgrade, since=since, hear=heard.append)

    assert view.state is State.COMMITTED
    assert view.finished
    assert [one.entry for one in heard] == driven.entries(upgrade)
    seqs = [one.seq for one in heard]
    assert seqs == sorted(set(seqs))
    assert set(heard_object(heard[0])) == {"seq", "upgrade", "label", "text", "at_ms"}


def test_a_follower_that_fails_is_no_longer_told_and_the_upgrade_goes_on(
    driven: Driven, asked: Operations
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = asked.apply(plan(driven, "web@1.0.0"), actor="test")
    gate.wait()

    def fails(_heard: Heard) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        asked.follow(upgrade, hear=fails)
    gate.open()
    assert asked.follow(upgrade).state is State.COMMITTED
    assert driven.engine._recorder._listeners == []


def test_a_stop_that_was_set_before_lets_no_further_step_begin(
    driven: Driven, asked: Operations
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = asked.apply(plan(driven, "web@1.0.0"), actor="test")
    gate.wait()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted) as interrupted:
        # It hears what is recorded already: from then on the event counts.
        asked.follow(upgrade, stop=stop, hear=lambda _heard: gate.open())
    assert interrupted.value.data == {"upgrade": upgrade}
    assert site.has("web", None)


def test_a_stop_of_what_came_to_its_end_or_to_a_hold_is_no_interrupt(
    driven: Driven, asked: Operations
) -> None:
    driven.site.release("web", "1.0.0")
    ended = asked.apply(plan(driven, "web@1.0.0"), actor="test")
    asked.follow(ended)
    held = held_one(driven, asked)
    stop = threading.Event()
    stop.set()
    assert asked.follow(ended, stop=stop).state is State.COMMITTED
    assert asked.follow(held, stop=stop).hold is not None


# -- resume and abort -----------------------------------------------------------


def test_resuming_all_with_a_release_takes_those_on_hold_only(
    driven: Driven, asked: Operations
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    running = asked.apply(plan(driven, "web@1.0.0"), actor="test")
    gate.wait()
    held = held_one(driven, asked)

    assert asked.resume(None, actor="test", release=Release.BACK) == [held]
    assert asked.follow(held).state is State.ROLLED_BACK
    assert asked.resume(None, actor="test", release=None) == [running]
    gate.open()
    assert asked.follow(running).state is State.COMMITTED


def test_a_prefix_names_an_upgrade_in_each_operation(driven: Driven, asked: Operations) -> None:
    driven.site.release("web", "1.0.0")
    upgrade = asked.apply(plan(driven, "web@1.0.0"), actor="test")
    asked.follow(upgrade)
    prefix = upgrade[:12].lower()
    assert asked.view(prefix).upgrade == upgrade
    assert asked.resume(prefix, actor="test", release=None) == [upgrade]
    with pytest.raises(UpgradeUnknown):
        asked.abort("7ZZZZZ", actor="test")


def test_a_release_of_what_is_not_held_is_refused(driven: Driven, asked: Operations) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = asked.apply(plan(driven, "web@1.0.0"), actor="test")
    gate.wait()
    with pytest.raises(MessageRefused):
        asked.resume(upgrade, actor="test", release=Release.RETRY)
    gate.open()


# -- notes, and requests by the socket ------------------------------------------


@pytest.mark.parametrize("code", ["resumed", "child.started", "clock.jumped", "component"])
def test_only_the_notes_of_commands_can_be_written(
    driven: Driven, asked: Operations, code: str
) -> None:
    size = driven.engine.journal.size
    assert code not in NOTES
    with pytest.raises(ValueError, match=code):
        asked.note(code, "", {}, actor="test")
    assert driven.engine.journal.size == size


def test_a_component_of_an_open_upgrade_is_not_forgotten(driven: Driven, asked: Operations) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    asked.apply(plan(driven, "web@1.0.0"), actor="test")
    gate.wait()
    with pytest.raises(ComponentBusy):
        asked.note("component.forgotten", "", {"component": "web"}, actor="test")
    gate.open()


def test_a_request_is_read_wholly_before_it_does_anything(
    driven: Driven, asked: Operations
) -> None:
    """S3: a good plan with a bad limit begins no upgrade."""
    driven.site.release("web", "1.0.0")
    good = {"plan": encode(plan(driven, "web@1.0.0"))}
    size = driven.engine.journal.size
    for bad in ({"wait_ms_max": "soon"}, {"on_crash": "up"}):
        with pytest.raises(RequestMalformed):
            asked.answer(PEER, "apply", {**good, **bad}, deaf)
    assert driven.engine.journal.size == size

    answer = asked.answer(PEER, "apply", good, deaf)

    assert answer["views"][0]["state"] == "committed"
    assert driven.entries()[-1].actor == PEER.name


def test_a_request_that_does_not_wait_is_answered_while_it_runs(
    driven: Driven, asked: Operations
) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    good = {"plan": encode(plan(driven, "web@1.0.0"))}
    (view,) = asked.answer(PEER, "apply", {**good, "wait": False}, deaf)["views"]
    gate.wait()
    (again,) = asked.answer(PEER, "resume", {"wait_ms_max": 0}, deaf)["views"]
    assert view["upgrade"] == again["upgrade"]
    assert again["state"] == "swapping"
    gate.open()
    assert asked.follow(view["upgrade"]).state is State.COMMITTED
