"""U1, U2, U3: the audit log, by its five settings."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.execute.failures import SettingsRefused
from noodle_engine.execute.home.settings import settings_from_journal, settle
from noodle_engine.execute.observing.observer import Observer
from noodle_engine.observe.audit import Audit, AuditLine, Digests
from noodle_engine.observe.options import audit_options
from noodle_engine.observe.queue import Later
from noodle_engine.observe.secrets import Redactor
from tests.unit.execute.site import Site, hook
from tests.unit.observe.reading import AUDIT, settings, taken, upgrade

DAY_MS = 24 * 3600 * 1000
NAMES = (b"web", b"1.0.0", b"/srv/", b"hunter2", b"sh ended")


@pytest.fixture
def web(site: Site) -> Site:
    site.release("web", "1.0.0")
    site.release("web", "1.2.0", hook("after-swap", ["sh", "-c", "exit 3"]))
    return site


def test_off_nothing_is_written(web: Site) -> None:
    """security.audit_logging.enabled"""
    settings(web, {"security.audit_logging.enabled": False})
    upgrade(web, "web@1.0.0")
    assert not (web.path / "logs" / AUDIT).exists()
    settings(web, {"security.audit_logging.enabled": True})
    upgrade(web, "web@1.2.0")
    assert taken(web, AUDIT)


def test_the_level_says_what_is_in_it(web: Site) -> None:
    """security.audit_logging.log_level: failures; changes as well; reads as well."""
    found = {}
    for level, wanted in (("ERROR", "1.2.0"), ("WARNING", "1.2.0"), ("INFO", "1.2.0")):
        settings(web, {"security.audit_logging.log_level": level})
        upgrade(web, f"web@{wanted}")
        with web.open() as noodle:
            noodle.status()
        found[level] = [line["event"] for line in taken(web, AUDIT)]
    settings(web, {"security.audit_logging.log_level": "DEBUG"})
    with web.open() as noodle:
        noodle.status()
        noodle.history()
    reads = taken(web, AUDIT)
    assert found["ERROR"] == []
    assert found["WARNING"] == ["step.failed", "upgrade.turned_back", "upgrade.rolled_back"]
    assert set(found["INFO"]) == {*found["WARNING"], "upgrade.requested", "upgrade.moved"}
    assert [(line["event"], line["question"]) for line in reads] == [
        ("read", "status"),
        ("read", "history"),
    ]


def test_a_denial_is_in_it_and_so_is_who_was_allowed(web: Site) -> None:
    with web.open() as noodle:
        upgrade_id = noodle.apply(["web@1.0.0"])
        assert upgrade_id is not None
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(web.path / "socket"))
            client.sendall(b'{"operation": "collect", "arguments": {}}\n')
            while b"result" not in client.recv(4096):
                pass
    found = [line for line in taken(web, AUDIT) if line["event"] == "access.allowed"]
    assert [(one["permission"], one["actor"]) for one in found] == [
        ("collect", f"uid:{os.geteuid()}")
    ]
    assert found[0]["via"] == f"socket:{os.getpid()}"


def test_the_format_is_json_or_text(web: Site) -> None:
    """security.audit_logging.log_format"""
    upgrade(web, "web@1.0.0")
    raw = (web.path / "logs" / AUDIT).read_text()
    assert all(json.loads(line)["event"] for line in raw.splitlines())
    (web.path / "logs" / AUDIT).unlink()
    settings(web, {"security.audit_logging.log_format": "text"})
    upgrade(web, "web@1.2.0")
    text = (web.path / "logs" / AUDIT).read_text().splitlines()
    assert not [line for line in text if line.startswith("{")]
    assert [line for line in text if " WARNING audit " in line and "step.failed" in line]


def test_names_and_reasons_are_digests_unless_they_are_wanted(web: Site) -> None:
    """security.audit_logging.include_sensitive_data"""
    upgrade(web, "web@1.2.0")
    raw = (web.path / "logs" / AUDIT).read_bytes()
    assert not [name for name in NAMES if name in raw]
    hidden = taken(web, AUDIT)
    settings(web, {"security.audit_logging.include_sensitive_data": True})
    upgrade(web, "web@1.2.0")
    plain = taken(web, AUDIT)
    assert plain[0]["components"][0]["name"] == "web"
    assert plain[0]["components"][0]["target"] == str(web.target("web"))
    assert [line["event"] for line in plain] == [line["event"] for line in hidden]
    # The same name has the same digest in all lines and processes of a home.
    [failed] = [line for line in hidden if line["event"] == "step.failed"]
    assert failed["component"] == hidden[0]["components"][0]["name"]


def test_settings_that_cannot_be_used_name_no_file_and_no_entry(web: Site) -> None:
    """U1: where they are wrong, and what the user's own entries are called, are names."""
    with web.open() as noodle:
        noodle.collect()
        window = {"start": "01:00", "end": "02:00"}
        web.settings(json.dumps({"deployment": {"maintenance_windows": {"hunter2": window}}}))
        noodle.apply(["web@1.0.0"])
        web.settings(json.dumps({"debug": {"log_level": "DEBUG"}, "hunter2": 1}))
        with pytest.raises(SettingsRefused):
            noodle.apply(["web@1.2.0"])
    raw = (web.path / "logs" / AUDIT).read_bytes()
    assert b"settings.changed" in raw and b"settings.refused" in raw  # noqa: PT018
    assert b"hunter2" not in raw
    assert os.fsencode(web.home.config) not in raw


