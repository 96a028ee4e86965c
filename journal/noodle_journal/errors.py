"""The root of every failure a Noodle package reports.

Owns the shape that a failure has in every package, and nothing else: a stable
code, what is wrong, why, what to do next, the exit code of a command that ends
with it, and typed data for programs. It never formats for a terminal and never
imports anything, so that every layer can derive from it.

Laws
E1. A failure changes nothing before it is raised, unless its class says so.
E2. A code never changes its meaning; tests match the class or the code.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["DataValue", "NoodleError"]

DataValue = str | int | float | bool | None | list[str]


class NoodleError(Exception):
    """A failure that explains itself.

    Subclasses set `code` (snake_case, unique in the whole product) and
    `exit_code`, and pass the three sentences. `problem` says what is wrong,
    `cause` why, `remedy` what to do next; none ends in a full stop. `data`
    holds the same facts for programs.
    """

    code: ClassVar[str] = "unexpected"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        *,
        problem: str,
        cause: str,
        remedy: str,
        data: dict[str, DataValue] | None = None,
    ) -> None:
        self.problem = problem
        self.cause = cause
        self.remedy = remedy
        self.data: dict[str, DataValue] = dict(data or {})
        super().__init__(f"{problem} ({cause}); {remedy}")
