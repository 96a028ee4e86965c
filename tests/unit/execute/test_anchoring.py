"""Anchors in the engine: when heads are sent, and what follows where they cannot be."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from noodle_engine import Noodle
from noodle_engine.execute.home.checkup import examine_home
from noodle_engine.machine.records import Anchored, Noted, StepIntent, Transition
from noodle_engine.machine.states import Message, Reason, State
from noodle_journal import parse_note
from noodle_journal.anchors.failures import (
    AnchorFork,
    AnchorRollback,
    AnchorUnreachable,
    SinkFailed,
)
from noodle_journal.errors import NoodleError
from noodle_journal.failures import JournalRollback
from tests.laws.legal_values import nested
from tests.unit.execute.site import WAIT_S_MAX, Clock, Driven, Site, hook

REFUSES = "file:/nowhere/at/all/anchors.jsonl"
HANGS = "plugin:hangs"
SOON_S = 4.0
"""Far below the limits that these tests give a sink that hangs."""


KEYS = {
    "unreachable": "noodle.anchor_unreachable",
    "timeout": "noodle.anchor_timeout",
    "wait": "noodle.anchor_wait",
    "interval": "noodle.anchor_interval",
    "strict": "noodle.anchor_strict",
}


class Hanging:
    """A plug-in that never answers while a test runs."""

    go: ClassVar[threading.Event] = threading.Event()
    reached: ClassVar[threading.Event] = threading.Event()

    def keep(self, note: str, *, seconds: float) -> None:  # noqa: ARG002
        self.reached.set()
        self.go.wait(WAIT_S_MAX)
        raise SinkFailed("it hung")

    def fetch(self, *_of: str, **_more: object) -> Sequence[str] | None:
        return None


@pytest.fixture(autouse=True)
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installed as a plug-in of anybody is: by the metadata of a distribution."""
    metadata = tmp_path / "plugs" / "hangs-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hangs\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[noodle.anchors]\nhangs = {__name__}:Hanging\n")
    monkeypatch.syspath_prepend(metadata.parent)
    Hanging.go, Hanging.reached = threading.Event(), threading.Event()
    yield
    Hanging.go.set()


@pytest.fixture
def kept(site: Site) -> Path:
    path = site.folder / "anchors.jsonl"
    path.touch()
    return path


def anchored(site: Site, *sinks: str, **more: object) -> None:
    """Say where anchors go, and how: `strict=True` is `noodle.anchor_strict`."""
    said = {KEYS[name]: value for name, value in more.items()}
    site.settings(json.dumps(nested({"noodle.anchors": list(sinks), **said})))


def sizes(path: Path) -> list[int]:
    return [json.loads(line)["size"] for line in path.read_text().splitlines()]


def two_versions(site: Site, more: str = "") -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0", more)


def test_each_end_is_anchored_and_recorded(site: Site, kept: Path) -> None:
    two_versions(site)
    anchored(site, f"file:{kept}")
    driven = Driven.open(site)
    driven.apply("web@1.0.0")
    driven.close()
    driven = Driven.open(site)
    ends = [
        record.seq
        for record in driven.engine.journal.read()
        if record.body.get("to") == "committed" and record.body.get("from") != "committed"
    ]
    said = [one.event for one in driven.entries() if isinstance(one.event, Anchored)]
    driven.close()
    assert [one.size for one in said if one.outcome == "kept"] == sizes(kept)[: len(said)]
    assert any(size >= ends[0] for size in sizes(kept))
    with site.open() as noodle:
        note = parse_note(json.loads(kept.read_text().splitlines()[-1])["note"])
        assert noodle.audit_verify(since=note).ok


def test_without_anchors_nothing_is_sent_and_nothing_is_loaded(site: Site) -> None:
    driven = Driven.open(site)
    assert driven.engine.anchoring is None
    driven.close()


