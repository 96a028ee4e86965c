"""SemVer 2 ordering, ranges, and names."""

from __future__ import annotations

import itertools

import pytest

from noodle_engine.registry.failures import NameRefused, VersionRefused
from noodle_engine.registry.names import Wanted, check_name, parse_wanted
from noodle_engine.registry.versions import (
    VERSION_LENGTH_MAX,
    VersionRange,
    check_version,
    newest_first,
    precedes,
)

# The example of SemVer 2.0.0, section 11, and plain numbers around it.
ORDERED = (
    "0.9.9",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.2.0",
    "1.10.0",
    "2.0.0",
)


def test_the_order_is_that_of_the_specification() -> None:
    for (one, first), (two, second) in itertools.product(enumerate(ORDERED), repeat=2):
        assert precedes(first, second) is (one < two)
    assert newest_first(sorted(ORDERED)) == tuple(reversed(ORDERED))


def test_build_metadata_has_no_precedence_but_a_stable_place() -> None:
    assert not precedes("1.0.0+a", "1.0.0+b")
    assert not precedes("1.0.0+b", "1.0.0+a")
    assert newest_first(["1.0.0+a", "1.0.0+b"]) == newest_first(["1.0.0+b", "1.0.0+a"])


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.0", "v1.0.0", "1.0.0 ", "01.0.0", "1.0.0-01", "1.0.0-", "1.0.0+", "1.0.٣"),
        *("1.0.0\n", "1.0." + "9" * VERSION_LENGTH_MAX, "1.0.0-a_b", "../1.0.0"),
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(VersionRefused):
        check_version(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.0.0, <2.0.0", ("1.0.0", "1.9.9", "2.0.0-rc.1"), ("0.9.9", "2.0.0")),
        ("==1.2.0", ("1.2.0", "1.2.0+build"), ("1.2.1",)),
        ("!=1.2.0,>1.0.0", ("1.2.1",), ("1.2.0", "1.0.0")),
        ("<=1.0.0", ("1.0.0",), ("1.0.1",)),
    ],
)
def test_a_range_allows_what_keeps_every_comparison(
    text: str, inside: tuple[str, ...], outside: tuple[str, ...]
) -> None:
    found = VersionRange.parse(text)
    assert all(found.allows(version) for version in inside)
    assert not any(found.allows(version) for version in outside)
    assert VersionRange.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "1.0.0", "^1.0.0", "~=1.0.0", ">=1", ">=1.0.0,", ">=1.0.0 <2.0.0", "*", ">1.0.0," * 17],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(VersionRefused):
        VersionRange.parse(text)


def test_a_wanted_release_is_name_and_version() -> None:
    assert parse_wanted("web@1.4.0") == Wanted("web", "1.4.0")
    assert parse_wanted("web") == Wanted("web")
    assert check_name("a" * 63) == "a" * 63
    for text in ("", "@1.0.0", "Web", "-web", "a/b", "a" * 64, "web\n", "..", "wéb"):
        with pytest.raises(NameRefused):
            check_name(text)
    for text in ("web@", "web@1", "web@1.0.0@2"):
        with pytest.raises(VersionRefused):
            parse_wanted(text)
