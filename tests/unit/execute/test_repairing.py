"""What somebody changed is put back from its release; what he wrote is kept, data stays."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from noodle_engine.execute.answers.views import UpgradeView
from noodle_engine.execute.failures import NothingInstalled, NotRepairable
from noodle_engine.machine.states import State
from noodle_engine.targets.failures import TargetChanged
from tests.unit.execute.site import Site, content, hook, manifest

EDITED = "edited by somebody\n"


def repaired(site: Site, name: str) -> UpgradeView:
    """The component once it was repaired: as it was installed, by a full look."""
    with site.open() as noodle:
        plan = noodle.plan_repair(name).plan
        assert plan is not None
        view = noodle.apply(plan)
        assert view is not None
        assert view.state is State.COMMITTED
        assert noodle.verify(name, full=True).whole
        assert noodle.plan_repair(name).plan is None, "repaired, and to be repaired"
        assert noodle.points(name).points == (), "a stranger's tree is no version to go back to"
    return view


def kept(view: UpgradeView) -> Path:
    assert view.components[0].kept is not None
    return Path(view.components[0].kept)


def edited(path: Path) -> None:
    path.write_text(EDITED)
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (edited, EDITED),
        (lambda path: path.chmod(0o777), content("one", "1.0.0")),
        (lambda path: path.unlink(), None),
        (lambda path: [path.unlink(), path.symlink_to("/nowhere")], None),
        (lambda path: [path.unlink(), path.mkdir(), (path / "in").touch()], None),
        (lambda path: path.with_name("more").hardlink_to(path) or path.write_text(EDITED), EDITED),
    ],
    ids=["edited", "mode", "gone", "link", "folder", "hard linked"],
)
def test_a_file_is_put_back_with_its_attributes(
    site: Site, change: Callable[[Path], object], left: str | None
) -> None:
    reloaded = site.folder / "reloaded"
    site.release("one", "1.0.0", hook("after-swap", ["touch", str(reloaded)]))
    path = site.target("one")
    with site.open() as noodle:
        noodle.apply(["one@1.0.0"])
    mode = path.stat().st_mode
    reloaded.unlink()
    change(path)
    was = stat.S_IFMT(path.lstat().st_mode) if os.path.lexists(path) else None

    view = repaired(site, "one")

    assert site.has("one", "1.0.0")
    assert path.stat().st_mode == mode
    assert reloaded.exists(), "who uses it was not told"
    if was is None:
        assert view.components[0].kept is None
    else:
        assert stat.S_IFMT(kept(view).lstat().st_mode) == was
    if left is not None:
        assert kept(view).read_text() == left


def tree_release(site: Site, layout: str, hooks: str = "") -> None:
    folder = site.folder / "releases" / "site-1.0.0"
    for name in ("app.py", "static/a.css", "static/b.css", "var/first"):
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_text(name)
    text = manifest("site", "1.0.0", site.target("site"))
    text = text.replace('"file"', '"directory"').replace('"payload"', '"tree"')
    more = f'layout = "{layout}"\nmutable = ["var/"]\nunmanaged = ["*.pid", "cache/"]\n'
    (folder / "noodle.toml").write_text(text.rstrip() + "\n" + more + hooks)
    with site.open() as noodle:
        noodle.add(folder)
        noodle.apply(["site@1.0.0"])


@pytest.mark.parametrize("layout", ["tree", "link"])
def test_a_tree_is_put_back_and_data_and_what_is_unmanaged_stay_in_place(
    site: Site, layout: str
) -> None:
    tree_release(site, layout)
    path = site.target("site")
    (path / "var" / "data").write_text("a visitor's")
    (path / "app.pid").write_text("42")
    (path / "static" / "cache").mkdir()
    (path / "static" / "cache" / "page").write_text("cached")
    (path / "app.py").write_text(EDITED)
    (path / "static" / "a.css").unlink()
    (path / "static").chmod(0o700)
    (path / "mine").write_text("a stranger's")

    view = repaired(site, "site")

    assert (path / "app.py").read_text() == "app.py"
    assert (path / "static" / "a.css").read_text() == "static/a.css"
    assert (path / "static").stat().st_mode & 0o777 == 0o755
    assert (path / "var" / "data").read_text() == "a visitor's"
    assert (path / "app.pid").read_text() == "42"
    assert (path / "static" / "cache" / "page").read_text() == "cached"
    assert not (path / "mine").exists()
    assert path.is_symlink() is (layout == "link")
    stranger = kept(view)
    assert (stranger / "app.py").read_text() == EDITED
    assert (stranger / "mine").read_text() == "a stranger's"
    assert not (stranger / "app.pid").exists()


@pytest.mark.parametrize("layout", ["tree", "link"])
def test_where_nothing_is_or_a_folder_in_the_place_of_a_link_the_layout_comes_back(
    site: Site, layout: str
) -> None:
    tree_release(site, layout)
    path = site.target("site")
    (path / "var" / "data").write_text("a visitor's")
    for what in ("nothing", "folder", "link elsewhere", "link to nowhere", "file"):
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path)
        other = site.folder / "other"
        if what == "folder":
            path.mkdir()
        elif what == "link elsewhere":
            other.mkdir()
            (other / "other.pid").write_text("7")
            path.symlink_to(other)
        elif what == "link to nowhere":
            path.symlink_to(site.folder / "nowhere")
        elif what == "file":
            path.touch()

        view = repaired(site, "site")

        assert path.is_symlink() is (layout == "link")
        assert (path / "var" / "data").read_text() == "a visitor's"
        assert (view.components[0].kept is None) is (what == "nothing")
        assert not (path / "other.pid").exists(), "taken from a folder that is not the target's"


def test_data_that_somebody_put_in_the_place_of_its_link_is_kept(site: Site) -> None:
    tree_release(site, "tree")
    var = site.target("site") / "var"
    (var / "data").write_text("a visitor's")
    var.unlink()
    var.mkdir()
    (var / "data").write_text("written since")

    view = repaired(site, "site")

    assert (var / "data").read_text() == "a visitor's"
    assert (kept(view) / "var" / "data").read_text() == "written since"


def test_a_repair_of_a_tree_that_is_taken_back_leaves_all_as_it_was(site: Site) -> None:
    """Also what tells a person which files differ, and what programs write meanwhile."""
    tree_release(site, "tree", hook("after-swap", ["sh", "-c", f"test ! -e {site.folder}/sick"]))
    path = site.target("site")
    (path / "app.py").write_text(EDITED)
    (path / "app.pid").write_text("42")
    (site.folder / "sick").touch()
    with site.open() as noodle:
        for _ in range(2):
            plan = noodle.plan_repair("site").plan
            assert plan is not None
            view = noodle.apply(plan)
            assert view is not None
            assert view.state is State.ROLLED_BACK
            assert (path / "app.py").read_text() == EDITED
            assert (path / "app.pid").read_text() == "42"
            assert sorted(one.name for one in path.parent.iterdir()) == [".noodle", "site"]
            (row,) = noodle.verify("site").components
            assert [one.path for one in row.differences] == ["app.py"]
            assert len(list((path.parent / ".noodle" / "site" / "manifests").glob("*.tree"))) == 1
    (site.folder / "sick").unlink()
    repaired(site, "site")


def test_what_no_release_has_is_not_repaired(site: Site) -> None:
    path = site.target("site")
    path.mkdir()
    (path / "app.py").write_text("by hand")
    with site.open() as noodle:
        with pytest.raises(NothingInstalled):
            noodle.plan_repair("site")
        plan = noodle.plan_adoption("site@1.0.0", path).plan
        assert plan is not None
        noodle.apply(plan)
        (path / "app.py").write_text(EDITED)
        with pytest.raises(NotRepairable):
            noodle.plan_repair("site")
    assert (path / "app.py").read_text() == EDITED


def test_a_repair_that_fails_leaves_what_the_stranger_wrote(site: Site) -> None:
    marker = site.folder / "marker"
    site.release(
        "two",
        "1.0.0",
        f'[[health]]\nfile = "{marker}"\npasses = 1\nwithin = 0.2\ninterval = 0.05\n',
    )
    marker.touch()
    path = site.target("two")
    with site.open() as noodle:
        noodle.apply(["two@1.0.0"])
        path.write_text(EDITED)
        with pytest.raises(TargetChanged):
            noodle.plan(["two@1.0.0"])
        marker.unlink()
        plan = noodle.plan_repair("two").plan
        assert plan is not None
        view = noodle.apply(plan)
        assert view is not None
        assert view.state is State.ROLLED_BACK
        assert path.read_text() == EDITED
        assert sorted(one.name for one in path.parent.iterdir()) == [".noodle", "two"]
