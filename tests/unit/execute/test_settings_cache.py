"""G1, G2: the kept settings are those that would be made, or they are made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noodle_engine import Noodle
from noodle_engine.execute.failures import SettingsRefused
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.settings import inputs_of, settings_of
from noodle_policies.settings.resolving import resolve

POINTS = "runtime_upgrade.rollback.max_rollback_points"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    Noodle.init(tmp_path / "home")
    return Home(tmp_path / "home")


def points(home: Home, value: int) -> None:
    content = {"runtime_upgrade": {"rollback": {"max_rollback_points": value}}}
    (home.config / "noodle.json").write_text(json.dumps(content))


def test_a_new_home_has_its_settings_kept(home: Home) -> None:
    kept = home.settings_cache.read_bytes()
    found = settings_of(home, {})
    assert found.by_key == json.loads(kept.partition(b"\n")[2])["values"]
    assert found.hash == resolve(inputs_of(home, {})).in_force().hash
    assert home.settings_cache.read_bytes() == kept


@pytest.mark.parametrize("damage", [b"", b"x", b"\n", "cut", "flip", "absent", "folder"])
def test_a_damaged_cache_is_made_again(home: Home, damage: bytes | str) -> None:
    path = home.settings_cache
    whole, wanted = path.read_bytes(), settings_of(home, {})
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "cut":
        path.write_bytes(whole[:-9])
    elif damage == "flip":
        path.write_bytes(whole.replace(b":10,", b":11,", 1))
    elif isinstance(damage, bytes):
        path.write_bytes(damage)
    found = settings_of(home, {})
    assert (found.hash, dict(found.inert)) == (wanted.hash, dict(wanted.inert))
    assert damage == "folder" or path.read_bytes() == whole


def test_each_source_counts_at_once(home: Home) -> None:
    points(home, 3)
    assert settings_of(home, {}).whole(POINTS) == 3
    points(home, 4)
    assert settings_of(home, {}).whole(POINTS) == 4
    variable = {f"NOODLE_{POINTS}": "5"}
    assert settings_of(home, variable).whole(POINTS) == 5
    assert settings_of(home, variable, [(POINTS, "6")]).whole(POINTS) == 6
    assert settings_of(home, {}).whole(POINTS) == 4


def test_what_is_refused_is_refused_each_time_and_keeps_nothing(home: Home) -> None:
    kept = home.settings_cache.read_bytes()
    for _ in range(2):
        with pytest.raises(SettingsRefused):
            settings_of(home, {"NOODLE_DEBUG": "maybe"})
    assert home.settings_cache.read_bytes() == kept


def test_a_mode_that_lets_others_write_counts_though_the_bytes_are_the_same(home: Home) -> None:
    points(home, 3)
    settings_of(home, {})
    (home.config / "noodle.json").chmod(0o666)
    with pytest.raises(SettingsRefused):
        settings_of(home, {})


def test_no_secret_of_a_variable_is_in_the_digest_or_the_cache(home: Home) -> None:
    secret = {"NOODLE_JOURNAL_KEY": "k" * 44, "NOODLE_TOKEN": "t" * 44}
    assert inputs_of(home, secret).digest == inputs_of(home, {}).digest
    settings_of(home, secret)
    kept = home.settings_cache.read_bytes()
    assert b"k" * 44 not in kept and b"t" * 44 not in kept  # noqa: PT018
