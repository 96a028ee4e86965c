"""What the real engine is struck in with a directory, and what must hold after any strike.

One tree in one home, in both layouts. After a strike whoever reads the target
by path finds one version, whole; after a resume it is the one that the journal
says, to the last attribute, what programs wrote is where it was, and nothing
else is left anywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from noodle_engine.cli.exits import NEEDS_PERSON, RESTORED
from noodle_engine.disk.trees.manifest import TreeManifest, compare
from noodle_engine.disk.trees.scan import scan_tree
from tests.crashes import engine_run
from tests.crashes.engine_home import PROGRAM, Words, always
from tests.crashes.engine_judging import ENDED, RECORDING, check_home, explained
from tests.crashes.harness.fork_client import ForkServer
from tests.crashes.harness.run import Bench, Command, Outcome
from tests.crashes.tree_home import (
    LATER,
    MUTABLE,
    NAME,
    NEW,
    OLD,
    SICK,
    STOPPED,
    WRITTEN,
    LeadUp,
    deployed,
    expected,
    half_swapped,
    many_kept,
    new_installed,
    nothing_installed,
    old_installed,
    options,
    place_in,
)

ROOM: Final = frozenset({"lock", "commands", "owner", "releases", "manifests", "data"})
LAYOUTS: Final = ("tree", "link")


@dataclass(slots=True)
class Tree:
    """A scenario of the real engine with one directory. Use it as a context manager.

    `before` and `after` are the versions on the two sides, None for none. An
    adoption is one `had` (its layout before): both sides hold the same to a reader.
    With `inside` data lies in the tree, and `written` is what programs wrote last. Of
    `known_max` trees, and the kept ones, a manifest may be left.
    """

    name: str
    bench: Bench
    layout: str
    words: Callable[[Path], tuple[str, ...]]
    lead_up: LeadUp
    before: str | None
    after: str | None
    sides: frozenset[str] = frozenset({"before", "after"})
    returncode: int = 0
    had: str | None = None
    inside: bool = False
    written: Mapping[str, bytes] = field(default_factory=lambda: WRITTEN)
    points_max: int = 10
    known_max: int = 1
    _told: str | None = None
    _held: bool = False
    _was: TreeManifest | None = None
    _servers: dict[str, ForkServer] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _found: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def prepare(self, folder: Path) -> Command:
        """Make the home and what leads up to the struck command."""
        self.lead_up(self.bench, folder)
        if self.had is not None:
            self._was = scan_tree(tree_at(folder) or folder).manifest
        command = Words(self.bench, folder, self.words(folder)).command
        return replace(command, returncode=self.returncode)

    # -- at once ------------------------------------------------------------

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """One version, whole, to whoever reads by path."""
        self._told, self._held = None, False
        versions = {self.before, self.after} if self.had is None else {OLD}
        tree = tree_at(folder)
        if tree is None:
            assert None in versions, "the target is missing"
        else:
            found = {one for one in versions if one is not None and self._reads_as(folder, one)}
            assert found, f"the target is neither of {versions}"
        self._told = explained(outcome)
        self._held = outcome.returncode == NEEDS_PERSON

    def _reads_as(self, folder: Path, version: str) -> bool:
        """Whether a reader finds a version, and in it the data that was written."""
        target = folder / "srv" / NAME
        payload = folder / "releases" / version / "payload"
        managed = [path for path in payload.rglob("*") if path.is_file() and not path.is_symlink()]
        names = {str(path.relative_to(payload)) for path in managed}
        names -= {name for name in names if name.startswith(tuple(MUTABLE))}
        same = all(
            (target / name).is_file()
            and (target / name).read_bytes() == (payload / name).read_bytes()
            for name in names
        )
        if same and self.before is not None:
            # Of data inside the old tree may have what was in it when it was exchanged.
            for name in WRITTEN:
                allowed = {self.written[name], WRITTEN[name]}
                assert (target / name).read_bytes() in allowed, f"{name} was lost"
        return same

    # -- a fresh process ----------------------------------------------------

    def resume(self, folder: Path) -> None:
        """Resume twice in a fresh process, and remember what it found."""
        settling = Command(
            program=PROGRAM,
            arguments=(str(folder / "home"), str(folder / "srv")),
            roots=(self.bench.scratch,),
            folder=folder,
            entry="tests.crashes.engine_run:settle",
            preload=engine_run.PRELOAD,
        )
        assert settling.entry is not None
        if settling.entry not in self._servers:
            started = self._stack.enter_context(ForkServer(settling, self.bench))
            self._servers[settling.entry] = started
        outcome = self._servers[settling.entry].run(settling, RECORDING, 0)
        assert outcome.returncode == 0, str(outcome)
        self._found = json.loads(outcome.stdout)

    # -- the end ------------------------------------------------------------

    def check(self, folder: Path) -> None:
        """The tree is what the journal says, and nothing is left."""
        if not self._found:
            self.resume(folder)
        found, self._found = self._found, {}
        told, self._told = self._told, None
        try:
            self._check_journal(found)
            self._check_side(folder, found, told)
            self._check_data(folder)
            check_home(folder / "home")
            self._check_beside(folder, found)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\nfound: {found}") from problem

    def _check_journal(self, found: dict[str, Any]) -> None:
        assert found["verified"], found["problem"]
        assert {upgrade for upgrade, _ in found["ended"]} <= set(found["runs"])
        assert found["open"] == found["again"] == []
        assert found["sizes"][0] == found["sizes"][1], "a second resume wrote to the journal"
        assert not found["touched"], f"a second resume touched {found['touched']}"
        assert not found["held"] or self._held, "on hold, and nobody was told"
        assert not found["left"]
        assert len(found["points"]) <= self.points_max
        for (upgrade, state), reason in zip(found["ended"], found["reasons"], strict=True):
            assert state in ENDED, f"{upgrade} has not ended"
            assert state == "committed" or reason, f"{upgrade} was taken back for no reason"

    def _check_side(self, folder: Path, found: dict[str, Any], told: str | None) -> None:
        installed = found["installed"].get(NAME)
        if self.had is not None:
            side = "after" if installed is not None else "before"
            self._check_adopted(folder, adopted=installed is not None)
        else:
            side = "after" if installed == self.after else "before"
            self._check_installed(folder, installed)
        assert side in self.sides, f"ended {side}, and not {set(self.sides)}"
        assert told in (None, side), f"said {told}, ended {side}"

    def _check_installed(self, folder: Path, installed: str | None) -> None:
        tree = tree_at(folder)
        if installed is None:
            assert tree is None, "the journal says nothing is installed"
            return
        assert tree is not None, f"the journal says {installed}, and nothing is there"
        assert (folder / "srv" / NAME).is_symlink() is (self.layout == "link")
        wanted = expected(folder, installed, self.layout, inside=self.inside)
        same(wanted, manifest_of(tree, self.layout, inside=self.inside))

    def _check_adopted(self, folder: Path, *, adopted: bool) -> None:
        tree = tree_at(folder)
        assert tree is not None
        assert self._was is not None
        if not adopted:
            assert (folder / "srv" / NAME).is_symlink() is (self.had == "link")
            same(self._was, scan_tree(tree).manifest)
            return
        assert (folder / "srv" / NAME).is_symlink() is (self.layout == "link")
        kept = TreeManifest(
            one for one in self._was.entries if not options(self.layout).is_mutable(one.path)
        )
        there = TreeManifest(
            one
            for one in scan_tree(tree).manifest.entries
            if not options(self.layout).is_mutable(one.path)
        )
        same(kept, there)
        for path in MUTABLE:
            assert (tree / path.rstrip("/")).is_symlink()

    def _check_data(self, folder: Path) -> None:
        if self.before is None or tree_at(folder) is None:
            return
        for name, data in self.written.items():
            assert (folder / "srv" / NAME / name).read_bytes() == data, f"{name} was lost"
        assert not (folder / STOPPED).exists(), "who writes the data was not started again"

    def _check_beside(self, folder: Path, found: dict[str, Any]) -> None:
        srv, place = folder / "srv", place_in(folder)
        stayed = {path for path in srv.glob(".*.next-*") if str(path) in found["points"]}
        strays = {
            path.name
            for path in srv.iterdir()
            if not (path.name.startswith(".noodle-probe-") and path.stat().st_size == 0)
        } - {NAME, ".noodle", "releases", *(path.name for path in stayed)}
        assert not strays, f"left beside the target: {strays}"
        if not place.room.exists():
            assert not found["points"]
            return
        more = {path.name for path in place.room.iterdir()} - ROOM
        more = {name for name in more if not name.startswith(".noodle-probe-")}
        assert not more, f"left in the room: {more}"
        kept = set(place.releases.iterdir()) if place.releases.exists() else set()
        needed = {Path(point) for point in found["points"]} - stayed
        for link in (srv / NAME, *map(Path, found["points"])):
            if link.is_symlink():
                needed.add(Path(os.path.normpath(srv / os.readlink(link))))
        assert kept == {path for path in needed if path.parent == place.releases}, "kept too much"
        known = (
            {path.stem for path in place.manifests.iterdir()} if place.manifests.exists() else ()
        )
        most = self.known_max + len(found["points"])
        assert len(known) <= most, f"too many manifests: {known}"


def tree_at(folder: Path) -> Path | None:
    """The tree that a reader of the target finds."""
    target = folder / "srv" / NAME
    return Path(os.path.realpath(target)) if target.is_dir() else None


def manifest_of(tree: Path, layout: str, *, inside: bool = False) -> TreeManifest:
    """What a tree holds, without what programs left in it."""
    what = options(layout, inside=inside)

    def leave(path: bytes, is_folder: bool) -> bool:
        return what.skips(path, is_folder) or (inside and what.is_mutable(path))

    return scan_tree(tree, skip=leave).manifest


def same(expected_: TreeManifest, found: TreeManifest) -> None:
    """Two trees are the same, to the last attribute."""
    changes = compare(expected_, found)
    assert not changes, f"the tree differs: {[(c.kind.value, c.path, c.what) for c in changes[:5]]}"


# -- the scenarios --------------------------------------------------------------


def tree_scenarios(bench: Bench) -> dict[str, Tree]:
    """Every scenario by its name. Use each as a context manager."""
    old = frozenset({"before"})
    made: list[Tree] = []
    for layout in LAYOUTS:
        to_new = always("apply", f"{NAME}@{NEW}", "--yes")

        def add(name: str, *words: Any, layout: str = layout, **more: Any) -> None:
            made.append(Tree(f"{layout}: {name}", bench, layout, *words, **more))

        first = always("apply", f"{NAME}@{OLD}", "--yes")
        add("first install", first, nothing_installed(layout), None, OLD)
        add("upgrade", to_new, old_installed(layout), OLD, NEW)
        add("upgrade by hard links", to_new, old_installed(layout, immutable=True), OLD, NEW)
        sick = always("apply", f"{NAME}@{SICK}", "--yes")
        add(
            "unhealthy upgrade",
            sick,
            old_installed(layout),
            OLD,
            SICK,
            sides=old,
            returncode=RESTORED,
        )
        removal = always("apply", "--remove", NAME, "--yes")
        add("removal", removal, old_installed(layout), OLD, None)
        rollback = always("rollback", NAME, "--yes")
        add("rollback", rollback, new_installed(layout), NEW, OLD)
        add("gc", always("gc"), many_kept(layout), NEW, NEW, points_max=1)
        add("resume", always("resume"), half_swapped(layout), OLD, NEW)
        _add_inside(add, layout)
    for had, layout in (("tree", "tree"), ("tree", "link"), ("link", "link")):
        made.append(
            Tree(
                f"adopt {had} to {layout}",
                bench,
                layout,
                adopting(layout),
                deployed(had),
                OLD,
                OLD,
                had=had,
            )
        )
    return {one.name: one for one in made}


def _add_inside(add: Callable[..., None], layout: str) -> None:
    """The scenarios in which data lies in the tree and is carried."""
    had = old_installed(layout, inside=True)
    to_new = always("apply", f"{NAME}@{NEW}", "--yes")
    add("upgrade, data inside", to_new, had, OLD, NEW, inside=True)
    sick = always("apply", f"{NAME}@{SICK}", "--yes")
    old = frozenset({"before"})
    add(
        "unhealthy upgrade, data inside",
        sick,
        had,
        OLD,
        SICK,
        inside=True,
        sides=old,
        returncode=RESTORED,
    )
    add(
        "rollback, data inside",
        always("rollback", NAME, "--yes"),
        new_installed(layout, inside=True),
        NEW,
        OLD,
        inside=True,
        written=LATER,
    )
    half = half_swapped(layout, inside=True)
    add("resume, data inside", always("resume"), half, OLD, NEW, inside=True)


def adopting(layout: str) -> Callable[[Path], tuple[str, ...]]:
    """The words that adopt what is deployed."""

    def words(folder: Path) -> tuple[str, ...]:
        return (
            "component",
            "adopt",
            f"{NAME}@{OLD}",
            str(folder / "srv" / NAME),
            "--layout",
            layout,
            *(word for path in MUTABLE for word in ("--mutable", path)),
            "--unmanaged",
            "*.pid",
            "--yes",
        )

    return words
