"""Upgrade ids: laws U1 and U2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_engine.execute.ids import (
    is_upgrade_id,
    matching_ids,
    new_upgrade_id,
    next_upgrade_id,
    upgrade_id_ms,
)
from noodle_engine.machine.failures import InvariantBroken

times = st.integers(min_value=0, max_value=(1 << 48) - 1)
entropies = st.binary(min_size=16, max_size=16)


def test_an_id_has_the_form_of_the_specification() -> None:
    """The ULID specification's own example of a time, and known bounds."""
    assert new_upgrade_id(1_469_918_176_385, bytes(16)) == "01ARYZ6S410000000000000000"
    assert new_upgrade_id(0, bytes(16)) == "0" * 26
    assert new_upgrade_id((1 << 48) - 1, b"\xff" * 16) == "7" + "Z" * 25


@given(at_ms=times, entropy=entropies)
def test_an_id_carries_its_time(at_ms: int, entropy: bytes) -> None:
    upgrade = new_upgrade_id(at_ms, entropy)

    assert is_upgrade_id(upgrade)
    assert upgrade_id_ms(upgrade) == at_ms


@given(first=times, second=times, one=entropies, other=entropies)
def test_ids_sort_by_time(first: int, second: int, one: bytes, other: bytes) -> None:
    if first < second:
        assert new_upgrade_id(first, one) < new_upgrade_id(second, other)


@given(
    moments=st.lists(
        st.tuples(st.integers(min_value=0, max_value=50), entropies), min_size=2, max_size=20
    )
)
def test_the_next_id_is_greater_whatever_the_clock_does(
    moments: list[tuple[int, bytes]],
) -> None:
    """U2, with the clock standing still and going back."""
    previous: str | None = None
    for at_ms, entropy in moments:
        upgrade = next_upgrade_id(at_ms, entropy, previous=previous)
        assert previous is None or upgrade > previous
        assert is_upgrade_id(upgrade)
        previous = upgrade


@pytest.mark.parametrize(
    "text",
    [
        "",
        "web",
        "8" + "0" * 25,  # beyond 128 bits
        "0" * 25,
        "0" * 27,
        "0" * 25 + "\n",
        "0" * 25 + "U",  # not in the alphabet
        "01aryz6s410000000000000000",
        "\u0660" * 26,  # other digits than ASCII's
    ],
)
def test_what_is_no_id_is_not_taken_for_one(text: str) -> None:
    assert not is_upgrade_id(text)
    with pytest.raises(InvariantBroken):
        upgrade_id_ms(text)


def test_a_beginning_names_an_id_in_either_case_and_misread() -> None:
    one = new_upgrade_id(1_469_918_176_385, bytes(16))
    other = new_upgrade_id(1_469_918_176_385, b"\xff" * 16)
    ids = (one, other)

    assert matching_ids(one, ids) == (one,)
    assert matching_ids("01aryz6s41", ids) == ids
    assert matching_ids("oiaryz6s410", ids) == (one,)
    assert matching_ids("01ARYZ6S42", ids) == ()


def test_a_short_beginning_names_nothing() -> None:
    one = new_upgrade_id(1_469_918_176_385, bytes(16))

    assert matching_ids("", (one,)) == ()
    assert matching_ids("01A", (one,)) == ()
    assert matching_ids("01AR", (one,)) == (one,)


@pytest.mark.parametrize(("at_ms", "size"), [(-1, 16), (1 << 48, 16), (0, 15), (0, 17)])
def test_a_time_or_entropy_out_of_bounds_makes_no_id(at_ms: int, size: int) -> None:
    with pytest.raises(InvariantBroken):
        new_upgrade_id(at_ms, bytes(size))


def test_after_the_last_id_there_is_none() -> None:
    last = "7" + "Z" * 25
    with pytest.raises(InvariantBroken):
        next_upgrade_id(0, bytes(16), previous=last)
