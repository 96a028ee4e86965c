"""A way back between versions that do not agree on which paths are data: never refused for it.

What both can have is carried; what cannot stays where it is, and the plan says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from noodle_engine.machine.plan import HookPoint, StepName
from noodle_engine.machine.records import Observation
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import Source
from noodle_engine.targets.failures import TargetFrozen
from tests.conftest import require_system
from tests.unit.targets.tree_site import Tree, TreeSite, location_of, read_tree


def inside(*mutable: str, who: str = "writer") -> TreeOptions:
    """Options of a version whose data lies inside."""
    return TreeOptions.of(
        layout="tree",
        mutable=mutable,
        unmanaged=(),
        immutable=False,
        quiesce=["stop", who],
        unquiesce=["start", who],
    )


PLAIN = TreeOptions()


@dataclass
class History:
    """Versions of one target, one after the other."""

    folder: Path
    layout: str
    count: int = 0
    last: TreeSite | None = None
    installed: tuple[str, str] | None = None
    versions: list[TreeOptions] = field(default_factory=list)
    points: list[Source] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "srv" / "web"

    def apply(self, options: TreeOptions, own: Tree) -> None:
        """Upgrade to the next version, which has an `app` that names it."""
        self.count += 1
        site = self._site(options, new={"app": f"{self.count}".encode(), **own})
        kept = self._done(site)
        if self.count > 1:
            location, content = location_of(kept), kept.attributes["content"]
            self.points.append(Source(location, content, point=True))
        self.versions.append(options)

    def back(self, to: int) -> tuple[str, ...]:
        """Back to the version `to`, whose kept tree it is; what the plan told of data."""
        site = self.plan_back(to)
        self._done(site)
        return tuple(one for one in site.plan.notices if "the data at" in one)

    def plan_back(self, to: int) -> TreeSite:
        return self._site(self.versions[to - 1], new=None, point=self.points[to - 1])

    def _site(self, options: TreeOptions, **more: object) -> TreeSite:
        last = self.last
        return TreeSite(
            self.folder,
            self.layout,
            old=None,
            options=options,
            installed=self.installed,
            installed_options=self.versions[-1] if self.versions else PLAIN,
            from_version=None if last is None else last.to_version,
            to_version=f"{self.count}.0.0",
            upgrade=f"01{self.count}{len(more):023}",
            **more,  # type: ignore[arg-type]
        )

    def _done(self, site: TreeSite) -> Observation:
        site.until(StepName.RECHECK)
        kept = site.do(StepName.POINT)
        site.do(StepName.CLEAN_COMMITTED)
        assert site.context.staged is not None
        self.installed = (site.context.staged.root, site.context.component.root)
        self.last = site
        return kept

    def write(self, **data: str) -> None:
        """What a program writes: names have `_` in place of a slash."""
        for name, text in data.items():
            path = self.path.resolve() / name.replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def holds(self) -> dict[str, object]:
        return dict(read_tree(self.path.resolve()))


layouts = pytest.mark.parametrize("layout", ["tree", "link"])


@layouts
def test_data_that_the_next_version_does_not_know_is_there_again(
    tmp_path: Path, layout: str
) -> None:
    history = History(tmp_path, layout)
    history.apply(inside("var/"), {})
    history.write(var_mine="written")
    history.apply(PLAIN, {})
    assert "as it was kept" in history.back(1)[0]
    assert history.holds() == {"app": b"1", "var/mine": b"written"}


@layouts
def test_where_the_next_version_has_its_own_each_keeps_its_own(tmp_path: Path, layout: str) -> None:
    history = History(tmp_path, layout)
    history.apply(inside("var/"), {})
    history.write(var_mine="written")
    history.apply(PLAIN, {"var/own": b"delivered"})
    assert history.holds() == {"app": b"2", "var/own": b"delivered"}
    assert "as it was kept" in history.back(1)[0]
    assert history.holds() == {"app": b"1", "var/mine": b"written"}


@layouts
def test_a_narrower_path_of_data_comes_back_into_the_wider(tmp_path: Path, layout: str) -> None:
    history = History(tmp_path, layout)
    history.apply(inside("var/"), {})
    history.write(var_log="1", var_db_rows="1")
    history.apply(inside("var/db/"), {})
    assert history.holds() == {"app": b"2", "var/db/rows": b"1"}
    history.write(var_db_rows="2")
    assert not history.back(1)
    assert history.holds() == {"app": b"1", "var/db/rows": b"2", "var/log": b"1"}


@layouts
def test_of_a_wider_path_comes_what_is_data_to_both(tmp_path: Path, layout: str) -> None:
    history = History(tmp_path, layout)
    history.apply(inside("var/db/"), {"var/own": b"delivered"})
    history.write(var_db_rows="1")
    history.apply(PLAIN, {})
    history.apply(inside("var/"), {})
    history.write(var_db_rows="3", var_more="3")
    assert "stays with the version" in history.back(1)[0]
    assert history.holds() == {"app": b"1", "var/db/rows": b"3", "var/own": b"delivered"}


@layouts
def test_data_stays_where_the_version_that_comes_back_has_its_own(
    tmp_path: Path, layout: str
) -> None:
    history = History(tmp_path, layout)
    history.apply(PLAIN, {"conf/a": b"own"})
    history.apply(PLAIN, {})
    history.apply(inside("conf/"), {})
    history.write(conf_mine="written")
    assert "stays with the version" in history.back(1)[0]
    assert history.holds() == {"app": b"1", "conf/a": b"own"}


@layouts
def test_what_programs_put_into_data_does_not_stop_a_way_back(tmp_path: Path, layout: str) -> None:
    """It is renamed, not copied: a pipe in it is no obstacle."""
    history = History(tmp_path, layout)
    history.apply(inside("var/"), {})
    history.apply(inside("var/"), {})
    os.mkfifo(history.path / "var" / "pipe")
    history.back(1)
    assert (history.path / "var" / "pipe").is_fifo()
    assert (history.path / "app").read_bytes() == b"1"


@layouts
def test_each_version_says_who_writes_its_tree(tmp_path: Path, layout: str) -> None:
    history = History(tmp_path, layout)
    history.apply(inside("var/", who="first"), {})
    history.apply(inside("var/", who="second"), {})
    assert history.last is not None
    assert [
        (one.at, *one.command[1:], *(one.undo or ())[1:]) for one in history.last.plan.hooks
    ] == [
        (HookPoint.QUIESCE, "first", "first"),
        (HookPoint.UNQUIESCE, "second", "second"),
    ]
    hooks = history.plan_back(1).plan.hooks
    assert [one.command for one in hooks] == [("stop", "second"), ("start", "first")]
    assert [one.undo for one in hooks] == [("start", "second"), ("stop", "first")]


@layouts
def test_data_that_may_not_be_renamed_is_refused_before_anything(
    tmp_path: Path, layout: str
) -> None:
    """There and back: with it a tree could not be whole again."""
    require_system("e2fsprogs", "chattr")
    history = History(tmp_path, layout)
    history.apply(inside("var/"), {})
    history.apply(inside("var/"), {})
    path = history.path.resolve() / "var"
    if os.system(f"chattr +i {path} 2>/dev/null"):
        pytest.skip("this file system, or user, knows no immutable folder")
    try:
        with pytest.raises(TargetFrozen):
            history.plan_back(1)
        with pytest.raises(TargetFrozen):
            history.apply(inside("var/"), {})
    finally:
        os.system(f"chattr -i {path}")
