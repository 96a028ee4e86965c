"""One home, several processes: who holds it, who asks, and what each may believe.

The other process is the real command; it stands at a gate whenever something is done to it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from noodle_engine import Noodle
from noodle_engine.api import UpgradeEvent, Waiting
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.failures import (
    AnswerLost,
    ComponentBusy,
    HolderSilent,
    HomeHeld,
    Interrupted,
    NothingInstalled,
    RollbackDisabled,
    SettingsRefused,
    UpgradesDisabled,
    UpgradeUnknown,
    VersionAdopted,
    VersionUnclear,
    WaitInterrupted,
)
from noodle_engine.execute.home.holder import client_of
from noodle_engine.execute.home.service import RemoteFailure
from noodle_engine.machine.states import HoldReason, Release, State, Status
from noodle_engine.registry.failures import ReleaseConflict, ReleaseUnknown
from noodle_engine.targets.failures import KindNotBuilt, KindUnknown
from noodle_journal.errors import NoodleError
from tests.unit.execute.site import WAIT_S_MAX, Driven, Site, hook, manifest

NO_WAIT = Waiting(wait=False)
BROKEN_SETTINGS = '{"runtime_upgrade_manager": {"default_timeout": "soon", "no_such_key": 1}}'


@contextmanager
def command(site: Site, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`noodle WORDS` in a process of its own, which is gone at the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOODLE_")}
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", "noodle_engine.cli", "--home", str(site.path), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=kept,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate(timeout=WAIT_S_MAX)


def ended(process: subprocess.Popen[bytes]) -> int:
    return process.wait(WAIT_S_MAX)


class Asking:
    """A call in a thread of its own, and what came of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._found: list[Any] = []
        self._raised: list[BaseException] = []
        self._thread = threading.Thread(target=lambda: self._run(call), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._found.append(call())
        except BaseException as failure:  # noqa: BLE001 - the test raises it
            self._raised.append(failure)

    def result(self) -> Any:
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive(), "it still waits"
        if self._raised:
            raise self._raised[0]
        return self._found[0]


# -- two processes --------------------------------------------------------------


def test_who_finds_the_home_held_asks_the_holder_and_gets_the_same_answer(site: Site) -> None:
    """An upgrade by the socket, while the holder drives another; all of it in one journal."""
    gate = site.gate("gate")
    site.release("slow", "1.0.0", hook("before-swap", gate.command))
    site.release("web", "1.0.0")
    heard: list[UpgradeEvent] = []
    with command(site, "apply", "slow@1.0.0", "--yes") as holder, site.open() as noodle:
        gate.wait()
        view = noodle.apply(["web@1.0.0"], waiting=Waiting(follow=heard.append))
        assert view is not None
        assert (view.state, view.status) == (State.COMMITTED, Status.COMPLETED)
        assert site.has("web", "1.0.0")
        assert [one.upgrade for one in noodle.status().open] != [view.upgrade]
        assert noodle.upgrade(view.upgrade) == view
        gate.open()
        assert ended(holder) == 0
        assert noodle.audit_verify().ok
    seqs = [one.seq for one in heard if one.upgrade == view.upgrade]
    assert seqs == sorted(set(seqs))
    assert heard[0].label == "upgrade.requested"


def test_an_abort_from_another_process_turns_the_holders_upgrade_back(site: Site) -> None:
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("after-swap", gate.command))
    with command(site, "apply", "web@1.0.0", "--yes") as holder, site.open() as noodle:
        gate.wait()
        (open_one,) = noodle.status().open
        view = noodle.abort(open_one.upgrade)
        assert view.state is State.ROLLED_BACK
        assert ended(holder) == 4
    assert site.has("web", None)


def test_a_refusal_of_the_holder_is_the_refusal_of_the_call(site: Site) -> None:
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    with command(site, "apply", "web@1.0.0", "--yes") as holder, site.open() as noodle:
        gate.wait()
        with pytest.raises(ComponentBusy):  # planning sees it
            noodle.apply(["web@1.0.0"])
        (open_one,) = noodle.status().open
        with pytest.raises(RemoteFailure) as refused:
            noodle.resume(open_one.upgrade, release=Release.RETRY)
        assert refused.value.code == "message_refused"
        gate.open()
        assert ended(holder) == 0