@pytest.mark.parametrize("policy", ["wait", "warn", "refuse"])
@pytest.mark.parametrize("sink", [REFUSES, "plugin:absent", HANGS])
def test_no_anchor_holds_a_way_back(site: Site, sink: str, policy: str) -> None:
    """Law A3: under every policy, each commit to be anchored, and no sink that answers."""
    two_versions(site)
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@1.1.0"])
    anchored(site, sink, unreachable=policy, strict=True, timeout=60.0, wait=3600.0)
    began = time.monotonic()
    with site.open() as noodle:
        assert noodle.rollback("web").state is State.COMMITTED
        assert site.has("web", "1.0.0")
    assert time.monotonic() - began < SOON_S


def test_turning_back_ends_the_wait_for_an_anchor(site: Site) -> None:
    """It stands before a step that cannot be undone, and waits an hour if nobody speaks."""
    two_versions(site, hook("before-swap", ["true"], reversible=False))
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    anchored(site, HANGS, unreachable="wait", timeout=60.0, wait=3600.0)
    driven = Driven.open(site)
    began = time.monotonic()
    upgrade = driven.submit(driven.plan("web@1.1.0"))
    assert Hanging.reached.wait(WAIT_S_MAX)
    driven.engine.abort(upgrade, actor="test")
    assert driven.engine.wait(upgrade, WAIT_S_MAX)
    assert driven.state(upgrade) is State.ROLLED_BACK
    assert time.monotonic() - began < SOON_S
    driven.close()


def run_with_hook(site: Site, sink: str, policy: str) -> tuple[Driven, str]:
    two_versions(site, hook("before-swap", ["true"], reversible=False))
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    anchored(site, sink, unreachable=policy, wait=1.0)
    driven = Driven.open(site)
    return driven, driven.apply("web@1.1.0")


def intends(driven: Driven, upgrade: str, step: str) -> bool:
    return any(
        isinstance(event, StepIntent) and event.step.startswith(step) and not event.undo
        for event in driven.events(upgrade)
    )


def test_refused_no_step_begins_that_cannot_be_undone(site: Site) -> None:
    driven, upgrade = run_with_hook(site, REFUSES, "refuse")
    turned = [
        event
        for event in driven.events(upgrade)
        if isinstance(event, Transition) and event.message is Message.TURN_BACK
    ]
    assert [event.reason for event in turned] == [Reason.REFUSED]
    assert driven.state(upgrade) is State.ROLLED_BACK
    assert not intends(driven, upgrade, "before-swap")
    assert site.has("web", "1.0.0")
    driven.close()


def test_warned_it_goes_on_and_the_journal_says_so(site: Site) -> None:
    driven, upgrade = run_with_hook(site, REFUSES, "warn")
    assert driven.state(upgrade) is State.COMMITTED
    driven.close()
    driven = Driven.open(site)
    said = [one.event for one in driven.entries() if isinstance(one.event, Anchored)]
    assert {one.outcome for one in said} == {"unreachable"}
    mark = (driven.engine.world.anchors or {})[REFUSES]
    assert mark.size == 0
    assert mark.failing is not None
    driven.close()


def test_a_step_that_cannot_be_undone_follows_an_anchor_of_all_before_it(
    site: Site, kept: Path
) -> None:
    driven, upgrade = run_with_hook(site, f"file:{kept}", "refuse")
    intent = next(
        record.seq
        for record in driven.engine.journal.read_run(upgrade)
        if str(record.body.get("step", "")).startswith("before-swap")
    )
    before = [
        int(str(record.body["size"]))
        for record in driven.engine.journal.read(1, intent)
        if record.body.get("sink") == f"file:{kept}"
    ]
    done = [
        record.seq
        for record in driven.engine.journal.read_run(upgrade)
        if record.seq < intent and "outcome" in record.body
    ]
    assert before[-1] >= max(done)
    driven.close()


def test_strict_every_step_follows_an_anchor(site: Site, kept: Path) -> None:
    two_versions(site)
    anchored(site, f"file:{kept}", strict=True, unreachable="refuse")
    driven = Driven.open(site)
    upgrade = driven.apply("web@1.0.0")
    records = list(driven.engine.journal.read())
    driven.close()
    steps = 0
    swapped = next(at for at, one in enumerate(records) if one.body.get("to") == "committed")
    for at, record in enumerate(records[:swapped]):
        if record.run == upgrade and "key" in record.body and "outcome" not in record.body:
            ours = [
                one.seq
                for one in records[:at]
                if one.run == upgrade and ("outcome" in one.body or "plan" in one.body)
            ]
            assert any(size >= ours[-1] and size < record.seq for size in sizes(kept))
            steps += 1
    assert steps > 3


