"""How much a line matters. The numbers are those of Python's `logging`, which costs its import."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Level"]


class Level(IntEnum):
    """From what passes by to what needs a person."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