def test_a_holder_killed_after_it_took_the_request_leaves_the_answer_lost(site: Site) -> None:
    """Never "nothing was changed": the upgrade is open, and goes on at resume."""
    first, second = site.gate("first"), site.gate("second")
    site.release("web", "1.0.0", hook("before-swap", first.command))
    site.release("api", "1.0.0", hook("before-swap", second.command))
    with command(site, "apply", "web@1.0.0", "--yes") as holder, site.open() as noodle:
        first.wait()
        asking = Asking(lambda: noodle.apply(["api@1.0.0"]))
        second.wait()
        holder.kill()
        ended(holder)

        with pytest.raises(AnswerLost):
            asking.result()

        assert len(noodle.status().open) == 2
        noodle.resume(waiting=NO_WAIT)
        for gate in (first, second):
            gate.wait()
            gate.open()
    with site.open() as noodle:
        assert noodle.status().open == ()
    assert site.has("web", "1.0.0")
    assert site.has("api", "1.0.0")


def test_a_holder_killed_before_it_took_the_request_is_replaced_by_the_asker(site: Site) -> None:
    """The request was not taken, so the asker carries it out: once."""
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    site.release("api", "1.0.0")
    with command(site, "apply", "web@1.0.0", "--yes") as holder, site.open() as noodle:
        gate.wait()
        holder.send_signal(signal.SIGSTOP)
        asking = Asking(lambda: noodle.apply(["api@1.0.0"]))
        wait_for_client(site)
        holder.kill()
        ended(holder)

        view = asking.result()

        assert view.state is State.COMMITTED
        assert site.has("api", "1.0.0")
        assert [one.status for one in noodle.history().upgrades] == [
            Status.COMPLETED,
            Status.IN_PROGRESS,
        ]
        (web,) = noodle.status().open
        noodle.abort(web.upgrade)


def wait_for_client(site: Site) -> None:
    """Until somebody has connected to the socket of a holder that stands still."""
    path = str(site.home.socket_file)
    while sum(path in line for line in Path("/proc/net/unix").read_text().splitlines()) < 2:
        os.sched_yield()


def test_a_client_that_is_killed_loses_nothing(site: Site) -> None:
    """S2: the holder goes on with what it asked for."""
    held, asked = site.gate("held"), site.gate("asked")
    site.release("web", "1.0.0", hook("before-swap", held.command))
    site.release("api", "1.0.0", hook("before-swap", asked.command))
    with site.open() as noodle:
        asking = Asking(lambda: noodle.apply(["web@1.0.0"]))
        held.wait()
        with command(site, "apply", "api@1.0.0", "--yes") as client:
            asked.wait()
            client.kill()
            ended(client)
        asked.open()
        held.open()
        assert asking.result().state is State.COMMITTED
    assert site.has("api", "1.0.0")
    with site.open() as noodle:
        assert noodle.status().open == ()


def test_of_two_processes_that_make_one_home_one_succeeds(tmp_path: Path) -> None:
    """H1, and the other is refused; also where an empty folder is there already."""
    for number, there in enumerate((True, False)):
        site = Site.__new__(Site)
        site.path = tmp_path / f"home{number}"
        if there:
            site.path.mkdir()
        with command(site, "init") as one, command(site, "init") as two:
            assert sorted([ended(one), ended(two)]) == [0, 3]
        assert [path.name for path in tmp_path.iterdir() if ".init-" in path.name] == []
        with Noodle.open(site.path) as noodle:
            assert noodle.audit_verify().ok


