"""What is wrong with settings, as failures. Exit code 2; nothing was changed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["SettingsInvalid", "nearest"]


class SettingsInvalid(Exception):
    """One or more settings cannot be used; all of them are named at once.

    It has the shape of every failure of Noodle (code, problem, cause, remedy,
    exit code, data) without deriving from a package that policies must not know.
    """

    code = "settings_invalid"
    exit_code = 2

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        self.problem = f"{count} setting{'s' if count != 1 else ''} cannot be used: " + "; ".join(
            self.problems
        )
        self.cause = "a value, name or file among the settings is not valid"
        self.remedy = "correct the named places; nothing was changed"
        self.data: dict[str, str | int | float | bool | list[str] | None] = {
            "problems": list(self.problems)
        }
        super().__init__(self.problem)


def nearest(name: str, known: Iterable[str]) -> str:
    """`, did you mean X?` for the nearest known name, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {found[0]}?" if found else ""
