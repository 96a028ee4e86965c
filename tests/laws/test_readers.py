"""Who reads a directory while it is upgraded, two hundred times back and forth.

Laws held here
R3  a process that holds an open descriptor of the target sees one version whole,
    for as long as it holds it, and no error

One that opens each file by its path may see two versions in one pass, in either
layout: that is counted and printed (`pytest -s`), and no law.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from noodle_engine.machine.plan import StepName
from noodle_engine.targets.base import Source
from noodle_engine.targets.directory import DirectoryTarget
from tests.breadth import BREADTH, Breadth
from tests.laws import reader
from tests.unit.targets.tree_site import TreeSite, location_of

UPGRADES = {Breadth.SMALL: 60, Breadth.WIDE: 200, Breadth.FULL: 2_000}[BREADTH]
FILES = ("app.py", "index.html", "static/a.css", "static/b.css", "static/deep/c.css", "z")
KEPT_MAX = 40
"""How many old versions stay, besides those that a reader is in."""
VERSIONS_MIN = 10
WAIT_S_MAX = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="noodle-law-", dir=memory))
    yield made
    shutil.rmtree(made)


class Upgrades:
    """A target that goes to a new version, back, to another new version, and so on."""

    def __init__(self, folder: Path, layout: str) -> None:
        self.folder, self.layout = folder, layout
        self.installed: tuple[str, str] | None = None
        self.version: str | None = None
        self.count = 0
        self.kept: deque[tuple[str, Source]] = deque()

    def forward(self) -> None:
        to = f"1.{self.count + 1}.0"
        self._do(self._site(to, new=dict.fromkeys(FILES, to.encode())), to)
        shutil.rmtree(self.folder / "home" / to)

    def back(self) -> None:
        version, point = self.kept.pop()
        self._do(self._site(version, new=None, point=point), version)

    def _site(self, to: str, **more: object) -> TreeSite:
        self.count += 1
        return TreeSite(
            self.folder,
            self.layout,
            old=None,
            upgrade=f"01{self.count:024}",
            from_version=self.version,
            to_version=to,
            installed=self.installed,
            **more,  # type: ignore[arg-type]
        )

    def _do(self, site: TreeSite, to: str) -> None:
        site.until(StepName.RECHECK)
        kept = site.do(StepName.POINT)
        site.do(StepName.CLEAN_COMMITTED)
        if self.version is not None:
            point = Source(location_of(kept), str(kept.attributes["content"]), point=True)
            self.kept.append((self.version, point))
        assert site.context.staged is not None
        self.installed = (site.context.staged.root, site.plan.root_to)
        self.version = to
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        """As retention does: never one that a process is in."""
        target = DirectoryTarget()
        while len(self.kept) > KEPT_MAX and not target.users(self.kept[0][1].path):
            target.drop(self.kept.popleft()[1].path)


def start(target: Path, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-S", str(Path(reader.__file__)), str(target), how, *FILES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    return process


@pytest.mark.parametrize("layout", ["tree", "link"])
def test_who_holds_a_descriptor_never_sees_two_versions(folder: Path, layout: str) -> None:
    """R3, and readers by path beside it."""
    upgrades = Upgrades(folder, layout)
    upgrades.forward()
    target = folder / "srv" / "web"
    readers = {how: start(target, how) for how in ("pinned", "by-path")}
    counted = {}
    try:
        for number in range(UPGRADES):
            upgrades.back() if number % 2 else upgrades.forward()
        for how, process in readers.items():
            said, _ = process.communicate(timeout=WAIT_S_MAX)
            assert process.returncode == 0
            counted[how] = json.loads(said)
    finally:
        for process in readers.values():
            process.kill()
            process.wait()

    pinned, by_path = counted["pinned"], counted["by-path"]
    assert pinned["mixed"] == 0
    assert pinned["errors"] == []
    assert pinned["versions"] > VERSIONS_MIN, "it read beside the upgrades, not during them"
    sys.stdout.write(
        f"\nlayout {layout}, {UPGRADES} upgrades: pinned {pinned['passes']} passes, none mixed; "
        f"by path {by_path['passes']} passes, {by_path['mixed']} mixed, "
        f"{len(by_path['errors'])} failed\n"
    )