def test_a_home_that_is_locked_and_does_not_listen_is_silent(site: Site) -> None:
    """Exit 9: the lock is held, and nobody takes the request."""
    site.release("web", "1.0.0")
    lock = lock_file(site.home.lock_file)
    try:
        with site.open() as noodle:
            assert noodle.status().open == ()  # questions need no lock
            with pytest.raises(HolderSilent) as silent:
                noodle.apply(["web@1.0.0"])
            assert silent.value.exit_code == 9
            assert silent.value.data["holder"] == os.getpid()
            for call in (noodle.take_over, lambda: noodle.run(stop=threading.Event())):
                with pytest.raises(HomeHeld) as held:
                    call()
                assert (held.value.exit_code, held.value.data["holder"]) == (9, os.getpid())
    finally:
        lock.release()
    assert site.has("web", None)


def test_a_holder_that_is_just_going_is_waited_for(site: Site) -> None:
    """Its lock is held a moment longer than its socket is there."""
    site.release("web", "1.0.0")
    lock = lock_file(site.home.lock_file)
    with site.open() as noodle:
        asking = Asking(lambda: noodle.apply(["web@1.0.0"]))
        lock.release()
        assert asking.result().state is State.COMMITTED


# -- stopping -------------------------------------------------------------------


def test_an_interrupt_stops_after_the_running_step_and_says_which_upgrade(site: Site) -> None:
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    stop = threading.Event()
    with site.open() as noodle:
        asking = Asking(lambda: noodle.apply(["web@1.0.0"], waiting=Waiting(stop=stop)))
        gate.wait()
        stop.set()
        gate.open()
        with pytest.raises(Interrupted) as interrupted:
            asking.result()
        (open_one,) = noodle.status().open
        assert interrupted.value.data["upgrade"] == open_one.upgrade
        done = [one.id for one in noodle.steps(open_one.upgrade).steps if one.state == "done"]
        assert done[-1] == "before-swap:web:0"
        assert site.has("web", None)

        (view,) = noodle.resume()
    assert view.state is State.COMMITTED


def left_pending(site: Site, *names: str) -> list[str]:
    """Upgrades that were requested, and whose engine ended before it began one."""
    driven = Driven.open(site)
    driven.engine.leave()
    upgrades = [driven.submit(driven.plan(f"{name}@1.0.0")) for name in names]
    driven.close()
    return upgrades


def test_an_interrupt_stops_all_upgrades_that_a_call_drives(site: Site) -> None:
    """Not only the one whose end the call waits for first."""
    gates = [site.gate(name) for name in ("web", "api")]
    for name, gate in zip(("web", "api"), gates, strict=True):
        site.release(name, "1.0.0", hook("before-swap", gate.command))
    upgrades = left_pending(site, "web", "api")
    stop = threading.Event()
    with site.open() as noodle:
        asking = Asking(lambda: noodle.resume(waiting=Waiting(stop=stop)))
        for gate in gates:
            gate.wait()
        stop.set()
        for gate in gates:
            gate.open()
        with pytest.raises(Interrupted):
            asking.result()
    with site.open() as noodle:
        for upgrade in upgrades:
            done = [one.name for one in noodle.steps(upgrade).steps if one.state == "done"]
            assert done[-1] == "before-swap"
        assert {view.state for view in noodle.resume()} == {State.COMMITTED}


def test_an_interrupt_of_one_who_asked_only_ends_the_waiting(site: Site) -> None:
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    stop = threading.Event()
    with site.open() as holder, site.open() as noodle:
        holder.resume()  # it holds the home from now on
        asking = Asking(lambda: noodle.apply(["web@1.0.0"], waiting=Waiting(stop=stop)))
        gate.wait()
        stop.set()
        with pytest.raises(WaitInterrupted) as interrupted:
            asking.result()
        assert interrupted.value.data["holder"] == os.getpid()
        assert interrupted.value.data["upgrade"] == noodle.status().open[0].upgrade
        gate.open()
    assert site.has("web", "1.0.0")


def test_a_wait_that_is_over_ends_only_the_waiting(site: Site) -> None:
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    with site.open() as noodle:
        view = noodle.apply(["web@1.0.0"], waiting=Waiting(wait_ms_max=0))
        assert view is not None
        assert view.state not in (State.COMMITTED, State.ROLLED_BACK)
        gate.wait()
        gate.open()
    assert site.has("web", "1.0.0")


