"""Building a tree: folders, links, copies, clones, hard links (laws B1 to B3)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from pathlib import Path

import blake3
import pytest

from noodle_engine.disk.failures import (
    AttributesNotKept,
    CopyStopped,
    DiskDenied,
    DiskError,
    DiskFailed,
    DiskFull,
)
from noodle_engine.disk.trees.build import (
    OpenTree,
    Sharing,
    copy_file,
    finish_folders,
    make_tree_folders,
    place_link,
    probe_sharing,
    share_file,
)
from noodle_engine.disk.trees.manifest import EntryKind, TreeEntry, TreeManifest
from noodle_engine.disk.trees.scan import scan_tree
from tests.conftest import require_system
from tests.unit.disk.grounds import (
    as_nobody,
    copy_tree,
    deep,
    full_of_oddities,
    image,
    mounted,
    need_root,
    odd_for_root,
    run,
    tmpfs,
)

OLD_NS = 1_500_000_000_123_456_789
HERE = (os.geteuid(), os.getegid())


def file_entry(path: Path, **changed: object) -> TreeEntry:
    """The entry of one file, with what is to be different."""
    [entry] = [
        entry
        for entry in scan_tree(path.parent).manifest.entries
        if entry.path == os.fsencode(path.name)
    ]
    return entry._replace(**changed)  # type: ignore[arg-type]


def made(path: Path, data: bytes = b"content", mode: int = 0o644) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, ns=(OLD_NS, OLD_NS))
    return path


def test_a_tree_that_is_copied_has_the_same_root(tmp_path: Path) -> None:
    """Of everything a tree can hold: digests, modes, owners, ACLs, capabilities, links."""
    source = tmp_path / "source"
    full_of_oddities(source)
    if os.geteuid() == 0:
        odd_for_root(source)
    manifest = scan_tree(source).manifest
    copy_tree(source, tmp_path / "copy", manifest)
    copied = scan_tree(tmp_path / "copy")
    assert copied.manifest == manifest
    assert copied.hard_linked == 0


def test_nothing_that_the_place_gives_is_taken_on(tmp_path: Path) -> None:
    """B1. A default ACL, a set-group-id parent and a wide umask."""
    need_root()
    source, place = tmp_path / "source", tmp_path / "place"
    full_of_oddities(source)
    manifest = scan_tree(source).manifest
    place.mkdir()
    os.chown(place, 0, 54321)
    place.chmod(0o2777)
    require_system("acl", "setfacl")
    run("setfacl", "-d", "-m", "u:54321:rwx,o::rwx", place)
    umask = os.umask(0)
    try:
        make_tree_folders(place / "folders", manifest)
        for folder, _, _ in os.walk(place / "folders"):
            assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
            assert os.listxattr(folder) == []
        copy_tree(source, place / "copy", manifest)
    finally:
        os.umask(umask)
    assert scan_tree(place / "copy").manifest == manifest


def test_a_tree_deeper_than_a_path_can_be_long_is_built(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    deep(source, 200)
    manifest = scan_tree(source).manifest
    copy_tree(source, target, manifest)
    assert scan_tree(target).manifest == manifest
    run("rm", "-rf", source, target)


def test_folders_that_even_their_owner_may_not_write_are_finished_from_the_deepest_up(
    tmp_path: Path,
) -> None:
    """B2. As a user whom modes bind."""
    folders = [
        TreeEntry(path, EntryKind.FOLDER, mode, 65534, 65534)
        for path, mode in ((b"", 0o555), (b"a", 0), (b"a/b", 0o111), (b"a/b/c", 0o500), (b"z", 0))
    ]
    manifest = TreeManifest(folders)
    need_root()
    with as_nobody(tmp_path):
        make_tree_folders(Path("tree"), manifest)
        finish_folders(Path("tree"), manifest)
    assert scan_tree(tmp_path / "tree").manifest == manifest


def test_a_root_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    manifest = scan_tree(tmp_path).manifest
    for taken in ("folder", "link", "file"):
        path = tmp_path / taken
        if taken == "folder":
            path.mkdir(mode=0o755)
        elif taken == "link":
            path.symlink_to("folder")
        else:
            path.write_bytes(b"kept")
        with pytest.raises(DiskFailed) as caught:
            make_tree_folders(path, manifest)
        assert caught.value.number == errno.EEXIST
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o755
    assert (tmp_path / "file").read_bytes() == b"kept"


@pytest.mark.parametrize("size", [0, 1, 4096, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
def test_a_copy_answers_the_digests_of_what_it_wrote(tmp_path: Path, size: int) -> None:
    """B3. SHA-256 only where the entry has one; the time is the source's."""
    source, data = tmp_path / "source", os.urandom(size)
    entry = file_entry(made(source, data), mode=0o4751, xattrs=(("user.note", b"\0"),))
    done: list[int] = []
    local, sha256 = copy_file(source, tmp_path / "one", entry, advance=done.append)
    assert (local, sha256) == (blake3.blake3(data).hexdigest(), "")
    assert sum(done) == size

    wrong = entry._replace(sha256="0" * 64, blake3="0" * 64)
    local, sha256 = copy_file(source, tmp_path / "two", wrong)
    assert (local, sha256) == (blake3.blake3(data).hexdigest(), hashlib.sha256(data).hexdigest())
    for copy in (tmp_path / "one", tmp_path / "two"):
        status = copy.stat()
        assert copy.read_bytes() == data
        assert stat.S_IMODE(status.st_mode) == 0o4751
        assert status.st_mtime_ns == OLD_NS
        assert os.getxattr(copy, "user.note") == b"\0"


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        ((0, 1),),
        ((3 << 20, 6),),
        ((0, 4096), (1 << 20, 8192), ((4 << 20) - 1, 1)),
    ],
)
def test_holes_stay_holes_and_count_as_zeros(
    tmp_path: Path, pieces: tuple[tuple[int, int], ...]
) -> None:
    source, size = tmp_path / "source", 4 << 20
    with source.open("wb") as opened:
        for offset, length in pieces:
            opened.seek(offset)
            opened.write(b"x" * length)
        opened.truncate(size)
    entry = file_entry(source, sha256="0")
    done: list[int] = []
    local, sha256 = copy_file(source, tmp_path / "copy", entry, advance=done.append)
    data = source.read_bytes()
    assert (tmp_path / "copy").read_bytes() == data
    assert local == entry.blake3 == blake3.blake3(data).hexdigest()
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert sum(done) == size
    assert (tmp_path / "copy").stat().st_blocks == source.stat().st_blocks


