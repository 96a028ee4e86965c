"""Opening a home: what is refused, and what a home that was moved still knows."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.failures import HomeUnusable
from noodle_engine.execute.home.holder import take
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine, open_reader
from noodle_engine.machine.records import Entry, Noted
from noodle_journal.errors import NoodleError
from noodle_journal.failures import (
    JournalAbsent,
    JournalDamaged,
    JournalElsewhere,
    JournalEmpty,
    JournalFormatNewer,
    KeyExposed,
    KeyInvalid,
    KeyMissing,
    KeystoreAbsent,
    NotAJournal,
    WrongKey,
)
from tests.unit.execute.site import NOBODY, Clock, Driven, Site, as_user

DAY_MS = 86_400_000


def installed(noodle: Noodle) -> dict[str, str | None]:
    return {one.name: one.installed for one in noodle.status().components}


def copied(site: Site) -> Path:
    """The whole home under another name, as `cp -a` makes it."""
    there = site.folder / "copy"
    shutil.copytree(site.path, there, ignore=shutil.ignore_patterns("socket"))
    return there


# -- a home that was copied -----------------------------------------------------


def test_a_copied_home_is_read_and_not_written_until_it_is_taken_over(site: Site) -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    with Noodle.open(copied(site)) as copy:
        assert installed(copy) == {"web": "1.0.0"}
        size = copy.status().journal.size
        with pytest.raises(JournalElsewhere):
            copy.apply(["web@1.1.0"])
        assert copy.status().journal.size == size
        assert site.has("web", "1.0.0")

        copy.take_over()
        view = copy.apply(["web@1.1.0"])

        assert view is not None
        assert site.has("web", "1.1.0")
        assert copy.audit_verify().ok


def test_a_take_over_forgets_nothing(site: Site) -> None:
    """The adopting session writes the fold anew: it must be that of all records before."""
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@1.1.0"])
    with site.open() as noodle:
        before = noodle.status()
    with Noodle.open(copied(site)) as copy:
        copy.take_over()
        taken = copy.status()
        replayed = copy.audit_replay()
    with Noodle.open(copy.home) as again:
        reopened = again.status()

    assert before.components == taken.components == reopened.components
    assert before.components[0].points == ("1.0.0",)
    assert replayed.differs == ()


def test_a_take_over_keeps_what_is_open(site: Site) -> None:
    site.release("web", "1.0.0")
    held = Driven.open(site)
    held.engine.leave()
    upgrade = held.submit(held.plan("web@1.0.0"), request_key="once")
    held.close()
    with Noodle.open(copied(site)) as copy:
        copy.take_over()
        assert [one.upgrade for one in copy.status().open] == [upgrade]

        (view,) = copy.resume()

        assert view.state.value == "committed"
        assert site.has("web", "1.0.0")


# -- a journal that is not as it should be ---------------------------------------


def unlink(site: Site) -> None:
    (site.path / "journal.db").unlink()


def empty(site: Site) -> None:
    (site.path / "journal.db").write_bytes(b"")


def junk(site: Site) -> None:
    (site.path / "journal.db").write_bytes(b"junk" * 4096)


def newer(site: Site) -> None:
    with closing(sqlite3.connect(site.path / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 99")


def other_database(site: Site) -> None:
    path = site.path / "journal.db"
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")


def no_keystore(site: Site) -> None:
    (site.path / "keystore.db").unlink()


def no_key(site: Site) -> None:
    site.home.master_key_file.unlink()


def open_key(site: Site) -> None:
    site.home.master_key_file.chmod(0o644)


def other_key(site: Site) -> None:
    Noodle.init(site.folder / "other")
    other = Home(site.folder / "other").master_key_file
    site.home.master_key_file.write_bytes(other.read_bytes())


DAMAGE = [
    (unlink, JournalAbsent),
    (empty, JournalEmpty),
    (junk, JournalDamaged),
    (newer, JournalFormatNewer),
    (other_database, NotAJournal),
    (no_keystore, KeystoreAbsent),
    (no_key, KeyMissing),
    (open_key, KeyExposed),
    (other_key, WrongKey),
]


def contents(site: Site) -> dict[str, bytes]:
    """What is in the home's files, but for what SQLite keeps for readers."""
    return {
        path.name: path.read_bytes()
        for path in site.path.iterdir()
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


@pytest.mark.parametrize(("damage", "failure"), DAMAGE, ids=[one.__name__ for one, _ in DAMAGE])
def test_a_journal_that_cannot_be_trusted_is_refused_and_never_made_anew(
    site: Site, damage: Callable[[Site], None], failure: type[NoodleError]
) -> None:
    """H3: to read and to write; nothing is changed, and the home is not held afterwards."""
    site.release("web", "1.0.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    damage(site)
    before = contents(site)
    for _ in range(2):
        with pytest.raises(failure):
            open_engine(site.home, lock_file(site.home.lock_file), {})
        with site.open() as noodle:
            for question in (noodle.status, noodle.history, noodle.audit_replay):
                with pytest.raises(failure):
                    question()
            with pytest.raises(failure):
                noodle.resume()
    assert contents(site) == before
    assert not site.home.socket_file.exists()
    assert site.has("web", "1.0.0")


def test_a_key_in_the_variable_wins_over_the_file(site: Site) -> None:
    recovery = site.home.master_key_file.read_text().strip()
    Noodle.init(site.folder / "other")
    wrong = Home(site.folder / "other").master_key_file.read_text().strip()
    with pytest.raises(WrongKey):
        open_engine(site.home, lock_file(site.home.lock_file), {"NOODLE_JOURNAL_KEY": wrong})
    with pytest.raises(KeyInvalid):
        open_engine(site.home, lock_file(site.home.lock_file), {"NOODLE_JOURNAL_KEY": "short"})
    site.home.master_key_file.unlink()
    environment = {"NOODLE_JOURNAL_KEY": recovery}
    engine = open_engine(site.home, lock_file(site.home.lock_file), environment)
    engine.close()


def test_broken_settings_do_not_keep_a_home_from_being_opened(site: Site) -> None:
    site.settings("{")
    engine = open_engine(site.home, lock_file(site.home.lock_file), {})
    engine.close()
    with site.open() as noodle:
        assert noodle.status().open == ()


def test_where_the_socket_cannot_be_made_nothing_is_held(site: Site) -> None:
    """The name is taken by a folder: the home cannot listen, so it is not held."""
    site.home.socket_file.mkdir()
    for _ in range(2):
        with pytest.raises(HomeUnusable):
            take(site.home, {})
    lock_file(site.home.lock_file).release()
    site.home.socket_file.rmdir()
    held = take(site.home, {})
    assert held is not None
    held.close()


def test_another_user_can_neither_read_nor_hold_a_home(site: Site) -> None:
    """Also where somebody opened the folder itself to all."""
    site.folder.chmod(0o711)
    site.path.chmod(0o755)
    for call in (
        lambda: Noodle.open(site.path),
        lambda: lock_file(site.home.lock_file),
        lambda: open_reader(site.home, {}),
    ):
        assert isinstance(as_user(NOBODY, call), NoodleError)


# -- the clock between two engines ------------------------------------------------


def noted(site: Site, clock: Clock, code: str) -> list[Entry]:
    """Note something in an engine of its own; all that the journal holds then."""
    driven = Driven.open(site, clock)
    try:
        driven.engine.append([Noted(code, "")], actor="test")
        return driven.entries()
    finally:
        driven.close()


def codes(entries: list[Entry]) -> list[str]:
    return [one.event.code for one in entries if isinstance(one.event, Noted)]


def since_first(entries: list[Entry]) -> list[int]:
    return [one.at_ms - entries[0].at_ms for one in entries]


def test_each_session_goes_on_after_the_last_record(site: Site) -> None:
    """T1: a wall clock that was set back in between does not take journal time with it."""
    clock = Clock()
    noted(site, clock, "one")
    clock.wall_ms -= 3_600_000
    clock.boot_ms += 10
    entries = noted(site, clock, "two")
    assert codes(entries) == ["one", "clock.jumped", "two"]
    assert since_first(entries) == [0, 10, 10]


def test_a_step_forward_while_no_engine_ran_is_seen_within_one_boot(site: Site) -> None:
    """T3: journal time went on as boot time did, and the jump is noted once."""
    clock = Clock()
    noted(site, clock, "one")
    clock.pass_ms(7_000)
    clock.wall_ms += DAY_MS
    noted(site, clock, "two")
    clock.pass_ms(1_000)
    entries = noted(site, clock, "three")
    assert codes(entries) == ["one", "clock.jumped", "two", "three"]
    assert since_first(entries) == [0, 7_000, 7_000, 8_000]

    clock.wall_ms -= DAY_MS  # put right again: a jump of its own
    entries = noted(site, clock, "four")
    assert codes(entries)[4:] == ["clock.jumped", "four"]
    assert since_first(entries)[-1] == 8_000


def test_a_jump_that_no_record_followed_is_noted_by_the_next_engine(site: Site) -> None:
    clock = Clock()
    noted(site, clock, "one")
    clock.wall_ms += DAY_MS
    Driven.open(site, clock).close()  # it wrote nothing
    assert codes(noted(site, clock, "two")) == ["one", "clock.jumped", "two"]


def test_after_another_boot_the_wall_clock_counts(site: Site) -> None:
    clock = Clock()
    noted(site, clock, "one")
    clock.boot = "another"
    clock.wall_ms += DAY_MS
    clock.boot_ms = 1_000
    entries = noted(site, clock, "two")
    assert codes(entries) == ["one", "two"]
    assert since_first(entries) == [0, DAY_MS]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boot": 1}', b"\xff", None])
def test_what_was_kept_of_the_clock_is_disposable(site: Site, content: bytes | None) -> None:
    clock = Clock()
    noted(site, clock, "one")
    mark = site.home.clock_file
    mark.unlink()
    if content is None:
        mark.mkdir()
    else:
        mark.write_bytes(content)
    clock.pass_ms(1_000)
    assert since_first(noted(site, clock, "two")) == [0, 1_000]


def test_a_key_file_beside_settings_that_look_elsewhere_is_named(site: Site) -> None:
    """Whoever writes the settings file anew leaves out what `init` had written there."""
    file = site.path / "config" / "runtime_upgrade_config.json"
    file.write_text("{}")
    with pytest.raises(KeyMissing) as missing, Noodle.open(site.path) as noodle:
        noodle.status()
    assert "NOODLE_JOURNAL_KEY" in missing.value.problem
    assert str(site.path / "keys" / "master.key") in missing.value.remedy
    assert '"file"' in missing.value.remedy
