"""Planning: laws L1 to L3, what is refused, and plan files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noodle_engine import Noodle
from noodle_engine.execute.failures import (
    ComponentBusy,
    ComponentUnknown,
    DowngradeRefused,
    NotCompatible,
    NothingInstalled,
    PlanMalformed,
    PlanOfOtherHome,
    PlanStale,
    PointAbsent,
    RequestMalformed,
    TargetsOverlap,
)
from noodle_engine.execute.operations import Operations
from noodle_engine.execute.planning import PLAN_BYTES_MAX, check_whole, read_plan, write_plan
from noodle_engine.machine.codec import encode
from noodle_engine.machine.plan import COMPONENTS_MAX, Plan, plan_hash, steps_for
from noodle_engine.registry.failures import ManifestInvalid
from noodle_journal.errors import NoodleError
from tests.unit.execute.site import WAIT_S_MAX, Driven, Site, content, hook


def planned(noodle: Noodle, *wanted: str) -> Plan:
    plan = noodle.plan(wanted).plan
    assert plan is not None
    return plan


def everything(folder: Path) -> dict[str, str]:
    """All files below a folder but what SQLite keeps for readers, and logs, by their content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal", ".log"))
    }


# -- planning only reads (law L1) ------------------------------------------------


def test_planning_changes_nothing_whether_it_succeeds_or_not(site: Site) -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.1.0"])
    with site.open() as noodle:
        site.release("api", "1.0.0")
        before = everything(site.folder)
        size = noodle.status().journal.size
        noodle.plan(["api@1.0.0"])
        noodle.plan([], remove=["web"])
        for refused in (["web@1.0.0"], ["api@9.9.9"]):
            with pytest.raises((DowngradeRefused, ComponentUnknown)):
                noodle.plan(refused)
        with pytest.raises(PointAbsent):
            noodle.plan_back("web")

        assert everything(site.folder) == before
        assert noodle.status().journal.size == size


def test_the_same_request_in_the_same_world_has_one_hash(site: Site) -> None:
    site.release("web", "1.0.0")
    with site.open() as noodle:
        hashes = {noodle.plan(["web@1.0.0"]).plan_hash for _ in range(3)}
    assert len(hashes) == 1


# -- versions -------------------------------------------------------------------


def test_the_installed_version_with_its_content_in_place_is_nothing_to_do(site: Site) -> None:
    """Also where its manifest names which versions it replaces: it replaces none."""
    site.release("web", "1.0.0")
    site.release("web", "2.0.0", component='compatible_from = ">=1.0.0, <2.0.0"')
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@2.0.0"])
        size = noodle.status().journal.size

        again = noodle.plan(["web@2.0.0"])

        assert not again.changes
        assert again.already == ("web 2.0.0",)
        assert noodle.apply(["web@2.0.0"]) is None
        assert noodle.status().journal.size == size


def test_a_downgrade_is_refused_by_its_numbers(site: Site) -> None:
    for version in ("1.9.0", "1.10.0", "1.10.0-rc.1"):
        site.release("web", version)
    with site.open() as noodle:
        noodle.apply(["web@1.10.0"])
        for older in ("1.9.0", "1.10.0-rc.1"):
            with pytest.raises(DowngradeRefused):
                noodle.plan([f"web@{older}"])


