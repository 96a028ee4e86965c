"""The log: what it holds, by which settings, and that no upgrade minds it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from noodle_engine.api import Waiting
from noodle_engine.execute.failures import PlanMalformed, SettingsRefused
from noodle_engine.execute.home.checkup import examine_home
from noodle_engine.execute.home.settings import settings_from_journal
from noodle_engine.execute.observing.observer import observer_of
from noodle_engine.observe.failures import LogUnwritable
from noodle_engine.observe.files import FULL, LINE_BYTES_MAX
from noodle_engine.observe.lines import Line, as_json
from noodle_engine.observe.logs import log_place, opened_log
from noodle_engine.observe.options import LOG_FILE_DEFAULT, log_options
from noodle_engine.observe.queue import Later
from noodle_engine.observe.secrets import Redactor
from noodle_journal.keys import encode_recovery
from noodle_policies.settings.model.catalogue import catalogue
from tests.conftest import require_system
from tests.unit.execute.site import Site, hook
from tests.unit.observe.reading import LOG, lines, settings, taken, upgrade

KEY_NAMES = ("time", "level", "logger", "event", "text", "pid")


@pytest.fixture
def web(site: Site) -> Site:
    """Two releases that work, and one whose hook fails."""
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    site.release("web", "1.2.0", hook("after-swap", ["sh", "-c", "echo token=hunter2; exit 3"]))
    return site


def test_the_default_file_is_the_references() -> None:
    assert catalogue().defaults["debug.log_file"] == LOG_FILE_DEFAULT


def test_an_upgrade_is_told_from_its_request_to_its_end(web: Site) -> None:
    """Each line leads into the journal: the record of its number says the same."""
    done = upgrade(web, "web@1.0.0")
    found = [line for line in lines(web.path / "logs" / LOG) if line.get("upgrade") == done]
    assert [line["event"] for line in found][:2] == ["upgrade.requested", "step.done"]
    assert "upgrade.committed" in [line["event"] for line in found]
    assert {line["logger"] for line in found} == {"upgrade", "upgrade.step"}
    with web.open() as noodle:
        said = {entry.seq: entry.text for entry in noodle.audit_show(done)}
    assert {line["seq"]: line["text"] for line in found}.items() <= said.items()
    assert all(name in line for line in found for name in KEY_NAMES)
    steps = [line for line in found if line["event"] == "step.done"]
    assert {line["step"] for line in steps} >= {"check", "stage", "swap", "point"}
    assert all(line["duration_ms"] >= 0 and line["component"] == "web" for line in steps)


def test_a_failure_is_a_warning_and_its_secrets_are_not_told(web: Site) -> None:
    upgrade(web, "web@1.0.0")
    taken(web)
    failed = upgrade(web, "web@1.2.0")
    found = {line["event"]: line for line in taken(web) if line["level"] == "WARNING"}
    assert set(found) == {"step.failed", "upgrade.turned_back", "upgrade.rolled_back"}
    assert found["step.failed"]["step"] == "after-swap:0"
    assert found["upgrade.turned_back"]["reason"] == "step_failed"
    assert {line["upgrade"] for line in found.values()} == {failed}


def test_a_refusal_is_told_with_what_to_do(web: Site) -> None:
    settings(web, {"runtime_upgrade.enabled": False})
    with web.open() as noodle:
        plan = noodle.plan(["web@1.0.0"]).plan
        assert plan is not None
        with pytest.raises(Exception, match="switched off"):
            noodle.apply(plan)
        with pytest.raises(Exception, match="not known"):
            noodle.apply(["web@9.0.0"])
    found = [line for line in taken(web) if line["event"] == "request.refused"]
    assert [(line["operation"], line["code"]) for line in found] == [
        ("apply", "upgrades_disabled"),
        ("plan", "component_unknown"),
    ]
    assert all(line["remedy"] and line["actor"] == "test" for line in found)


def test_enabled_logs_everything_whatever_the_level(web: Site) -> None:
    """debug.enabled"""
    settings(web, {"debug.log_level": "ERROR"})
    upgrade(web, "web@1.0.0")
    assert taken(web) == []
    settings(web, {"debug.log_level": "ERROR", "debug.enabled": True})
    upgrade(web, "web@1.1.0")
    found = taken(web)
    assert {"step.begun", "lock.taken", "timer.set"} <= {line["event"] for line in found}
    assert {line["level"] for line in found} == {"DEBUG", "INFO"}


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        ("DEBUG", {"DEBUG", "INFO", "WARNING"}),
        ("INFO", {"INFO", "WARNING"}),
        ("WARNING", {"WARNING"}),
        ("ERROR", set()),
    ],
)
def test_the_level_says_from_which_one_on(web: Site, level: str, wanted: set[str]) -> None:
    """debug.log_level"""
    settings(web, {"debug.log_level": level})
    upgrade(web, "web@1.2.0")
    assert {line["level"] for line in taken(web)} == wanted


def test_the_variable_is_for_the_loggers_of_upgrades_alone(
    web: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NOODLE_RUNTIME_UPGRADE_DEBUG"""
    monkeypatch.setenv("NOODLE_RUNTIME_UPGRADE_DEBUG", "1")
    upgrade(web, "web@1.0.0")
    loggers = {line["logger"].split(".")[0] for line in taken(web) if line["level"] == "DEBUG"}
    assert loggers == {"upgrade"}
    monkeypatch.setenv("NOODLE_RUNTIME_UPGRADE_DEBUG", "0")
    upgrade(web, "web@1.1.0")
    assert "DEBUG" not in {line["level"] for line in taken(web)}


