"""What is asked when a directory is adopted, as the options of its kind.

Owns the reading of the words: a path or a pattern that cannot be is refused
before anything is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noodle_engine.registry.tree_options import (
    LAYOUTS,
    TreeOptions,
    mutable_problems,
    pattern_problem,
)
from noodle_engine.targets.failures import AdoptionRefused

__all__ = ["adoption_options"]


def adoption_options(
    path: Path,
    *,
    layout: str | None,
    mutable: Sequence[str],
    unmanaged: Sequence[str],
    immutable: bool,
) -> dict[str, str]:
    """The options of an adoption. Raises AdoptionRefused, naming all that is wrong."""
    problems = [
        *mutable_problems(mutable),
        *(problem for one in unmanaged if (problem := pattern_problem(one)) is not None),
    ]
    if layout is not None and layout not in LAYOUTS:
        problems.append(f"`{layout}` is no layout; there are {' and '.join(LAYOUTS)}")
    if problems:
        raise AdoptionRefused(problems)
    settled = layout or ("link" if path.is_symlink() else "tree")
    return TreeOptions.of(
        layout=settled,
        mutable=mutable,
        unmanaged=unmanaged,
        immutable=immutable,
        quiesce=(),
        unquiesce=(),
    ).to_text()