@pytest.mark.parametrize(
    ("rule", "others"),
    [
        ('compatible_from = ">=1.5.0"', []),
        ('requires = { db = ">=2.0.0" }', []),
        ('requires = { db = ">=2.0.0" }', ["db@1.0.0"]),
        ('conflicts = { db = "<2.0.0" }', ["db@1.0.0"]),
    ],
    ids=["replaces", "absent", "too old", "conflict"],
)
def test_versions_that_do_not_go_together_are_refused(
    site: Site, rule: str, others: list[str]
) -> None:
    site.release("web", "1.0.0")
    site.release("web", "2.0.0", component=rule)
    site.release("db", "1.0.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        with pytest.raises(NotCompatible):
            noodle.plan(["web@2.0.0", *others])


def test_what_the_same_plan_brings_counts_as_installed(site: Site) -> None:
    site.release("web", "1.0.0", component='requires = { db = ">=2.0.0" }')
    site.release("db", "2.0.0")
    with site.open() as noodle:
        assert [one.name for one in planned(noodle, "web@1.0.0", "db@2.0.0").components] == [
            "web",
            "db",
        ]


def test_what_the_same_plan_removes_counts_as_gone(site: Site) -> None:
    site.release("web", "1.0.0", component='requires = { db = ">=1.0.0" }')
    site.release("db", "1.0.0")
    with site.open() as noodle:
        noodle.apply(["db@1.0.0"])
        with pytest.raises(NotCompatible):
            noodle.plan(["web@1.0.0"], remove=["db"])


def test_an_unknown_release_is_refused_with_the_nearest_name(site: Site) -> None:
    site.release("web", "1.0.0")
    with site.open() as noodle, pytest.raises(ComponentUnknown) as unknown:
        noodle.plan(["wep@1.0.0"])
    assert "web@1.0.0" in unknown.value.problem


@pytest.mark.parametrize("wanted", ["web", "web@", "@1.0.0", "web@1", "web@1.0.0@2", "", "web@../"])
def test_what_names_no_version_is_refused(site: Site, wanted: str) -> None:
    site.release("web", "1.0.0")
    with site.open() as noodle, pytest.raises(NoodleError):
        noodle.plan([wanted])


# -- targets --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [("one", "one"), ("one", "one/inner"), ("one/inner", "one")],
    ids=["equal", "inside", "around"],
)
@pytest.mark.parametrize("when", ["same plan", "installed", "open"])
def test_targets_that_overlap_are_refused(
    driven: Driven, first: str, second: str, when: str
) -> None:
    """Whether the other one is in the plan, installed, or of an upgrade that is open."""
    site = driven.site
    (site.folder / "srv" / "one").mkdir() if "inner" in first else None
    gate = site.gate("gate")
    site.release(
        "first",
        "1.0.0",
        hook("before-swap", gate.command) if when == "open" else "",
        target=site.target(first),
    )
    site.release("second", "1.0.0", target=site.target(second))
    if when == "installed":
        driven.apply("first@1.0.0")
    if when == "open":
        driven.submit(driven.plan("first@1.0.0"))
        gate.wait()
    wanted = ["first@1.0.0", "second@1.0.0"] if when == "same plan" else ["second@1.0.0"]
    with pytest.raises(NoodleError) as refused:
        driven.planner().forward(wanted)

    # A kind may see first that something of the wrong type is in its way.
    assert refused.value.exit_code == 3
    if first == second:
        assert isinstance(refused.value, TargetsOverlap)
    gate.open()


def test_targets_whose_names_only_begin_alike_do_not_overlap(site: Site) -> None:
    for name in ("web", "web2", "we"):
        site.release(name, "1.0.0")
    with site.open() as noodle:
        view = noodle.apply(["web@1.0.0", "web2@1.0.0", "we@1.0.0"])
    assert view is not None
    assert view.state.value == "committed"


def test_one_component_twice_in_a_plan_is_refused(site: Site) -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        with pytest.raises(TargetsOverlap):
            noodle.plan(["web@1.0.0", "web@1.1.0"])
        noodle.apply(["web@1.0.0"])
        with pytest.raises(TargetsOverlap):
            noodle.plan(["web@1.1.0"], remove=["web"])


def test_a_new_version_with_another_target_is_refused(site: Site) -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0", target=site.target("elsewhere"))
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        with pytest.raises(NotCompatible):
            noodle.plan(["web@1.1.0"])


