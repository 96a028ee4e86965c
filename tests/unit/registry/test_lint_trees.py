"""Advice on trees: each hint is given for what it is about, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from noodle_engine.registry.payloads.lint import lint, lint_source
from tests.unit.registry.releases import make_store, make_tree_release

QUIET = """
mutable = ["uploads/"]
unmanaged = ["*.pid"]
[[health]]
file = "/srv/site/current/app.py"
[[hooks]]
at = "after-swap"
command = ["systemctl", "restart", "site"]
undo = ["systemctl", "restart", "site"]
"""


def advice(folder: Path, fill: Callable[[Path], None], extra: str = QUIET) -> tuple[str, ...]:
    """The advice on a tree; the same before it is registered and after."""
    store = make_store(folder)
    release = make_tree_release(folder, "1.0.0", extra)
    tree = release / "tree"
    (tree / "app.py").write_bytes(b"app")
    (tree / "pkg" / "cache").mkdir(parents=True)
    (tree / "pkg" / "cache" / "__init__.py").write_bytes(b"code, for all its name")
    (tree / "same").symlink_to("pkg/../app.py")
    fill(tree)
    before = lint_source(store.source(release))
    assert lint(store.add(release)) == before
    return before


def deep(tree: Path) -> None:
    folder = tree.joinpath(*["d"] * 130)
    folder.mkdir(parents=True)


def nothing_more(_tree: Path) -> None:
    """Leave it as it is."""


def test_a_tree_in_order_gets_no_advice(tmp_path: Path) -> None:
    assert advice(tmp_path, nothing_more) == ()


@pytest.mark.parametrize(
    ("words", "fill"),
    [
        ("anybody may write: app.py", lambda tree: (tree / "app.py").chmod(0o666)),
        ("anybody may write: pkg", lambda tree: (tree / "pkg").chmod(0o777)),
        (
            "set-id bits: it runs as its owner or group: app.py",
            lambda t: (t / "app.py").chmod(0o4755),
        ),
        ("absolute links", lambda tree: (tree / "host").symlink_to("/etc/hostname")),
        ("links to what is not in the release: later", lambda t: (t / "later").symlink_to("x/y")),
        ("programs seem to write there", lambda tree: (tree / "site.sqlite3").write_bytes(b"")),
        ("programs seem to write there", lambda tree: (tree / "logs").mkdir()),
        ("match what is released: left.pid", lambda tree: (tree / "left.pid").write_bytes(b"1")),
        ("the history of its source is released: .git", lambda tree: (tree / ".git").mkdir()),
        ("129 folders lie one in the other", deep),
    ],
)
def test_what_may_disappoint_is_named(
    tmp_path: Path, words: str, fill: Callable[[Path], None]
) -> None:
    (hint,) = advice(tmp_path, fill)
    assert words in hint


def test_a_sticky_folder_that_all_may_write_is_in_order(tmp_path: Path) -> None:
    assert advice(tmp_path, lambda tree: (tree / "pkg").chmod(0o1777)) == ()


def test_data_that_is_declared_is_in_order(tmp_path: Path) -> None:
    def fill(tree: Path) -> None:
        (tree / "uploads").mkdir()
        (tree / "uploads" / "first.db").write_bytes(b"")

    assert advice(tmp_path, fill) == ()


def test_paths_that_are_too_long_to_open_are_named(tmp_path: Path) -> None:
    release = make_tree_release(tmp_path, "1.0.0", QUIET)
    manifest = release / "noodle.toml"
    manifest.write_text(manifest.read_text().replace("/srv/site", "/srv" + "/n" * 900))
    (release / "tree" / "app.py").write_bytes(b"app")
    (release / "tree").joinpath(*["n" * 250] * 9).mkdir(parents=True)
    (hint,) = lint_source(make_store(tmp_path).source(release))
    assert "too long" in hint


def test_a_mutable_file_that_the_release_lacks_begins_as_a_folder(tmp_path: Path) -> None:
    (hint,) = advice(tmp_path, nothing_more, QUIET.replace("uploads/", "settings.json"))
    assert "settings.json" in hint


def test_a_tree_without_hooks_and_checks_gets_advice_on_both(tmp_path: Path) -> None:
    without = advice(tmp_path, nothing_more, "")
    assert [hint.partition(":")[0] for hint in without] == [
        "no hook restarts what uses it",
        "no [[health]]",
    ]


def test_a_tree_without_a_file_is_told(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    release = make_tree_release(tmp_path, "1.0.0", QUIET)
    assert lint(store.add(release)) == ("its payload holds no file",)
