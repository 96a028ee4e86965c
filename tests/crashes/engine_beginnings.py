"""What comes before any upgrade, struck: making the home, and making releases known."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from noodle_engine import Noodle
from noodle_engine.disk.trees.build import Sharing, probe_sharing
from noodle_engine.registry.release import check_payload
from noodle_engine.registry.store import ReleaseStore
from tests.crashes.engine_home import (
    LINES,
    MARK,
    NAMES,
    NEW,
    OLD,
    OWNER,
    Words,
    apply,
    content,
    write_releases,
)
from tests.crashes.engine_judging import RECORDING, check_home, explained, read_target
from tests.crashes.harness.fork_client import ForkServer
from tests.crashes.harness.run import Bench, Command, Outcome


@dataclass(slots=True)
class Beginning:
    """What both have: a command that a user gives again."""

    name: str
    bench: Bench
    _stack: ExitStack = field(default_factory=ExitStack)
    _server: ForkServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _give(self, folder: Path, *words: str) -> Outcome:
        command = Words(self.bench, folder, words).command
        command = replace(command, roots=(self.bench.scratch,))  # there may be no home yet
        if self._server is None:
            self._server = self._stack.enter_context(ForkServer(command, self.bench))
        return self._server.run(command, RECORDING, 0)


@dataclass(slots=True)
class Initialising(Beginning):
    """`noodle init`, struck: a home is there whole, or a second `init` makes one."""

    def prepare(self, folder: Path) -> Command:
        """Nothing is there yet. The home is made beside its name: the whole folder is watched."""
        made = Words(self.bench, folder, ("init",)).command
        return replace(made, roots=(folder,))

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """What lived on explained itself, and left no half home under the name."""
        explained(outcome)
        home = folder / "home"
        assert not home.exists() or (home / "format").exists(), "half a home"
        assert outcome.returncode != 0 or home.exists(), "it said that there is a home"

    def resume(self, folder: Path) -> None:
        """A user runs it again if there is no home."""
        if (folder / "home").exists():
            return
        again = self._give(folder, "init")
        assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """A home that works, with its keys closed to others, and nothing beside it."""
        with Noodle.open(folder / "home") as noodle:
            assert noodle.audit_verify().ok
            assert not noodle.resume()
        check_home(folder / "home")
        for key in (folder / "home" / "keys").iterdir():
            wanted = 0o644 if key.suffix == ".pub" else 0o600
            assert stat.S_IMODE(key.stat().st_mode) == wanted, key.name
        left = {path.name for path in folder.iterdir()} - {"home"}
        assert not left, f"left beside the home: {left}"


@dataclass(slots=True)
class Adding(Beginning):
    """`noodle component add`, struck: the release is known whole, or given again it will be."""

    def prepare(self, folder: Path) -> Command:
        """A home that knows nothing, and releases."""
        (folder / "srv").mkdir()
        write_releases(folder)
        Noodle.init(folder / "home")
        return Words(self.bench, folder, self._words(folder)).command

    def _words(self, folder: Path) -> tuple[str, ...]:
        return ("component", "add", str(folder / "releases" / f"{NAMES[0]}-{OLD}"))

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """What lived on explained itself, and what it said is known is known."""
        explained(outcome)
        assert not (folder / "srv" / NAMES[0]).exists()
        with Noodle.open(folder / "home") as noodle:
            known = noodle.components().components
            assert noodle.audit_verify().ok
        assert outcome.returncode != 0 or [row.releases for row in known] == [(OLD,)]

    def resume(self, folder: Path) -> None:
        """A user gives it again."""
        again = self._give(folder, *self._words(folder))
        assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """It is known once, whole, and can be installed; nothing half made is left."""
        home = folder / "home"
        with Noodle.open(home) as noodle:
            (row,) = noodle.components().components
            assert row.releases == (OLD,)
        check_home(home)
        release = home / "runtime_components" / NAMES[0] / OLD
        kept = {path.name for path in release.iterdir()}
        assert kept == {"noodle.toml", "payload", "signature"}, kept
        check_registry(home, OLD)
        apply(folder, OLD, NAMES[:1])
        assert read_target(folder, NAMES[0]) == content(NAMES[0], OLD)
        with Noodle.open(home) as noodle:
            assert noodle.audit_verify().ok


def check_registry(home: Path, *versions: str) -> None:
    """Nothing half made is left, and what is known was recorded before."""
    components = home / "runtime_components"
    assert not list((components / ".adding").iterdir()), "left of an add"
    (component,) = [path for path in components.iterdir() if not path.name.startswith(".")]
    beside = {path.name for path in component.iterdir()} - set(versions)
    assert not beside, f"left beside the release: {beside}"
    with Noodle.open(home) as noodle:
        recorded = {
            str(entry.fields["data"]["version"])  # type: ignore[index]
            for entry in noodle.audit_show()
            if entry.fields.get("code") == "component.added"
        }
    assert recorded == set(versions), recorded


SITE: Final = "site"


def write_tree(folder: Path, version: str) -> Path:
    """A release that is a tree: some of it is the same in every version."""
    release = folder / "releases" / f"{SITE}-{version}"
    tree = release / "tree"
    (tree / "static" / "deep").mkdir(parents=True)
    (tree / "app.py").write_bytes(version.encode() * LINES)
    (tree / "app.py").chmod(0o755)
    (tree / "static" / "site.css").write_bytes(b"same " * LINES)
    (tree / "static" / "deep" / "logo").write_bytes(b"same too")
    (tree / "static" / "deep").chmod(0o750)
    (tree / "current").symlink_to("static/site.css")
    with (tree / "holes").open("wb") as opened:
        opened.truncate(1 << 20)
    os.setxattr(tree / "app.py", "user.mark", MARK)
    if os.geteuid() == 0:
        os.chown(tree / "app.py", *OWNER)
    (release / "noodle.toml").write_text(
        f"""format = 1
