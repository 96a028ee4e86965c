"""How a directory's tree is kept: its layout, and what in it is not the release's. Pure.

Owns the options of kind `directory`, the text they have in a plan, and what the
patterns of `unmanaged` match. It reads no file.

    mutable      paths that live once, in `data/`, and outlast every release
    unmanaged    patterns of what programs leave in the tree: nobody's business

A pattern is a part of what gitignore knows. `*` and `?` match within a name,
`[a-z]` and `[!a-z]` one character of it. Without a slash (but at its end) it
matches a name at any depth; with one, a path from the tree on. With a slash at
its end it matches folders only. What lies in a folder that matches, matches.

Laws
O1. `from_text(options.to_text())` is `options`.
O2. A pattern costs time in proportion to a path's length, whatever its stars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from noodle_engine.machine.text import path_bytes, path_text

__all__ = [
    "LAYOUTS",
    "OWN_NAME",
    "OptionsUnreadable",
    "TreeOptions",
    "mutable_problems",
    "pattern_problem",
]

LAYOUTS: Final = ("link", "tree")
OWN_NAME: Final = b".noodle"
"""Where Noodle keeps its own things: no tree has it at its top."""
_NO_NAMES: Final = ("", ".", "..")
_FLAGS: Final = {"true": True, "false": False}


class OptionsUnreadable(ValueError):
    """Texts that are no options of a directory."""


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """The options of one release of kind `directory`.

    `mutable` are paths in the tree without a slash at their ends; those that
    were written with one, and so are folders even where the release has none,
    are in `mutable_folders` too.
    """

    layout: str = "link"
    mutable: tuple[bytes, ...] = ()
    unmanaged: tuple[str, ...] = ()
    immutable: bool = False
    quiesce: tuple[str, ...] = ()
    unquiesce: tuple[str, ...] = ()
    mutable_folders: frozenset[bytes] = frozenset()

    @classmethod
    def of(
        cls,
        *,
        layout: str,
        mutable: Sequence[str | bytes],
        unmanaged: Sequence[str],
        immutable: bool,
        quiesce: Sequence[str],
        unquiesce: Sequence[str],
    ) -> TreeOptions:
        """The options as they are written, their `mutable` paths with or without a slash."""
        written = [path.encode() if isinstance(path, str) else path for path in mutable]
        return cls(
            layout=layout,
            mutable=tuple(path.removesuffix(b"/") for path in written),
            unmanaged=tuple(unmanaged),
            immutable=immutable,
            quiesce=tuple(quiesce),
            unquiesce=tuple(unquiesce),
            mutable_folders=frozenset(path[:-1] for path in written if path.endswith(b"/")),
        )

    def to_text(self) -> dict[str, str]:
        """The options as a plan holds them, every one by value."""
        mutable = [
            path_text(path + b"/" if path in self.mutable_folders else path)
            for path in self.mutable
        ]
        return {
            "layout": self.layout,
            "mutable": _listed(mutable),
            "unmanaged": _listed(self.unmanaged),
            "immutable": "true" if self.immutable else "false",
            "quiesce": _listed(self.quiesce),
            "unquiesce": _listed(self.unquiesce),
        }

    @classmethod
    def from_text(cls, stored: Mapping[str, str]) -> TreeOptions:
        """Read what `to_text` gave; a key that is missing has its default.

        Keys that are unknown are left to who knows them. Raises OptionsUnreadable.
        """
        layout = stored.get("layout", "link")
        immutable = _FLAGS.get(stored.get("immutable", "false"))
        if layout not in LAYOUTS or immutable is None:
            raise OptionsUnreadable("`layout` or `immutable` has a value that is unknown")
        texts = {
            key: _texts(key, stored.get(key, "[]"))
            for key in ("mutable", "unmanaged", "quiesce", "unquiesce")
        }
        problems = [
            *mutable_problems(texts["mutable"]),
            *filter(None, map(pattern_problem, texts["unmanaged"])),
        ]
        if problems:
            raise OptionsUnreadable("; ".join(problems))
        return cls.of(
            layout=layout,
            mutable=[path_bytes(text) for text in texts["mutable"]],
            unmanaged=texts["unmanaged"],
            immutable=immutable,
            quiesce=texts["quiesce"],
            unquiesce=texts["unquiesce"],
        )

    def skips(self, path: bytes, is_folder: bool) -> bool:  # noqa: FBT001 - as a scan asks
        """Whether a pattern of `unmanaged` matches `path`, or a folder it lies in."""
        if not self.unmanaged:
            return False
        text = path.decode("utf-8", "surrogateescape")
        return _matcher(self.unmanaged).match(text + "/" if is_folder else text) is not None

    def is_mutable(self, path: bytes) -> bool:
        """Whether `path` is one of `mutable`, or lies in one."""
        return any(path == one or path.startswith(one + b"/") for one in self.mutable)


def mutable_problems(written: Sequence[str]) -> tuple[str, ...]:
    """What is wrong with the paths of `mutable`, each problem naming its path."""
    found = [f"`{text}`: {problem}" for text in written for problem in _path_problems(text)]
    seen: list[str] = []
    for text in written:
        path = text.removesuffix("/")
        for other in seen:
            if path == other:
                found.append(f"`{text}` is there twice")
            elif path.startswith(other + "/") or other.startswith(path + "/"):
                found.append(f"`{path}` and `{other}`: one lies in the other; name the outer one")
        seen.append(path)
    return tuple(found)


def _path_problems(text: str) -> Iterator[str]:
    if text.startswith("/"):
        yield "it is absolute; name a path in the tree, without the slash at its beginning"
        return
    names = text.removesuffix("/").split("/")
    if any(name in _NO_NAMES for name in names):
        yield "it must name something in the tree, without `.`, `..` and doubled slashes"
    elif names[0].encode("utf-8", "surrogateescape") == OWN_NAME:
        yield f"{OWN_NAME.decode()} holds Noodle's own things"


def pattern_problem(text: str) -> str | None:
    """What is wrong with a pattern of `unmanaged`; None if nothing is."""
    what = _pattern_problem(text)
    return None if what is None else f"`{text}`: {what}"


def _pattern_problem(text: str) -> str | None:
    if text.startswith("!"):
        return "a pattern cannot be taken back with `!`; name what is unmanaged"
    if "\\" in text:
        return "`\\` escapes nothing here; put the character into brackets: `[*]`"
    names = text.removeprefix("/").removesuffix("/").split("/")
    if any(name in _NO_NAMES for name in names):
        return "it must name something in the tree, without `.`, `..` and doubled slashes"
    if any("**" in name for name in names):
        return "`**` is unknown; a pattern without a slash matches at any depth"
    if names == ["*"]:
        return "it matches everything: nothing would be left of the release"
    try:
        re.compile(_expression(text))
    except re.error:
        return "its brackets hold no set of characters"
    return None


@lru_cache(maxsize=64)
def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all; it is matched with a path that has `/` after a folder."""
    return re.compile("|".join(_expression(pattern) for pattern in patterns), re.DOTALL)