def test_the_log_is_where_the_settings_say(web: Site) -> None:
    """debug.log_file"""
    elsewhere = web.folder / "elsewhere.log"
    settings(web, {"debug.log_file": str(elsewhere)})
    done = upgrade(web, "web@1.0.0")
    assert done in {line.get("upgrade") for line in lines(elsewhere)}
    assert taken(web) == []


@pytest.mark.parametrize("wrong", ["absent/log", "folder"])
def test_a_chosen_log_that_cannot_be_written_stops_what_goes_forward(web: Site, wrong: str) -> None:
    """debug.log_file: nothing is changed then; going back works, and is logged in the home."""
    upgrade(web, "web@1.0.0")
    upgrade(web, "web@1.1.0")
    (web.folder / "folder").mkdir()
    path = str(web.folder / wrong)
    settings(web, {"debug.log_file": path})
    taken(web)
    [check] = [one for one in examine_home(web.home, {}, thorough=False) if one.name == "log"]
    assert (check.ok, path in check.found) == (False, True)
    with web.open() as noodle:
        size = noodle.journal.size
        with pytest.raises(LogUnwritable):
            noodle.apply(["web@1.2.0"])
        assert noodle.journal.size == size
        assert web.has("web", "1.1.0")
        noodle.rollback("web")
    assert web.has("web", "1.0.0")
    assert {"request.refused", "upgrade.committed"} <= {line["event"] for line in taken(web)}


def test_what_is_said_of_a_logs_place_is_what_opening_it_finds(tmp_path: Path) -> None:
    """debug.log_file: `doctor` and `apply` agree."""
    for name in ("plain", "other", "twin"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "second").hardlink_to(tmp_path / "twin")
    told = {}
    logs = tmp_path / "home" / "logs"
    logs.mkdir(parents=True)
    (tmp_path / "way").symlink_to("home")
    ours = ["home/journal.db", "way/keys/master.key", "way/logs/audit.log", "home/new"]
    others = ["plain", "new", "folder", "link", "lost", "second", "absent/log"]
    for name in (*others, *ours, "home/logs/mine"):
        wanted = replace(
            log_options(settings_from_journal({}), {}), path=tmp_path / name, by_hand=True
        )
        _, wrong = log_place(wanted, logs)
        _, failure = opened_log(wanted, logs)
        assert (wrong is None) == (failure is None), name
        told[name] = wrong
    assert [name for name, wrong in told.items() if wrong is None] == [
        "plain",
        "new",
        "home/logs/mine",
    ]
    assert [told[name] for name in ours] == [
        "it is among the home's own files",
        "it is among the home's own files",
        "it is the audit log",
        "it is among the home's own files",
    ]
    assert [one.name for one in (tmp_path / "home").iterdir()] == ["logs"]
    assert told["link"] == told["lost"] == "it is a link"


def test_a_log_that_is_chosen_while_it_runs_is_judged_before_anything_goes_forward(
    web: Site,
) -> None:
    """debug.log_file is live: the next upgrade is refused, and none for what was mended."""
    with web.open() as noodle:
        noodle.apply(["web@1.0.0"])
        settings(web, {"debug.log_file": str(web.folder / "absent" / "log")})
        with pytest.raises(LogUnwritable):
            noodle.apply(["web@1.1.0"])
        settings(web, {"debug.log_file": str(web.folder / "log")})
        noodle.apply(["web@1.1.0"])
    assert "upgrade.committed" in {line["event"] for line in lines(web.folder / "log")}


