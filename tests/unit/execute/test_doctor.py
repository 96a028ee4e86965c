"""The doctor: laws D1 to D3, on real homes made good and then broken."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.disk.space import Mount
from noodle_engine.execute.home.checkup import examine_home
from noodle_engine.execute.home.doctor import (
    SOCKET_BYTES_MAX,
    Check,
    Facts,
    Machine,
    check_clock,
    check_file_system,
    check_machine,
    examine,
)
from noodle_engine.execute.timing.clock import Reading
from noodle_engine.targets.place import Place
from noodle_journal.errors import NoodleError
from tests.unit.execute.site import Site

GOOD = Machine("Linux", "x86_64", "6.1.0-13-amd64", "CPython", (3, 11))
NOW = Reading(1_800_000_000_000, 1)
RESERVE_BYTES = 1 << 20
FACTS = Facts(
    sqlite=lambda: "SQLite 3.53.4",
    journal=lambda: "3 records",
    reserve_bytes=RESERVE_BYTES,
    log_id="ours",
    open_upgrades=("OPEN",),
    user=os.geteuid(),
)
NAMES = [
    "platform",
    "sqlite",
    "commands",
    "clock",
    "home",
    "keys",
    "file_system",
    "exchange",
    "sync",
    "space",
    "socket",
    "lock",
    "journal",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    found = tmp_path / "home"
    found.mkdir(mode=0o700)
    (found / "keys").mkdir(mode=0o700)
    for name, mode in (("master.key", 0o600), ("publisher.key", 0o600), ("log.pub", 0o644)):
        (found / "keys" / name).touch()
        (found / "keys" / name).chmod(mode)
    with (found / "reserve").open("wb") as reserve:
        os.posix_fallocate(reserve.fileno(), 0, RESERVE_BYTES)
    (found / "lock").touch(0o600)
    return found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    found = tmp_path / "srv" / "web.py"
    found.parent.mkdir()
    found.touch()
    return found


def look(home: Path, name: str, facts: Facts = FACTS) -> Check:
    checks = examine(home, facts, machine=GOOD, clock=lambda: NOW)
    for check in checks:
        assert check.found
        assert check.ok is True or check.remedy  # D3
    (found,) = [check for check in checks if check.name == name]
    return found


def test_a_good_home_has_nothing_bad_and_is_left_as_it_was(home: Path) -> None:
    def listing() -> list[tuple[str, int]]:
        return sorted((str(path), path.lstat().st_mode) for path in home.rglob("*"))

    before = listing()

    checks = examine(home, FACTS, machine=GOOD, clock=lambda: NOW)

    assert [check.name for check in checks] == NAMES
    # What the file system under the tests is, they do not choose.
    assert {check.ok for check in checks if check.name != "file_system"} == {True}
    assert listing() == before


def test_without_a_home_every_check_still_answers(tmp_path: Path) -> None:
    """D1."""
    checks = examine(tmp_path / "absent", FACTS, machine=GOOD, clock=lambda: NOW)

    assert [check.name for check in checks] == NAMES
    assert {check.ok for check in checks if check.name in NAMES[4:]} == {None}
    assert not (tmp_path / "absent").exists()


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    assert look(tmp_path / "home", "home").ok is False


def refused() -> str:
    raise NoodleError(problem="it is broken", cause="a test broke it", remedy="mend it")


def unreadable() -> str:
    raise PermissionError(13, "Permission denied", "/somewhere")


@pytest.mark.parametrize("name", ["sqlite", "journal"])
def test_a_failure_to_look_is_the_checks_finding(home: Path, name: str) -> None:
    """D1: a damaged journal is one failed check among others."""
    facts = replace(FACTS, **{name: refused})  # type: ignore[arg-type]
    assert look(home, name, facts) == Check(
        name, ok=False, found="it is broken: a test broke it", remedy="mend it"
    )
    facts = replace(FACTS, **{name: unreadable})  # type: ignore[arg-type]
    assert look(home, name, facts).ok is None


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o500])
def test_a_home_open_to_others_is_bad(home: Path, mode: int) -> None:
    home.chmod(mode)

    found = look(home, "home")

    assert found.ok is False
    assert "chmod 0700" in (found.remedy or "")


def test_a_home_of_another_user_is_bad_but_for_root(home: Path) -> None:
    stranger = replace(FACTS, user=os.geteuid() + 1)

    assert look(home, "home", stranger).ok is False


@pytest.mark.parametrize(
    ("name", "mode"), [("master.key", 0o640), ("publisher.key", 0o604), ("log.pub", 0o666)]
)
def test_a_key_open_to_others_is_bad(home: Path, name: str, mode: int) -> None:
    (home / "keys" / name).chmod(mode)

    found = look(home, "keys")

    assert found.ok is False
    assert name in found.found


def test_a_key_that_is_a_link_is_bad(home: Path, tmp_path: Path) -> None:
    key = home / "keys" / "master.key"
    key.rename(tmp_path / "elsewhere")
    key.symlink_to(tmp_path / "elsewhere")

    assert look(home, "keys").ok is False


def test_a_missing_publishers_key_is_bad(home: Path) -> None:
    (home / "keys" / "publisher.key").unlink()
    assert look(home, "keys").ok is False


def test_what_is_damaged_in_a_home_is_named_with_a_way_that_is_not_the_doctor(site: Site) -> None:
    site.release("web", "1.0.0")
    checks = {one.name: one for one in examine_home(site.home, {})}
    assert checks["releases"].ok
    assert checks["journal"].ok
    (site.path / "runtime_components" / "web" / "1.0.0" / "payload").unlink()
    (site.path / "keystore.db").write_bytes(b"x" * 40_000)
    checks = {one.name: one for one in examine_home(site.home, {})}
    for name, found in (("releases", "web@1.0.0"), ("journal", "keystore.db")):
        assert checks[name].ok is False
        assert found in checks[name].found
        assert "noodle doctor" not in str(checks[name].remedy)


def test_a_missing_master_key_is_bad_unless_it_is_kept_elsewhere(home: Path) -> None:
    (home / "keys" / "master.key").unlink()

    assert look(home, "keys").ok is False
    assert look(home, "keys", replace(FACTS, key_is_elsewhere=True)).ok is True


def test_a_reserve_without_blocks_is_none(home: Path) -> None:
    """A sparse file of the right size reserves nothing."""
    (home / "reserve").unlink()
    assert look(home, "space").ok is False
    with (home / "reserve").open("wb") as reserve:
        reserve.truncate(RESERVE_BYTES)

    assert look(home, "space").ok is False


def test_the_holder_of_the_lock_is_named_and_is_no_fault(home: Path) -> None:
    with (home / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = look(home, "lock")

    assert found.ok is True
    assert f"process {os.getpid()}" in found.found
    assert "nobody" in look(home, "lock").found


def test_a_path_too_long_for_a_socket_is_bad(tmp_path: Path) -> None:
    home = tmp_path / ("h" * SOCKET_BYTES_MAX)
    home.mkdir(mode=0o700)

    assert look(home, "socket").ok is False


# Targets


def test_a_target_with_nothing_left_over_is_good(home: Path, target: Path) -> None:
    assert look(home, "target", replace(FACTS, targets=[target])).ok is True


def test_the_file_systems_of_targets_are_looked_at_too_each_once(
    home: Path, tmp_path: Path
) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system here")
    targets = [tmp_path / "web", memory / "web", memory / "more"]
    facts = replace(FACTS, targets=targets)
    checks = examine(home, facts, machine=GOOD, clock=lambda: NOW)
    found = [check.found for check in checks if check.name == "file_system"]
    assert len(found) == 2
    assert "/dev/shm" in found[1]


def test_what_an_open_upgrade_staged_is_no_leftover(home: Path, target: Path) -> None:
    Place(target).next("OPEN").touch()
    facts = replace(FACTS, targets=[target])

    assert look(home, "target", facts).ok is True
    Place(target).next("OVER").touch()
    assert look(home, "target", facts).ok is False
    assert look(home, "target", replace(facts, open_upgrades=None)).ok is None


def test_a_foreign_object_that_was_set_aside_is_the_users_to_weigh(
    home: Path, target: Path
) -> None:
    next(Place(target).foreign("OVER")).touch()

    found = look(home, "target", replace(FACTS, targets=[target]))

    assert found.ok is None
    assert "web.py.foreign-OVER" in found.found


def test_another_homes_mark_is_bad(home: Path, target: Path) -> None:
    place = Place(target)
    place.make_room()
    facts = replace(FACTS, targets=[target])
    place.owner.write_text("ours\n")
    assert look(home, "target", facts).ok is True

    place.owner.write_text("theirs\n")

    assert look(home, "target", facts).ok is False


def test_a_target_whose_folder_is_gone_is_bad(home: Path, target: Path) -> None:
    facts = replace(FACTS, targets=[target.parent / "absent" / "web.py"])

    assert look(home, "target", facts).ok is False


# Machine, clock and file system, from what was read of them


@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ({}, True),
        ({"kernel": "5.6.0"}, True),
        ({"kernel": "5.5.19"}, False),
        ({"kernel": "10.0"}, True),
        ({"kernel": "odd"}, False),
        ({"system": "Darwin", "processor": "arm64"}, False),
        ({"processor": "aarch64"}, False),
        ({"implementation": "PyPy"}, False),
        ({"python": (3, 10)}, False),
        ({"python": (4, 0)}, True),
    ],
)
def test_the_platform_is_good_exactly_when_it_is_a_supported_one(
    change: dict[str, str], ok: bool
) -> None:
    assert check_machine(replace(GOOD, **change)).ok is ok  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wall_ms", "last_ms", "ok"),
    [
        (NOW.wall_ms, None, True),
        (NOW.wall_ms, NOW.wall_ms, True),
        (NOW.wall_ms, NOW.wall_ms + 1, False),
        (0, None, False),
        (-1, None, False),
        (1 << 62, None, False),
    ],
)
def test_a_clock_in_no_possible_year_or_behind_the_journal_is_bad(
    wall_ms: int, last_ms: int | None, ok: bool
) -> None:
    assert check_clock(Reading(wall_ms, 1), last_ms).ok is ok


@pytest.mark.parametrize(
    ("fstype", "journaled", "read_only", "ok"),
    [
        ("ext4", True, False, True),
        ("ext4", False, False, None),
        ("ext4", None, False, None),
        ("ext4", True, True, False),
        ("xfs", None, False, True),
        ("btrfs", None, False, True),
        ("tmpfs", None, False, False),
        ("nfs4", None, False, False),
        ("fuse.sshfs", None, False, False),
        ("overlay", None, False, None),
        ("zfs", None, False, None),
    ],
)
def test_a_file_system_is_good_only_where_power_cuts_were_tried(
    fstype: str, journaled: bool | None, read_only: bool, ok: bool | None
) -> None:
    mount = Mount(Path("/"), fstype, ("rw",))

    found = check_file_system(mount, journaled=journaled, read_only=read_only)

    assert found.ok is ok
    assert check_file_system(None, journaled=journaled, read_only=read_only).ok is None


def test_what_touches_keys_and_settings_is_told(site: Site) -> None:
    """None of it is bad: the user decides. Encryption off, and a folder that others may change."""

    def told() -> dict[str, str]:
        checks = examine_home(site.home, {}, thorough=False)
        return {one.name: one.found for one in checks if one.name in ("encryption", "settings")}

    assert told() == {
        "encryption": "what is recorded is sealed",
        "settings": "all settings can be used",
    }
    site.settings('{"encryption": {"enabled": false}}')
    assert "anybody who can read journal.db" in told()["encryption"]
    (site.path / "config").chmod(0o777)
    found = [one for one in examine_home(site.home, {}, thorough=False) if not one.ok]
    assert [one.name for one in found if one.name == "settings"] == ["settings"]
    assert "mode 0777" in next(one.found for one in found if one.name == "settings")
