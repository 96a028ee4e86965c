"""Paths as text that any journal, log and terminal can hold.

A path is bytes. It is stored as text in which every byte that is not part of
printable UTF-8, and `%`, is percent-encoded (RFC 3986, section 2.1), so that
the text is unambiguous and turns back into the very same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["NAMED_MAX", "path_bytes", "path_text", "some"]

NAMED_MAX: Final = 5
"""How many of many a failure or a notice names."""


def path_text(path: str | bytes) -> str:
    """The stored text of a path; `path_bytes` is its inverse."""
    raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
    decoded = raw.decode("utf-8", "surrogateescape")
    return "".join(
        character if character.isprintable() and character != "%" else _escaped(character)
        for character in decoded
    )


def path_bytes(text: str) -> bytes:
    """The bytes of a stored path."""
    return unquote_to_bytes(text)


def some(texts: Sequence[str], at_most: int = NAMED_MAX) -> str:
    """The first few texts, and how many there are more."""
    more = len(texts) - at_most
    return ", ".join(texts[:at_most]) + (f" and {more} more" if more > 0 else "")


def _escaped(character: str) -> str:
    raw = character.encode("utf-8", "surrogateescape")
    return "".join(f"%{byte:02X}" for byte in raw)
