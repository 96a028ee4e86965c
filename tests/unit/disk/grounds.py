"""Trees of all that a tree can hold, and small file systems to put them on."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from noodle_engine.disk.trees.build import copy_file, finish_folders, make_tree_folders, place_link
from noodle_engine.disk.trees.manifest import EntryKind, TreeManifest
from noodle_engine.disk.trees.reach import OpenTree
from tests.conftest import require_system


def need_root() -> None:
    """Go on only as root: mounts, owners and devices need it."""
    require_system("root", lambda: os.geteuid() == 0, install="run as root")


def run(*argv: str | Path) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@contextmanager
def as_nobody(place: Path) -> Iterator[None]:
    """Run as a user whom modes bind, in `place`: by relative paths only.

    The way to `place` stays closed to that user, as it is; where the suite runs
    as such a user, nothing changes but the working folder.
    """
    before, root = os.getcwd(), os.geteuid() == 0
    os.chdir(place)
    if root:
        place.chmod(0o777)
        os.setegid(65534)
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
        os.chdir(before)


@contextmanager
def mounted(where: Path, *options: str | Path) -> Iterator[Path]:
    """Mount something at `where`, a folder that is made if need be."""
    if not where.exists():
        where.mkdir()
    run("mount", *options, where)
    try:
        yield where
    finally:
        run("umount", where)


def tmpfs(where: Path, options: str = "size=16m") -> AbstractContextManager[Path]:
    return mounted(where, "-t", "tmpfs", "-o", options, "none")


def image(path: Path, kind: str, megabytes: int, *options: str) -> Path:
    """Make an image of a file system."""
    require_system(f"{kind} tools", f"mkfs.{kind}")
    with path.open("wb") as opened:
        opened.truncate(megabytes << 20)
    run(f"mkfs.{kind}", "-q", *options, path)
    return path


def full_of_oddities(root: Path) -> None:
    """Make a tree of what any user may make: names, links, modes, holes, attributes."""
    root.mkdir()
    top = os.fsencode(root)
    for name in (
        b"plain",
        b"\xff\xfe not text",
        b"50% off%20",
        b"new\nline",
        b"\xc3\xa9",
        b"n" * 255,
    ):
        with open(top + b"/" + name, "wb") as opened:
            opened.write(b"of " + name)
    (root / "nothing in it").write_bytes(b"")
    (root / "empty").mkdir()
    (root / "a").mkdir()
    (root / "a" / "b").mkdir(mode=0o711)
    (root / "a" / "b" / "c").write_bytes(b"c")
    (root / "a-b").write_bytes(b"sorts between a and what is in it")
    os.symlink(b"no\xffwhere", top + b"/dangling")
    os.symlink("/etc/hostname", root / "absolute")
    os.symlink("a/b", root / "to a folder")
    os.symlink("x" * 4000, root / "long")
    with (root / "holes").open("wb") as opened:
        opened.seek(3 << 20)
        opened.write(b"middle")
        opened.truncate(6 << 20)
    with (root / "all hole").open("wb") as opened:
        opened.truncate(2 << 20)
    (root / "large").write_bytes(os.urandom((2 << 20) + 5))
    (root / "set-id").write_bytes(b"#!")
    (root / "set-id").chmod(0o6755)
    os.setxattr(root / "plain", "user.note", b"\x00\xff")
    os.setxattr(root / "a", "user.of a folder", b"1")
    (root / "first name").write_bytes(b"two names")
    os.link(root / "first name", root / "a" / "second name")
    (root / "private").write_bytes(b"p")
    (root / "private").chmod(0o600)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o3777)
    (root / "read only").mkdir()
    (root / "read only" / "file").write_bytes(b"r")
    (root / "read only" / "file").chmod(0o444)
    (root / "read only").chmod(0o555)
    root.chmod(0o751)


def odd_for_root(root: Path) -> None:
    """Add what only root can make or read."""
    (root / "closed").write_bytes(b"nobody may")
    (root / "closed").chmod(0)
    (root / "closed folder").mkdir()
    (root / "closed folder" / "file").write_bytes(b"in it")
    (root / "closed folder").chmod(0)
    os.chown(root / "large", 12345, 54321)
    os.chown(root / "a", 12345, 0)
    os.chown(root / "dangling", 12345, 54321, follow_symlinks=False)
    require_system("libcap2-bin", "setcap")
    require_system("acl", "setfacl")
    run("setcap", "cap_net_bind_service=ep", root / "a-b")
    run("setfacl", "-m", "u:12345:r--", root / "plain")
    run("setfacl", "-d", "-m", "u:54321:rwx", root / "empty")


def special_files(root: Path, *, devices: bool) -> dict[bytes, str]:
    """Add special files; what they are, by name."""
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root)  # a path of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    made = {b"pipe": "fifo", b"socket": "socket"}
    if devices:
        os.mknod(root / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(root / "loop", stat.S_IFBLK | 0o600, os.makedev(7, 200))
        made |= {b"null": "character device", b"loop": "block device"}
    return made


def deep(root: Path, levels: int, name: bytes = b"n" * 40) -> bytes:
    """Make so many folders one in the other, a file and a link at the bottom; its folder's path."""
    root.mkdir()
    opened = [os.open(root, os.O_RDONLY)]
    try:
        for _ in range(levels):
            os.mkdir(name, dir_fd=opened[-1])
            opened.append(os.open(name, os.O_RDONLY, dir_fd=opened[-1]))
        bottom = os.open("bottom", os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=opened[-1])
        os.write(bottom, b"down here")
        os.close(bottom)
        os.symlink("bottom", "link", dir_fd=opened[-1])
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return b"/".join([name] * levels)


def copy_tree(source: Path, target: Path, manifest: TreeManifest) -> None:
    """Build a tree as its manifest says, every file a copy whose digest is looked at."""
    make_tree_folders(target, manifest)
    with OpenTree(source) as old, OpenTree(target) as new:
        for entry in manifest.entries:
            if entry.kind is EntryKind.FILE:
                digest, _ = copy_file(old.spot(entry.path), new.spot(entry.path), entry)
                assert digest == entry.blake3
            elif entry.kind is EntryKind.LINK:
                place_link(new.spot(entry.path), entry)
    finish_folders(target, manifest)
