"""Reading a whole tree, and holding one against its manifest (laws T1 to T3, R1, W1, S1, S2)."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import threading
from contextlib import suppress
from pathlib import Path

import blake3
import pytest

from noodle_engine.disk.failures import CopyStopped, DiskDenied, DiskError, DiskFailed
from noodle_engine.disk.trees.manifest import ChangeKind, EntryKind, TreeManifest, compare
from noodle_engine.disk.trees.reach import DEPTH_MAX, OpenTree
from noodle_engine.disk.trees.reading import LOOKS_MAX, Digests, read_files
from noodle_engine.disk.trees.scan import check_tree, scan_tree
from noodle_engine.disk.trees.stamps import (
    STALE_NS,
    Stamp,
    encode_stamps,
    parse_stamps,
    stamp_of,
)
from noodle_engine.disk.trees.syncing import sync_file_system
from noodle_engine.disk.trees.walk import Special
from tests.unit.disk.grounds import (
    as_nobody,
    deep,
    full_of_oddities,
    image,
    mounted,
    need_root,
    odd_for_root,
    run,
    special_files,
)

OLD_NS = 1_500_000_000 * 10**9


def settled(root: Path) -> Path:
    """Give all files of a tree a time long past: they get stamps."""
    for folder, _, names in os.walk(os.fsencode(root)):
        for name in names:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                os.utime(path, ns=(OLD_NS, OLD_NS))
    return root


def small_tree(root: Path) -> Path:
    root.mkdir()
    (root / "bin").mkdir()
    (root / "bin" / "run").write_bytes(b"#!/bin/sh\n")
    (root / "bin" / "run").chmod(0o755)
    (root / "lib").mkdir()
    (root / "lib" / "one").write_bytes(b"1")
    (root / "lib" / "two").write_bytes(b"22")
    (root / "link").symlink_to("bin/run")
    return settled(root)


def names(changes: tuple[object, ...]) -> list[tuple[ChangeKind, bytes]]:
    return [(change.kind, change.path) for change in changes]  # type: ignore[attr-defined]


def test_a_scan_holds_every_name_content_link_and_attribute(tmp_path: Path) -> None:
    """T1. Held against what the system says, file by file."""
    root = tmp_path / "tree"
    full_of_oddities(root)
    if os.geteuid() == 0:
        odd_for_root(root)
    found = scan_tree(root, digests=Digests.BOTH).manifest.by_path

    top, seen = os.fsencode(root), {b""}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            full = os.path.join(folder, name)
            path = os.path.relpath(full, top)
            seen.add(path)
            entry, status = found[path], os.lstat(full)
            assert (entry.uid, entry.gid) == (status.st_uid, status.st_gid)
            if stat.S_ISLNK(status.st_mode):
                assert (entry.kind, entry.mode, entry.size) == (EntryKind.LINK, 0, 0)
                assert entry.link == os.readlink(full)
                continue
            assert entry.mode == stat.S_IMODE(status.st_mode)
            have = {name: os.getxattr(full, name) for name in os.listxattr(full)}
            assert dict(entry.xattrs) == have
            assert list(entry.xattrs) == sorted(entry.xattrs)
            if stat.S_ISREG(status.st_mode):
                with open(full, "rb") as opened:
                    data = opened.read()
                assert entry.size == len(data)
                assert entry.blake3 == blake3.blake3(data).hexdigest()
                assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert seen == found.keys()
    assert found[b""].mode == 0o751


def test_local_digests_are_the_same_and_sha256_is_left_empty(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    full_of_oddities(root)
    local, both = scan_tree(root), scan_tree(root, digests=Digests.BOTH)
    assert local.manifest.root == both.manifest.root
    assert {entry.sha256 for entry in local.manifest.entries} == {""}


def test_special_files_are_listed_and_no_part_of_the_tree(tmp_path: Path) -> None:
    """T1. Reading never opens them: a fifo without a writer does not hang it."""
    root = small_tree(tmp_path / "tree")
    without = scan_tree(root)
    made = special_files(root, devices=os.geteuid() == 0)
    found = scan_tree(root)
    assert found.specials == tuple(Special(name, made[name]) for name in sorted(made))
    assert found.manifest == without.manifest
    assert without.specials == ()


def test_files_with_other_names_are_counted(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    assert scan_tree(root).hard_linked == 0
    os.link(root / "lib" / "one", tmp_path / "outside")
    os.link(root / "lib" / "two", root / "bin" / "two")
    assert scan_tree(root).hard_linked == 3


def test_what_is_skipped_is_left_out_with_all_in_it(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    (root / "lib" / "deeper").mkdir()
    (root / "lib" / "deeper" / "file").write_bytes(b"")
    os.mkfifo(root / "bin" / "pipe")
    asked: list[tuple[bytes, bool]] = []

    def skip(path: bytes, is_folder: bool) -> bool:
        asked.append((path, is_folder))
        return path in (b"lib", b"link", b"bin/pipe")

    found = scan_tree(root, skip=skip)
    assert list(found.manifest.by_path) == [b"", b"bin", b"bin/run"]
    assert found.specials == ()
    assert sorted(asked) == [
        (b"bin", True),
        (b"bin/pipe", False),
        (b"bin/run", False),
        (b"lib", True),
        (b"link", False),
    ]


def test_a_tree_deeper_than_a_path_can_be_long_is_read(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    bottom = deep(root, 200)
    assert len(bottom) > 4096
    found = scan_tree(root).manifest.by_path
    assert found[bottom + b"/bottom"].blake3 == blake3.blake3(b"down here").hexdigest()
    assert found[bottom + b"/link"].link == b"bottom"
    assert len(found) == 200 + 3
    checked = check_tree(root, scan_tree(root).manifest)
    assert (checked.changes, checked.extras) == ((), ())
    run("rm", "-rf", root)


def test_a_tree_that_is_too_deep_is_refused_and_no_descriptor_is_left(tmp_path: Path) -> None:
    deep(tmp_path / "deepest", DEPTH_MAX, b"n")
    scan_tree(tmp_path / "deepest")
    deep(tmp_path / "deeper", DEPTH_MAX + 1, b"n")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(DiskFailed):
        scan_tree(tmp_path / "deeper")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("what", ["missing", "file", "link", "fifo"])
def test_what_is_no_folder_is_no_tree(tmp_path: Path, what: str) -> None:
    root = tmp_path / "root"
    if what == "file":
        root.write_bytes(b"")
    elif what == "link":
        root.symlink_to(tmp_path)
    elif what == "fifo":
        os.mkfifo(root)
    with pytest.raises(DiskError):
        scan_tree(root)


def test_a_link_in_a_folders_place_leads_nowhere(tmp_path: Path) -> None:
    """W1."""
    root = small_tree(tmp_path / "tree")
    jobs = [(b"lib/one", (root / "lib" / "one").stat())]
    (tmp_path / "elsewhere").mkdir()
    os.link(root / "lib" / "one", tmp_path / "elsewhere" / "one")
    (root / "lib").rename(root / "moved")
    (root / "lib").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskFailed):
        read_files(root, jobs, digests=Digests.LOCAL)
    assert read_files(root, jobs, digests=Digests.LOCAL, may_go=True) == []
    with OpenTree(root) as tree, pytest.raises(DiskError):
        tree.spot(b"lib/one")


@pytest.mark.parametrize("what", ["nothing", "folder", "link", "fifo", "socket"])
def test_a_file_that_vanishes_is_named_or_may_go(tmp_path: Path, what: str) -> None:
    """R1. What stands in its place is never read, and hangs nothing."""
    root = small_tree(tmp_path / "tree")
    jobs = [
        (b"lib/one", (root / "lib" / "one").stat()),
        (b"lib/two", (root / "lib" / "two").stat()),
    ]
    (root / "lib" / "one").unlink()
    if what == "folder":
        (root / "lib" / "one").mkdir()
    elif what == "link":
        (root / "lib" / "one").symlink_to("two")
    elif what == "fifo":
        os.mkfifo(root / "lib" / "one")
    elif what == "socket":
        special_files(tmp_path, devices=False)
        (tmp_path / "socket").rename(root / "lib" / "one")
    with pytest.raises(DiskFailed) as caught:
        read_files(root, jobs, digests=Digests.LOCAL)
    assert caught.value.path == root / "lib" / "one"
    read = read_files(root, jobs, digests=Digests.LOCAL, may_go=True)
    assert [entry.path for entry, _ in read] == [b"lib/two"]


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_a_file_that_changes_once_is_read_as_it_is_then(tmp_path: Path, size: int) -> None:
    """R1. The status is from before the change, as if it had come between."""
    root = small_tree(tmp_path / "tree")
    path = root / "lib" / "one"
    before = path.stat()
    data = os.urandom(size)
    path.write_bytes(data)
    [(entry, status)] = read_files(root, [(b"lib/one", before)], digests=Digests.BOTH)
    assert (entry.size, entry.blake3) == (size, blake3.blake3(data).hexdigest())
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert stamp_of(status) == stamp_of(path.stat())


@pytest.mark.parametrize("part", ["time", "inode", "nothing"])
def test_a_file_is_read_again_if_its_status_was_another_one_before(
    tmp_path: Path, part: str
) -> None:
    """R1. As many bytes are read as were there each time."""
    root = small_tree(tmp_path / "tree")
    path = root / "lib" / "two"
    before = path.stat()
    if part == "time":
        os.utime(path, ns=(OLD_NS, OLD_NS + 1))
    elif part == "inode":
        (tmp_path / "other").write_bytes(b"33")
        os.utime(tmp_path / "other", ns=(OLD_NS, OLD_NS))
        (tmp_path / "other").rename(path)
    done: list[int] = []
    read_files(
        root, [(b"lib/two", before)], digests=Digests.LOCAL, progress=lambda n, _: done.append(n)
    )
    assert done[-1] == (2 if part == "nothing" else 4)


def test_a_failure_ends_the_other_thread_too_and_is_the_one_told(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    size = 1 << 30
    with (root / "large").open("wb") as opened:
        opened.truncate(size)
    jobs = [(name, (root / os.fsdecode(name)).stat()) for name in (b"large", b"lib/one")]
    (root / "lib" / "one").unlink()
    done = [0]
    with pytest.raises(DiskFailed) as caught:
        read_files(root, jobs, digests=Digests.LOCAL, progress=lambda count, _: done.append(count))
    assert caught.value.path == root / "lib" / "one"
    assert done[-1] < size


@pytest.mark.parametrize("changes", [LOOKS_MAX - 1, LOOKS_MAX])
def test_a_file_that_keeps_changing_is_read_so_often_and_then_named(
    tmp_path: Path, changes: int
) -> None:
    """R1. It grows each time a piece of it was read, by who is told of the progress."""
    root = small_tree(tmp_path / "tree")
    path = root / "lib" / "one"
    size = path.stat().st_size

    def grow(_done: int, _total: int) -> None:
        nonlocal changes
        if changes:
            changes -= 1
            with path.open("ab") as opened:
                opened.write(b"more")

    jobs = [(b"lib/one", path.stat())]
    if changes == LOOKS_MAX:
        with pytest.raises(DiskFailed) as caught:
            read_files(root, jobs, digests=Digests.LOCAL, progress=grow)
        assert caught.value.path == path
        return
    [(entry, _)] = read_files(root, jobs, digests=Digests.LOCAL, progress=grow)
    assert entry.size == size + 4 * (LOOKS_MAX - 1)


def test_a_scan_tells_its_progress_and_stops_when_told(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    (root / "large").write_bytes(b"x" * (5 << 20))
    seen: list[tuple[int, int]] = []
    scan_tree(root, progress=lambda done, total: seen.append((done, total)))
    size = (5 << 20) + 13
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) >= 5

    stop = threading.Event()

    def halt(done: int, _total: int) -> None:
        if done > 1 << 20:
            stop.set()

    threads = threading.active_count()
    with pytest.raises(CopyStopped):
        scan_tree(root, stop=stop, progress=halt)
    with pytest.raises(CopyStopped):
        check_tree(root, scan_tree(root).manifest, stop=stop)
    assert threading.active_count() == threads


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    (root / "lib" / "one").chmod(0)
    (root / "lib" / "two").write_bytes(b"x" * (1 << 20))
    with as_nobody(tmp_path), pytest.raises(DiskDenied) as caught:
        scan_tree(Path("tree"))
    assert caught.value.path == Path("tree/lib/one")


def test_a_tree_as_its_manifest_says_has_no_changes(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    full_of_oddities(root)
    if os.geteuid() == 0:
        odd_for_root(root)
    manifest = scan_tree(settled(root)).manifest
    for arguments in ({}, {"full": True}, {"from_disk": True}):
        checked = check_tree(root, manifest, **arguments)  # type: ignore[arg-type]
        assert (checked.changes, checked.extras, checked.specials) == ((), (), ())
        assert (checked.files_read, checked.bytes_read) == (manifest.files, manifest.bytes)
        assert checked.stamps.keys() == {e.path for e in manifest.entries if e.blake3}


def test_what_a_check_tells_is_what_comparing_two_scans_tells(tmp_path: Path) -> None:
    """T3. Every kind of change at once, extras aside."""
    root = tmp_path / "tree"
    full_of_oddities(root)
    manifest = scan_tree(root).manifest
    (root / "plain").write_bytes(b"other")
    (root / "private").chmod(0o640)
    (root / "a" / "b").chmod(0o700)
    os.removexattr(root / "a", "user.of a folder")
    os.setxattr(root / "set-id", "user.new", b"1")
    (root / "absolute").unlink()
    (root / "absolute").symlink_to("/etc/passwd")
    (root / "dangling").unlink()
    (root / "dangling").write_bytes(b"a file now")
    (root / "empty").rmdir()
    (root / "empty").symlink_to("a")
    (root / "long").unlink()
    (root / "large").unlink()
    root.chmod(0o700)
    (root / "new").write_bytes(b"")
    (root / "a" / "new folder").mkdir()
    (root / "a" / "new folder" / "in it").write_bytes(b"")

    checked = check_tree(root, manifest)
    compared = compare(manifest, scan_tree(root).manifest)
    added = [change.path for change in compared if change.kind is ChangeKind.ADDED]
    assert checked.changes == tuple(c for c in compared if c.kind is not ChangeKind.ADDED)
    assert added == [b"a/new folder", b"a/new folder/in it", b"new"]
    assert checked.extras == (b"a/new folder", b"new")
    assert (ChangeKind.ATTRIBUTES, b"") in names(checked.changes)


def test_with_stamps_only_what_changed_is_read(tmp_path: Path) -> None:
    """T2."""
    root = small_tree(tmp_path / "tree")
    scanned = scan_tree(root)
    checked = check_tree(root, scanned.manifest, stamps=scanned.stamps)
    assert (checked.files_read, checked.bytes_read, checked.changes) == (0, 0, ())
    assert checked.stamps == scanned.stamps

    (root / "lib" / "two").write_bytes(b"33")
    checked = check_tree(root, scanned.manifest, stamps=scanned.stamps)
    assert (checked.files_read, checked.bytes_read) == (1, 2)
    assert names(checked.changes) == [(ChangeKind.CHANGED, b"lib/two")]
    assert checked.stamps.keys() == {b"bin/run", b"lib/one"}

    checked = check_tree(root, scanned.manifest, stamps=scanned.stamps, full=True)
    assert checked.files_read == 3


@pytest.mark.parametrize(
    "change", ["time", "size", "mode", "inode", "owner", "link", "folder", "missing"]
)
def test_each_part_of_a_stamp_has_a_file_read_again(tmp_path: Path, change: str) -> None:
    """T2. One of each: the stamp is as it was in all other parts."""
    root = small_tree(tmp_path / "tree")
    scanned = scan_tree(root)
    path = root / "lib" / "one"
    kept = True
    if change == "time":
        os.utime(path, ns=(OLD_NS, OLD_NS + 1))
    elif change == "size":
        path.write_bytes(b"")
        os.utime(path, ns=(OLD_NS, OLD_NS))
    elif change == "mode":
        path.chmod(0o600)
    elif change == "inode":
        path.rename(root / "lib" / "other")
        (root / "lib" / "one").write_bytes(b"2")
        os.utime(path, ns=(OLD_NS, OLD_NS))
    elif change == "owner":
        need_root()
        os.chown(path, 12345, 0)
    else:
        path.unlink()
        kept = False
        if change == "link":
            path.symlink_to("two")
        elif change == "folder":
            path.mkdir()
    checked = check_tree(root, scanned.manifest, stamps=scanned.stamps)
    assert checked.files_read == int(kept)
    assert [c.path for c in checked.changes] == ([] if change == "time" else [b"lib/one"])
    assert (b"lib/one" in checked.stamps) == (change == "time")


def test_no_stamp_is_given_for_what_is_not_as_the_manifest_says(tmp_path: Path) -> None:
    """T2. Else the next check would take it for unchanged."""
    root = small_tree(tmp_path / "tree")
    scanned = scan_tree(root)
    (root / "lib" / "one").write_bytes(b"7")
    os.utime(root / "lib" / "one", ns=(OLD_NS, OLD_NS))
    first = check_tree(root, scanned.manifest)
    again = check_tree(root, scanned.manifest, stamps=first.stamps)
    assert names(first.changes) == names(again.changes) == [(ChangeKind.CHANGED, b"lib/one")]


def test_a_file_changed_just_before_the_scan_gets_no_stamp(tmp_path: Path) -> None:
    """S1. A change in the same tick of the clock would leave the stamp as it is."""
    root = small_tree(tmp_path / "tree")
    future = 4_000_000_000 * 10**9
    os.utime(root / "lib" / "one", ns=(future, future))
    scanned = scan_tree(root)
    assert scanned.stamps.keys() == {b"bin/run", b"lib/two"}
    assert check_tree(root, scanned.manifest).stamps.keys() == {b"bin/run", b"lib/two"}
    assert STALE_NS >= 10_000_000


def test_a_full_check_sees_what_stamps_do_not(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    scanned = scan_tree(root)
    os.setxattr(root / "lib" / "one", "user.note", b"1")
    (root / "lib" / "two").write_bytes(b"33")
    os.utime(root / "lib" / "two", ns=(OLD_NS, OLD_NS))
    checked = check_tree(root, scanned.manifest, stamps=scanned.stamps, full=True)
    assert names(checked.changes) == [
        (ChangeKind.ATTRIBUTES, b"lib/one"),
        (ChangeKind.CHANGED, b"lib/two"),
    ]


def test_extras_are_listed_unless_skipped_and_a_folder_counts_once(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    manifest = scan_tree(root).manifest
    (root / "lib" / "__pycache__").mkdir()
    (root / "lib" / "__pycache__" / "one.pyc").write_bytes(b"")
    (root / "logs").mkdir()
    (root / "logs" / "deeper").mkdir()
    (root / "stray").symlink_to("nowhere")
    special_files(root, devices=False)
    checked = check_tree(root, manifest)
    assert checked.changes == ()
    assert checked.extras == (b"lib/__pycache__", b"logs", b"pipe", b"socket", b"stray")
    assert checked.specials == (Special(b"pipe", "fifo"), Special(b"socket", "socket"))

    checked = check_tree(
        root,
        manifest,
        skip=lambda path, folder: path in (b"logs", b"pipe") and folder is (path == b"logs"),
    )
    assert checked.extras == (b"lib/__pycache__", b"socket", b"stray")
    assert checked.specials == (Special(b"socket", "socket"),)


def test_what_the_manifest_names_is_checked_though_it_would_be_skipped(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    manifest = scan_tree(root).manifest
    (root / "lib" / "one").write_bytes(b"other")
    (root / "bin" / "run").unlink()
    os.mkfifo(root / "bin" / "run")
    checked = check_tree(root, manifest, skip=lambda _path, _folder: True)
    assert names(checked.changes) == [
        (ChangeKind.REMOVED, b"bin/run"),
        (ChangeKind.CHANGED, b"lib/one"),
    ]
    assert checked.specials == (Special(b"bin/run", "fifo"),)
    assert checked.extras == ()


def test_a_folder_that_is_missing_is_missing_with_all_in_it(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "tree")
    manifest = scan_tree(root).manifest
    (root / "lib").rename(tmp_path / "lib")
    assert names(check_tree(root, manifest).changes) == [
        (ChangeKind.REMOVED, b"lib"),
        (ChangeKind.REMOVED, b"lib/one"),
        (ChangeKind.REMOVED, b"lib/two"),
    ]


def test_labels_that_the_system_gives_by_place_are_no_part_of_a_tree(tmp_path: Path) -> None:
    need_root()
    root = small_tree(tmp_path / "tree")
    manifest = scan_tree(root).manifest
    os.setxattr(root / "lib" / "one", "trusted.label", b"1")
    with suppress(OSError):  # with SELinux, only known labels may be set
        os.setxattr(root / "lib", "security.selinux", b"a:b:c:s0\0")
    checked = check_tree(root, manifest)
    assert checked.changes == ()


def test_an_immutable_tree_is_read_like_any_other(tmp_path: Path) -> None:
    need_root()
    root = small_tree(tmp_path / "tree")
    before = scan_tree(root)
    run("chattr", "+i", root / "lib" / "one", root / "lib")
    try:
        assert scan_tree(root).manifest == before.manifest
        assert check_tree(root, before.manifest, from_disk=True).changes == ()
    finally:
        run("chattr", "-i", root / "lib" / "one", root / "lib")


def test_a_file_system_without_extended_attributes_is_read(tmp_path: Path) -> None:
    need_root()
    small_tree(tmp_path / "lower")
    with mounted(tmp_path / "mount", "-t", "ramfs", "none"):
        root = small_tree(tmp_path / "mount" / "tree")
        with pytest.raises(OSError, match="supported"):
            os.setxattr(root, "user.note", b"1")
        assert scan_tree(root).manifest == scan_tree(tmp_path / "lower").manifest


def test_files_whose_size_says_nothing_are_refused_and_not_read_wrongly() -> None:
    """R1. procfs: their size is 0, and they hold something."""
    with pytest.raises(DiskFailed):
        scan_tree(Path("/proc/sys/kernel/random"))


@pytest.mark.parametrize(
    "stamps",
    [
        {},
        {b"": (1, 2, 3, 4, 5, 6, 7)},
        {
            b"a\xff/%\n": (2**64 - 1, 2**64 - 1, 2**62, -1, 0o100644, 2**32 - 1, 0),
            b"b": (0, 0, 0, 2**62, 0, 0, 0),
        },
    ],
)
def test_stamps_are_kept_and_read_again(stamps: dict[bytes, Stamp]) -> None:
    data = encode_stamps("tree:0123", stamps)
    assert parse_stamps(data) == ("tree:0123", stamps)
    assert encode_stamps("tree:0123", dict(reversed(stamps.items()))) == data


def test_no_byte_of_stored_stamps_can_change(tmp_path: Path) -> None:
    """S2. Flipped, cut, lengthened: nothing is read."""
    data = encode_stamps("tree:ab", {b"a": (1, 2, 3, 4, 5, 6, 7), b"b/c": (1, 1, 1, 1, 1, 1, 1)})
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x40
        assert parse_stamps(bytes(flipped)) is None
        assert parse_stamps(data[:position]) is None
    assert parse_stamps(data + b"\0") is None
    assert parse_stamps(b"") is None


@pytest.mark.parametrize("shape", [(0, 1, 0), (0, 0, 4), (4, 0, 0), (2**62, 2**62, 2**62)])
def test_stamps_with_a_right_digest_and_wrong_lengths_are_junk(shape: tuple[int, int, int]) -> None:
    """S2. Whoever wrote them: no such lengths fit the bytes that follow."""
    body = struct.pack("<QQQ", *shape)
    data = b"noodle-stamps 1\n" + blake3.blake3(body).digest() + body
    assert parse_stamps(data) is None


def test_stamps_of_more_or_fewer_paths_than_rows_are_junk() -> None:
    """S2. Whoever wrote them, with the right digest."""
    row = struct.pack("<QQqqIII", *range(7))
    for paths in (b"a\0b", b"a"):
        count = 3 - len(paths.split(b"\0"))
        body = struct.pack("<QQQ", 1, count, len(paths)) + b"r" + paths + row * count
        assert parse_stamps(b"noodle-stamps 1\n" + blake3.blake3(body).digest() + body) is None
    body = struct.pack("<QQQ", 1, 1, 1) + b"r" + b"a" + row
    assert parse_stamps(b"noodle-stamps 1\n" + blake3.blake3(body).digest() + body) == (
        "r",
        {b"a": tuple(range(7))},
    )


def test_from_the_disk_means_from_the_disk(tmp_path: Path) -> None:
    """A block of the image is changed behind the mounted file system's back."""
    need_root()
    disk_image = image(tmp_path / "image", "ext4", 8)
    with mounted(tmp_path / "disk", "-o", "loop", disk_image) as disk:
        content = os.urandom(4096)
        (disk / "file").write_bytes(content)
        sync_file_system(disk, fall_back=lambda: None)
        stamped = scan_tree(disk)
        with disk_image.open("r+b") as opened:
            opened.seek(opened.read().index(content))
            opened.write(b"damaged!")
        assert check_tree(disk, stamped.manifest, full=True).changes == ()
        checked = check_tree(disk, stamped.manifest, full=True, from_disk=True)
        assert names(checked.changes) == [(ChangeKind.CHANGED, b"file")]
        assert scan_tree(disk, from_disk=True).manifest.root != stamped.manifest.root


def test_a_mounted_folder_is_read_as_part_of_the_tree(tmp_path: Path) -> None:
    need_root()
    root = small_tree(tmp_path / "tree")
    (root / "mount").mkdir()
    with mounted(root / "mount", "--bind", root / "lib"):
        assert b"mount/one" in scan_tree(root).manifest.by_path


def test_an_empty_tree_has_its_own_folder_only(tmp_path: Path) -> None:
    manifest = scan_tree(tmp_path).manifest
    assert [entry.path for entry in manifest.entries] == [b""]
    assert TreeManifest.parse(manifest.encode()).root == manifest.root
