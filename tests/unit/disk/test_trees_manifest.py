"""What a tree holds, and how two trees differ (laws M1, M2)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from noodle_engine.disk.trees.manifest import (
    TREE_FORMAT,
    Change,
    ChangeKind,
    EntryKind,
    ManifestUnreadable,
    TreeEntry,
    TreeManifest,
    change_between,
    compare,
    name_text,
    object_key,
)
from noodle_engine.machine.text import path_bytes

FILE, FOLDER, LINK = EntryKind.FILE, EntryKind.FOLDER, EntryKind.LINK
ROOT: Final = TreeEntry(b"", FOLDER, 0o755, 0, 0)
ONE: Final = TreeEntry(
    b"one", FILE, 0o644, 1, 2, 3, "a" * 64, "b" * 64, b"", (("user.a", b"1"), ("user.b", b""))
)

names = st.one_of(
    st.binary(min_size=1, max_size=6).filter(
        lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
    ),
    st.sampled_from(
        [b"a", b"b", b"a-b", b"a%20", b"%", b"%FF", b"\xff", b"\xc3\xa9", b"\n", b'"\\']
    ),
)
digests = st.sampled_from(["0" * 64, "1" * 64, "ab" * 32])
xattrs = st.dictionaries(
    st.sampled_from(["user.a", "user.%41", "user.\udcff", "user.é", "security.capability"]),
    st.binary(max_size=4),
    max_size=3,
).map(lambda found: tuple(sorted(found.items())))
modes, ids = st.integers(0, 0o7777), st.sampled_from([0, 1000, 2**32 - 2])


@st.composite
def manifests(draw: st.DrawFn) -> TreeManifest:
    """Trees of a few entries, with names in any bytes, some in folders."""
    entries = [TreeEntry(b"", FOLDER, draw(modes), draw(ids), draw(ids), xattrs=draw(xattrs))]
    folders, taken = [b""], {b""}
    for _ in range(draw(st.integers(0, 6))):
        parent = draw(st.sampled_from(folders))
        path = parent + b"/" + draw(names) if parent else draw(names)
        if path in taken:
            continue
        taken.add(path)
        kind = draw(st.sampled_from(EntryKind))
        if kind is LINK:
            entry = TreeEntry(path, kind, 0, draw(ids), draw(ids), link=draw(names))
        else:
            entry = TreeEntry(path, kind, draw(modes), draw(ids), draw(ids), xattrs=draw(xattrs))
        if kind is FOLDER:
            folders.append(path)
        elif kind is FILE:
            entry = entry._replace(
                size=draw(st.integers(0, 2**62)),
                blake3=draw(digests),
                sha256=draw(st.sampled_from(["", "c" * 64])),
            )
        entries.append(entry)
    return TreeManifest(entries)


@given(manifests())
def test_what_was_encoded_is_parsed_to_the_same(manifest: TreeManifest) -> None:
    """M2."""
    data = manifest.encode()
    parsed = TreeManifest.parse(data)
    assert parsed == manifest
    assert parsed.encode() == data
    assert parsed.root == manifest.root
    assert hash(parsed) == hash(manifest)
    assert data.isascii()


@given(manifests(), st.randoms(use_true_random=False))
def test_the_order_of_entries_is_no_part_of_a_tree(manifest: TreeManifest, random: object) -> None:
    shuffled = list(manifest.entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = TreeManifest(shuffled)
    assert again == manifest
    assert again.encode() == manifest.encode()
    paths = [entry.path for entry in again.entries]
    assert paths == sorted(paths)


@pytest.mark.parametrize(
    "changed",
    [
        {"path": b"two"},
        {"mode": 0o645},
        {"mode": 0o4644},
        {"uid": 2},
        {"gid": 1},
        {"blake3": "c" * 64},
        {"kind": FOLDER},
        {"link": b"x"},
        {"xattrs": ()},
        {"xattrs": (("user.a", b"2"), ("user.b", b""))},
        {"xattrs": (("user.a", b"1"), ("user.c", b""))},
        {"xattrs": (("user.a", b"1"),)},
    ],
)
def test_a_root_depends_on_each_field(changed: dict[str, object]) -> None:
    """M1. And so does what a check compares."""
    other = ONE._replace(**changed)  # type: ignore[arg-type]
    assert TreeManifest([ROOT, ONE]).root != TreeManifest([ROOT, other]).root
    assert (ONE.identity, ONE.path) != (other.identity, other.path)


@pytest.mark.parametrize("changed", [{"size": 4}, {"sha256": ""}])
def test_a_root_does_not_depend_on_what_the_content_says_already(
    changed: dict[str, object],
) -> None:
    other = ONE._replace(**changed)  # type: ignore[arg-type]
    assert TreeManifest([ROOT, ONE]).root == TreeManifest([ROOT, other]).root
    assert TreeManifest([ROOT, ONE]) != TreeManifest([ROOT, other])


def test_a_root_depends_on_the_trees_own_folder_and_on_empty_ones() -> None:
    """M1."""
    trees = [
        [ROOT, ONE],
        [ROOT._replace(mode=0o700), ONE],
        [ROOT, ONE, TreeEntry(b"empty", FOLDER, 0o755, 0, 0)],
        [ROOT],
        [],
    ]
    assert len({TreeManifest(tree).root for tree in trees}) == len(trees)


@given(manifests(), manifests())
def test_two_trees_have_one_root_exactly_if_nothing_differs(
    first: TreeManifest, second: TreeManifest
) -> None:
    """M1."""
    assert (first.root == second.root) == (compare(first, second) == ())
    assert compare(first, first) == ()


SEEN_FROM_THERE: Final = {
    ChangeKind.ADDED: ChangeKind.REMOVED,
    ChangeKind.REMOVED: ChangeKind.ADDED,
    ChangeKind.CHANGED: ChangeKind.CHANGED,
    ChangeKind.ATTRIBUTES: ChangeKind.ATTRIBUTES,
}


@given(manifests(), manifests())
def test_a_comparison_is_the_same_from_both_sides(
    first: TreeManifest, second: TreeManifest
) -> None:
    there = compare(first, second)
    back = compare(second, first)
    assert [(SEEN_FROM_THERE[c.kind], c.path, c.new, c.old) for c in there] == [
        (c.kind, c.path, c.old, c.new) for c in back
    ]
    changed = {change.path for change in there}
    assert [change.path for change in there] == sorted(changed)
    for path in first.by_path.keys() & second.by_path.keys() - changed:
        assert first.by_path[path].identity == second.by_path[path].identity


@given(manifests())
def test_against_nothing_all_is_new_or_gone(manifest: TreeManifest) -> None:
    paths = [entry.path for entry in manifest.entries]
    new, gone = compare(None, manifest), compare(manifest, None)
    assert [(change.kind, change.path) for change in new] == [(ChangeKind.ADDED, p) for p in paths]
    assert [(c.kind, c.path) for c in gone] == [(ChangeKind.REMOVED, p) for p in paths]
    assert compare(None, None) == ()


@pytest.mark.parametrize(
    ("changed", "kind", "what"),
    [
        ({"blake3": "c" * 64}, ChangeKind.CHANGED, ("content",)),
        ({"kind": LINK, "mode": 0}, ChangeKind.CHANGED, ("kind",)),
        ({"mode": 0o4755}, ChangeKind.ATTRIBUTES, ("mode 0644 to 4755",)),
        ({"uid": 9}, ChangeKind.ATTRIBUTES, ("owner 1:2 to 9:2",)),
        (
            {"gid": 9, "xattrs": (("user.b", b"2"), ("user.c", b""))},
            ChangeKind.ATTRIBUTES,
            ("owner 1:2 to 1:9", "attribute user.a", "attribute user.b", "attribute user.c"),
        ),
    ],
)
def test_a_change_says_what_differs(
    changed: dict[str, object], kind: ChangeKind, what: tuple[str, ...]
) -> None:
    other = ONE._replace(**changed)  # type: ignore[arg-type]
    assert change_between(ONE, other) == Change(kind, b"one", ONE, other, what)


@given(st.binary(max_size=12))
@example(b"%")
@example(b"%41")
@example(b"\xc3\xa9")
@example(b"\xff\n\x7f")
def test_the_text_of_a_name_turns_back_into_its_bytes(raw: bytes) -> None:
    text = name_text(raw)
    assert path_bytes(text) == raw
    assert text.isprintable()


@given(names, names)
def test_two_names_never_have_one_stored_form(first: bytes, second: bytes) -> None:
    assume(first != second)
    trees = [TreeManifest([ROOT, ONE._replace(path=name)]) for name in (first, second)]
    assert trees[0].encode() != trees[1].encode()
    assert trees[0].root != trees[1].root


def test_what_is_stored_does_not_depend_on_which_characters_an_interpreter_knows() -> None:
    """M1, M2. What is printable differs from one Unicode to the next."""
    entry = ONE._replace(path="é\U0001fae8".encode(), xattrs=(("user.é", b""),))
    data = TreeManifest([ROOT, entry]).encode()
    assert b"%C3%A9%F0%9F%AB%A8" in data
    assert b"user.%C3%A9" in data


GOLDEN: Final = (
    b'{"format":1,"entries":[["","d",493,0,0,0,"","","",[]],["one","f",420,1,2,3,"'
    + b"a" * 64
    + b'","'
    + b"b" * 64
    + b'","",[["user.a","31"],["user.b",""]]],["%FFl","l",0,7,8,0,"","","50%25",[]]]}\n'
)
GOLDEN_ROOT: Final = "tree:2f70cd3c3ecd150a64efd0f3627796bf201a7d931b5fb965183b2ad01324efe1"
GOLDEN_KEY: Final = "86e9b61f33004354c28a8cb03d1a88c4d4bb50de4643ed513c5fb56c920ecc88"


def test_a_root_is_what_it_was() -> None:
    """Formats are forever: stored roots name trees on disks."""
    assert TREE_FORMAT == 1
    link = TreeEntry(b"\xffl", LINK, 0, 7, 8, link=b"50%")
    assert TreeManifest([ROOT, ONE, link]).root == GOLDEN_ROOT
    assert object_key(ONE) == GOLDEN_KEY
    assert TreeManifest([ROOT, ONE, link]).encode() == GOLDEN


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"path": b"other"}, True),
        ({"size": 9}, True),
        ({"sha256": ""}, True),
        ({"blake3": "c" * 64}, False),
        ({"mode": 0o600}, False),
        ({"uid": 9}, False),
        ({"gid": 9}, False),
        ({"xattrs": ()}, False),
    ],
)
def test_a_key_is_of_content_and_attributes(changed: dict[str, object], same: bool) -> None:
    other = ONE._replace(**changed)  # type: ignore[arg-type]
    assert (object_key(other) == object_key(ONE)) is same


def test_it_counts_its_files_and_their_bytes() -> None:
    link = TreeEntry(b"l", LINK, 0, 0, 0, link=b"x")
    manifest = TreeManifest([ROOT, ONE, ONE._replace(path=b"two", size=10), link])
    assert (manifest.files, manifest.bytes) == (2, 13)
    assert manifest.by_path[b"two"].size == 10


@pytest.mark.parametrize(
    "paths",
    [
        [b"one"],
        [b"", b"one", b"one"],
        [b"", b""],
        [b"", b"in/one"],
        [b"", b"one/in it"],
        [b"", b"/one"],
        [b"", b"one/"],
        [b"", b"."],
        [b"", b".."],
        [b"", b"a\0b"],
        [b"", b"dir", b"dir/.."],
        [b"", b"dir", b"dir//x"],
        [b"", b"dir", b"dir/x", b"dir0", b"dir0/x", b"dir/y/z"],
    ],
)
def test_paths_that_are_no_tree_are_refused(paths: list[bytes]) -> None:
    entries = [
        TreeEntry(path, FOLDER if path in (b"", b"dir", b"dir0") else FILE, 0, 0, 0)
        for path in paths
    ]
    with pytest.raises(ManifestUnreadable):
        TreeManifest(entries)


def test_a_tree_that_is_no_folder_or_has_unsorted_attributes_is_refused() -> None:
    with pytest.raises(ManifestUnreadable):
        TreeManifest([ROOT._replace(kind=FILE)])
    twice = (("user.a", b""), ("user.a", b"1"))
    for pairs in (twice, ONE.xattrs[::-1]):
        with pytest.raises(ManifestUnreadable):
            TreeManifest([ROOT, ONE._replace(xattrs=pairs)])


def rows() -> list[list[object]]:
    data = TreeManifest([ROOT, ONE, TreeEntry(b"two", LINK, 0, 0, 0, link=b"x%")]).encode()
    found: list[list[object]] = orjson.loads(data)["entries"]
    return found


def encoded(entries: object, version: object = TREE_FORMAT) -> bytes:
    return orjson.dumps({"format": version, "entries": entries}) + b"\n"


def test_only_the_canonical_form_is_read() -> None:
    """M2. The same content in other bytes."""
    data = encoded(rows())
    assert TreeManifest.parse(data).files == 1
    for other in (
        data[:-1],
        data + b"\n",
        data.replace(b",", b", ", 1),
        data.replace(b'"one"', b'"\\u006fne"'),
        data.replace(b'"one"', b'"%6Fne"'),
        data.replace(b'"x%25"', b'"x%"'),
        data.replace(b'"31"', b'"3 1"'),
        b" " + data,
        encoded(rows()[::-1]),
        orjson.dumps({"entries": rows(), "format": TREE_FORMAT}) + b"\n",
        orjson.dumps({"format": TREE_FORMAT, "entries": rows(), "more": 1}) + b"\n",
    ):
        assert other != data
        with pytest.raises(ManifestUnreadable):
            TreeManifest.parse(other)


@pytest.mark.parametrize("column", range(10))
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        -1.5,
        1.0,
        2**63,
        "x",
        "é",
        "%zz",
        [],
        ["x"],
        [["a"]],
        [[1, "00"]],
        [["a", 1]],
        {},
    ],
)
def test_a_value_of_another_kind_is_refused_or_stands_for_itself(
    column: int, value: object
) -> None:
    """M2. Nothing but ManifestUnreadable is raised, whatever is in a row."""
    entries = rows()
    entries[1][column] = value
    data = encoded(entries)
    try:
        found = TreeManifest.parse(data)
    except ManifestUnreadable:
        return
    assert found.encode() == data
    assert type(found.by_path[b"one" if column else str(value).encode()][column]) is type(
        ONE[column]
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b"null",
        b'{"format":1}',
        b'{"format":1,"entries":null}\n',
        b'{"format":1,"entries":7}\n',
        b'{"format":1,"entries":["0123456789"]}\n',
        b'{"format":1,"entries":[{}]}\n',
        b'{"format":1,"entries":[[]]}\n',
        b'{"format":1,"entries":[null]}\n',
        b"[" * 5000,
    ],
)
def test_junk_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestUnreadable):
        TreeManifest.parse(data)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.0])
def test_another_format_is_refused(version: object) -> None:
    with pytest.raises(ManifestUnreadable):
        TreeManifest.parse(encoded(rows(), version))


@given(manifests(), st.data())
def test_a_flipped_bit_is_another_tree_or_none(manifest: TreeManifest, data: st.DataObject) -> None:
    """M2. What is read from changed bytes says what those bytes say."""
    stored = bytearray(manifest.encode())
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = TreeManifest.parse(bytes(stored))
    except ManifestUnreadable:
        return
    assert found != manifest
    assert found.encode() == bytes(stored)


def test_the_same_root_comes_out_of_another_locale_and_seed() -> None:
    program = (
        "from noodle_engine.disk.trees.manifest import *;"
        "m = TreeManifest([TreeEntry(b'', EntryKind.FOLDER, 7, 0, 0),"
        " TreeEntry(b'\\xc3\\xa9%', EntryKind.LINK, 0, 0, 0, link=b'\\xff')]); print(m.root)"
    )
    roots = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "LC_ALL": locale, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for locale, seed in (("C", "1"), ("C.UTF-8", "2"))
    }
    assert len(roots) == 1