def test_closing_waits_for_what_runs(site: Site) -> None:
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    noodle = site.open()
    noodle.apply(["web@1.0.0"], waiting=NO_WAIT)
    gate.wait()
    closing = Asking(noodle.close)
    gate.open()
    closing.result()
    assert site.has("web", "1.0.0")


def test_the_resident_engine_takes_up_what_is_open_and_ends_when_it_is_told(site: Site) -> None:
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    with command(site, "apply", "web@1.0.0", "--yes") as killed:
        gate.wait()
        killed.kill()
        ended(killed)
    site.settings('{"debug": {"log_level": "hunter2"}}')  # it says so, and goes on all the same
    stop, ready, told = threading.Event(), threading.Event(), list[str]()
    with site.open() as resident, site.open() as noodle:
        running = Asking(lambda: resident.run(stop=stop, ready=ready.set, changed=told.append))
        assert ready.wait(WAIT_S_MAX)
        assert "range of debug.log_level; no upgrade begins; `noodle config validate`" in told[0]
        assert "settings.refused" in (site.path / "logs" / "runtime_upgrade.log").read_text()
        gate.wait()  # its own: that of the killed one was ended before
        (open_one,) = noodle.status().open
        waiting = Asking(lambda: noodle.resume(open_one.upgrade))
        gate.open()
        (view,) = waiting.result()
        assert view.state is State.COMMITTED
        stop.set()
        running.result()
    lock_file(site.home.lock_file).release()  # it was given up