def test_the_default_gives_way_to_the_home_and_says_it_once(web: Site) -> None:
    if Path(LOG_FILE_DEFAULT).parent.exists():
        pytest.skip(f"{LOG_FILE_DEFAULT} can be written on this machine")
    upgrade(web, "web@1.0.0")
    upgrade(web, "web@1.1.0")
    found = taken(web)
    assert [n for n, line in enumerate(found) if line["event"] == "log.moved"] == [0]
    assert LOG_FILE_DEFAULT in found[0]["text"]
    [check] = [one for one in examine_home(web.home, {}, thorough=False) if one.name == "log"]
    assert check.ok is True
    assert str(web.path / "logs" / LOG) in check.found


def test_a_smaller_log_is_put_aside_sooner(web: Site) -> None:
    """debug.max_log_size"""
    settings(web, {"debug.max_log_size": "2KB"})
    upgrade(web, "web@1.0.0")
    sizes = [path.stat().st_size for path in (web.path / "logs").glob(f"{LOG}*")]
    assert len(sizes) > 1
    assert max(sizes) <= 2000
    settings(web, {"debug.max_log_size": "2MB"})
    count = len(sizes)
    upgrade(web, "web@1.1.0")
    assert len(list((web.path / "logs").glob(f"{LOG}*"))) == count


def test_without_rotation_a_full_log_ends_with_a_word(web: Site) -> None:
    """debug.log_rotation"""
    settings(web, {"debug.max_log_size": "2KB", "debug.log_rotation": False})
    upgrade(web, "web@1.0.0")
    upgrade(web, "web@1.1.0")
    [path] = (web.path / "logs").glob(f"{LOG}*")
    found = lines(path)
    assert [n for n, line in enumerate(found) if line["event"] == FULL] == [len(found) - 1]
    assert path.stat().st_size <= 2000
    assert web.has("web", "1.1.0")
    [check] = [one for one in examine_home(web.home, {}, thorough=False) if one.name == "log"]
    assert (check.ok, "full" in check.found) == (False, True)


def test_a_full_log_warns_the_person_once(web: Site) -> None:
    settings(web, {"debug.max_log_size": "1KB", "debug.log_rotation": False})
    warned: list[str] = []
    observer = observer_of(web.home, {}, warn=warned.append)
    for _ in range(50):
        observer.logs.say("home", 30, "x", "y" * 100)
    observer.close()
    assert len(warned) == 1
    assert "debug.log_rotation" in warned[0]


