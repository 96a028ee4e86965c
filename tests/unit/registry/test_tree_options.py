"""What the options of a directory mean, and that a plan holds them by value."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from noodle_engine.registry.tree_options import (
    OptionsUnreadable,
    TreeOptions,
    mutable_problems,
    pattern_problem,
)


def options(*unmanaged: str, mutable: tuple[str, ...] = ()) -> TreeOptions:
    return TreeOptions.of(
        layout="link",
        mutable=mutable,
        unmanaged=unmanaged,
        immutable=False,
        quiesce=(),
        unquiesce=(),
    )


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "skipped"),
    [
        ("*.pid", b"web.pid", False, True),
        ("*.pid", b"run/deep/web.pid", False, True),
        ("*.pid", b"web.pid.old", False, False),
        ("*.pid", b"x.pid/inside", False, True),
        ("__pycache__/", b"app/__pycache__", True, True),
        ("__pycache__/", b"app/__pycache__", False, False),
        ("__pycache__/", b"app/__pycache__/m.pyc", False, True),
        ("__pycache__/", b"app/my__pycache__/m.pyc", False, False),
        ("var/*.log", b"var/a.log", False, True),
        ("var/*.log", b"app/var/a.log", False, False),
        ("var/*.log", b"var/deep/a.log", False, False),
        ("/cache", b"cache", True, True),
        ("/cache", b"app/cache", True, False),
        ("/cache/", b"cache", False, False),
        ("cache?", b"cache/", False, False),
        ("a[!b]c", b"axc", False, True),
        ("a[!b]c", b"abc", False, False),
        ("a[]-]c", b"a]c", False, True),
        ("a[b", b"a[b", False, True),
        ("[&&a]", b"&", False, True),
        ("caf\u00e9", "caf\u00e9".encode(), False, True),
        ("caf?", "caf\u00e9".encode(), False, True),
        ("?.txt", b"\xff.txt", False, True),
        ("*.txt", b"a\nb.txt", False, True),
        ("tmp", b"tmp\n", False, False),
    ],
)
def test_a_pattern_matches_as_documented(
    pattern: str, path: bytes, *, is_folder: bool, skipped: bool
) -> None:
    assert pattern_problem(pattern) is None
    assert options(pattern).skips(path, is_folder) is skipped
    assert options("nothing-else", pattern).skips(path, is_folder) is skipped


def test_nothing_is_skipped_without_a_pattern() -> None:
    assert not options().skips(b"__pycache__", True)


_CHARACTERS = st.text(alphabet="ab*?[]!-.", min_size=1, max_size=9)


@given(pattern=_CHARACTERS, name=st.text(alphabet="ab.[]!-", min_size=1, max_size=9))
def test_a_pattern_of_a_name_matches_as_fnmatch_does(pattern: str, name: str) -> None:
    """O2's other side: the quicker expression matches what the plain one does."""
    assume(pattern_problem(pattern) is None and name not in (".", ".."))
    wanted = fnmatch.fnmatchcase(name, pattern)
    assert options(pattern).skips(name.encode(), False) is wanted
    assert options(pattern).skips(f"deep/{name}".encode(), True) is (
        wanted or fnmatch.fnmatchcase("deep", pattern)
    )


def test_stars_cost_no_more_than_the_path_is_long() -> None:
    """O2. A plain translation of this would take longer than the universe is old."""
    assert not options("*a" * 40 + "b").skips(b"a" * 255, False)


_NAMES = st.text(
    alphabet=st.characters(exclude_characters="/\0", codec="utf-8"),
    min_size=1,
    max_size=5,
)


@given(
    layout=st.sampled_from(["link", "tree"]),
    mutable=st.lists(st.tuples(_NAMES, _NAMES, st.sampled_from(["", "/"])), max_size=4),
    unmanaged=st.lists(_NAMES, max_size=3),
    immutable=st.booleans(),
    quiesce=st.lists(st.text(max_size=4), max_size=3),
)
def test_what_a_plan_holds_is_what_was_written(
    layout: str,
    mutable: list[tuple[str, str, str]],
    unmanaged: list[str],
    *,
    immutable: bool,
    quiesce: list[str],
) -> None:
    """O1."""
    paths = [f"{first}/{second}{slash}" for first, second, slash in mutable]
    assume(not mutable_problems(paths))
    assume(not any(map(pattern_problem, unmanaged)))
    written = TreeOptions.of(
        layout=layout,
        mutable=paths,
        unmanaged=unmanaged,
        immutable=immutable,
        quiesce=[text.encode("utf-8", "replace").decode() for text in quiesce],
        unquiesce=["start"],
    )
    assert TreeOptions.from_text(written.to_text()) == written


def test_what_a_plan_does_not_say_has_its_default() -> None:
    assert TreeOptions.from_text({}) == TreeOptions()
    assert TreeOptions.from_text({"layout": "tree", "strange": "x"}) == TreeOptions(layout="tree")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layout", "copy"),
        ("immutable", "yes"),
        ("mutable", "uploads"),
        ("mutable", '{"a": 1}'),
        ("mutable", "[1]"),
        ("mutable", '["../a"]'),
        ("unmanaged", '["**"]'),
    ],
)
def test_junk_is_no_options(key: str, value: str) -> None:
    with pytest.raises(OptionsUnreadable):
        TreeOptions.from_text({key: value})


def test_a_mutable_path_is_mutable_with_all_that_is_in_it() -> None:
    found = options(mutable=("uploads/", "var/data.db"))
    assert found.mutable == (b"uploads", b"var/data.db")
    assert found.mutable_folders == {b"uploads"}
    assert found.is_mutable(b"uploads")
    assert found.is_mutable(b"uploads/a/b")
    assert found.is_mutable(b"var/data.db")
    assert not found.is_mutable(b"var")
    assert not found.is_mutable(b"uploads2")
    assert not found.is_mutable(b"var/data.db-wal")
