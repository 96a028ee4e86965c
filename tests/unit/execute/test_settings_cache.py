"""G1, G2: the kept settings are those that would be made, or they are made again."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from pathlib import Path

import pytest

import noodle_engine
from noodle_engine import Noodle
from noodle_engine.execute.failures import SettingsRefused
from noodle_engine.execute.home.config import validated
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.service import RemoteFailure
from noodle_engine.execute.home.settings import code_stamp, inputs_of, settings_of
from noodle_journal.failures import KeyMissing
from noodle_policies.settings.resolving import examine, resolve
from tests.unit.disk.grounds import as_nobody

POINTS = "runtime_upgrade.rollback.max_rollback_points"
TWIN = "rollback_manager.max_rollback_points"


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


def forged(home: Home) -> Home:
    """The cache of a home says something that nobody set, and its digests are right."""
    whole = home.settings_cache.read_bytes()
    head, _, body = whole.partition(b"\n")
    other = body.replace(b'rollback_points":10', b'rollback_points":11')
    assert other != body
    digest = hashlib.sha256(other).hexdigest().encode()
    home.settings_cache.write_bytes(head.partition(b" ")[0] + b" " + digest + b"\n" + other)
    return home


def test_a_cache_that_another_could_have_written_is_not_obeyed(home: Home) -> None:
    assert settings_of(forged(home), {}).whole(POINTS) == 11  # its form is right
    home.settings_cache.chmod(0o660)
    assert settings_of(home, {}).whole(POINTS) == 10
    home.settings_cache.chmod(0o600)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(forged(home).settings_cache, 1, 1)
    assert settings_of(home, {}).whole(POINTS) == 10


def test_no_cache_is_written_over_a_second_name_or_into_a_pipe(home: Home, tmp_path: Path) -> None:
    theirs, cache = tmp_path / "theirs", home.settings_cache
    theirs.write_text("of another")
    cache.unlink()
    os.link(theirs, cache)
    assert settings_of(home, {}).whole(POINTS) == 10
    assert theirs.read_text() == "of another"
    cache.unlink()
    os.mkfifo(cache)
    assert settings_of(home, {}).whole(POINTS) == 10  # and nobody waits for a reader


def test_other_code_of_the_same_size_and_time_makes_settings_anew(tmp_path: Path) -> None:
    """As where a package manager gives every file one time."""
    module = tmp_path / "model.py"
    stamps = set()
    for text in ("DEFAULT = 300", "DEFAULT = 600"):
        module.write_text(text)
        os.utime(module, (1, 1))
        stamps.add(code_stamp(str(tmp_path)))
        assert code_stamp(str(tmp_path)) in stamps
    assert len(stamps) == 2


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


# -- options: what --set says reaches whoever asks for settings --------------------------------


def test_no_asking_for_settings_forgets_the_options() -> None:
    """Every call names the options: one that did not would run under other settings."""
    root = Path(noodle_engine.__file__).parent
    calls = [
        (file.name, node.lineno, len(node.args))
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"settle", "settings_of", "open_reader"}
    ]
    assert len(calls) > 5
    assert [call for call in calls if call[2] < 3] == []


def test_an_option_counts_for_questions_and_changes(home: Home) -> None:
    path = home.path
    for key, value, refused in (
        ("runtime_upgrade.enabled", "maybe", SettingsRefused),
        ("encryption.key_source", "environment", KeyMissing),
    ):
        noodle = Noodle.open(path, options=[(key, value)])
        with noodle, pytest.raises(refused):
            noodle.collect(dry_run=True)
        with noodle, pytest.raises(refused):
            noodle.collect()
    checks = Noodle.doctor(path, options=[("debug.enabled", "maybe")]).checks
    assert [one.ok for one in checks if one.name == "settings"] == [False]


def test_a_holder_with_other_settings_does_nothing_and_says_which(home: Home) -> None:
    with Noodle.open(home.path) as holder:
        holder.collect()
        with Noodle.open(home.path, options=[(POINTS, "3")]) as other:
            with pytest.raises(RemoteFailure) as refused:
                other.collect()
            assert (refused.value.code, refused.value.exit_code) == ("settings_differ", 3)
            assert refused.value.data == {"keys": sorted([POINTS, TWIN])}
        with Noodle.open(home.path, options=[(POINTS, "10")]) as same:
            assert same.collect().dropped == ()


def test_a_folder_that_is_named_and_not_there_is_no_folder_of_defaults(
    home: Home, tmp_path: Path
) -> None:
    settings_of(home, {"NOODLE_CONFIG_DIR": str(tmp_path)})
    for named in (str(tmp_path / "absent"), str(home.settings_cache), "", "x" * 300):
        for _ in range(2):
            with pytest.raises(SettingsRefused, match="NOODLE_CONFIG_DIR"):
                settings_of(home, {"NOODLE_CONFIG_DIR": named})


def test_a_folder_that_may_not_be_looked_into_is_refused_and_no_bug(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    (tmp_path / "locked" / "config").mkdir(parents=True)
    (tmp_path / "locked").chmod(0o700)
    with as_nobody(tmp_path):
        named = {"NOODLE_CONFIG_DIR": "locked/config"}
        _, problems = examine(inputs_of(None, named, working=Path()))
        seen = validated("locked", (), None)
    assert "NOODLE_CONFIG_DIR" in str(problems[0])
    assert all("Permission denied" in str(one) for one in problems)
    assert {one.kind for one in seen.problems} == {"syntax"}
    assert all("Permission denied" in one.text for one in seen.problems)
