"""What is over is shredded, by one setting alone, and never by one reading of a clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_engine.execute.failures import RecordsShredded, UpgradeUnknown
from noodle_engine.execute.operations import Operations
from noodle_engine.execute.shredding import due
from noodle_journal.shredding import EpochSpan
from tests.unit.execute.site import Clock, Driven, Site

DAY_MS = 86_400_000
DAY_NS = DAY_MS * 1_000_000
SETTINGS = '{"security": {"audit_logging": {"log_retention_days": 30}}}'


def span(number: int, day: float) -> EpochSpan:
    return EpochSpan(number, number * 10, number * 10 + 9, int(day * DAY_NS), plain=False)


def numbers(found: Sequence[EpochSpan]) -> list[int]:
    return [one.number for one in found]


@given(
    st.lists(st.integers(0, 400), max_size=12),
    st.integers(0, 500),
    st.integers(1, 120),
    st.none() | st.integers(0, 130),
)
def test_what_is_due_is_old_unbroken_and_dead(
    ends: list[int], now: int, days: int, first_live: int | None
) -> None:
    """Y1, for any times: clocks may go back."""
    spans = [span(number, day) for number, day in enumerate(ends)]
    found = due(spans, now_ns=now * DAY_NS, days=days, first_live=first_live)
    assert list(found) == spans[: len(found)]
    for one in found:
        assert now * DAY_NS - one.at_ns > days * DAY_NS
        assert first_live is None or one.last < first_live
        assert one is not spans[-1]
    # Y2: however late it is now, what an earlier session saw counts as well.
    later = due(spans, now_ns=10**6 * DAY_NS, days=days, first_live=first_live)
    assert all(spans[-1].at_ns - one.at_ns > days * DAY_NS for one in later)


def test_a_clock_set_wrong_for_one_session_shreds_nothing() -> None:
    spans = [span(1, 10), span(2, 11)]
    assert numbers(due(spans, now_ns=9999 * DAY_NS, days=30, first_live=None)) == []
    spans = [*spans, span(3, 50)]
    assert numbers(due(spans, now_ns=50 * DAY_NS, days=30, first_live=None)) == [1, 2]


def three_sessions(site: Site) -> Driven:
    """Upgrades on day 0, 1 and 40, each in a session of its own; the last goes on."""
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        site.release("web", version)
    clock = Clock()
    driven = Driven.open(site, clock)
    for version, later in (("1.0.0", 1), ("1.1.0", 39), ("1.2.0", 1)):
        driven.apply(f"web@{version}")
        driven.close()
        clock.pass_ms(later * DAY_MS)
        driven = Driven.open(site, clock)
    return driven


def test_what_is_over_cannot_be_read_and_all_that_lives_goes_on(site: Site) -> None:
    driven = three_sessions(site)
    first = next(one.run for one in driven.engine.journal.read() if one.run)
    size = driven.engine.journal.size
    site.settings(SETTINGS)
    operations = Operations(driven.engine, {})
    try:
        assert operations.collect(actor="test").shredded_records > 0
        assert operations.collect(actor="test").shredded_records == 0
        begins = driven.engine.journal.first_readable
        assert 1 < begins < size
    finally:
        driven.close()
    with site.open() as noodle:
        assert noodle.audit_verify().ok
        view = noodle.audit_replay()
        assert view.differs == ()
        assert [row.installed for row in view.components] == ["1.2.0"]
        with pytest.raises(RecordsShredded):
            noodle.audit_replay(at=begins - 1)
        with pytest.raises(UpgradeUnknown):
            noodle.upgrade(first)
        history = noodle.history(everything=True)
        assert len(history.upgrades) == 1
        told = noodle.audit_verify().shredded
        assert told == (history.shredded,)
        assert (told[0].first, told[0].last) == (1, begins - 1)
        assert told[0].rule == "security.audit_logging.log_retention_days=30"
        assert noodle.compact().rows > 0
        assert noodle.audit_verify().ok
        # What was installed in a shredded epoch is still there to go back to.
        noodle.rollback("web")
    assert site.has("web", "1.1.0")


def test_an_open_upgrade_keeps_its_records(site: Site) -> None:
    driven = three_sessions(site)
    site.settings(SETTINGS)
    try:
        journal = driven.engine.journal
        runs = [one.run for one in journal.read() if one.run]
        from noodle_engine.execute.shredding import to_shred  # noqa: PLC0415

        now_ns = driven.engine.clock.now_ns()
        assert to_shred(journal, (), now_ns=now_ns, days=30)
        assert not to_shred(journal, runs[:1], now_ns=now_ns, days=30)
    finally:
        driven.close()
