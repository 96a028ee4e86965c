"""Which tree a name stands for, and how its root is written. Reads names only.

Owns the words of a root:

    root      tree: + BLAKE3 of the manifest (layout `tree`)
              link: + the digits of the tree it leads to + BLAKE3 of its text (layout `link`)
    content   the root of the tree
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import blake3

from noodle_engine.disk.files import ObjectKind, kind_of, link_text
from noodle_engine.targets.place import ROOT_DIGITS

__all__ = [
    "LINK_PREFIX",
    "TREE_PREFIX",
    "led_to",
    "link_root",
    "tree_at",
    "tree_digits",
    "tree_root_in",
]

TREE_PREFIX: Final = "tree:"
LINK_PREFIX: Final = "link:"
_TEXT_DIGITS: Final = 16


def link_root(text: str, tree: str) -> str:
    """The root of a link with this text that leads to a tree of this root."""
    digest = blake3.blake3(os.fsencode(text)).hexdigest()[:_TEXT_DIGITS]
    return f"{LINK_PREFIX}{tree.removeprefix(TREE_PREFIX)}:{digest}"


def tree_root_in(root: str) -> str | None:
    """The root of the tree that a root speaks of; None for `absent` and what is no tree."""
    if root.startswith(TREE_PREFIX):
        return root
    if root.startswith(LINK_PREFIX):
        return TREE_PREFIX + root.removeprefix(LINK_PREFIX).partition(":")[0]
    return None


def led_to(parent: Path, text: str) -> Path:
    """Where a link leads that stands, or will stand, in `parent`."""
    return Path(os.path.normpath(parent / text))


def tree_at(parent: Path, path: Path) -> Path:
    """The tree that a name in `parent` stands for: what it leads to, or what it is."""
    return led_to(parent, link_text(path)) if kind_of(path) is ObjectKind.LINK else path


def tree_digits(root: str) -> str:
    """The digits of a root that a release's name has."""
    return root.partition(":")[2][:ROOT_DIGITS]