def test_a_source_that_is_cut_off_meanwhile_is_copied_as_far_as_it_goes(tmp_path: Path) -> None:
    """B3. The digests tell: they are not those of the entry."""
    source = tmp_path / "source"
    with source.open("wb") as opened:
        opened.write(b"a" * (2 << 20))
        opened.truncate(6 << 20)
        opened.seek(4 << 20)
        opened.write(b"b" * (2 << 20))
    entry = file_entry(source)

    def cut(_count: int) -> None:
        os.truncate(source, 5 << 20)

    local, _ = copy_file(source, tmp_path / "copy", entry, advance=cut)
    data = (tmp_path / "copy").read_bytes()
    assert local == blake3.blake3(data).hexdigest() != entry.blake3
    assert data == b"a" * (2 << 20) + bytes(2 << 20) + b"b" * (1 << 20)


def test_a_copy_stops_when_told(tmp_path: Path) -> None:
    source, stop = made(tmp_path / "source", b"x" * (3 << 20)), threading.Event()
    with pytest.raises(CopyStopped):
        copy_file(
            source,
            tmp_path / "copy",
            file_entry(source),
            stop=stop,
            advance=lambda _count: stop.set(),
        )
    assert (tmp_path / "copy").stat().st_size == 1 << 20
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


@pytest.mark.parametrize("how", ["copy", *Sharing])
def test_nothing_that_is_there_is_replaced_or_followed(tmp_path: Path, how: str) -> None:
    source = made(tmp_path / "source")
    entry = file_entry(source)
    taken = made(tmp_path / "taken", b"kept")
    (tmp_path / "link").symlink_to("nowhere")
    if how == Sharing.COPY:
        assert share_file(source, tmp_path / "free", entry, Sharing.COPY) is False
        assert not (tmp_path / "free").exists()
        return

    def act(target: Path) -> None:
        if how == "copy":
            copy_file(source, target, entry)
        else:
            share_file(source, target, entry, Sharing(how))

    for target in (taken, tmp_path / "link"):
        with pytest.raises(DiskFailed) as caught:
            act(target)
        assert caught.value.number == errno.EEXIST
    assert taken.read_bytes() == b"kept"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("what", ["missing", "folder", "link", "fifo"])
