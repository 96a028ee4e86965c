"""Somebody else changes what is on disk, in the middle of an upgrade of a directory.

Laws held here
G3  what a stranger wrote is never overwritten nor lost: it is where it was
    written, or where the journal says that it was set aside
R1  whatever a person says then, the upgrade ends with a target that is wholly
    old, wholly new, or the stranger's
H1  every hold names a path and a way on

Each step, before its effect and after it; both layouts. Here every other spot,
and one answer of a person's in turn; a wide run takes all. `python -m
tests.laws.strangers` prints the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.breadth import BREADTH, Breadth
from tests.laws.strangers import CHANGES, KINDS, LAYOUTS, Stage, cases, problems

ON_ONE = {one: pytest.mark.xdist_group(f"strangers-{one}") for one in LAYOUTS}
"""The cases of a layout share a home, so one worker does them."""
NEVER = {("tree", "release removed")}
"""What there is not: a tree that is no link leads to no release."""


@pytest.fixture(scope="module", params=[pytest.param(one, marks=ON_ONE[one]) for one in LAYOUTS])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_is_never_overwritten_and_every_hold_has_a_way_on(
    stage: Stage, kind: str, change: str
) -> None:
    met = list(cases(stage, kind, change, full=BREADTH is not Breadth.SMALL))
    wrong = [
        f"{spot}, {way}: {problem}" for spot, way, outcome in met for problem in problems(outcome)
    ]
    assert not wrong, "\n".join(wrong)
    assert met or (stage.layout, change) in NEVER
