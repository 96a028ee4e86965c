"""What is wrong with settings, as failures. Exit code 2; nothing was changed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Problem", "ProblemKind", "SettingUnknown", "SettingsInvalid", "nearest"]

VALUE_LETTERS_MAX = 60
NAMED_MAX = 8
NEAR = 0.6


class ProblemKind(StrEnum):
    """Which of the kinds of validation found a problem."""

    SYNTAX = "syntax"
    UNKNOWN = "unknown"
    TYPE = "type"
    RANGE = "range"
    DEPENDENCY = "dependency"
    CONSISTENCY = "consistency"
    SECURITY = "security"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    place: a file with line and column, a variable or an option. key: the dotted name,
    where the problem is about one. Each is one line: what cannot be printed, in the name of
    a file or of a key, is shown as a number.
    """

    kind: ProblemKind
    place: str
    key: str | None
    text: str

    def __post_init__(self) -> None:
        for name in ("place", "key", "text"):
            found = getattr(self, name)
            if found is not None and not found.isprintable():
                object.__setattr__(self, name, _printable(found))

    @property
    def without_value(self) -> str:
        """Where and in which way something is wrong. The words may show a value; this does not."""
        about = self.kind.value if self.key is None else f"{self.kind.value} of {self.key}"
        return f"{self.place}: {about}" if self.place else about

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


class SettingsInvalid(Exception):
    """One or more settings cannot be used; all of them are named at once.

    It has the shape of every failure of Noodle (code, problem, cause, remedy,
    exit code, data) without deriving from a package that policies must not know.
    """

    code = "settings_invalid"
    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        self.problem = f"{count} setting{'s' if count != 1 else ''} cannot be used: " + "; ".join(
            str(problem) for problem in self.problems
        )
        self.cause = "a value, name or file among the settings is not valid"
        self.remedy = "correct the named places; nothing was changed"
        self.data: dict[str, str | int | float | bool | list[str] | None] = {
            "problems": [str(problem) for problem in self.problems]
        }
        super().__init__(self.problem)


class SettingUnknown(Exception):
    """There is no setting of that name."""

    code = "setting_unknown"
    exit_code = 2

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.nearest = nearest(name, known)
        self.problem = f"there is no setting {name!r}{self.nearest}"
        self.cause = "the name is not one of the settings, nor a section of them"
        self.remedy = "`noodle config show` lists them all"
        self.data: dict[str, str | int | float | bool | list[str] | None] = {"name": name}
        super().__init__(self.problem)


def nearest(name: str, known: Iterable[str]) -> str:
    """`, did you mean X?` for the nearest known name, or nothing.

    Without its section a name may be that of several keys: all are meant. A beginning that
    two names share (the section, NOODLE_) does not make them near.
    """
    names = list(known)
    small = name.lower()
    meant = [one for one in names if one.lower() == small]
    if not meant and "." not in name:
        meant = [one for one in names if one.lower().endswith(f".{small}")]
    if not meant:
        close = difflib.get_close_matches(name, names, n=3, cutoff=NEAR)
        meant = [one for one in close if _is_near(name, one)][:1]
    if not meant:
        return ""
    more = f" or one of {len(meant) - NAMED_MAX} more" if len(meant) > NAMED_MAX else ""
    *first, last = meant[:NAMED_MAX]
    others = f"{', '.join(first)}{', ' if more else ' or '}" if first else ""
    return f", did you mean {others}{last}{more}?"


def _is_near(name: str, other: str) -> bool:
    if name.startswith(f"{other}."):
        return False
    begins = 0
    for at, (letter, other_letter) in enumerate(zip(name, other, strict=False)):
        if letter != other_letter:
            break
        if letter == "." or (letter == "_" and name.startswith("NOODLE_")):
            begins = at + 1
    return difflib.SequenceMatcher(None, name[begins:], other[begins:]).ratio() >= NEAR


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)