def test_a_component_of_an_open_upgrade_is_not_planned(driven: Driven) -> None:
    site = driven.site
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    upgrade = driven.submit(driven.plan("web@1.0.0"))
    gate.wait()
    for plan in (lambda: driven.plan("web@1.0.0"), lambda: driven.planner().back("web")):
        with pytest.raises(ComponentBusy) as busy:
            plan()
        assert busy.value.data == {"component": "web", "upgrade": upgrade}
    gate.open()
    assert driven.engine.wait(upgrade, WAIT_S_MAX)


# -- going back (law L3) --------------------------------------------------------


def test_going_back_asks_no_version_rule_and_no_release(site: Site) -> None:
    """The releases are damaged, and the old one fits no rule: the kept old is there."""
    site.release("web", "1.0.0")
    site.release("web", "2.0.0", component='compatible_from = ">=1.0.0"')
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@2.0.0"])
    for manifest in site.path.rglob("noodle.toml"):
        manifest.write_text("junk")
    with site.open() as noodle:
        view = noodle.rollback("web")
    assert view.state.value == "committed"
    assert site.has("web", "1.0.0")


def test_going_back_takes_the_newest_kept_old_or_the_one_that_is_named(site: Site) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        site.release("web", version)
    with site.open() as noodle:
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            noodle.apply([f"web@{version}"])
        newest = noodle.plan_back("web").plan
        named = noodle.plan_back("web", to="1.0.0").plan
        with pytest.raises(PointAbsent) as absent:
            noodle.plan_back("web", to="1.2.0")
    assert newest is not None
    assert newest.components[0].to_version == "1.1.0"
    assert named is not None
    assert named.components[0].to_version == "1.0.0"
    assert absent.value.data["kept"] == ["1.0.0", "1.1.0"]


def test_what_was_never_installed_cannot_be_gone_back_or_removed(site: Site) -> None:
    site.release("web", "1.0.0")
    with site.open() as noodle:
        with pytest.raises(NothingInstalled):
            noodle.plan_back("web")
        with pytest.raises(NothingInstalled):
            noodle.plan([], remove=["web"])


# -- a plan whose world moved ---------------------------------------------------


def test_a_stale_plan_names_everything_that_moved(site: Site) -> None:
    """Versions, targets and settings, each; and no request is recorded."""
    for name in ("web", "api", "db"):
        site.release(name, "1.0.0")
        site.release(name, "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0", "api@1.0.0", "db@1.0.0"])
        plan = planned(noodle, "web@1.1.0", "api@1.1.0", "db@1.1.0")
        noodle.apply(["web@1.1.0"])
        site.target("api").write_text("a stranger's")
        site.settings('{"runtime_upgrade_manager": {"default_timeout": 17}}')
        size = noodle.status().journal.size

        with pytest.raises(PlanStale) as stale:
            noodle.apply(plan)
        assert noodle.status().journal.size == size + 1  # that the settings changed
        with pytest.raises(PlanStale):
            noodle.apply(plan)

        moved = stale.value.data["moved"]
        assert isinstance(moved, list)
        assert len(moved) == 4
        assert sum("web" in one for one in moved) == 2  # its version, and so its target
        assert sum("api" in one for one in moved) == 1
        assert sum("settings" in one for one in moved) == 1
        assert not any("db" in one for one in moved)
        assert noodle.status().journal.size == size + 1
        assert site.has("db", "1.0.0")


def test_a_plan_made_just_now_is_refused_once_its_target_is_locked(site: Site) -> None:
    """What a stranger did in between is seen by step check, and stays."""
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        plan = planned(noodle, "web@1.1.0")
        site.target("web").write_text("a stranger's")
        view = noodle.apply(plan, made_now=True)
        assert view is not None
        assert view.state.value == "rolled_back"
        assert site.target("web").read_text() == "a stranger's"


def test_settings_that_moved_do_not_hold_up_a_plan_that_goes_back(site: Site) -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@1.1.0"])
        plan = noodle.plan_back("web").plan
        assert plan is not None
        site.settings('{"runtime_upgrade_manager": {"default_timeout": 17}}')
        view = noodle.apply(plan)
    assert view is not None
    assert view.state.value == "committed"
    assert site.has("web", "1.0.0")


