"""Which paths may be changed, and what they mean.

Owns the rule for a target's path: absolute, without `..`, its parent resolved
once, its last name taken as it is. What resolves is what is upgraded, locked
and recorded, so that a link retargeted later leads nobody elsewhere.

What this does not promise: a folder above the target that another user may
write can be exchanged by that user between two calls. Every flip checks what
it displaced, so that such a user reaches no object but their own; who runs
Noodle as root should keep targets in folders of root or of the target's owner.
"""

from __future__ import annotations

import os
from pathlib import Path

from noodle_engine.disk.failures import PathRefused, explained

__all__ = ["NAME_BYTES_MAX", "inside", "refuse_unclear", "target_path"]

NAME_BYTES_MAX = 255 - len(".") - len(".foreign-") - 26 - len("-00")
"""The longest name of a target: its neighbours' names must fit too."""

_RESERVED = ".noodle"


def target_path(path: Path | str) -> Path:
    """The resolved path of a target: the same object, no link in its parent.

    The last name is not resolved: whether it is a link is for the target kind
    to refuse. The parent need not exist.

    Raises PathRefused, naming what to write instead.
    """
    text = os.fspath(path)
    refuse_unclear(text)
    with explained("resolve", Path(text).parent):
        parent = os.path.realpath(Path(text).parent)
    if _RESERVED in Path(parent).parts:
        raise _refused(text, f"it leads into {_RESERVED}", "choose another folder")
    return Path(parent) / Path(text).name


def refuse_unclear(text: str) -> None:
    """Raise PathRefused unless `text` could be a target's path. Looks at nothing."""
    if not text or "\0" in text:
        raise _refused(text, "it is empty or holds a zero byte", "name a file")
    if not os.path.isabs(text):
        raise _refused(text, "it is relative", "write the whole path, from / on")
    parts = Path(text).parts
    if ".." in parts:
        raise _refused(text, "it goes up with `..`", "write the path without `..`")
    if len(parts) == 1:
        raise _refused(text, "it is the root of everything", "name a file or folder in it")
    if text.endswith(("/", "/.")):
        raise _refused(text, "it ends with a slash", "write it without the slash at its end")
    if _RESERVED in parts:
        raise _refused(text, f"{_RESERVED} holds Noodle's own things", "choose another folder")
    if len(os.fsencode(parts[-1])) > NAME_BYTES_MAX:
        why = f"its name is longer than {NAME_BYTES_MAX} bytes"
        raise _refused(text, why, "choose a shorter name")


def inside(root: Path, relative: str) -> Path | None:
    """The path of `relative` in `root`, or None if it leaves it, by `..` or a link."""
    if not relative or "\0" in relative or os.path.isabs(relative):
        return None
    base = Path(os.path.realpath(root))
    found = Path(os.path.realpath(base / relative))
    return found if found.is_relative_to(base) and found != base else None


def _refused(path: str, why: str, remedy: str) -> PathRefused:
    return PathRefused(path=path, why=why, remedy=remedy)
