"""Settings whose effect nothing else tests: each is changed, and the engine does otherwise."""

from __future__ import annotations

import json
import time

import pytest

from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.cleaning import Cleaner
from noodle_engine.execute.failures import RollbackDisabled, UpgradesDisabled
from noodle_engine.execute.home.opening import open_engine
from noodle_engine.execute.operations import Operations
from noodle_engine.machine.states import State
from noodle_journal.failures import KeyMissing, KeySourceFailed
from tests.laws.legal_values import nested
from tests.unit.execute.site import Clock, Driven, Site

DAY_MS = 86_400_000


def put(site: Site, key: str, value: object) -> None:
    """Say one thing in a file of the home."""
    site.settings(json.dumps(nested({key: value})))


def two_versions(site: Site) -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@1.1.0"])


def test_no_upgrade_begins_and_the_way_back_is_open(site: Site) -> None:
    two_versions(site)
    put(site, "runtime_upgrade.enabled", False)
    with site.open() as noodle:
        with pytest.raises(UpgradesDisabled):
            noodle.apply([], remove=["web"])
        assert noodle.rollback("web").state is State.COMMITTED


def test_nothing_goes_back_after_a_commit(site: Site) -> None:
    two_versions(site)
    put(site, "runtime_upgrade.rollback.enabled", False)
    with site.open() as noodle:
        with pytest.raises(RollbackDisabled):
            noodle.rollback("web")
        assert site.has("web", "1.1.0")


def three_versions(site: Site, clock: Clock) -> Driven:
    """The third is installed, two old ones are kept."""
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        site.release("web", version)
    driven = Driven.open(site, clock)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        driven.apply(f"web@{version}")
    assert len(driven.engine.world.points) == 2
    return driven


def test_so_many_old_versions_stay(site: Site) -> None:
    driven = three_versions(site, Clock())
    try:
        put(site, "runtime_upgrade.rollback.max_rollback_points", 1)
        Operations(driven.engine, {}).collect(actor="test")
        assert [one.version for one in driven.engine.world.points] == ["1.1.0"]
    finally:
        driven.close()


def test_old_versions_go_by_age(site: Site) -> None:
    """The newest stays, however old it is."""
    clock = Clock()
    driven = three_versions(site, clock)
    try:
        clock.pass_ms(3 * DAY_MS)
        put(site, "runtime_upgrade.rollback.rollback_retention_days", 2)
        Operations(driven.engine, {}).collect(actor="test")
        assert [one.version for one in driven.engine.world.points] == ["1.1.0"]
    finally:
        driven.close()


def test_the_key_comes_from_where_the_settings_say(site: Site) -> None:
    """A home that was made has `file` in a file of its own; its default is the environment."""
    (site.path / "config" / "runtime_upgrade_config.json").unlink()
    put(site, "encryption.key_source", "file")
    with site.open() as noodle:
        assert noodle.status().components == ()
    site.settings("{}")
    with pytest.raises(KeyMissing), site.open() as noodle:
        noodle.status()


def test_an_epoch_lasts_so_long(site: Site) -> None:
    """Within a minute of one session there is one; with keys of ten seconds another begins."""
    clock = Clock()
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    put(site, "encryption.key_rotation_interval", 10)
    driven = Driven.open(site, clock)
    try:
        driven.apply("web@1.0.0")
        with site.open() as noodle:
            before = noodle.audit_verify().epochs
        clock.pass_ms(60_000)
        driven.apply("web@1.1.0")
        with site.open() as noodle:
            assert noodle.audit_verify().epochs > before
    finally:
        driven.close()


@pytest.mark.parametrize("key", ["encryption.enabled", "encryption.data_at_rest_encryption"])
def test_off_the_journal_is_legible_and_says_so(site: Site, key: str) -> None:
    """As bytes of the file, in each checkpoint, and to who asks."""
    with site.open() as noodle:
        noodle.rotate_key()
        assert noodle.key().encrypted
    sealed = raw_journal(site)
    put(site, key, False)
    with site.open() as noodle:
        noodle.rotate_key()
        assert not noodle.key().encrypted
        assert noodle.audit_verify().plain_epochs == 1
    assert b'"code":"key.rotated"' not in sealed
    assert b'"code":"key.rotated"' in raw_journal(site)