def test_tracebacks_are_in_the_file_where_they_are_wanted(
    web: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """debug.stack_traces"""

    def fails(*_given: object, **_named: object) -> None:
        raise ValueError("password=hunter2 was wrong")

    monkeypatch.setattr("noodle_engine.execute.actions.run_child", fails)
    for wanted in (False, True):
        settings(web, {"debug.stack_traces": wanted})
        upgrade(web, "web@1.2.0")
        traces = [line["trace"] for line in taken(web) if "trace" in line]
        assert bool(traces) is wanted
        assert all("ValueError" in one and "hunter2" not in one for one in traces)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_settings_are_obeyed_while_it_runs_and_the_change_is_told(web: Site) -> None:
    """debug.log_level is live: also in a process that holds the home."""
    with web.open() as noodle:
        noodle.apply(["web@1.0.0"])
        settings(web, {"debug.log_level": "DEBUG"})
        noodle.apply(["web@1.1.0"])
        web.settings("{")
        with pytest.raises(SettingsRefused):
            noodle.apply(["web@1.2.0"])
    found = taken(web)
    changed = next(n for n, line in enumerate(found) if line["event"] == "settings.changed")
    assert found[changed]["keys"] == ["debug.log_level"]
    assert "step.begun" not in [line["event"] for line in found[:changed]]
    assert "step.begun" in [line["event"] for line in found[changed:]]
    assert [line["event"] for line in found if line["logger"] == "settings"] == [
        "settings.changed",
        "settings.refused",
    ]


def test_no_line_is_longer_than_a_line_may_be() -> None:
    """Whatever stands in it: letters that need six, lists and objects without end."""
    fields = {
        "cause": "\x01" * 9_000,
        "found": ["\U0001f600" * 9_000] * 100,
        "more": {str(number): "x" * 9_000 for number in range(1_000)},
    }
    made = as_json(Line("a", 20, "b", "\x01" * 9_000, 0, fields=fields), Redactor(), 1)
    assert len(made) <= LINE_BYTES_MAX
    assert json.loads(made)["cause"].startswith("\x01")


def test_a_person_at_a_terminal_reads_text(web: Site) -> None:
    leader, follower = pty.openpty()
    try:
        settings(web, {"debug.log_file": os.ttyname(follower)})
        observer = observer_of(web.home, {})
        observer.logs.say("home", 30, "x", "a\x1b[31mred", fields={"a": "b c"})
        observer.close()
        shown = os.read(leader, 4096).decode()
    finally:
        os.close(leader)
        os.close(follower)
    assert "WARNING home" in shown
    assert 'a\\x1b[31mred a="b c"' in shown


def test_a_full_disk_neither_fails_nor_holds_up_an_upgrade(web: Site) -> None:
    require_system("root", lambda: os.geteuid() == 0, install="run as root, to mount a tmpfs")
    disk = web.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=True)
    try:
        (disk / "filler").write_bytes(bytes(8192))
        settings(web, {"debug.log_file": str(disk / "log"), "debug.enabled": True})
        upgrade(web, "web@1.0.0")
        upgrade(web, "web@1.1.0")
        assert web.has("web", "1.1.0")
        assert [line["event"] for line in lines(disk / "log")]  # whole lines, as far as they fit
        (disk / "filler").unlink()
        (disk / "log").write_bytes(b"")
        observer = observer_of(web.home, {})
        observer.logs.say("home", 30, "room", "again")
        observer.close()
        assert [line["event"] for line in lines(disk / "log")] == ["room"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_what_was_lost_is_counted_in_the_next_line(site: Site, tmp_path: Path) -> None:
    observer = observer_of(site.home, {})
    file = observer.logs._file
    assert file is not None
    observer.flush()
    write, failing = file.write, [True]
    file.write = lambda line: not failing[0] and write(line)  # type: ignore[method-assign]
    for name in ("one", "two"):
        observer.logs.say("home", 30, name, "")
    observer.flush()
    failing[0] = False
    observer.logs.say("home", 30, "three", "")
    observer.close()
    assert [line["event"] for line in taken(site)][1:] == ["log.lost", "three"]


def hung(hangs: threading.Event) -> None:
    hangs.wait(30)


def test_who_tells_never_waits_and_what_is_too_much_is_lost() -> None:
    """O1: the thread that tells may hang for ever."""
    later, hangs, done = Later(queue_max=3), threading.Event(), list[int]()
    later.do(partial(hung, hangs))
    for number in range(10):
        later.do(partial(done.append, number))
    assert not later.flush(0.01)
    assert later.take_lost() >= 7
    hangs.set()
    assert later.close(30)
    assert done == [0, 1, 2][: len(done)]
    later.do(lambda: done.append(99))
    assert 99 not in done


def test_the_key_is_in_no_file_of_the_logs(web: Site) -> None:
    """The raw bytes of all that was written, for each spelling of the key."""
    key = (web.path / "keys" / "master.key").read_text().strip()
    raw = bytes.fromhex(key) if len(key) == 64 else b""
    settings(web, {"security.audit_logging.include_sensitive_data": True})
    observer = observer_of(web.home, {})
    observer.refused("plan", key, PlanMalformed("plan.json", f"{key} {encode_recovery(raw)}"))
    observer.close()
    written = b"".join(path.read_bytes() for path in (web.path / "logs").iterdir())
    assert b"plan_malformed" in written
    for spelling in (key, key.upper(), encode_recovery(raw) if raw else key):
        assert spelling.encode() not in written


def test_what_another_process_left_unfinished_is_told_at_the_start(web: Site) -> None:
    gate = web.gate("gate")
    web.release("app", "1.0.0", hook("before-swap", gate.command))
    with web.open() as noodle:
        view = noodle.apply(["app@1.0.0"], waiting=Waiting(wait=False))
        assert view is not None
        gate.wait()
        assert noodle._holder is not None
        noodle._holder.engine.leave()
        gate.open()
    assert "upgrade.interrupted" not in {line["event"] for line in taken(web)}
    with web.open() as noodle:
        noodle.resume()
    found = [line for line in taken(web) if line["event"] in ("upgrade.interrupted", "resumed")]
    assert [line["upgrade"] for line in found] == [view.upgrade] * 2
    assert found[0]["state"] == "swapping"
    assert web.has("app", "1.0.0")