def test_a_digest_needs_the_key() -> None:
    one, same, other = Digests(b"k" * 32), Digests(b"k" * 32), Digests(b"o" * 32)
    assert one.of("web") == same.of("web") != other.of("web")
    assert one.of("web") != one.of("web2")
    assert Digests(None).of("web") != Digests(None).of("web")


def test_files_of_earlier_days_go_with_their_age(tmp_path: Path) -> None:
    """security.audit_logging.log_retention_days"""
    now = [int(dt.datetime(2026, 3, 10, tzinfo=dt.UTC).timestamp() * 1000)]
    left = {}
    for days in (2, 5):
        folder = tmp_path / str(days)
        folder.mkdir()
        now[0] = int(dt.datetime(2026, 3, 10, tzinfo=dt.UTC).timestamp() * 1000)
        values = settings_from_journal({"security.audit_logging.log_retention_days": days})
        later = Later()
        audit = Audit(
            audit_options(values),
            folder,
            later,
            Redactor(),
            Digests(None),
            now_ms=lambda: now[0],
        )
        for _ in range(6):
            audit.tell(AuditLine(30, "x", now[0], "engine"))
            assert later.flush()
            path = folder / AUDIT
            os.utime(path, (now[0] / 1000, now[0] / 1000))
            now[0] += DAY_MS
        left[days] = sorted(one.name for one in folder.iterdir())
        if days == 5:  # fewer are kept from the next line on, in the same day
            audit.obey(replace(audit_options(values), days=1))
            now[0] -= DAY_MS
            audit.tell(AuditLine(30, "x", now[0], "engine"))
            assert later.flush()
            left[1] = sorted(one.name for one in folder.iterdir())
        audit.close()
    assert left[2] == ["audit-2026-03-13.log", "audit-2026-03-14.log", AUDIT]
    assert left[1] == ["audit-2026-03-14.log", AUDIT]
    assert left[5] == [f"audit-2026-03-{day}.log" for day in range(10, 15)] + [AUDIT]


def test_what_is_no_audit_file_is_left_alone(web: Site) -> None:
    odd = web.path / "logs" / "audit-1999-01-01.log.mine"
    odd.write_text("mine")
    old = web.path / "logs" / "audit-1999-01-01.log"
    old.write_text("old")
    upgrade(web, "web@1.0.0")
    assert odd.exists()
    assert not old.exists()


def test_an_actor_with_a_name_is_a_name(web: Site) -> None:
    observer = Observer(
        web.home,
        settle(web.home, {}, ()),
        {},
        master_key=b"k" * 32,
        now_ms=lambda: 1_700_000_000_000,
    )
    for actor in ("uid:0", "engine", "alice"):
        observer.audit.tell(AuditLine(30, "x", 0, actor))
    observer.close()
    found = [line["actor"] for line in taken(web, AUDIT)]
    assert found == ["uid:0", "engine", Digests(b"k" * 32).of("alice")]