def test_a_plan_is_done_once(site: Site) -> None:
    site.release("web", "1.0.0")
    with site.open() as noodle:
        plan = planned(noodle, "web@1.0.0")
        noodle.apply(plan)
        with pytest.raises(PlanStale):
            noodle.apply(plan)


def test_a_plan_of_another_home_is_refused(site: Site) -> None:
    site.release("web", "1.0.0")
    Noodle.init(site.folder / "other")
    with site.open() as noodle:
        plan = planned(noodle, "web@1.0.0")
    with Noodle.open(site.folder / "other") as other, pytest.raises(PlanOfOtherHome) as refused:
        other.apply(plan)
    assert refused.value.data["made_for"] == plan.home
    assert site.has("web", None)


# -- plan files -----------------------------------------------------------------


@pytest.fixture
def plan(site: Site) -> Plan:
    site.release("web", "1.0.0", hook("before-swap", ["true", "ünï çode"], pass_env=["LC_ALL"]))
    site.release("api", "1.0.0")
    with site.open() as noodle:
        return planned(noodle, "web@1.0.0", "api@1.0.0")


def test_a_plan_file_holds_the_plan_and_can_be_applied(site: Site, plan: Plan) -> None:
    path = site.folder / "plan.json"
    Noodle.save_plan(plan, path)

    read = Noodle.load_plan(path)

    assert read == plan
    assert plan_hash(read) == json.loads(path.read_bytes())["plan_hash"]
    with site.open() as noodle:
        view = noodle.apply(read)
    assert view is not None
    assert view.plan_hash == plan_hash(plan)
    assert site.target("api").read_text() == content("api", "1.0.0")


def edited(change: Callable[[dict[str, Any]], object], *, hashed: bool) -> Callable[[Plan], bytes]:
    """A plan file after a change, with the hash of before or of what it is now."""

    def write(plan: Plan) -> bytes:
        body: dict[str, Any] = json.loads(json.dumps(encode(plan)))
        body["plan_hash"] = plan_hash(plan)
        change(body)
        if hashed:
            rest = {k: v for k, v in body.items() if k not in ("plan_hash", "created_ms")}
            text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            body["plan_hash"] = hashlib.sha256(text.encode()).hexdigest()
        return json.dumps(body).encode()

    return write


def raw(data: bytes) -> Callable[[Plan], bytes]:
    return lambda _plan: data


JUNK: dict[str, Callable[[Plan], bytes]] = {
    "empty": raw(b""),
    "no JSON": raw(b"{"),
    "a list": raw(b"[]"),
    "a number": raw(b"1"),
    "null": raw(b"null"),
    "an empty object": raw(b"{}"),
    "no UTF-8": raw(b'{"plan_hash": "\xff"}'),
    "deep": raw(b"[" * 100_000),
    "a zero byte": raw(b"\0" * 100),
    "no hash": edited(lambda body: body.pop("plan_hash"), hashed=False),
    "another hash": edited(lambda body: body.update(plan_hash="0" * 64), hashed=False),
    "hash of a wrong type": edited(lambda body: body.update(plan_hash=1), hashed=False),
    "edited": edited(lambda body: body.update(home="other"), hashed=False),
    "no steps": edited(lambda body: body.update(steps=[]), hashed=True),
    "a step less": edited(lambda body: body["steps"].pop(), hashed=True),
    "steps in another order": edited(lambda body: body["steps"].reverse(), hashed=True),
    "no components": edited(lambda body: body.update(components=[], steps=[]), hashed=True),
    "a newer format": edited(lambda body: body.update(format=2), hashed=True),
    "an unknown key": edited(lambda body: body.update(more=1), hashed=True),
    "a missing key": edited(lambda body: body.pop("world"), hashed=True),
    "a wrong type": edited(lambda body: body.update(components="web"), hashed=True),
    "another world": edited(lambda body: body["world"]["versions"].pop("web"), hashed=True),
    "an unknown direction": edited(lambda body: body.update(direction="up"), hashed=True),
}


