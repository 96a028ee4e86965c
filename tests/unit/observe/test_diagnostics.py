"""Bundles: what is in them by which setting, and that no secret is."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from noodle_engine import Noodle
from noodle_engine.execute.failures import ComponentUnknown, SettingsRefused
from noodle_engine.execute.observing.bundling import AUTOMATIC_MAX, make_bundle
from noodle_engine.observe.diagnosis.bundle import TAIL_BYTES, tail_of
from noodle_engine.observe.failures import BundleUnwritable, DiagnosticsDisabled
from noodle_journal.keys import encode_recovery
from tests.unit.execute.conftest import MEMORY
from tests.unit.execute.site import Site, hook
from tests.unit.observe.reading import settings, taken, upgrade

FAILS = ["sh", "-c", "echo password=hunter2; exit 3"]
PARTS = {
    "about.txt",
    "status.json",
    "history.json",
    "checks.json",
    "settings.json",
    "journal.json",
    "analysis.txt",
    "analysis.json",
    "system.json",
    "log.txt",
    "audit.txt",
}


def unpacked(path: Path) -> dict[str, str]:
    """The parts of a bundle, by their names in it."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            assert member.mode == 0o600
            found[member.name.rpartition("/")[2]] = file.read().decode()
    return found


def bundle(site: Site, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    path = site.folder / "bundle.tar.gz"
    make_bundle(site.home, dict(environment or {}), out=path)
    assert path.stat().st_mode & 0o777 == 0o600
    found = unpacked(path)
    path.unlink()
    return found


@pytest.fixture(scope="module")
def failed_twice() -> Iterator[Site]:
    """A version that is installed, and one that failed twice; for tests that only look."""
    root = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=root, prefix="noodle-observe-") as folder:
        made = Site(Path(folder))
        made.release("web", "1.0.0")
        made.release("web", "1.1.0", hook("after-swap", FAILS))
        for version in ("1.0.0", "1.1.0", "1.1.0"):
            upgrade(made, f"web@{version}")
        yield made


@pytest.fixture
def web(failed_twice: Site) -> Site:
    """The same, with settings of no other test."""
    settings(failed_twice, {})
    return failed_twice


def test_a_bundle_has_all_that_helps_and_no_secret(web: Site) -> None:
    """By the raw bytes of everything that is unpacked: no spelling of the key, no token."""
    key = (web.path / "keys" / "master.key").read_text().strip()
    token = "t0ken-0123456789"
    environment = {
        "NOODLE_TOKEN": token,
        "DATABASE_URL": "postgres://app:hunter2@db",
        "ODD": "hunter2",
        "NOODLE_JOURNAL_KEY_OLD": "hunter2",
        "LANG": "C",
        "NOODLE_LOG_LEVEL": "INFO",
    }
    with web.open() as noodle, pytest.raises(Exception, match="no name"):
        noodle.plan([f"{key}@1.0.0"])
    found = bundle(web, environment)
    assert set(found) == PARTS
    assert not [name for name, text in found.items() if "could not be gathered" in text[:30]]
    raw = bytes.fromhex(key) if len(key) == 64 else b""
    everything = "".join(found.values())
    for secret in (key, encode_recovery(raw) if raw else key, token, "hunter2"):
        assert secret not in everything
    for name in PARTS:
        if name.endswith(".json"):
            json.loads(found[name])
    shown = json.loads(found["system.json"])["environment"]
    assert (shown["LANG"], shown["NOODLE_LOG_LEVEL"]) == ("C", "INFO")
    assert json.loads(found["status.json"])["components"][0]["name"] == "web"
    assert len(json.loads(found["history.json"])) == 3
    assert {"name", "ok", "found"} <= set(json.loads(found["checks.json"])[0])
    assert json.loads(found["journal.json"])["ok"] is True
    assert "step.failed" in found["log.txt"]
    assert "step.failed" in found["audit.txt"]


def test_settings_are_told_with_where_they_come_from(web: Site) -> None:
    settings(web, {"debug.log_level": "WARNING"})
    found = json.loads(bundle(web)["settings.json"])["settings"]
    assert found["debug.log_level"]["value"] == "WARNING"
    assert "noodle.json" in found["debug.log_level"]["from"]
    assert found["debug.enabled"] == {"value": False, "from": "default"}


def test_off_there_is_no_bundle(web: Site) -> None:
    """diagnostics.enabled"""
    settings(web, {"diagnostics.enabled": False})
    with pytest.raises(DiagnosticsDisabled):
        bundle(web)
    settings(web, {"diagnostics.enabled": True})
    assert bundle(web)


def test_each_part_of_the_system_can_be_left_out(web: Site) -> None:
    """diagnostics.system_info.include_environment, diagnostics.system_info.include_dependencies,
    diagnostics.system_info.include_performance
    """
    whole = set(json.loads(bundle(web, {"LANG": "C"})["system.json"]))
    assert whole == {"system", "environment", "dependencies", "performance"}
    for key in ("include_environment", "include_dependencies", "include_performance"):
        settings(web, {f"diagnostics.system_info.{key}": False})
        found = set(json.loads(bundle(web, {"LANG": "C"})["system.json"]))
        assert whole - found == {key.removeprefix("include_")}


