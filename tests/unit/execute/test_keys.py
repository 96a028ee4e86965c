"""The keys of a home: where the master key is, another one, and epochs on demand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from noodle_engine import Noodle
from noodle_engine.execute.failures import HomeHeld, KeyNotGiven
from noodle_journal.failures import (
    JournalExists,
    KeyInvalid,
    KeyMissing,
    KeySourceFailed,
    WrongKey,
)
from noodle_journal.keys import KEY_VARIABLE, encode_recovery, make_key_file
from noodle_journal.keys.rewrapping import REWRAP_FILE
from tests.unit.execute.site import Driven, Site

NEW_KEY = bytes(range(32))
SETTINGS = "runtime_upgrade_config.json"


def source_in(site: Site) -> str:
    content = json.loads((site.path / "config" / SETTINGS).read_text())
    return str(content["encryption"]["key_source"])


def works(site: Site) -> None:
    with site.open() as noodle:
        noodle.rotate_key()
        assert noodle.audit_verify().ok


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch) -> str:
    """The process that a home's owner starts, with the key in its environment."""
    text = encode_recovery(NEW_KEY)
    monkeypatch.setenv(KEY_VARIABLE, text)
    return text


def test_a_home_made_with_the_variable_has_no_key_file(tmp_path: Path, variable: str) -> None:
    view = Noodle.init(tmp_path / "home")
    assert (view.key_source, view.recovery_key) == ("environment", variable)
    assert not (tmp_path / "home" / "keys" / "master.key").exists()
    with Noodle.open(tmp_path / "home") as noodle:
        assert noodle.status().components == ()


def test_a_home_that_cannot_have_its_source_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(KeySourceFailed, match="VAULT_ADDR is not set"):
        Noodle.init(tmp_path / "home", key_source="kms")
    assert list(tmp_path.iterdir()) == []


def test_another_master_key_in_the_same_file(site: Site) -> None:
    before = (site.path / "keys" / "master.key").read_text()
    with site.open() as noodle:
        view = noodle.rewrap_key()
    assert (view.key_source, view.settings_wanted) == ("file", None)
    after = (site.path / "keys" / "master.key").read_text()
    assert after != before
    assert encode_recovery(bytes.fromhex(after)) == view.recovery_key
    assert not (site.path / REWRAP_FILE).exists()
    works(site)
    (site.path / "keys" / "master.key").write_text(before)
    with pytest.raises(WrongKey), site.open() as noodle:
        noodle.status()


def test_to_the_environment_and_back_the_homes_settings_follow(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.open() as noodle:
        with pytest.raises(KeyNotGiven):
            noodle.rewrap_key(to="environment")
        view = noodle.rewrap_key(to="environment", new_key=NEW_KEY)
    assert (view.settings_wanted, source_in(site)) == (None, "environment")
    assert not (site.path / "keys" / "master.key").exists()
    with pytest.raises(KeyMissing), site.open() as noodle:
        noodle.status()
    monkeypatch.setenv(KEY_VARIABLE, NEW_KEY.hex())
    works(site)
    with site.open() as noodle:
        view = noodle.rewrap_key(to="file")
        assert (view.variable_wins, view.settings_wanted) == (True, None)
        # The variable has the old key now, and would win: the new one is found all the same.
        assert noodle.status().components == ()
        assert noodle.key().rewrap_left
    assert source_in(site) == "file"
    monkeypatch.delenv(KEY_VARIABLE)
    works(site)
    assert not (site.path / REWRAP_FILE).exists()


def test_where_other_settings_name_the_source_the_answer_says_what_to_write(site: Site) -> None:
    (site.path / "config" / SETTINGS).unlink()
    site.settings('{"encryption": {"key_source": "file"}}')
    with site.open() as noodle:
        view = noodle.rewrap_key(to="environment", new_key=NEW_KEY)
    assert view.settings_wanted == "environment"


def test_nobody_else_may_hold_the_home(site: Site, driven: Driven) -> None:
    driven.engine.drain()
    with site.open() as noodle, pytest.raises(HomeHeld):
        noodle.rewrap_key()


def test_a_lost_key_comes_back_from_what_was_written_down(site: Site) -> None:
    path = site.path / "keys" / "master.key"
    key = bytes.fromhex(path.read_text())
    path.unlink()
    with site.open() as noodle:
        with pytest.raises(KeyMissing):
            noodle.status()
        with pytest.raises(KeyInvalid):
            noodle.recover_key("what I remember of it")
        with pytest.raises(WrongKey):
            noodle.recover_key(encode_recovery(NEW_KEY))
        assert not path.exists()
        assert noodle.recover_key(encode_recovery(key).lower().replace("-", " ")).kept
    assert path.stat().st_mode & 0o777 == 0o600
    works(site)


def test_the_key_of_another_journal_is_not_overwritten(site: Site) -> None:
    path = site.path / "keys" / "master.key"
    key = bytes.fromhex(path.read_text())
    path.unlink()
    make_key_file(path, NEW_KEY)
    with site.open() as noodle, pytest.raises(JournalExists):
        noodle.recover_key(encode_recovery(key))
    assert path.read_text().strip() == NEW_KEY.hex()


def test_a_running_engine_rotates_for_others(site: Site, driven: Driven) -> None:
    with site.open() as noodle:
        before = noodle.key()
        assert before.encrypted
    driven.engine.journal.rotate(log_key=True)
    with site.open() as noodle:
        after = noodle.key()
        assert after.epoch == before.epoch + 1
        assert after.public_key != after.first_public_key == before.public_key


def test_the_public_key_needs_no_secret(site: Site, tmp_path: Path) -> None:
    (site.path / "keys" / "master.key").unlink()
    out = tmp_path / "public"
    with site.open() as noodle:
        view = noodle.export_public_key(out)
        with pytest.raises(JournalExists):
            noodle.export_public_key(out)
    assert out.read_text() == view.public_key + "\n"
    assert view.verifier_key.startswith(f"noodle.journal/{view.log_id}+")
    assert os.stat(out).st_mode & 0o777 == 0o644