def _expression(pattern: str) -> str:
    only_folders = pattern.endswith("/")
    body = pattern.removesuffix("/")
    anchored = "/" in body
    names = "/".join(_name_expression(name) for name in body.removeprefix("/").split("/"))
    end = "/" if only_folders else r"(?:/|\Z)"
    return f"{'' if anchored else '(?:.*/)?'}{names}{end}"


def _name_expression(name: str) -> str:
    """A name's pattern. Each star takes as little as it can and never more (law O2)."""
    pieces = [""]
    for part in _parts(name):
        if part == "*":
            pieces.append("")
        else:
            pieces[-1] += _one(part)
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle) + f"[^/]*{last}"


def _parts(name: str) -> Iterator[str]:
    """A pattern's characters, each set in brackets as one part."""
    at = 0
    while at < len(name):
        end = _end_of_set(name, at) if name[at] == "[" else at
        yield name[at : end + 1]
        at = end + 1


def _end_of_set(name: str, start: int) -> int:
    """Where the set that begins at `start` ends; `start` if it is none, but a bracket."""
    # A bracket right after the beginning stands for itself: `[]]`, `[!]]`.
    skipped = start + 2 if name[start + 1 : start + 2] == "!" else start + 1
    end = name.find("]", skipped + 1)
    return start if end < 0 else end


def _one(part: str) -> str:
    if part == "?":
        return "[^/]"
    if len(part) == 1:
        return re.escape(part)
    inside = part[1:-1]
    negated = inside.startswith("!")
    inside = inside.removeprefix("!") if negated else inside
    # Only `-` keeps its meaning: a range.
    escaped = "".join(one if one == "-" else re.escape(one) for one in inside)
    return f"(?!/)[{'^' if negated else ''}{escaped}]"


def _listed(texts: Iterable[str]) -> str:
    return json.dumps(list(texts), ensure_ascii=False, separators=(",", ":"))


def _texts(key: str, stored: str) -> tuple[str, ...]:
    try:
        found = json.loads(stored)
    except ValueError as error:
        raise OptionsUnreadable(f"`{key}` is no list") from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise OptionsUnreadable(f"`{key}` is no list of texts")
    return tuple(found)