def test_the_system_can_be_left_out_wholly(web: Site) -> None:
    """diagnostics.system_info.enabled"""
    settings(web, {"diagnostics.system_info.enabled": False})
    assert PARTS - set(bundle(web)) == {"system.json"}


@pytest.mark.parametrize("key", ["enabled", "error_analysis"])
def test_failures_are_analysed_unless_that_is_off(web: Site, key: str) -> None:
    """diagnostics.troubleshooting.enabled, diagnostics.troubleshooting.error_analysis"""
    settings(web, {f"diagnostics.troubleshooting.{key}": False})
    assert PARTS - set(bundle(web)) == {"analysis.txt", "analysis.json"}
    settings(web, {f"diagnostics.troubleshooting.{key}": True})
    found = json.loads(bundle(web)["analysis.json"])
    assert [len(one["like"]) for one in found] == [1, 0]
    assert [one["what"] for one in found[0]["chain"]] == ["step", "turned back", "ended"]


def test_remedies_are_ranked_where_that_is_wanted(web: Site) -> None:
    """diagnostics.troubleshooting.recommendation_engine"""
    counts = {}
    for wanted in (False, True):
        settings(web, {"diagnostics.troubleshooting.recommendation_engine": wanted})
        [newest, _] = json.loads(bundle(web)["analysis.json"])
        counts[wanted] = [one["source"] for one in newest["remedies"]]
    assert counts[False] == ["the error"]
    assert counts[True] == ["the error", "what was done before"]  # it did not work then


def test_a_failed_upgrade_leaves_a_bundle_where_that_is_wanted(site: Site) -> None:
    """diagnostics.troubleshooting.auto_diagnosis"""
    web, folder = site, site.path / "diagnostics"
    web.release("web", "1.0.0")
    web.release("web", "1.1.0", hook("after-swap", FAILS))
    upgrade(web, "web@1.1.0")
    assert list(folder.iterdir()) == []
    settings(web, {"diagnostics.troubleshooting.auto_diagnosis": True})
    for old in range(AUTOMATIC_MAX):
        (folder / f"failed-{old}.tar.gz").touch()
    failed = upgrade(web, "web@1.1.0")
    names = sorted(path.name for path in folder.glob("failed-*"))
    assert len(names) == AUTOMATIC_MAX
    assert f"failed-{failed}.tar.gz" in names
    parts = unpacked(folder / f"failed-{failed}.tar.gz")
    assert json.loads(parts["analysis.json"])[0]["upgrade"] == failed
    assert "bundle.made" in [line["event"] for line in taken(web)]
    off = [("diagnostics.enabled", "false")]  # rule D, for what the journal keeps of settings
    with Noodle.open(web.path, options=off) as noodle:
        without = noodle.apply(["web@1.1.0"])
    assert without is not None
    assert f"failed-{without.upgrade}.tar.gz" not in {one.name for one in folder.iterdir()}
    good = upgrade(web, "web@1.0.0")
    assert f"failed-{good}.tar.gz" not in {one.name for one in folder.iterdir()}


def test_a_broken_home_has_a_bundle_still(site: Site) -> None:
    """Each part that cannot be gathered says so; the others are there."""
    web = site
    upgrade_refused(web)
    (web.path / "journal.db").write_bytes(b"not a journal")
    web.settings("{")
    found = bundle(web)
    assert found["status.json"].startswith("could not be gathered")
    assert json.loads(found["settings.json"])["problems"]
    assert json.loads(found["checks.json"])
    assert "component_unknown" in found["log.txt"]


def test_what_is_wrong_in_settings_may_be_a_secret_and_is_in_no_bundle(site: Site) -> None:
    """Neither what a request was refused for in the log, nor the variables, nor the checks."""
    settings(site, {"debug.log_level": "hunter2-hunter2"})
    site.release("web", "1.0.0")
    with pytest.raises(SettingsRefused, match="hunter2"):
        upgrade(site, "web@1.0.0")
    named = {"NOODLE_TOKN": "hunter2-hunter2", "NOODLE_LOG_LEVEL": "hunter2-hunter2"}
    found = bundle(site, named | {"NOODLE_UPGRADE_TIMEOUT": "77"})
    assert "settings cannot be used" in found["log.txt"]
    assert "range of debug.log_level" in found["settings.json"]
    assert "range of debug.log_level" in found["checks.json"]
    assert '"77"' in found["system.json"]
    assert not [name for name, text in found.items() if "hunter2" in text]


def upgrade_refused(site: Site) -> None:
    with site.open() as noodle, pytest.raises(ComponentUnknown):
        noodle.plan(["web@9.9.9"])


def test_a_file_that_is_there_is_not_written_over(web: Site) -> None:
    out = web.folder / "mine"
    out.write_text("mine")
    for path in (out, web.folder / "absent" / "bundle"):
        with pytest.raises(BundleUnwritable):
            make_bundle(web.home, {}, out=path)
    assert out.read_text() == "mine"
    assert [path for path in web.folder.iterdir() if path.name.startswith(".mine")] == []


def test_the_end_of_a_long_log_is_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    line = "x" * 99 + "\n"
    path.write_text(line * (2 * TAIL_BYTES // 100))
    tail = tail_of(path)
    assert len(tail) <= TAIL_BYTES
    assert set(tail.splitlines(keepends=True)) == {line}
    assert tail_of(tmp_path / "absent") == ""
    assert os.path.getsize(path) > TAIL_BYTES