def raw_journal(site: Site) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(site.path.glob("journal.db*")))


def put_all(site: Site, *said: tuple[str, object]) -> None:
    content: dict[str, object] = {}
    for key, value in said:
        *sections, name = key.split(".")
        inner = content
        for section in sections:
            inner = inner.setdefault(section, {})  # type: ignore[assignment]
        inner[name] = value
    site.settings(json.dumps(content))


def cleaner_of(driven: Driven, *seconds: float) -> Cleaner:
    """What a process that stays has; each tick is at the next of these moments."""
    now = iter(seconds)
    return Cleaner(Operations(driven.engine, {}), lambda: next(now), lambda _: None)


def test_old_versions_go_by_themselves_that_often(site: Site) -> None:
    driven = three_versions(site, Clock())
    put_all(
        site,
        ("runtime_upgrade.rollback.max_rollback_points", 1),
        ("rollback_manager.cleanup.cleanup_interval", 500_000),
    )
    try:
        cleaner = cleaner_of(driven, 0.0, 499_999.0, 500_000.0)
        for version, kept in (("1.3.0", 1), ("1.4.0", 2), ("1.5.0", 1)):
            cleaner.tick()
            assert len(driven.engine.world.points) == kept, version
            site.release("web", version)
            driven.apply(f"web@{version}")
    finally:
        driven.close()


def test_without_clean_ups_nothing_goes_by_itself(site: Site) -> None:
    driven = three_versions(site, Clock())
    put_all(
        site,
        ("runtime_upgrade.rollback.max_rollback_points", 1),
        ("rollback_manager.cleanup.enabled", False),
    )
    try:
        cleaner_of(driven, 0.0).tick()
        assert len(driven.engine.world.points) == 2
    finally:
        driven.close()


def test_even_the_newest_goes_at_that_age(site: Site) -> None:
    clock = Clock()
    driven = three_versions(site, clock)
    put(site, "rollback_manager.cleanup.max_retention_days", 60)
    try:
        for passed, kept in ((40, 1), (30, 0)):
            clock.pass_ms(passed * DAY_MS)
            cleaner_of(driven, 0.0).tick()
            assert len(driven.engine.world.points) == kept
    finally:
        driven.close()


def test_the_journal_is_readable_so_long(site: Site) -> None:
    """Ten days old, in a session before the last: over after five days, and not after ninety."""
    clock = Clock()
    site.release("web", "1.0.0")
    driven = Driven.open(site, clock)
    driven.apply("web@1.0.0")
    driven.close()
    for _ in range(2):
        clock.pass_ms(10 * DAY_MS)
        driven = Driven.open(site, clock)
        driven.engine.journal.rotate()
        driven.close()
    driven = Driven.open(site, clock)
    try:
        driven.engine.journal.rotate()
        assert Operations(driven.engine, {}).shred() == 0
        put(site, "security.audit_logging.log_retention_days", 5)
        assert Operations(driven.engine, {}).shred() > 0
    finally:
        driven.close()


def test_the_key_service_is_the_one_that_is_named(site: Site) -> None:
    put(site, "noodle.key_service", "another")
    with site.open() as noodle, pytest.raises(KeySourceFailed, match="another"):
        noodle.rewrap_key(to="kms")


def test_what_ended_earlier_is_not_listed(site: Site) -> None:
    site.release("web", "1.0.0")
    ten_days_ago = time.time_ns() // 1_000_000 - 10 * DAY_MS
    driven = Driven.open(site, Clock(wall_ms=ten_days_ago))
    driven.apply("web@1.0.0")
    driven.close()
    with site.open() as noodle:
        assert len(noodle.history().upgrades) == 1
        put(site, "deployment.upgrade_integration.history_days", 9)
        view = noodle.history()
        assert view.upgrades == ()
        assert view.hidden_by == "deployment.upgrade_integration.history_days"


def test_the_clock_may_stray_so_far(site: Site) -> None:
    """What an engine takes for a jump of the wall clock (tests/unit/execute/test_clock.py)."""
    put(site, "noodle.clock_bound", 7)
    engine = open_engine(site.home, lock_file(site.home.lock_file), {})
    try:
        assert engine.clock._jump_ms == 7_000
    finally:
        engine.close()
