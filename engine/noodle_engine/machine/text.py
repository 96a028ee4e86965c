"""Paths as text that any journal, log and terminal can hold.

A path is bytes. It is stored as text in which every byte that is not part of
printable UTF-8, and `%`, is percent-encoded (RFC 3986, section 2.1), so that
the text is unambiguous and turns back into the very same bytes.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

__all__ = ["path_bytes", "path_text"]


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


def _escaped(character: str) -> str:
    raw = character.encode("utf-8", "surrogateescape")
    return "".join(f"%{byte:02X}" for byte in raw)
