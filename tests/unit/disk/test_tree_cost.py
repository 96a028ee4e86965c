"""What a tree takes on the disk, and what of it others have too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from noodle_engine.disk.trees.cost import TreeCost, tree_cost
from tests.unit.disk.grounds import image, mounted, need_root

DATA = bytes(range(256)) * 256  # 64 KiB


def test_what_has_one_name_is_its_own_and_what_has_two_is_shared(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "own").write_bytes(DATA)
    (tree / "in" / "shared").write_bytes(DATA)
    os.link(tree / "in" / "shared", tmp_path / "elsewhere")
    (tree / "link").symlink_to("own")
    (tree / "empty").write_bytes(b"")
    assert tree_cost(tree) == TreeCost(own=len(DATA), shared=len(DATA), files=3)


def test_a_hole_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree" / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert tree_cost(tmp_path / "tree").own < 1 << 20


def test_the_blocks_of_a_clone_are_shared(tmp_path: Path) -> None:
    need_root()
    disk_image = image(tmp_path / "image", "xfs", 320, "-m", "reflink=1")
    with mounted(tmp_path / "mount", "-o", "loop", disk_image) as where:
        tree = where / "tree"
        tree.mkdir()
        (tree / "own").write_bytes(DATA)
        (tree / "cloned").write_bytes(DATA)
        subprocess.run(["cp", "--reflink=always", tree / "cloned", where / "other"], check=True)
        os.sync()
        assert tree_cost(tree) == TreeCost(own=len(DATA), shared=len(DATA), files=2)
