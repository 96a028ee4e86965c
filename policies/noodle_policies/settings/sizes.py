"""Sizes as texts: the one reading of `100MB`, for the model and for who obeys it."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SIZE_FORM", "size_bytes"]

SIZE_FORM: Final = r"[1-9][0-9]{0,11}(?:KB|MB|GB)"
_SIZE: Final = re.compile(SIZE_FORM)
_UNITS: Final = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def size_bytes(text: str) -> int:
    """How many bytes a size is. `MB` is 10^6 bytes. Raises ValueError."""
    if not _SIZE.fullmatch(text):
        raise ValueError("a size is a whole number with KB, MB or GB, as 100MB")
    return int(text[:-2]) * _UNITS[text[-2:]]
