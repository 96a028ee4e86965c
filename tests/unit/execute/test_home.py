"""A home is where it is said to be, is there wholly or not at all, and is one process's (H1)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.failures import (
    HomeAbsent,
    HomeExists,
    HomeFormatUnknown,
    HomeUnusable,
)
from noodle_engine.execute.home.holder import take
from noodle_engine.execute.home.layout import Home, create_home, find_home
from noodle_journal.failures import JournalAbsent
from tests.unit.disk.grounds import need_root, tmpfs
from tests.unit.execute.site import Site


def nothing(_folder: Path) -> None:
    """What a home is filled with where it does not matter."""


@pytest.mark.parametrize(
    ("given", "environment", "user", "found"),
    [
        ("/a/home", {"NOODLE_HOME": "/b"}, 0, "/a/home"),
        (None, {"NOODLE_HOME": "/b", "XDG_STATE_HOME": "/c"}, 0, "/b"),
        (None, {"XDG_STATE_HOME": "/c"}, 0, "/var/lib/noodle"),
        (None, {"XDG_STATE_HOME": "/c", "HOME": "/d"}, 1000, "/c/noodle"),
        (None, {"HOME": "/d"}, 1000, "/d/.local/state/noodle"),
        (None, {"NOODLE_HOME": "", "HOME": "/d"}, 1000, "/d/.local/state/noodle"),
    ],
)
def test_the_nearest_name_of_a_home_wins(
    given: str | None, environment: dict[str, str], user: int, found: str
) -> None:
    assert find_home(given, environment, user).path == Path(found)


def test_a_relative_name_is_of_the_folder_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_home("home", {}, 0).path == tmp_path / "home"


def test_what_is_no_home_of_this_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeAbsent):
        Home(tmp_path / "nowhere").check()
    with pytest.raises(HomeAbsent):
        Home(tmp_path).check()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HomeAbsent):
        Home(tmp_path / "file").check()
    for text in (b"99", b"", b"1 and more", b"\xff\xfe"):
        (tmp_path / "format").write_bytes(text)
        with pytest.raises(HomeFormatUnknown):
            Home(tmp_path).check()
    (tmp_path / "format").unlink()
    (tmp_path / "format").mkdir()
    with pytest.raises(HomeUnusable):
        Home(tmp_path).check()


def test_a_home_that_cannot_be_filled_is_not_there(tmp_path: Path) -> None:
    """H1: whatever stops it, nothing is at its name, nor beside it."""

    def fails(folder: Path) -> None:
        (folder / "journal.db").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_home(tmp_path / "new" / "home", fails)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_home_is_closed_to_others_and_checks(tmp_path: Path) -> None:
    assert create_home(tmp_path / "home", lambda folder: folder.name) != "home"
    Home(tmp_path / "home").check()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    for path in (tmp_path / "home", *(tmp_path / "home").iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("there", ["a file", "a full folder", "a link", "a home"])
def test_what_is_there_is_never_replaced(tmp_path: Path, there: str) -> None:
    home = tmp_path / "home"
    match there:
        case "a file":
            home.write_bytes(b"theirs")
        case "a full folder":
            home.mkdir()
            (home / "theirs").write_bytes(b"")
        case "a link":
            home.symlink_to("nowhere")
        case _:
            create_home(home, nothing)
    before = home.lstat().st_ino
    with pytest.raises(HomeExists):
        create_home(home, nothing)
    assert home.lstat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_empty_folder_may_become_a_home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    create_home(tmp_path / "home", nothing)
    Home(tmp_path / "home").check()


def test_a_mount_cannot_become_a_home(tmp_path: Path) -> None:
    need_root()
    with tmpfs(tmp_path / "home") as mount:
        with pytest.raises(HomeUnusable):
            create_home(mount, nothing)
        create_home(mount / "inside", nothing)


def test_what_a_killed_init_left_goes_and_that_of_one_that_runs_stays(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    for number in (ended, "1"):
        (tmp_path / f".home.init-{number}" / "keys").mkdir(parents=True)
    create_home(tmp_path / "home", nothing)
    assert {path.name for path in tmp_path.iterdir()} == {"home", ".home.init-1"}


def test_a_home_has_one_holder(site: Site) -> None:
    first = take(site.home, {})
    assert first is not None
    assert take(site.home, {}) is None
    first.close()
    first.close()
    second = take(site.home, {})
    assert second is not None
    second.close()


def test_what_cannot_be_opened_is_not_held(site: Site) -> None:
    journal = site.path / "journal.db"
    journal.rename(site.path / "elsewhere")
    with pytest.raises(JournalAbsent):
        take(site.home, {})
    lock_file(site.home.lock_file).release()
    os.rename(site.path / "elsewhere", journal)
