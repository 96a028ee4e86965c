"""Versions and ranges of versions.

Owns SemVer 2 ordering. A version's text is kept as it was written; two texts
that differ only in build metadata are different releases of equal precedence.

A range is comma-separated comparisons, all of which must hold: `>=1.0.0,
<2.0.0`. There are no wildcards, carets or tildes. A pre-release takes part in
the plain order: 2.0.0-rc.1 is below 2.0.0, so it is inside `<2.0.0`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import semver

from noodle_engine.registry.failures import VersionRefused

__all__ = ["VERSION_LENGTH_MAX", "VersionRange", "check_version", "newest_first", "precedes"]

VERSION_LENGTH_MAX = 128
_COMPARISONS_MAX = 16

_OPERATORS: Final[dict[str, Callable[[semver.Version, semver.Version], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"(<=|>=|==|!=|<|>)\s*(\S+)")


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions that keep every one of `comparisons` (operator, version)."""

    comparisons: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> VersionRange:
        """Read a range. Raises VersionRefused."""
        pieces = [piece.strip() for piece in text.split(",")]
        if len(pieces) > _COMPARISONS_MAX:
            raise VersionRefused(text=text, why=f"it has more than {_COMPARISONS_MAX} parts")
        found = []
        for piece in pieces:
            match = _COMPARISON.fullmatch(piece)
            if match is None:
                why = f"`{piece}` is no comparison; write for example `>=1.0.0, <2.0.0`"
                raise VersionRefused(text=text, why=why)
            found.append((match[1], check_version(match[2])))
        return cls(tuple(found))

    def allows(self, version: str) -> bool:
        """Whether `version` is in the range. Raises VersionRefused if it is none."""
        candidate = _parsed(version)
        return all(_OPERATORS[name](candidate, _parsed(bound)) for name, bound in self.comparisons)

    def __str__(self) -> str:
        return ", ".join(f"{name}{bound}" for name, bound in self.comparisons)


def check_version(text: str) -> str:
    """Give `text` back if it is a SemVer 2 version. Raises VersionRefused."""
    _parsed(text)
    return text


def precedes(first: str, second: str) -> bool:
    """Whether `first` is older than `second` by SemVer 2 precedence (section 11)."""
    return _parsed(first) < _parsed(second)


def newest_first(versions: Iterable[str]) -> tuple[str, ...]:
    """Versions by precedence, the highest first; of equal ones the text decides."""
    return tuple(sorted(versions, key=lambda text: (_parsed(text), text), reverse=True))


def _parsed(text: str) -> semver.Version:
    if len(text) > VERSION_LENGTH_MAX:
        raise VersionRefused(text=text[:VERSION_LENGTH_MAX], why="it is too long")
    if not text.isascii():  # a regular expression's \d takes other digits too
        raise VersionRefused(text=text, why="it holds other characters than ASCII")
    try:
        return semver.Version.parse(text)
    except (TypeError, ValueError) as error:
        why = "it is not MAJOR.MINOR.PATCH with optional -PRERELEASE and +BUILD"
        raise VersionRefused(text=text, why=why) from error
