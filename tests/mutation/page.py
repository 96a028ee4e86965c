"""The page of the mutants that survive: `docs/reference/mutation.md`, written by `--write`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.mutation.reasons import REASONS

__all__ = ["PAGE", "survivors", "write"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference" / "mutation.md"
HEAD: Final = """# Mutants of the machine and of the journal's core

Written by `python -m tests.mutation.run --write`; do not edit.

`make mutate` changes one thing in one function - a comparison, a condition, a number, a name, an
operator, what is returned, a call or a `raise` that is left out - and runs the tests that come to
that function: one of them has to fail. Words for people and what a module does at its import
(tables, defaults, types) are left alone. `SECONDS_MAX=600` bounds it: then it tries a part, chosen
by a fixed seed. At least 85 % have to be killed, and each survivor needs a reason below.

It is not `mutmut`: that wants the code in `.`, `src` or `source`, and here it lies in three
folders.

| part | mutants | tried | killed | |
|---|---|---|---|---|
"""


def write(part: str, figures: str) -> None:
    """Write the page, with the figures of a run of one part; those of the other stay."""
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    rows = dict(re.findall(r"^\| (machine|journal) \| (.*) \|$", before, re.MULTILINE))
    rows[part] = figures
    table = "".join(f"| {name} | {rows[name]} |\n" for name in sorted(rows, reverse=True))
    PAGE.write_text(HEAD + table + survivors(), encoding="utf-8")


def survivors() -> str:
    """Each survivor that is accepted, and why."""
    rows = "".join(
        f"| `{name.replace('|', chr(92) + '|')}` | {reason} |\n"
        for name, reason in sorted(REASONS.items())
    )
    return f"\n## Survivors\n\n| mutant | why it may survive |\n|---|---|\n{rows}"