def test_only_plain_files_are_copied_or_shared(tmp_path: Path, what: str) -> None:
    source = made(tmp_path / "source")
    entry = file_entry(source)
    source.unlink()
    if what == "folder":
        source.mkdir()
    elif what == "link":
        source.symlink_to("/etc/hostname")
    elif what == "fifo":
        os.mkfifo(source)
    with pytest.raises(DiskError):
        copy_file(source, tmp_path / "copy", entry)
    assert not (tmp_path / "copy").exists()
    if what == "missing":
        with pytest.raises(DiskFailed):
            share_file(source, tmp_path / "copy", entry, Sharing.HARD_LINK)
    else:
        assert share_file(source, tmp_path / "copy", entry, Sharing.HARD_LINK) is False
    assert not os.path.lexists(tmp_path / "copy")


def test_an_attribute_that_cannot_be_set_is_named(tmp_path: Path) -> None:
    source = made(tmp_path / "source")
    entry = file_entry(source, xattrs=(("nonsense.x", b"1"),))
    with pytest.raises(AttributesNotKept) as caught:
        copy_file(source, tmp_path / "copy", entry)
    assert caught.value.attribute == "attribute nonsense.x"
    need_root()
    link = TreeEntry(b"link", EntryKind.LINK, 0, 12345, 12345, link=b"x")
    with as_nobody(tmp_path), pytest.raises(AttributesNotKept):
        place_link(Path("link"), link)


def test_a_link_has_its_text_and_owner_and_replaces_nothing(tmp_path: Path) -> None:
    uid, gid = (12345, 54321) if os.geteuid() == 0 else HERE
    for number, text in enumerate((b"../up", b"/abs", b"\xff%41\n", b"x" * 4095)):
        entry = TreeEntry(b"l", EntryKind.LINK, 0, uid, gid, link=text)
        path = tmp_path / str(number)
        place_link(path, entry)
        assert os.readlink(os.fsencode(path)) == text
        status = os.lstat(path)
        assert (status.st_uid, status.st_gid) == (uid, gid)
        with pytest.raises(DiskFailed):
            place_link(path, entry)


def test_a_hard_link_is_one_more_name_of_the_same_file(tmp_path: Path) -> None:
    source = made(tmp_path / "source")
    (tmp_path / "in").mkdir()
    with OpenTree(tmp_path) as tree, OpenTree(tmp_path) as other:
        assert share_file(
            tree.spot(b"source"), other.spot(b"in/new"), file_entry(source), Sharing.HARD_LINK
        )
    assert (tmp_path / "in" / "new").stat().st_ino == source.stat().st_ino
    assert source.stat().st_mtime_ns == OLD_NS


