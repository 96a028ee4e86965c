"""Random trees: what comes in is what is stored, and links are followed as the kernel does."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from noodle_engine.disk.trees.manifest import EntryKind
from noodle_engine.disk.trees.scan import Digests, scan_tree
from noodle_engine.registry.failures import PayloadRefused
from noodle_engine.registry.payloads.difference import compare_releases
from noodle_engine.registry.payloads.links import Leads, leads_to, links_by_lead
from noodle_engine.registry.release import check_payload, tree_of
from tests.unit.registry.releases import make_store, make_tree_release

Tree = Mapping[tuple[bytes, ...], "tuple[bytes | str | None, int]"]
"""By path: content, a link's text or None for a folder; and a mode."""

names = st.one_of(
    st.sampled_from([b"a", b"b", b"a-b", b"c", b"%41", b"\xff\xfe", b"\n", b"n" * 255]),
    st.binary(min_size=1, max_size=8).filter(
        lambda name: not {b"/"[0], 0} & set(name) and name not in (b".", b"..", b".noodle")
    ),
)
paths = st.lists(names, min_size=1, max_size=4).map(tuple)
contents = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.sampled_from([b"same", b"x" * 300_000, b"\0" * 70_000]),
    st.sampled_from(["a", "../a", "b/../c", "/etc/hostname", "nowhere", "\udcff"]),
)
file_modes = st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o4755, 0o666])
trees = st.dictionaries(paths, st.tuples(contents, file_modes), max_size=8)


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder for each example, in memory where there is such a place."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="noodle-trees-", dir=memory))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def write(tree: Path, wanted: Tree) -> None:
    """Write what of a tree can be: a path below a file or a link is left out."""
    top = os.fsencode(tree)
    no_folders = {path for path, (what, _) in wanted.items() if what is not None}
    for path, (what, mode) in wanted.items():
        if any(path[:length] in no_folders for length in range(1, len(path))):
            continue
        where = top + b"/" + b"/".join(path)
        try:
            os.makedirs(os.path.dirname(where), exist_ok=True)
            if what is None:
                os.makedirs(where, exist_ok=True)
                os.chmod(where, mode & 0o777 | 0o700)
            elif isinstance(what, str):
                os.symlink(os.fsencode(what), where)
            else:
                with open(where, "xb") as opened:
                    opened.write(what)
                os.chmod(where, mode)
        except FileExistsError:  # it is the folder of another
            continue


@settings(deadline=None, max_examples=60)
@given(first=trees, second=trees)
def test_what_comes_in_is_what_is_stored(first: Tree, second: Tree) -> None:
    """S3, P1: two versions, the second with files of the first."""
    with scratch() as folder:
        store = make_store(folder)
        known = []
        for version, wanted in (("1.0.0", first), ("1.1.0", {**first, **second})):
            release = make_tree_release(folder, version)
            write(release / "tree", wanted)
            source = scan_tree(release / "tree", digests=Digests.BOTH).manifest
            if links_by_lead(source)[Leads.OUT]:
                try:
                    store.add(release)
                except PayloadRefused:
                    return
                raise AssertionError("a link leads out")
            read = store.get("site", store.add(release).version)
            known.append(read)
            assert tree_of(read) == source
            assert scan_tree(read.payload, digests=Digests.BOTH).manifest == source
            assert (read.content, read.files, read.size_bytes) == (
                source.root,
                source.files,
                source.bytes,
            )
            assert store.add(release).added is False
        for read in known:
            check_payload(read)
        found = compare_releases(*known)
        assert found.bytes_copied + found.bytes_shared == known[1].size_bytes
        assert bool(found.changes) == (known[0].content != known[1].content)


link_names = st.sampled_from(["a", "b", "c", "..", "."])
links = st.lists(link_names, min_size=1, max_size=6).map("/".join)
linked_trees = st.dictionaries(
    st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3).map(tuple),
    st.tuples(st.one_of(st.none(), st.just(b"file"), links, links), st.just(0o644)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=300)
@given(wanted=linked_trees)
def test_links_lead_where_the_kernel_says(wanted: Tree) -> None:
    """The tree's own name is in no link: who has left it cannot come back."""
    with scratch() as folder:
        tree = folder / "the tree"
        tree.mkdir()
        write(tree, wanted)
        manifest = scan_tree(tree).manifest
        for entry in manifest.entries:
            if entry.kind is not EntryKind.LINK:
                continue
            path = tree / os.fsdecode(entry.path)
            there = path.exists()
            inside = there and path.resolve().is_relative_to(tree.resolve())
            found = leads_to(manifest, entry.path)
            assert (found is Leads.INSIDE) == inside
            if found is Leads.NOWHERE:
                assert not there
