"""How much of what is sampled a run takes: TEST_SWEEP, read in this one place.

unset   small: a few of each kind; `make test`, within ten minutes
wide    a few dozen of each; CI, within half an hour
full    every crash point, and ten times the examples; hours
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Final

__all__ = ["BREADTH", "Breadth", "sampled"]

_SMALL_OF: Final = 8
_SMALL_MIN: Final = 3


class Breadth(StrEnum):
    """The value of TEST_SWEEP."""

    SMALL = ""
    WIDE = "wide"
    FULL = "full"


BREADTH: Final = Breadth(os.environ.get("TEST_SWEEP", ""))
"""Of this run. Another value of TEST_SWEEP ends it: it would sample less than was meant."""


def sampled(wide: int) -> int:
    """How many to take where a wide run takes `wide`: a small one an eighth, three at least."""
    if BREADTH is not Breadth.SMALL:
        return wide
    return min(wide, max(_SMALL_MIN, wide // _SMALL_OF))
