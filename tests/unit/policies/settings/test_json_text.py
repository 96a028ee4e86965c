"""What is no JSON is told with line and column, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_policies.settings.reading.json_text import (
    DEPTH_MAX,
    JsonRefused,
    places_in,
    read_json,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("", "1:1", "empty"),
        ("\n\n", "3:1", "empty"),
        ('{"a": 1, "a": 2}', "1:10", "twice"),
        ('{"a": {"b": 1,\n "b": 2}}', "2:2", "twice"),
        ('{"a": NaN}', "1:7", "NaN"),
        ('{"a": [1, -Infinity]}', "1:11", "Infinity"),
        ('{"a": 1e400}', "1:7", "large"),
        ('{"a": 1} // why', "1:10", "comments"),
        ('{\n  # why\n"a": 1}', "2:3", "comments"),
        ('{"a": 1,}', "1:8", "comma"),
        ('{"a": [1,\n]}', "1:9", "comma"),
        ('{"a": 1 "b": 2}', "1:9", "comma"),
        ('{"a" 1}', "1:6", "colon"),
        ("{'a': 1}", "1:2", "quotes"),
        ('{"a": tru}', "1:7", "value"),
        ('{"a": 01}', "1:8", "comma"),
        ('{"a": "x\ny"}', "1:7", "closed"),
        ('{"a": "\\ud800"}', "1:8", "letter"),
        ('{"a": 1', "1:8", "never ends"),
        ('{"a": 1} {}', "1:10", "follows"),
        ("[" * 5000, f"1:{DEPTH_MAX + 2}", "deeper"),
        ('{"a":' * 5000, None, "deeper"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", f"1:{DEPTH_MAX + 7}", "deeper"),
        ("9" * 5000, "1:1", "large"),
        ("9" * 401, "1:1", "large"),
        (f"0.{'0' * 400}1", "1:1", "large"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, place: str | None, word: str) -> None:
    with pytest.raises(JsonRefused) as caught:
        read_json(text.encode())
    assert place is None or str(caught.value.place) == place
    assert word in caught.value.text


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16"),
        (b'{"a":\n "\xe4"}', "0xe4"),
    ],
)
def test_another_encoding_is_told(raw: bytes, word: str) -> None:
    with pytest.raises(JsonRefused) as caught:
        read_json(raw)
    assert word in caught.value.text


@given(values)
def test_what_is_json_is_read_as_it_was_written(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert read_json(text.encode()) == value
    places_in(text.encode())


@given(st.text(alphabet='{}[]",:0e1.-trufalsn \n\\', max_size=30) | st.text(max_size=10))
def test_both_readers_refuse_the_same(text: str) -> None:
    """Whatever the fast reader refuses has a place; what it takes, the other one takes."""
    raw = text.encode("utf-8", "surrogatepass")
    try:
        read_json(raw)
    except JsonRefused:
        return
    places_in(raw)


def test_each_name_and_element_has_its_place() -> None:
    found = places_in(b'{"a": {\n "b": [1,\n  {"c": 2}]}}')
    assert {way: str(place) for way, place in found.items()} == {
        ("a",): "1:2",
        ("a", "b"): "2:2",
        ("a", "b", 0): "2:8",
        ("a", "b", 1): "3:3",
        ("a", "b", 1, "c"): "3:4",
    }


@pytest.mark.parametrize("text", ["[" * DEPTH_MAX + "]" * DEPTH_MAX, "-1" + "0" * 350, "1e308"])
def test_what_is_read_has_places(text: str) -> None:
    """What one reader takes the other takes: a problem that is found in it can be placed."""
    assert read_json(text.encode()) == json.loads(text)
    places_in(text.encode())


def test_as_deep_as_may_be_is_the_same_for_both() -> None:
    for depth in range(DEPTH_MAX - 1, DEPTH_MAX + 3):
        for inner in ("", "1"):
            raw = ("[" * depth + inner + "]" * depth).encode()
            told = []
            for read in (read_json, places_in):
                try:
                    read(raw)
                    told.append("")
                except JsonRefused as refused:
                    told.append(str(refused))
            assert told[0] == told[1], depth