def test_one_anchor_may_take_so_long(site: Site) -> None:
    two_versions(site)
    anchored(site, HANGS, strict=True, unreachable="refuse", timeout=0.2)
    driven = Driven.open(site)
    began = time.monotonic()
    upgrade = driven.apply("web@1.0.0")
    assert driven.state(upgrade) is State.ROLLED_BACK
    assert time.monotonic() - began < SOON_S
    driven.close()


def test_what_waits_for_an_anchor_waits_so_long(site: Site) -> None:
    began = time.monotonic()
    driven, upgrade = run_with_hook(site, REFUSES, "wait")
    assert driven.state(upgrade) is State.ROLLED_BACK
    assert 1.0 <= time.monotonic() - began < 30
    driven.close()


def test_what_changed_is_anchored_after_so_long(site: Site, kept: Path) -> None:
    """A note ends nothing: it is due ten minutes after the last anchor, and not before."""
    two_versions(site)
    clock = Clock()
    anchored(site, f"file:{kept}", interval=600)
    driven = Driven.open(site, clock)
    driven.apply("web@1.0.0")
    driven.close()
    last = sizes(kept)[-1]
    for minutes, sent in ((5, False), (6, True)):
        clock.pass_ms(minutes * 60_000)
        driven = Driven.open(site, clock)
        driven.engine.append([Noted("test", "a note")], actor="test")
        driven.close()
        assert (sizes(kept)[-1] > last) is sent


# -- an older copy ----------------------------------------------------------------------


def copied(site: Site) -> dict[str, bytes]:
    return {name: (site.path / name).read_bytes() for name in ("journal.db", "keystore.db")}


def put_back(site: Site, copy: dict[str, bytes]) -> None:
    """Block for block: the same files, with what they held before."""
    for name, content in copy.items():
        for more in ("-wal", "-shm"):
            (site.path / f"{name}{more}").unlink(missing_ok=True)
        with (site.path / name).open("r+b") as file:
            file.truncate(0)
            file.write(content)


def rolled_back_copy(site: Site, kept: Path) -> None:
    """Journal and keystore of before the second version; the anchor has the third."""
    two_versions(site)
    site.release("web", "1.2.0")
    anchored(site, f"file:{kept}")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    old = copied(site)
    with site.open() as noodle:
        noodle.apply(["web@1.1.0"])
    put_back(site, old)
    site.target("web").write_text("web 1.0.0\n")


def test_an_older_copy_is_found_by_the_anchor_before_anything_goes_forward(
    site: Site, kept: Path
) -> None:
    """Attack (h): journal and keystore put back, so that nothing in the home says so."""
    rolled_back_copy(site, kept)
    before = kept.read_bytes()
    with site.open() as noodle:
        assert noodle.audit_verify().ok
        with pytest.raises(AnchorRollback):
            noodle.apply([], remove=["web"])
    assert site.has("web", "1.0.0")
    assert kept.read_bytes() == before
    with pytest.raises(JournalRollback), site.open() as noodle:  # it stays found
        noodle.status()


def test_after_a_take_over_it_goes_on_and_the_anchor_accuses_no_more(
    site: Site, kept: Path
) -> None:
    rolled_back_copy(site, kept)
    with site.open() as noodle:
        noodle.take_over()
    with site.open() as noodle:
        view = noodle.apply(["web@1.2.0"])
        assert view is not None
        assert view.state is State.COMMITTED
        assert noodle.audit_verify().ok


def test_a_copy_that_was_written_to_is_a_fork(site: Site, kept: Path) -> None:
    rolled_back_copy(site, kept)
    anchored(site)
    with site.open() as noodle:
        noodle.apply(["web@1.2.0"])
        noodle.rollback("web")
    anchored(site, f"file:{kept}")
    with site.open() as noodle, pytest.raises(AnchorFork):
        noodle.apply(["web@1.1.0"])