[component]
name = "{SITE}"
version = "{version}"
kind = "directory"
[payload]
path = "tree"
[target]
path = "{folder / "srv" / SITE}"
"""
    )
    return release


@dataclass(slots=True)
class AddingTree(Beginning):
    """`noodle component add` of a tree that shares files with a known one, struck."""

    def prepare(self, folder: Path) -> Command:
        """A home that knows the old version of a tree, and what a killed add left."""
        (folder / "srv").mkdir()
        Noodle.init(folder / "home")
        with Noodle.open(folder / "home") as noodle:
            noodle.add(write_tree(folder, OLD))
        left = folder / "home" / "runtime_components" / ".adding" / "1" / "release"
        (left / "payload").mkdir(parents=True)
        (left / "payload" / "half").write_bytes(b"half")
        write_tree(folder, NEW)
        return Words(self.bench, folder, self._words(folder)).command

    def _words(self, folder: Path) -> tuple[str, ...]:
        return ("component", "add", str(folder / "releases" / f"{SITE}-{NEW}"))

    def crashed(self, folder: Path, outcome: Outcome) -> None:
        """What is known is whole; what was said to be known is."""
        explained(outcome)
        home = folder / "home"
        with Noodle.open(home) as noodle:
            (row,) = noodle.components().components
            assert noodle.audit_verify().ok
        assert row.releases in ((OLD,), (NEW, OLD)), row.releases
        assert outcome.returncode != 0 or row.releases == (NEW, OLD)
        check_trees(home, *row.releases)

    def resume(self, folder: Path) -> None:
        """A user gives it again."""
        again = self._give(folder, *self._words(folder))
        assert again.returncode == 0, str(again)

    def check(self, folder: Path) -> None:
        """Both are known and whole, share what they have alike, and can be installed."""
        home = folder / "home"
        check_home(home)
        check_registry(home, OLD, NEW)
        check_trees(home, OLD, NEW)
        old, new = (home / "runtime_components" / SITE / one / "payload" for one in (OLD, NEW))
        if probe_sharing(home, hard_links=True) is Sharing.HARD_LINK:
            same = [(one / "static" / "site.css").stat().st_ino for one in (old, new)]
            assert same[0] == same[1], "what both have is there twice"
        with Noodle.open(home) as noodle:
            view = noodle.apply([f"{SITE}@{NEW}"])
            assert view is not None
            assert view.state.value == "committed"
            assert noodle.audit_verify().ok
        found = (folder / "srv" / SITE / "app.py").read_bytes()
        assert found == NEW.encode() * LINES


def check_trees(home: Path, *versions: str) -> None:
    """Every byte and attribute of these releases is what was signed."""
    store = ReleaseStore(home)
    for version in versions:
        check_payload(store.get(SITE, version))
