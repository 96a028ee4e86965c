"""Journal time: laws T1 to T3."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noodle_engine.execute.timing.clock import (
    CLOCK_JUMP_MS,
    JournalClock,
    Jump,
    Reading,
    system_clock,
)

WALL = 1_700_000_000_000
BOOT = 5_000_000

steps = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=10**8),
        st.integers(min_value=-(10**9), max_value=10**9),
    ),
    max_size=30,
)


@given(
    wall_ms=st.integers(min_value=0, max_value=1 << 45),
    last_ms=st.integers(min_value=0, max_value=1 << 45),
    moves=steps,
)
def test_journal_time_advances_as_boot_time_does_whatever_the_wall_clock_does(
    wall_ms: int, last_ms: int, moves: list[tuple[int, int]]
) -> None:
    """T1, T2: against a model that adds up boot time."""
    clock = JournalClock(wall_ms, BOOT, last_ms)
    model = max(wall_ms, last_ms)
    boot_ms = BOOT
    for passed_ms, step_ms in moves:
        boot_ms += passed_ms
        wall_ms = max(0, wall_ms + passed_ms + step_ms)
        model += passed_ms

        assert clock.read(wall_ms, boot_ms).at_ms == model


@given(moves=steps)
def test_a_jump_is_given_once_and_only_beyond_the_limit(moves: list[tuple[int, int]]) -> None:
    """T3: the jumps given add up to the wall clock's straying, but for the limit."""
    clock = JournalClock(WALL, BOOT, WALL)
    boot_ms, wall_ms, given_ms = BOOT, WALL, 0
    for passed_ms, step_ms in moves:
        boot_ms += passed_ms
        wall_ms += passed_ms + step_ms
        jump = clock.read(wall_ms, boot_ms).jump
        if jump is not None:
            assert abs(jump.by_ms) > CLOCK_JUMP_MS
            given_ms += jump.by_ms

        assert abs((wall_ms - WALL) - (boot_ms - BOOT) - given_ms) <= CLOCK_JUMP_MS
        assert clock.read(wall_ms, boot_ms).jump is None


def test_a_step_within_the_limit_is_no_jump_and_one_beyond_it_is() -> None:
    clock = JournalClock(WALL, BOOT, WALL)

    assert clock.read(WALL + CLOCK_JUMP_MS, BOOT).jump is None
    tick = clock.read(WALL + CLOCK_JUMP_MS + 1, BOOT)

    assert tick.jump == Jump(CLOCK_JUMP_MS + 1, WALL + CLOCK_JUMP_MS + 1, WALL)
    assert tick.at_ms == WALL


def test_a_wall_clock_behind_the_last_record_starts_at_that_record() -> None:
    clock = JournalClock(0, BOOT, WALL)

    assert clock.read(0, BOOT).at_ms == WALL
    assert clock.read(1_000, BOOT + 1_000).at_ms == WALL + 1_000
    # Put right at last: a jump, and journal time is where it was.
    tick = clock.read(WALL + 2_000, BOOT + 2_000)
    assert tick.at_ms == WALL + 2_000


def test_a_clock_set_back_while_no_engine_ran_is_told_at_the_first_reading() -> None:
    day_ms = 86_400_000

    tick = JournalClock(WALL - day_ms, BOOT, WALL).read(WALL - day_ms, BOOT)

    assert tick.jump is not None
    assert tick.jump.by_ms == -day_ms
    assert tick.at_ms == WALL


def test_a_step_forward_between_two_engines_of_one_boot_does_not_advance_journal_time() -> None:
    day_ms = 86_400_000
    clock = JournalClock(WALL + day_ms, BOOT + 7_000, WALL, last_boot_ms=BOOT)

    tick = clock.read(WALL + day_ms, BOOT + 7_000)

    assert tick.at_ms == WALL + 7_000
    assert tick.jump is not None
    assert clock.read(WALL + day_ms + 5, BOOT + 7_005).jump is None


def test_a_jump_that_is_known_is_not_given_again_and_its_undoing_is_one_of_its_own() -> None:
    """A third engine of the boot: the second one gave the jump."""
    day_ms = 86_400_000
    offset_ms = WALL + day_ms - BOOT

    still = JournalClock(
        WALL + day_ms + 7, BOOT + 7, WALL, last_boot_ms=BOOT, known_offset_ms=offset_ms
    )
    assert still.read(WALL + day_ms + 7, BOOT + 7).jump is None
    assert still.read(WALL + day_ms + 7, BOOT + 7).at_ms == WALL + 7
    assert still.offset_ms == offset_ms

    undone = JournalClock(WALL + 7, BOOT + 7, WALL, last_boot_ms=BOOT, known_offset_ms=offset_ms)
    tick = undone.read(WALL + 7, BOOT + 7)
    assert tick.jump is not None
    assert tick.jump.by_ms == -day_ms
    assert tick.at_ms == WALL + 7
    assert undone.offset_ms == WALL - BOOT


def test_boot_time_that_goes_back_does_not_take_journal_time_with_it() -> None:
    """Two threads may hand in their readings in the other order."""
    clock = JournalClock(WALL, BOOT, WALL)
    later = clock.read(WALL + 20, BOOT + 20)

    earlier = clock.read(WALL + 10, BOOT + 10)

    assert earlier.at_ms == later.at_ms == WALL + 20
    assert clock.read(WALL + 30, BOOT + 30).at_ms == WALL + 30


def test_the_system_clock_reads_both_clocks_in_milliseconds() -> None:
    first, second = system_clock(), system_clock()

    assert isinstance(first, Reading)
    assert first.wall_ms > WALL  # after 2023
    assert 0 < first.boot_ms <= second.boot_ms < first.boot_ms + 60_000