def test_what_cannot_be_asked_is_refused_only_where_the_policy_says_so(site: Site) -> None:
    two_versions(site)
    anchored(site, REFUSES, unreachable="refuse")
    with site.open() as noodle, pytest.raises(AnchorUnreachable):
        noodle.apply(["web@1.0.0"])
    assert site.has("web", None)
    anchored(site, REFUSES)
    with site.open() as noodle:
        assert noodle.apply(["web@1.0.0"]) is not None


def test_a_copy_in_another_place_sends_nothing(site: Site, kept: Path) -> None:
    two_versions(site)
    anchored(site, f"file:{kept}")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    before = kept.read_bytes()
    empty = site.folder / "empty.jsonl"
    empty.touch()
    anchored(site, f"file:{kept}", f"file:{empty}")  # to the second all is owed at once
    shutil.copytree(site.path, site.folder / "other", ignore=shutil.ignore_patterns("socket"))
    with Noodle.open(site.folder / "other") as copy, pytest.raises(NoodleError):
        copy.apply(["web@1.1.0"])
    assert kept.read_bytes() == before
    assert empty.read_bytes() == b""


# -- reading back -----------------------------------------------------------------------


def verdict_of(site: Site) -> str:
    with site.open() as noodle:
        [row] = noodle.audit_anchors().anchors
    return row.verdict


def checks_of(site: Site) -> list[tuple[bool | None, str]]:
    found = examine_home(site.home, {}, thorough=False)
    return [(one.ok, one.found) for one in found if one.name == "anchors"]


def test_each_anchor_is_asked_and_told(site: Site, kept: Path) -> None:
    two_versions(site)
    anchored(site, f"file:{kept}")
    assert verdict_of(site) == "nothing"
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        view = noodle.audit_anchors()
    assert view.ok
    with site.open() as noodle:
        view = noodle.audit_anchors()
    [row] = view.anchors
    assert row.verdict == "agrees"
    assert view.known_up_to == row.size == row.kept_size == sizes(kept)[-1]
    anchored(site, REFUSES)
    assert verdict_of(site) == "unreachable"
    anchored(site, HANGS)
    assert verdict_of(site) == "unread"


def test_reading_back_finds_a_rollback_and_a_fork_and_changes_nothing(
    site: Site, kept: Path
) -> None:
    rolled_back_copy(site, kept)
    assert verdict_of(site) == "rollback"
    assert verdict_of(site) == "rollback"
    anchored(site)
    with site.open() as noodle:
        noodle.apply(["web@1.2.0"])
        noodle.rollback("web")
    anchored(site, f"file:{kept}")
    assert verdict_of(site) == "fork"
    kept.write_text(
        kept.read_text().replace("\\u2014 ", "").replace("\u2014 noodle", "\u2014 other")
    )
    assert verdict_of(site) == "unsigned"


def test_the_doctor_and_the_status_say_how_far_the_journal_is_known(site: Site, kept: Path) -> None:
    two_versions(site)
    [(ok, found)] = checks_of(site)
    assert ok is None
    assert "nothing is anchored" in found
    anchored(site, f"file:{kept}", REFUSES)
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    with site.open() as noodle:
        [problem] = noodle.status().anchor_problems
    assert problem.startswith(REFUSES)
    good, bad, same = checks_of(site)
    assert (good[0], bad[0], same[0]) == (True, False, None)
    assert f"up to record {sizes(kept)[-1]}" in good[1]
    assert "file system of the home" in same[1]


def test_the_doctor_finds_an_anchor_that_is_old(site: Site, kept: Path) -> None:
    two_versions(site)
    long_ago = Clock(wall_ms=time.time_ns() // 1_000_000 - 5 * 86_400_000)
    anchored(site, f"file:{kept}")
    driven = Driven.open(site, long_ago)
    driven.apply("web@1.0.0")
    driven.close()
    anchored(site)
    driven = Driven.open(site, long_ago)
    driven.apply("web@1.1.0")
    driven.close()
    anchored(site, f"file:{kept}")
    assert checks_of(site)[0][0] is False
