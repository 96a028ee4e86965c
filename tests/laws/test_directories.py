"""Laws of kind `directory`, on random trees and random runs, on the real disk.

Adopting and taking it back is identity. What is installed is what the release
holds. After any run of upgrades, ways back, drops and damage each kept version
restores byte for byte, or is named as damaged and nothing changes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noodle_engine.disk.trees.manifest import EntryKind, TreeManifest
from noodle_engine.disk.trees.scan import scan_tree
from noodle_engine.machine.plan import StepName
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import Source
from noodle_engine.targets.directory import DirectoryTarget
from noodle_engine.targets.failures import PointLost, TreeNotAdopted
from tests.breadth import BREADTH, Breadth
from tests.memory import memory_folder
from tests.unit.targets.test_directory_adopting import Adopting
from tests.unit.targets.tree_site import FORWARD, TreeSite, location_of

EXAMPLES = {Breadth.SMALL: 40, Breadth.WIDE: 100, Breadth.FULL: 1_000}[BREADTH]
OLD_S = 1_600_000_000

names = st.one_of(
    st.sampled_from(["a", "b", "c", "a b", "%41", "\udcff\udcfe", "n" * 200]),
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=5).filter(
        lambda name: name not in (".", "..", ".noodle")
    ),
)
contents = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.sampled_from([b"same", b"x" * 70_000]),
    st.sampled_from(["a", "b/c", "/etc/hostname", "nowhere"]),
)
modes = st.sampled_from([0o644, 0o600, 0o755, 0o4711, 0o444])
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join), st.tuples(contents, modes), max_size=7
)
Tree = dict[str, tuple["bytes | str | None", int]]


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder for each example, in memory where there is such a place."""
    made = Path(tempfile.mkdtemp(prefix="noodle-law-", dir=memory_folder()))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def write(folder: Path, tree: Tree) -> None:
    """Write what of a tree can be: what lies below a file or a link is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (what, mode) in tree.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if any(one.is_symlink() for one in path.parents if one.is_relative_to(folder)):
                continue
            if what is None:
                path.mkdir(exist_ok=True)
            elif isinstance(what, str):
                path.symlink_to(what)
            else:
                with path.open("xb") as file:
                    file.write(what)
                path.chmod(mode)
                os.utime(path, (OLD_S, OLD_S))
        except (FileExistsError, NotADirectoryError, FileNotFoundError):
            continue


layouts = st.sampled_from([("tree", "tree"), ("tree", "link"), ("link", "link")])


@settings(deadline=None, max_examples=EXAMPLES)
@given(tree=trees, layout=layouts, data=st.data(), last=st.integers(1, len(FORWARD) - 3), twice=...)
def test_adopting_and_taking_it_back_is_identity(
    tree: Tree, layout: tuple[str, str], data: st.DataObject, last: int, twice: bool
) -> None:
    with scratch() as folder:
        deployed = folder / "srv" / ("web" if layout[0] == "tree" else "releases/5")
        write(deployed, tree)
        tops = sorted(one.name for one in deployed.iterdir() if not one.name.endswith("/"))
        mutable = data.draw(st.lists(st.sampled_from(tops), unique=True)) if tops else []
        adopting = Adopting(folder, *layout, [])
        adopting.options = TreeOptions.of(
            layout=layout[1],
            mutable=[os.fsencode(one) for one in mutable],
            unmanaged=[],
            immutable=False,
            quiesce=(),
            unquiesce=(),
        )
        was = scan_tree(deployed).manifest
        try:
            adopting.begin()
        except TreeNotAdopted:  # a relative link that leaves what is moved, or what is gone
            assert scan_tree(deployed).manifest == was
            return
        adopting.until(FORWARD[last])
        for _ in range(2 if twice else 1):
            adopting.back()
        assert scan_tree(deployed).manifest == was
        assert adopting.path.is_symlink() is (layout[0] == "link")


@dataclass
class Kept:
    """A kept version, as the model has it."""

    location: Path
    content: str
    holds: TreeManifest
    version: str
    damaged: bool = False


@dataclass
class Run:
    """One target through upgrades, ways back, drops and damage, beside its model."""

    folder: Path
    layout: str
    immutable: bool
    current: TreeManifest | None = None
    installed: tuple[str, str] | None = None
    version: str | None = None
    kept: list[Kept] = field(default_factory=list)
    count: int = 0

    def site(self, **more: object) -> TreeSite:
        """The next upgrade."""
        self.count += 1
        options = TreeOptions.of(
            layout=self.layout,
            mutable=(),
            unmanaged=(),
            immutable=self.immutable,
            quiesce=(),
            unquiesce=(),
        )
        return TreeSite(
            self.folder,
            self.layout,
            old=None,
            options=options,
            upgrade=f"01{self.count:024}",
            from_version=self.version,
            to_version=f"1.{self.count}.0",
            installed=self.installed,
            **more,  # type: ignore[arg-type]
        )

    def upgrade(self, tree: Tree) -> None:
        payload = self.folder / "home" / f"1.{self.count + 1}.0" / "payload"
        write(payload, tree)
        self.done(self.registered(payload), scan_tree(payload).manifest)

    def registered(self, payload: Path) -> TreeSite:
        found = scan_tree(payload).manifest
        payload.with_name("payload.tree").write_bytes(found.encode())
        return self.site(new={})

    def done(self, site: TreeSite, holds: TreeManifest) -> None:
        """Do all steps, and remember what the model has now."""
        site.until(StepName.RECHECK)
        kept = site.do(StepName.POINT)
        site.do(StepName.CLEAN_COMMITTED)
        if self.current is not None and self.version is not None:
            content = str(kept.attributes["content"])
            self.kept.append(Kept(location_of(kept), content, self.current, self.version))
        assert site.context.staged is not None
        self.installed = (site.context.staged.root, site.plan.root_to)
        self.current, self.version = holds, site.to_version

    def back(self, which: int) -> None:
        if not self.kept:
            return
        kept = self.kept[which % len(self.kept)]
        point = Source(kept.location, kept.content, point=True)
        if kept.damaged:
            before = self.seen()
            with pytest.raises(PointLost):
                self.site(new=None, point=point).until(StepName.STAGE)
            assert self.seen() == before
            return
        self.kept.remove(kept)
        self.done(self.site(new=None, point=point), kept.holds)

    def drop(self, which: int) -> None:
        if self.kept:
            kept = self.kept.pop(which % len(self.kept))
            DirectoryTarget().drop(kept.location)
            assert not os.path.lexists(kept.location)

    def damage(self, which: int) -> None:
        """One file of a kept version is another, of the same length and time."""
        if not self.kept:
            return
        kept = self.kept[which % len(self.kept)]
        if kept.damaged:
            return
        for entry in kept.holds.entries:
            if entry.kind is EntryKind.FILE and entry.size:
                path = self.tree_of(kept.location) / os.fsdecode(entry.path)
                status = path.stat()
                data = path.read_bytes()
                path.unlink()  # a file of its own: others may share the inode
                path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
                path.chmod(entry.mode)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
                kept.damaged = True
                return

    def tree_of(self, location: Path) -> Path:
        if location.is_symlink():
            return Path(os.path.normpath(self.folder / "srv" / os.readlink(location)))
        return location

    def seen(self) -> TreeManifest | None:
        target = self.folder / "srv" / "web"
        return scan_tree(Path(os.path.realpath(target))).manifest if target.exists() else None

    def check(self) -> None:
        assert self.seen() == self.current
        for kept in self.kept:
            if not kept.damaged:
                assert scan_tree(self.tree_of(kept.location)).manifest == kept.holds
        beside = {one.name for one in (self.folder / "srv").iterdir()}
        assert beside <= {"web", ".noodle"}


operations = st.lists(
    st.one_of(
        trees.map(lambda tree: ("upgrade", tree)),
        st.integers(0, 3).map(lambda which: ("back", which)),
        st.integers(0, 3).map(lambda which: ("drop", which)),
        st.integers(0, 3).map(lambda which: ("damage", which)),
    ),
    min_size=2,
    max_size=8,
)


@settings(deadline=None, max_examples=EXAMPLES)
@given(operations=operations, layout=st.sampled_from(["tree", "link"]), immutable=...)
def test_each_kept_version_restores_byte_for_byte_or_is_named(
    operations: list[tuple[str, object]], layout: str, immutable: bool
) -> None:
    with scratch() as folder:
        (folder / "srv").mkdir()
        run = Run(folder, layout, immutable)
        for name, argument in operations:
            getattr(run, name)(argument)
            run.check()