# -- settings -------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["file", "variable"])
def test_with_broken_settings_only_going_forward_is_refused(
    site: Site, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 7: resume, abort, rollback, status and audit work on what is journaled."""
    for name, version in (("web", "1.0"), ("web", "1.1"), ("app0", "1.0"), ("app1", "1.0")):
        site.release(name, f"{version}.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@1.1.0"])
    left_pending(site, "app0", "app1")
    if broken == "file":
        site.settings(BROKEN_SETTINGS)
    else:
        monkeypatch.setenv("NOODLE_DEBUG", "maybe")
        monkeypatch.setenv("NOODLE_RUNTIME_UPGRADE_ENABLE", "1")
    with site.open() as noodle:
        one, two = noodle.status().open
        with pytest.raises(SettingsRefused) as refused:
            noodle.apply([], remove=["web"])
        assert len(refused.value.data["problems"]) == 2  # type: ignore[arg-type]

        assert noodle.abort(one.upgrade).state is State.ROLLED_BACK
        (resumed,) = noodle.resume(two.upgrade)
        assert resumed.state is State.COMMITTED
        assert noodle.rollback("web").state is State.COMMITTED
        assert site.has("web", "1.0.0")
        assert noodle.audit_verify().ok
        listed = noodle.history()
        assert (bool(listed.upgrades), len(listed.settings_problems)) == (True, 2)


def test_upgrades_that_are_switched_off_leave_the_way_back_open(site: Site) -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@1.1.0"])
        site.settings('{"runtime_upgrade": {"enabled": false}}')
        not_now = noodle.plan([], remove=["web"]).not_now
        assert str(not_now).startswith("upgrades are switched off; set it to true")
        with pytest.raises(UpgradesDisabled):
            noodle.apply([], remove=["web"])
        assert noodle.rollback("web").state is State.COMMITTED
        site.settings('{"runtime_upgrade": {"rollback": {"enabled": false}}}')
        noodle.apply(["web@1.1.0"])
        with pytest.raises(RollbackDisabled):
            noodle.rollback("web")


# -- releases -------------------------------------------------------------------


def tree_release(site: Site, version: str, **files: bytes) -> Path:
    folder = site.folder / "releases" / f"site-{version}"
    (folder / "tree").mkdir(parents=True)
    for name, content in {"app.py": version.encode(), **files}.items():
        (folder / "tree" / name).write_bytes(content)
    text = manifest("site", version, site.target("site"))
    text = text.replace('"file"', '"directory"').replace('"payload"', '"tree"')
    (folder / "noodle.toml").write_text(text)
    return folder


def noted(noodle: Noodle) -> list[str]:
    return [
        str(entry.fields["text"])
        for entry in noodle.audit_show()
        if entry.fields.get("code") == "component.added"
    ]


def test_a_tree_is_added_planned_and_applied(site: Site) -> None:
    told: list[tuple[int, int]] = []
    with site.open() as noodle:
        for version in ("1.0.0", "1.1.0"):
            release = tree_release(site, version, same=b"same")
            noodle.add(release, progress=lambda done, total: told.append((done, total)))
            view = noodle.apply([f"site@{version}"])
            assert view is not None
            assert view.state is State.COMMITTED
            assert (site.target("site") / "app.py").read_text() == version
        assert noodle.rollback("site").state is State.COMMITTED
        assert (site.target("site") / "app.py").read_text() == "1.0.0"
        assert noodle.audit_verify().ok
    assert told[-1][0] == told[-1][1] > 0


def test_what_is_known_of_releases_and_how_they_differ(site: Site) -> None:
    with site.open() as noodle:
        noodle.add(tree_release(site, "1.0.0", same=b"same"))
        noodle.add(tree_release(site, "1.1.0", same=b"same", more=b"m"))
        site.release("web", "1.0.0")
        known = noodle.components().known
        assert [(row.component, row.version, row.kind, row.files) for row in known] == [
            ("site", "1.1.0", "directory", 3),
            ("site", "1.0.0", "directory", 2),
            ("web", "1.0.0", "file", None),
        ]
        assert noodle.components("web").known == known[2:]
        view = noodle.diff("site@1.0.0", "site@1.1.0")
        assert [(one.change, one.path) for one in view.differences] == [
            ("changed", "app.py"),
            ("added", "more"),
        ]
        assert (view.same, view.diff.added, view.diff.changed) == (False, 1, 1)
        assert (view.diff.bytes_copied, view.diff.bytes_shared) == (6, 4)
        assert (view.old, view.new) == (known[1], known[0])
        assert noodle.diff("site@1.0.0", "site@1.0.0").same
        signature = site.path / "runtime_components" / "site" / "1.0.0" / "signature"
        signature.write_bytes(b"")
        damaged = noodle.components("site").known[1]
        assert damaged.version == "1.0.0"
        assert damaged.problem is not None


def test_what_was_adopted_has_no_release_and_the_answers_say_so(site: Site) -> None:
    target = site.target("site")
    (target / "var").mkdir(parents=True)
    (target / "app.py").write_text("by hand")
    with site.open() as noodle:
        noodle.add(tree_release(site, "1.1.0"))
        plan = noodle.plan_adoption("site@1.0.0", target, mutable=["var"], unmanaged=["*.pid"])
        assert plan.plan is not None
        view = noodle.apply(plan.plan)
        assert view is not None
        line = view.components[0]
        assert (line.from_version, line.to_version) == ("unversioned", "1.0.0")
        assert noodle.history().upgrades[0].components[0].from_version == "unversioned"
        (row,) = noodle.components("site").components
        assert (row.layout, row.mutable, row.unmanaged) == ("tree", ("var",), ("*.pid",))
        with pytest.raises(VersionAdopted):
            noodle.diff("site@1.0.0", "site@1.1.0")
        with pytest.raises(VersionAdopted):
            noodle.plan(["site@1.0.0"])
        with pytest.raises(ReleaseUnknown):
            noodle.diff("site@0.9.0", "site@1.1.0")
        with pytest.raises(VersionUnclear):
            noodle.plan(["site"])


@pytest.mark.parametrize(
    ("kind", "failure"), [("folder", KindUnknown), ("service", KindNotBuilt)], ids=str
)
def test_a_version_that_nobody_can_apply_is_not_taken(
    site: Site, kind: str, failure: type[NoodleError]
) -> None:
    release = tree_release(site, "1.0.0")
    text = (release / "noodle.toml").read_text()
    more = "\n[service]\nunit = 'site.service'\n" if kind == "service" else ""
    (release / "noodle.toml").write_text(text.replace('"directory"', f'"{kind}"') + more)
    with site.open() as noodle:
        with pytest.raises(failure):
            noodle.add(release)
        (release / "noodle.toml").write_text(text)
        assert noodle.add(release).components[0].releases == ("1.0.0",)


def test_what_is_known_is_recorded_once(site: Site) -> None:
    release = tree_release(site, "1.0.0")
    with site.open() as noodle:
        assert noodle.add(release).components[0].releases == ("1.0.0",)
        assert noodle.add(release).components[0].releases == ("1.0.0",)
        (release / "tree" / "app.py").write_bytes(b"other")
        with pytest.raises(ReleaseConflict):
            noodle.add(release)
        assert noted(noodle) == ["site 1.0.0 is known"]


def test_a_release_is_added_beside_the_process_that_holds_the_home(site: Site) -> None:
    """The holder records it and gives it its name; refusals are the same."""
    gate = site.gate("gate")
    site.release("slow", "1.0.0", hook("before-swap", gate.command))
    release = tree_release(site, "1.0.0")
    with command(site, "apply", "slow@1.0.0", "--yes") as holder, site.open() as noodle:
        gate.wait()
        assert noodle.add(release).components[0].releases == ("1.0.0",)
        assert noted(noodle) == ["site 1.0.0 is known"]
        with pytest.raises(RemoteFailure) as failed:
            client_of(site.home).ask("register", {"token": "1"})
        assert failed.value.code == "release_unusable"
        assert list((site.path / "runtime_components" / ".adding").iterdir()) == []
        gate.open()
        assert ended(holder) == 0


# -- notes ----------------------------------------------------------------------


def test_forgetting_keeps_the_target_and_is_refused_for_what_is_open(site: Site) -> None:
    gate = site.gate("gate")
    site.release("web", "1.0.0")
    site.release("web", "1.1.0", hook("before-swap", gate.command))
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        assert noodle.verify().whole
        noodle.apply(["web@1.1.0"], waiting=NO_WAIT)
        gate.wait()
        with pytest.raises(ComponentBusy):
            noodle.forget("web")
        (row,) = noodle.verify("web").components
        assert not row.whole, "verified, and nobody knows yet what is installed"
        assert row.upgrade == noodle.status().open[0].upgrade
        gate.open()
    with site.open() as noodle:
        noodle.forget("web")
        with pytest.raises(NothingInstalled):
            noodle.forget("web")
    assert site.has("web", "1.1.0")


def test_an_abort_of_an_ended_upgrade_is_refused(site: Site) -> None:
    site.release("web", "1.0.0")
    with site.open() as noodle:
        view = noodle.apply(["web@1.0.0"])
        assert view is not None
        size = noodle.status().journal.size
        with pytest.raises(UpgradeUnknown):
            noodle.abort(view.upgrade)
        assert noodle.resume(view.upgrade) == (noodle.upgrade(view.upgrade),)
        assert noodle.resume() == ()
        assert noodle.status().journal.size == size


def test_a_hold_is_an_answer_and_names_the_ways_on(site: Site) -> None:
    site.release("web", "1.0.0", hook("before-swap", ["true"], reversible=False))
    site.release(
        "api",
        "1.0.0",
        hook("before-swap", ["true"], reversible=False) + hook("before-swap", ["false"]),
    )
    with site.open() as noodle:
        view = noodle.apply(["api@1.0.0"])
        assert view is not None
        assert view.hold is not None
        assert view.hold.reason is HoldReason.IRREVERSIBLE
        assert {way.rpartition(" ")[2] for way in view.allowed} == {
            "--promote",
            "--back",
            "--retry",
        }
        (back,) = noodle.resume(view.upgrade, release=Release.BACK)
        assert back.state is State.ROLLED_BACK
