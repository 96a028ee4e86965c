"""Laws C1 to C3: one form for each body."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_journal.failures import BadRecord
from noodle_journal.format.canonical import (
    BODY_BYTES_MAX,
    PAD_BYTES,
    NotCanonical,
    encode,
    pad,
    parse,
    parse_padded,
    unpad,
)

TEXT = st.text(st.characters(codec="utf-8"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
BODIES = st.dictionaries(TEXT, VALUES, max_size=5)


@given(BODIES)
def test_parse_returns_what_was_encoded(body: dict[str, object]) -> None:
    """C1."""
    text, parsed = encode(body)  # type: ignore[arg-type]
    assert parsed == body
    assert parse(text) == body
    assert encode(parse(text))[0] == text


@given(BODIES)
def test_encoding_does_not_depend_on_the_order_of_keys(body: dict[str, object]) -> None:
    """C1: sorted by the bytes of their UTF-8."""
    backwards = dict(reversed(body.items()))
    assert encode(backwards)[0] == encode(body)[0]  # type: ignore[arg-type]
    assert list(parse(encode(body)[0])) == sorted(body, key=str.encode)  # type: ignore[arg-type]


@given(BODIES)
def test_a_second_spelling_is_refused(body: dict[str, object]) -> None:
    """C2: spaces, escapes, order."""
    text = encode(body)[0]  # type: ignore[arg-type]
    others = {
        json.dumps(body, ensure_ascii=True, sort_keys=True).encode(),
        json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
        text + b" ",
        b" " + text,
    } - {text}
    for other in others:
        if json.loads(other) == json.loads(text) and _floatless(other):
            if other == text:
                continue
            with pytest.raises(NotCanonical):
                parse(other)


def _floatless(text: bytes) -> bool:
    found: list[float] = []

    def kept(token: str) -> float:
        found.append(float(token))
        return found[-1]

    json.loads(text, parse_float=kept)
    return not found


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1 }',
        b'{"\\u0061":1}',
        b'{"a":01}',
        b'{"a":18446744073709551616}',
        b'{"a":-9223372036854775809}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":"\\/"}',
        b'{"x":1.5,"a":1}',
        b'{"a":1.5,"a":1.5}',
        b"[]",
        b"1",
        b"",
        b'{"a":"\xff"}',
        b"{",
    ],
)
def test_what_is_not_canonical_is_refused(text: bytes) -> None:
    """C2."""
    with pytest.raises(NotCanonical):
        parse(text)


@pytest.mark.parametrize("spelling", [b"1e16", b"1e+16", b"10000000000000000.0"])
def test_a_float_may_keep_another_shortest_spelling(spelling: bytes) -> None:
    """A journal stays readable when the serialiser changes how it spells floats."""
    assert parse(b'{"a":' + spelling + b"}") == {"a": 1e16}


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        2**64,
        -(2**63) - 1,
        "\ud800",
        b"bytes",
        {1: "x"},
        {"a": {1, 2}},
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        uuid.UUID(int=1),
        [1, [2, float("nan")]],
        object(),
    ],
)
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(BadRecord):
        encode({"a": value})  # type: ignore[dict-item]


def test_what_is_too_deep_or_too_long_is_refused() -> None:
    deep: object = None
    for _ in range(300):
        deep = [deep]
    with pytest.raises(BadRecord):
        encode({"a": deep})  # type: ignore[dict-item]
    with pytest.raises(BadRecord):
        encode({"a": "x" * BODY_BYTES_MAX})


def test_tuples_and_mappings_are_stored_as_lists_and_objects() -> None:
    text, parsed = encode({"a": (1, (2, 3))})
    assert text == b'{"a":[1,[2,3]]}'
    assert parsed == {"a": [1, [2, 3]]}


@given(st.binary(max_size=300))
def test_unpad_returns_what_was_padded(text: bytes) -> None:
    """C3."""
    padded = pad(text)
    assert unpad(padded) == text
    assert len(padded) % PAD_BYTES == 0
    assert 0 < len(padded) - len(text) <= PAD_BYTES


@given(st.binary(max_size=200))
def test_only_one_text_has_a_given_padding(padded: bytes) -> None:
    """C3, the other way: what unpad accepts is what pad makes."""
    try:
        text = unpad(padded)
    except NotCanonical:
        return
    assert pad(text) == padded


@pytest.mark.parametrize(
    "padded",
    [b"", b"\0" * 64, b"a" * 64, b"a" * 63, b"\x80" + b"\0" * 127, b"{}\x80" + b"\0" * 60],
)
def test_other_paddings_are_refused(padded: bytes) -> None:
    with pytest.raises(NotCanonical):
        unpad(padded)


@given(BODIES, st.integers(0), st.integers(0, 255))
def test_reading_a_padded_body_at_once_is_unpadding_and_parsing_it(
    body: dict[str, object], at: int, byte: int
) -> None:
    """C1 to C3, and for a changed byte as well."""
    whole = pad(encode(body)[0])  # type: ignore[arg-type]
    at %= len(whole)
    for padded in (whole, whole[:at] + bytes([byte]) + whole[at + 1 :], whole[:at]):
        try:
            wanted = unpad(padded), parse(unpad(padded))
        except NotCanonical:
            with pytest.raises(NotCanonical):
                parse_padded(padded)
        else:
            assert parse_padded(padded) == wanted
