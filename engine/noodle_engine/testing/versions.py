"""What a version of a kind is: how a test writes one, deploys it, and reads it as a user does.

Owns the two sorts of payload that a release can have. A kind whose target does not look
like its payload (one that unpacks, renders, translates) subclasses one of them and says
in `shown` and `read` what a user of the target finds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import strategies as st

from noodle_engine.disk.trees.scan import Digests, scan_tree
from noodle_engine.targets.base import Source
from noodle_engine.testing.strategies import Tree, trees

__all__ = ["MARK", "Files", "Trees", "Versions", "look", "write_tree"]

MARK: Final = b"a stranger's own\n"
"""What a stranger writes. It must never be lost."""
_PROBE: Final = ".noodle-probe-"
_WRITTEN_S: Final = 1_600_000_000
"""When a deployed file was written last: not so new that a kind may not believe its stamps."""
Version = TypeVar("Version")


class Versions(ABC):
    """What the versions of a kind are. A version is any value that can be compared."""

    options: Mapping[str, str] = {}
    """The options of `[target]` that the kind is tested with."""

    @abstractmethod
    def versions(self) -> st.SearchStrategy[Any]:
        """Versions, as Hypothesis draws them."""

    @abstractmethod
    def examples(self) -> tuple[Any, Any, Any]:
        """Three versions, each other than the rest, for a run without chance."""

    @abstractmethod
    def pay(self, folder: Path, version: Any) -> Source:
        """Write the payload of a version into an empty folder, as the registry keeps one."""

    @abstractmethod
    def deploy(self, path: Path, version: Any) -> None:
        """Put a version at a free target, as somebody has installed it by hand."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """What a user of the target finds there, None for nothing; never what `Target` says."""

    def read_kept(self, path: Path, location: Path) -> Any:
        """What is kept at `location` of the target at `path`. By default as `read` finds it."""
        del path
        return self.read(location)

    def shown(self, version: Any) -> Any:
        """What `read` finds of a version. By default the version itself."""
        return version

    def trespass(self, path: Path) -> None:
        """Be a stranger: put something else, with MARK in it, in the target's place."""
        remove(path)
        path.write_bytes(MARK)


class Files(Versions):
    """A version is the bytes of one file."""

    def versions(self) -> st.SearchStrategy[bytes]:
        """Short files."""
        return st.one_of(
            st.binary(min_size=1, max_size=40), st.sampled_from([b"old\n", b"x" * 70_000])
        ).filter(lambda data: MARK not in data)

    def examples(self) -> tuple[bytes, bytes, bytes]:
        """Three files."""
        return b"1.0.0\n", b"1.1.0, which is longer\n", b"2.0.0" * 20_000

    def pay(self, folder: Path, version: bytes) -> Source:
        """One file; its content is its SHA-256."""
        path = folder / "payload"
        path.write_bytes(version)
        path.chmod(0o644)
        return Source(path, f"sha256:{hashlib.sha256(version).hexdigest()}")

    def deploy(self, path: Path, version: bytes) -> None:
        """The file, with a mode that a release does not give."""
        path.write_bytes(version)
        path.chmod(0o640)
        os.utime(path, (_WRITTEN_S, _WRITTEN_S))

    def read(self, path: Path) -> bytes | None:
        """The file's bytes; what is no file is read as MARK."""
        if not os.path.lexists(path):
            return None
        return path.read_bytes() if path.is_file() else MARK


class Trees(Versions):
    """A version is a tree: by path a file's bytes, None for a folder, a text for a link."""

    def __init__(self, layout: str = "tree") -> None:
        self.options = {"layout": layout}

    def versions(self) -> st.SearchStrategy[Tree]:
        """Small trees."""
        return trees().filter(bool)

    def examples(self) -> tuple[Tree, Tree, Tree]:
        """Three trees that have something alike."""
        return (
            {"app.py": b"1.0.0", "static/site.css": b"same", "gone": b"soon", "now": "app.py"},
            {"app.py": b"1.1.0!", "static/site.css": b"same", "more/new": b"", "now": "app.py"},
            {"app": b"2.0.0", "empty": None},
        )

    def pay(self, folder: Path, version: Tree) -> Source:
        """A folder, and its manifest beside it; its content is the manifest's root."""
        path = folder / "payload"
        write_tree(path, version)
        manifest = scan_tree(path, digests=Digests.BOTH).manifest
        path.with_name(f"{path.name}.tree").write_bytes(manifest.encode())
        return Source(path, manifest.root)

    def deploy(self, path: Path, version: Tree) -> None:
        """The tree itself, or for layout `link` a link to it."""
        if self.options.get("layout") != "link":
            write_tree(path, version)
            return
        write_tree(path.parent / "releases" / "first", version)
        path.symlink_to("releases/first")

    def read(self, path: Path) -> Tree | None:
        """What is in the tree, links in the way followed; what is no folder is MARK."""
        if not os.path.lexists(path):
            return None
        return read_tree(path.resolve()) if path.is_dir() else {"": MARK}

    def read_kept(self, path: Path, location: Path) -> Tree | None:
        """The tree; a link that is kept leads where it led from the target's folder."""
        if location.is_symlink():
            location = path.parent / location.readlink()
        return self.read(location)

    def shown(self, version: Tree) -> Tree:
        """The tree without the folders that hold something."""
        return {
            name: what
            for name, what in version.items()
            if what is not None or not any(one.startswith(f"{name}/") for one in version)
        }

    def trespass(self, path: Path) -> None:
        """Another folder in its place."""
        remove(path)
        write_tree(path, {"stranger": MARK})


def write_tree(folder: Path, tree: Tree) -> None:
    """Write a tree; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, what in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            path.mkdir(exist_ok=True)
        elif isinstance(what, str):
            path.symlink_to(what)
        else:
            path.write_bytes(what)
            os.utime(path, (_WRITTEN_S, _WRITTEN_S))


def read_tree(folder: Path) -> Tree:
    """A tree as `write_tree` takes it; only leaves and empty folders."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif not path.is_dir():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = None
    return found


def look(folder: Path) -> dict[str, tuple[str, ...]]:
    """Everything below a folder, with type, mode, owner and content; links are not followed.

    Without the empty files by which Noodle asks what a file system can: a kill may leave
    some, and the next question removes them.
    """
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        facts = path.lstat()
        if path.name.startswith(_PROBE) and not facts.st_size:
            continue
        told = [f"{facts.st_mode:o}", f"{facts.st_uid}:{facts.st_gid}"]
        if path.is_symlink():
            told.append(str(path.readlink()))
        elif path.is_file():
            told.append(hashlib.sha256(path.read_bytes()).hexdigest())
        found[str(path.relative_to(folder))] = tuple(told)
    return found


def remove(path: Path) -> None:
    """Remove whatever a name names."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