@pytest.mark.parametrize("name", JUNK)
def test_a_file_that_is_no_plan_is_refused(site: Site, plan: Plan, name: str) -> None:
    path = site.folder / "plan.json"
    path.write_bytes(JUNK[name](plan))
    with pytest.raises(PlanMalformed) as malformed:
        read_plan(path)
    unread = (KeyError, AttributeError)  # what those say is no sentence for a person
    assert not isinstance(malformed.value.__cause__, unread)


def test_a_plan_file_is_read_up_to_its_limit_only(site: Site, plan: Plan) -> None:
    path = site.folder / "plan.json"
    write_plan(plan, path)
    padded = path.read_bytes()
    path.write_bytes(padded + b" " * (PLAN_BYTES_MAX - len(padded)))
    assert read_plan(path) == plan
    with path.open("ab") as file:
        file.write(b" ")
    with pytest.raises(PlanMalformed):
        read_plan(path)


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "device", "loop", "no name"])
def test_what_is_no_regular_file_is_no_plan_and_is_not_waited_for(site: Site, kind: str) -> None:
    path = site.folder / "plan.json"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case "no name":
            path = site.folder / "zero\0byte"
    with pytest.raises(PlanMalformed):
        read_plan(path)


def test_a_plan_that_cannot_be_written_is_refused(site: Site, plan: Plan) -> None:
    with pytest.raises(PlanMalformed):
        write_plan(plan, site.folder / "absent" / "plan.json")


def test_a_plan_without_its_steps_is_refused_by_whoever_it_is_given_to(
    driven: Driven, plan: Plan
) -> None:
    """It would commit and have done nothing."""
    operations = Operations(driven.engine, {})
    size = driven.engine.journal.size
    for broken in (replace(plan, steps=()), replace(plan, components=(), steps=())):
        with pytest.raises(RequestMalformed):
            operations.apply(broken, actor="test")
    assert driven.engine.journal.size == size


def test_a_plan_has_at_most_so_many_components(plan: Plan) -> None:
    one = plan.components[0]
    many = tuple(replace(one, name=f"app{number}") for number in range(COMPONENTS_MAX + 1))
    names: dict[str, str | None] = {one.name: None for one in many}
    world = replace(plan.world, versions=names, targets=dict.fromkeys(names, "absent"))
    assert check_whole(replace(plan, components=many, steps=steps_for(many), world=world))
    fewer = many[:-1]
    world = replace(world, versions=dict(list(names.items())[:-1]))
    world = replace(world, targets=dict.fromkeys(world.versions, "absent"))
    assert check_whole(replace(plan, components=fewer, steps=steps_for(fewer), world=world)) is None


# -- what a manifest may not hold -----------------------------------------------


@pytest.mark.parametrize("name", ["NOODLE_JOURNAL_KEY", "NOODLE_TO", "PATH", "LANG", "A=B", ""])
def test_a_variable_that_a_hook_would_not_get_is_refused_by_name(site: Site, name: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        site.release("web", "1.0.0", hook("before-swap", ["true"], pass_env=["LC_ALL", name]))
    assert "pass_env[2]" in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://me:secret@localhost/", "https://me@localhost/", "http://[::1/", "ftp://x/"]
)
def test_a_health_address_that_no_check_would_ask_is_refused_by_name(site: Site, url: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        site.release("web", "1.0.0", f'[[health]]\nhttp = "{url}"\n')
    assert "health[1].http" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_home_is_left_as_it_was_by_a_release_that_is_refused(site: Site) -> None:
    before = everything(site.path)
    with pytest.raises(ManifestInvalid):
        site.release("web", "1.0.0", '[[health]]\nhttp = "http://me:secret@localhost/"\n')
    shutil.rmtree(site.folder / "releases")
    assert everything(site.path) == before