@pytest.mark.parametrize(
    "changed", [{"mode": 0o600}, {"uid": 12345}, {"gid": 12345}, {"size": 6}, {"mode": 0o4644}]
)
def test_no_hard_link_is_made_of_a_file_with_other_attributes(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    source = made(tmp_path / "source")
    entry = file_entry(source, **changed)
    assert share_file(source, tmp_path / "new", entry, Sharing.HARD_LINK) is False
    assert not (tmp_path / "new").exists()


def test_a_file_that_may_not_be_linked_is_to_be_copied(tmp_path: Path) -> None:
    """An immutable one; and with fs.protected_hardlinks another user's."""
    need_root()
    source = made(tmp_path / "source")
    entry = file_entry(source)
    run("chattr", "+i", source)
    try:
        assert share_file(source, tmp_path / "new", entry, Sharing.HARD_LINK) is False
        copy_file(source, tmp_path / "copy", entry)
    finally:
        run("chattr", "-i", source)
    assert file_entry(tmp_path / "copy")._replace(path=b"source") == entry
    if Path("/proc/sys/fs/protected_hardlinks").read_bytes().strip() != b"1":
        return
    with as_nobody(tmp_path):
        assert share_file(Path("source"), Path("new"), entry, Sharing.HARD_LINK) is False
    assert not (tmp_path / "new").exists()


def test_a_place_that_may_not_be_written_is_no_reason_to_copy(tmp_path: Path) -> None:
    need_root()
    source, closed = made(tmp_path / "source"), tmp_path / "closed"
    entry = file_entry(source)
    os.chown(source, 65534, 65534)
    entry = file_entry(source)
    closed.mkdir(mode=0o755)
    with as_nobody(tmp_path), pytest.raises(DiskDenied):
        share_file(Path("source"), Path("closed/new"), entry, Sharing.HARD_LINK)


def test_on_another_mount_a_file_is_to_be_copied(tmp_path: Path) -> None:
    """Another file system, and a bind mount of the same one: `st_dev` is equal there."""
    need_root()
    source = made(tmp_path / "source")
    entry = file_entry(source)
    (tmp_path / "folder").mkdir()
    with tmpfs(tmp_path / "other") as other:
        assert share_file(source, other / "new", entry, Sharing.HARD_LINK) is False
        assert share_file(source, other / "new", entry, Sharing.REFLINK) is False
        copy_file(source, other / "new", entry)
        assert file_entry(other / "new") == entry._replace(path=b"new")
    with mounted(tmp_path / "bound", "--bind", tmp_path / "folder") as bound:
        assert bound.stat().st_dev == source.stat().st_dev
        assert share_file(source, bound / "new", entry, Sharing.HARD_LINK) is False
        assert os.listdir(bound) == []


def test_a_file_with_all_the_links_it_can_have_is_to_be_copied(tmp_path: Path) -> None:
    """EMLINK: the count of an ext4 file is set to its limit in the image."""
    need_root()
    disk_image = image(tmp_path / "image", "ext4", 8)
    with mounted(tmp_path / "disk", "-o", "loop", disk_image) as disk:
        made(disk / "source")
        entry = file_entry(disk / "source")
        assert probe_sharing(disk, hard_links=True) is Sharing.HARD_LINK
    run("debugfs", "-w", "-R", "set_inode_field source links_count 65000", disk_image)
    with mounted(tmp_path / "disk", "-o", "loop", disk_image) as disk:
        assert share_file(disk / "source", disk / "new", entry, Sharing.HARD_LINK) is False
        copy_file(disk / "source", disk / "new", entry)
        assert sorted(os.listdir(disk)) == ["lost+found", "new", "source"]


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_where_blocks_can_be_shared_they_are(tmp_path: Path, kind: str) -> None:
    need_root()
    options = {"xfs": ("-m", "reflink=1"), "btrfs": ()}[kind]
    disk_image = image(tmp_path / "image", kind, {"xfs": 320, "btrfs": 128}[kind], *options)
    data = os.urandom(24 << 20)
    with mounted(tmp_path / "disk", "-o", "loop", disk_image) as disk:
        source = made(disk / "source", data)
        os.sync()
        before = os.statvfs(disk).f_bfree * os.statvfs(disk).f_frsize
        assert probe_sharing(disk, hard_links=True) is Sharing.REFLINK
        entry = file_entry(source, mode=0o4700, uid=12345, xattrs=(("user.note", b"1"),))
        assert share_file(source, disk / "clone", entry, Sharing.REFLINK) is True
        digests = copy_file(source, disk / "copy", entry._replace(sha256="0"))
        os.sync()
        after = os.statvfs(disk).f_bfree * os.statvfs(disk).f_frsize
        assert before - after < 8 << 20
        assert digests == (entry.blake3, hashlib.sha256(data).hexdigest())
        for name in ("clone", "copy"):
            assert (disk / name).stat().st_mtime_ns == OLD_NS
            assert (disk / name).stat().st_ino != source.stat().st_ino
            assert file_entry(disk / name)._replace(path=b"source") == entry


def test_the_probe_tells_what_works_and_leaves_nothing(tmp_path: Path) -> None:
    need_root()
    with tmpfs(tmp_path / "disk") as disk:
        assert probe_sharing(disk, hard_links=True) is Sharing.HARD_LINK
        assert probe_sharing(disk, hard_links=False) is Sharing.COPY
        (disk / "a file").write_bytes(b"")
        assert os.listdir(disk) == ["a file"]
    with pytest.raises(DiskFailed):
        probe_sharing(tmp_path / "nowhere", hard_links=True)


def test_the_probe_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / ".noodle-probe-1-0").write_bytes(b"")
    os.link(tmp_path / ".noodle-probe-1-0", tmp_path / ".noodle-probe-1-0-link")
    probe_sharing(tmp_path, hard_links=True)
    assert os.listdir(tmp_path) == []


