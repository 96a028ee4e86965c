"""How two releases differ, told by what was signed of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from noodle_engine.disk.trees.manifest import ChangeKind
from noodle_engine.registry.failures import NameRefused, ReleaseUnknown, VersionRefused
from noodle_engine.registry.payloads.difference import compare_releases
from noodle_engine.registry.store import ReleaseStore
from tests.unit.registry.releases import MANIFEST, make_release, make_store, make_tree_release


def add_tree(
    store: ReleaseStore, folder: Path, version: str, files: dict[str, bytes], extra: str = ""
) -> Path:
    release = make_tree_release(folder, version, extra)
    for name, content in files.items():
        path = release / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    store.add(release)
    return release


def test_trees_differ_file_by_file_and_no_payload_is_read(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add_tree(store, tmp_path, "1.0.0", {"a": b"1", "gone": b"22", "same": b"333", "old": b"moved"})
    new = {"a": b"one", "more/b": b"4444", "same": b"333", "new": b"moved"}
    add_tree(store, tmp_path, "1.1.0", new, 'unmanaged = ["*.pid"]')
    for version in ("1.0.0", "1.1.0"):
        payload = store.get("site", version).payload
        shutil.rmtree(payload)
        payload.mkdir()
    found = compare_releases(store.find("site@1.0.0"), store.find("site@1.1.0"))
    assert [(change.kind, change.path) for change in found.changes] == [
        (ChangeKind.CHANGED, b"a"),
        (ChangeKind.REMOVED, b"gone"),
        (ChangeKind.ADDED, b"more"),
        (ChangeKind.ADDED, b"more/b"),
        (ChangeKind.ADDED, b"new"),
        (ChangeKind.REMOVED, b"old"),
    ]
    assert (found.bytes_copied, found.bytes_shared) == (3 + 4, 3 + 5)
    assert found.manifest == ("target.unmanaged",)


def test_a_release_does_not_differ_from_itself(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add_tree(store, tmp_path, "1.0.0", {"a": b"1"})
    found = compare_releases(store.find("site@1.0.0"), store.find("site@1.0.0"))
    assert (found.changes, found.manifest) == ((), ())
    assert (found.bytes_copied, found.bytes_shared) == (0, 1)


def test_plain_files_differ_in_content_and_mode(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.add(make_release(tmp_path, "1.0.0"))
    other = make_release(tmp_path, "1.1.0", b"print(2)\n", MANIFEST.replace("/srv/web/", "/srv/"))
    (other / "web.py").chmod(0o644)
    store.add(other)
    found = compare_releases(store.find("web@1.0.0"), store.find("web@1.1.0"))
    (change,) = found.changes
    assert (change.path, change.what) == (b"web.py", ("content", "mode 0755 to 0644"))
    assert found.manifest == ("target",)
    assert (found.bytes_copied, found.bytes_shared) == (9, 0)


@pytest.mark.parametrize(
    ("wanted", "failure"),
    [
        ("site@2.0.0", ReleaseUnknown),
        ("site", ReleaseUnknown),
        ("api@1.0.0", ReleaseUnknown),
        ("site@latest", VersionRefused),
        ("../keys@1.0.0", NameRefused),
    ],
)
def test_a_release_that_is_not_there_is_told(
    tmp_path: Path, wanted: str, failure: type[Exception]
) -> None:
    store = make_store(tmp_path)
    add_tree(store, tmp_path, "1.0.0", {"a": b"1"})
    with pytest.raises(failure):
        store.find(wanted)
