"""Releases whose payload is a tree, on the real disk (laws S1 to S3, P1 and P2)."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from noodle_engine.disk.failures import DiskFull
from noodle_engine.disk.trees.scan import Digests, scan_tree
from noodle_engine.registry.failures import (
    AddStopped,
    HomeShort,
    PayloadRefused,
    ReleaseConflict,
    ReleaseDamaged,
    ReleaseUnusable,
)
from noodle_engine.registry.publisher import KEY_NAME, load_publisher, open_envelope
from noodle_engine.registry.release import check_payload, tree_of
from noodle_engine.registry.store import ReleaseStore
from tests.unit.disk.grounds import (
    as_nobody,
    deep,
    full_of_oddities,
    need_root,
    odd_for_root,
    tmpfs,
)
from tests.unit.registry.releases import TREE_MANIFEST, make_home, make_store, make_tree_release


@pytest.fixture
def their_folder() -> Iterator[Path]:
    """A folder that another user can reach."""
    with tempfile.TemporaryDirectory(prefix="noodle-theirs-") as made:
        yield Path(made)


def fill(tree: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def make_filled(folder: Path, version: str = "1.0.0", **files: bytes) -> Path:
    release = make_tree_release(folder, version)
    fill(release / "tree", {"app.py": b"app", "static/site.css": b"css", **files})
    return release


def components(folder: Path) -> Path:
    return folder / "home" / "runtime_components"


def nothing_is_known(folder: Path) -> bool:
    left = [path for path in components(folder).rglob("*") if path.name not in (".lock", ".adding")]
    return left == []


def test_a_tree_is_read_back_as_it_was_added(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    release = make_filled(tmp_path)
    os.utime(release / "tree" / "app.py", ns=(1, 1_600_000_000_123_456_789))
    added = store.add(release)
    read = store.get("site", "1.0.0")

    assert (added.added, read.added) == (True, False)
    assert read.content == scan_tree(release / "tree").manifest.root
    assert (read.files, read.size_bytes) == (2, 6)
    place = components(tmp_path) / "site" / "1.0.0"
    assert read.payload == place / "payload"
    assert {path.name for path in place.iterdir()} == {
        "noodle.toml",
        "payload",
        "payload.tree",
        "signature",
    }
    assert (read.payload / "app.py").read_bytes() == b"app"
    assert (read.payload / "app.py").stat().st_mtime_ns == 1_600_000_000_123_456_789
    manifest = tree_of(read)
    assert manifest is not None
    assert manifest == scan_tree(release / "tree", digests=Digests.BOTH).manifest
    check_payload(read)


def test_what_is_signed_of_a_tree(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    place = store.add(make_filled(tmp_path)).payload.parent
    public = load_publisher(tmp_path / "home" / "keys" / KEY_NAME).public
    signed = json.loads(open_envelope((place / "signature").read_bytes(), public) or b"")
    assert set(signed) == {"format", "kind", "manifest", "name", "payload", "version"}
    assert (signed["kind"], signed["format"]) == ("directory", 1)
    assert set(signed["payload"]) == {"tree", "root", "files", "size"}
    assert (signed["payload"]["files"], signed["payload"]["size"]) == (2, 6)


def test_all_that_a_tree_can_hold_is_kept(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    release = make_tree_release(tmp_path)
    (release / "tree").rmdir()
    full_of_oddities(release / "tree")
    deep(release / "tree" / "deep", 120)
    if os.geteuid() == 0:
        odd_for_root(release / "tree")
    read = store.add(release)
    assert read.content == scan_tree(release / "tree").manifest.root
    assert scan_tree(read.payload).manifest.root == read.content
    check_payload(read)


def test_somebody_else_stores_what_is_theirs_to_give(their_folder: Path) -> None:
    """Files become their own, without another user's set-id bits and root's attributes."""
    need_root()
    place = their_folder
    release = make_filled(place)
    tree = release / "tree"
    (tree / "app.py").chmod(0o4755)
    os.setxattr(tree / "app.py", "user.mark", b"kept")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(tree / "static" / "site.css", "security.capability", capability)
    (tree / "read only").mkdir()
    (tree / "read only" / "file").write_bytes(b"r")
    (tree / "read only").chmod(0o555)
    os.chown(release / "noodle.toml", 65534, 65534)
    with as_nobody(place):
        store = ReleaseStore(make_home(place))
        added = store.add(release)
        again = store.add(release)
        (release / "noodle.toml").write_text(TREE_MANIFEST.replace("{version}", "1.1.0"))
        check_payload(store.add(release))
        check_payload(added)
    stored = (added.payload / "app.py").stat()
    assert (again.added, again.content) == (False, added.content)
    assert [notice.rpartition(": ")[2] for notice in added.notices] == ["app.py", "static/site.css"]
    assert (stored.st_uid, stat.S_IMODE(stored.st_mode)) == (65534, 0o755)
    assert os.getxattr(added.payload / "app.py", "user.mark") == b"kept"
    assert os.listxattr(added.payload / "static" / "site.css") == []


def test_a_source_that_changes_while_it_is_copied_becomes_no_release(tmp_path: Path) -> None:
    """P1. It is changed once it was read, before it is copied."""
    store = make_store(tmp_path)
    release = make_filled(tmp_path, big=bytes(2_000_000))
    changed: list[int] = []

    def change(done: int, total: int) -> None:
        if done > total // 3 and not changed:  # the first third is the reading
            changed.append(done)
            (release / "tree" / "static" / "site.css").write_bytes(b"CSS")

    with pytest.raises(PayloadRefused) as caught:
        store.add(release, progress=change)
    assert "static/site.css" in caught.value.problem
    assert nothing_is_known(tmp_path)


def test_an_add_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    stop = threading.Event()

    def half_way(done: int, total: int) -> None:
        if done > total // 2:
            stop.set()

    release = make_filled(tmp_path, big=bytes(3_000_000))
    with pytest.raises(AddStopped):
        store.add(release, stop=stop, progress=half_way)
    assert nothing_is_known(tmp_path)


def test_owners_set_id_bits_and_capabilities_are_kept_by_root(tmp_path: Path) -> None:
    need_root()
    store = make_store(tmp_path)
    release = make_filled(tmp_path)
    app = release / "tree" / "app.py"
    os.chown(app, 1234, 4321)
    app.chmod(0o6755)
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(release / "tree" / "static" / "site.css", "security.capability", capability)
    os.setxattr(app, "user.mark", b"\0kept")
    stored = store.add(release).payload
    facts = (stored / "app.py").stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (1234, 4321, 0o6755)
    assert os.getxattr(stored / "app.py", "user.mark") == b"\0kept"
    assert os.getxattr(stored / "static" / "site.css", "security.capability") == capability


def test_what_two_releases_have_alike_is_stored_once(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    big = os.urandom(200_000)
    first = store.add(make_filled(tmp_path, "1.0.0", big=big))
    release = make_filled(tmp_path, "1.1.0", big=big)
    (release / "tree" / "app.py").write_bytes(b"app 2")
    (release / "tree" / "static" / "site.css").chmod(0o600)
    second = store.add(release)
    shared = {
        name: (first.payload / name).stat().st_ino == (second.payload / name).stat().st_ino
        for name in ("app.py", "static/site.css", "big")
    }
    assert shared == {"app.py": False, "static/site.css": False, "big": True}
    check_payload(first)
    check_payload(second)


def test_a_damaged_earlier_release_damages_no_later_one(tmp_path: Path) -> None:
    """P1."""
    store = make_store(tmp_path)
    first = store.add(make_filled(tmp_path, "1.0.0"))
    (first.payload / "app.py").write_bytes(b"ape")
    (first.payload / "static" / "site.css").unlink()
    second = store.add(make_filled(tmp_path, "1.1.0"))
    assert (second.payload / "app.py").read_bytes() == b"app"
    check_payload(second)
    with pytest.raises(ReleaseDamaged) as caught:
        check_payload(store.get("site", "1.0.0"))
    assert "app.py" in caught.value.problem
    assert "static/site.css" in caught.value.problem


def test_adding_the_same_tree_again_changes_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    release = make_filled(tmp_path)
    first = store.add(release)
    before = first.payload.parent.stat()
    os.utime(release / "tree" / "app.py", (1, 1))
    assert store.add(release).added is False
    assert first.payload.parent.stat() == before


@pytest.mark.parametrize("change", ["content", "mode", "more", "link", "root"])
def test_a_version_names_one_tree_for_ever(tmp_path: Path, change: str) -> None:
    """S2. What differs is named."""
    store = make_store(tmp_path)
    release = make_filled(tmp_path)
    store.add(release)
    tree = release / "tree"
    named = "app.py"
    match change:
        case "content":
            (tree / "app.py").write_bytes(b"ape")
        case "mode":
            (tree / "app.py").chmod(0o600)
        case "more":
            (tree / "more").write_bytes(b"")
            named = "more"
        case "link":
            (tree / "app.py").unlink()
            (tree / "app.py").symlink_to("static/site.css")
        case _:
            tree.chmod(0o700)
            named = "."
    with pytest.raises(ReleaseConflict) as caught:
        store.add(release)
    assert caught.value.data["differs"] == f"payload: {named}"
    check_payload(store.get("site", "1.0.0"))


@pytest.mark.parametrize("part", ["payload.tree", "noodle.toml", "signature"])
def test_each_small_part_that_was_changed_is_named(tmp_path: Path, part: str) -> None:
    """S3, of a tree."""
    store = make_store(tmp_path)
    place = store.add(make_filled(tmp_path)).payload.parent
    other = store.add(make_filled(tmp_path, "1.1.0", more=b"m")).payload.parent
    original = (place / part).read_bytes()
    for data in (bytes([original[0] ^ 1]) + original[1:], (other / part).read_bytes(), b""):
        (place / part).write_bytes(data)
        with pytest.raises(ReleaseDamaged) as caught:
            store.get("site", "1.0.0")
        assert caught.value.part == part
    (place / part).unlink()
    with pytest.raises(ReleaseDamaged) as caught:
        store.get("site", "1.0.0")
    assert caught.value.part == part


def test_get_reads_no_tree_and_check_payload_reads_all_of_it(tmp_path: Path) -> None:
    """S3."""
    store = make_store(tmp_path)
    payload = store.add(make_filled(tmp_path)).payload
    status = (payload / "app.py").stat()
    (payload / "app.py").write_bytes(b"ape")
    os.utime(payload / "app.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    (payload / "strange").write_bytes(b"")
    read = store.get("site", "1.0.0")
    with pytest.raises(ReleaseDamaged) as caught:
        check_payload(read)
    assert caught.value.part == "payload"
    assert "1 of its entries are missing or others: app.py" in caught.value.problem
    assert "1 are there besides: strange" in caught.value.problem


def test_a_payload_that_is_gone_is_told(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    payload = store.add(make_filled(tmp_path)).payload
    payload.rename(payload.with_name("elsewhere"))
    with pytest.raises(ReleaseDamaged) as caught:
        store.get("site", "1.0.0")
    assert caught.value.part == "payload"


def test_what_is_no_file_folder_or_link_is_refused_by_name(tmp_path: Path) -> None:
    """P2."""
    store = make_store(tmp_path)
    release = make_filled(tmp_path)
    for number in range(6):
        os.mkfifo(release / "tree" / f"pipe-{number}")
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.getcwd()
        os.chdir(release / "tree")
        try:
            listening.bind("listens")
        finally:
            os.chdir(before)
        with pytest.raises(PayloadRefused) as caught:
            store.add(release)
    assert "listens (socket), pipe-0 (fifo), pipe-1 (fifo)" in caught.value.cause
    assert "and 2 more" in caught.value.cause
    assert not components(tmp_path).exists()


def test_a_link_that_leads_out_is_refused_and_others_are_told(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    release = make_filled(tmp_path)
    tree = release / "tree"
    (tree / "static" / "up").symlink_to("../app.py")
    (tree / "static" / "out").symlink_to("../../secret")
    with pytest.raises(PayloadRefused) as caught:
        store.add(release)
    assert "static/out" in caught.value.cause
    (tree / "static" / "out").unlink()
    (tree / "machine").symlink_to("/etc/hostname")
    (tree / "later").symlink_to("made/at/start")
    added = store.add(release)
    assert [notice.rpartition(": ")[2] for notice in added.notices] == ["machine", "later"]
    assert os.readlink(added.payload / "machine") == "/etc/hostname"
    assert store.get("site", "1.0.0").notices == ()


def test_a_tree_with_noodles_own_folder_at_its_top_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    release = make_filled(tmp_path)
    (release / "tree" / "deeper" / ".noodle").mkdir(parents=True)
    assert store.add(release).added
    other = make_filled(tmp_path, "1.1.0")
    (other / "tree" / ".noodle").symlink_to("static")
    with pytest.raises(PayloadRefused):
        store.add(other)


def test_a_payload_that_holds_the_home_is_refused(tmp_path: Path) -> None:
    store = ReleaseStore(make_home(tmp_path / "tree"))
    (tmp_path / "noodle.toml").write_text(TREE_MANIFEST.replace("{version}", "1.0.0"))
    with pytest.raises(PayloadRefused):
        store.add(tmp_path)


@pytest.mark.parametrize("payload", ["file", "link", "fifo", "missing"])
def test_a_payload_of_another_sort_is_refused(tmp_path: Path, payload: str) -> None:
    store = make_store(tmp_path)
    release = make_tree_release(tmp_path)
    (release / "tree").rmdir()
    match payload:
        case "file":
            (release / "tree").write_bytes(b"")
        case "link":
            (release / "tree").symlink_to(".")
        case "fifo":
            os.mkfifo(release / "tree")
        case _:
            pass
    with pytest.raises(ReleaseUnusable):
        store.add(release)
    assert not components(tmp_path).exists()


@pytest.mark.parametrize(
    ("options", "unit"), [("size=2m", "bytes"), ("size=64m,nr_inodes=60", "inodes")]
)
def test_a_release_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, options: str, unit: str
) -> None:
    need_root()
    with tmpfs(tmp_path / "small", options) as small:
        store = ReleaseStore(make_home(small))
        before = os.statvfs(small)
        many = {f"{number}": b"" for number in range(80)}
        big = make_filled(tmp_path, "1.1.0", **many, big=os.urandom(1_900_000))
        with pytest.raises(HomeShort) as caught:
            store.add(big)
        assert caught.value.data["unit"] == unit
        assert caught.value.free < caught.value.needed
        assert os.statvfs(small).f_bfree == before.f_bfree
        assert os.statvfs(small).f_ffree >= before.f_ffree - 2  # the registry's folder and lock


def test_what_an_earlier_release_has_needs_no_room(tmp_path: Path) -> None:
    """A tree that would not fit twice fits a second time: tmpfs shares by hard links."""
    need_root()
    with tmpfs(tmp_path / "small", "size=2m") as small:
        store = ReleaseStore(make_home(small))
        large = os.urandom(1_200_000)
        store.add(make_filled(tmp_path, "1.0.0", large=large))
        assert store.add(make_filled(tmp_path, "1.1.0", large=large)).added
        with pytest.raises(HomeShort):
            store.add(make_filled(tmp_path, "1.2.0", large=large[::-1]))


def test_what_a_killed_maker_left_takes_no_room(tmp_path: Path) -> None:
    need_root()
    with tmpfs(tmp_path / "small", "size=2m") as small:
        store = ReleaseStore(make_home(small))
        left = components(small) / ".adding" / "1" / "release"
        left.mkdir(parents=True)
        (left / "payload").write_bytes(bytes(1_200_000))
        assert store.add(make_filled(tmp_path, "1.0.0", large=os.urandom(1_200_000))).added


def test_a_disk_that_fills_meanwhile_refuses_a_tree_and_leaves_nothing(tmp_path: Path) -> None:
    need_root()
    with tmpfs(tmp_path / "small", "size=2m") as small:
        store = ReleaseStore(make_home(small))
        fits = make_filled(tmp_path, "1.0.0", some=os.urandom(300_000))
        store.add(fits)
        ballast = small / "ballast"
        before = os.statvfs(small).f_bfree
        big = make_filled(tmp_path, "1.1.0", big=os.urandom(1_000_000))

        def fill_up(done: int, total: int) -> None:
            if done > total // 3 and not ballast.exists():  # the copy has begun
                ballast.write_bytes(bytes(os.statvfs(small).f_bavail * os.statvfs(small).f_bsize))

        with pytest.raises(DiskFull) as caught:
            store.add(big, progress=fill_up)
        ballast.unlink()
        assert caught.value.number == errno.ENOSPC
        assert store.versions("site") == ("1.0.0",)
        left = os.statvfs(small).f_bfree
        assert before - left <= 1  # `.adding` itself
        check_payload(store.get("site", "1.0.0"))


def test_progress_ends_with_all_bytes_done(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    told: list[tuple[int, int]] = []
    release = make_filled(tmp_path, big=os.urandom(3_000_000))
    store.add(release, progress=lambda done, total: told.append((done, total)))
    dones = [done for done, _ in told]
    assert dones == sorted(dones)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1] > 3_000_000