def test_a_full_inode_table_is_a_full_disk(tmp_path: Path) -> None:
    need_root()
    folders = [TreeEntry(b"", EntryKind.FOLDER, 0o755, 0, 0)]
    folders += [TreeEntry(b"%02d" % n, EntryKind.FOLDER, 0o755, 0, 0) for n in range(40)]
    source = made(tmp_path / "source")
    entry, link = file_entry(source), TreeEntry(b"l", EntryKind.LINK, 0, 0, 0, link=b"x")
    with tmpfs(tmp_path / "disk", "nr_inodes=30") as disk:
        with pytest.raises(DiskFull):
            make_tree_folders(disk / "tree", TreeManifest(folders))
        with pytest.raises(DiskFull):
            copy_file(source, disk / "copy", entry)
        with pytest.raises(DiskFull):
            place_link(disk / "link", link)


def test_a_full_disk_is_told_while_a_file_is_copied(tmp_path: Path) -> None:
    need_root()
    source = made(tmp_path / "source", os.urandom(2 << 20))
    with tmpfs(tmp_path / "disk", "size=1m") as disk:
        with pytest.raises(DiskFull):
            copy_file(source, disk / "copy", file_entry(source))
        assert source.stat().st_size == 2 << 20


def test_a_spot_follows_no_link_and_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "folder" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to("folder")
    before = os.listdir("/proc/self/fd")
    with OpenTree(tmp_path) as tree:
        for path in (b"link/in/file", b"nowhere/file", b"folder/../x/y", b"folder/in/no/x"):
            with pytest.raises(DiskFailed):
                tree.spot(path)
        spot = tree.spot(b"folder/in/file")
        assert spot.path == tmp_path / "folder" / "in" / "file"
        assert os.stat(spot.folder).st_ino == (tmp_path / "folder" / "in").stat().st_ino
        with pytest.raises(DiskFailed):
            tree.spot(b"folder/no/x")
        again = tree.spot(b"folder/in/file")  # what failed half way left it elsewhere
        assert os.stat(again.folder).st_ino == (tmp_path / "folder" / "in").stat().st_ino
        assert os.stat(tree.spot(b"top").folder).st_ino == tmp_path.stat().st_ino
        assert os.stat(tree.descriptor).st_ino == tmp_path.stat().st_ino
    assert os.listdir("/proc/self/fd") == before
