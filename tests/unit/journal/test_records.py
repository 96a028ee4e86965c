"""Laws R1 and R2: kinds and headers are pinned for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noodle_journal.format.records import HEADER, HEADER_BYTES, Kind, kind_of, unpack_header

# Stored numbers: this table only ever grows.
PINNED = {
    1: "upgrade.requested",
    2: "transition",
    3: "step.intent",
    4: "step.done",
    5: "decision",
    6: "approval",
    7: "vote",
    8: "feedback",
    9: "health",
    10: "sample",
    11: "alert",
    12: "trigger",
    13: "event",
    14: "timer",
    15: "config.changed",
    16: "access",
    17: "key.epoch",
    18: "state",
    19: "anchor",
    20: "retention",
    21: "note",
}


def test_kinds_keep_their_numbers_and_labels() -> None:
    """R2."""
    assert {int(kind): kind.label for kind in Kind} == PINNED


def test_an_unknown_kind_stays_a_number() -> None:
    """R2."""
    assert kind_of(999) == 999
    assert not isinstance(kind_of(999), Kind)
    assert kind_of(2) is Kind.TRANSITION


FIELDS = st.tuples(
    st.binary(min_size=4, max_size=4),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 2**16 - 1),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=12, max_size=12),
    st.binary(min_size=32, max_size=32),
)


@given(FIELDS)
def test_a_header_is_96_bytes_and_unpacks_to_its_fields(fields: tuple[object, ...]) -> None:
    """R1."""
    header = HEADER.pack(*fields)
    assert len(header) == HEADER_BYTES == 96
    assert tuple(unpack_header(header)) == fields


def test_fields_stand_at_their_offsets() -> None:
    """As the table of specs/journal-format.md says."""
    header = HEADER.pack(b"NDLR", 1, 2, 3, b"l" * 16, 4, 5, 6, 7, b"t" * 12, b"p" * 32)
    assert header[0:4] == b"NDLR"
    assert header[4] == 1
    assert header[5] == 2
    assert header[6:8] == b"\x00\x03"
    assert header[8:24] == b"l" * 16
    assert header[24:32] == (4).to_bytes(8, "big")
    assert header[32:36] == (5).to_bytes(4, "big")
    assert header[36:44] == (6).to_bytes(8, "big")
    assert header[44:52] == (7).to_bytes(8, "big")
    assert header[52:64] == b"t" * 12
    assert header[64:96] == b"p" * 32
