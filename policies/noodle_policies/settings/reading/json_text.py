"""JSON as RFC 8259 has it, and where in the text each name stands.

Owns the words of what is wrong with a text that is none: with line and column.
The fast reader of the library reads; only a text that it refuses, or a value that
has to be shown, is read a second time with its places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import isinf
from typing import Any, Final, NoReturn

__all__ = ["DEPTH_MAX", "JsonRefused", "Place", "places_in", "read_json"]

DEPTH_MAX: Final = 32
"""No setting lies as deep as this."""
DIGITS_MAX: Final = 400
TWICE_MAX: Final = 50
"""How many names that stand twice are told; a file may have thousands."""
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TEXT: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_WORDS: Final = {"true": True, "false": False, "null": None}
_FOREIGN: Final = ("NaN", "Infinity", "-Infinity")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a text. Both count from 1; columns count letters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


class JsonRefused(ValueError):
    """A text is not JSON, or none that settings can be. `place` says where.

    A name that stands twice does not end the reading: `more` are the refusals after the first.
    """

    def __init__(self, text: str, place: Place) -> None:
        self.text = text
        self.place = place
        self.more: tuple[JsonRefused, ...] = ()
        super().__init__(f"{place}: {text}")


def read_json(raw: bytes) -> Any:
    """The content of a file.

    Names may not stand twice in one object, numbers are finite, nothing nests deeper
    than DEPTH_MAX. Raises JsonRefused.
    """
    text = _decoded(raw)
    try:
        read = _decoder().decode(text)
        _refuse_depth(read)
    except (ValueError, RecursionError):
        # Why, and where: the second reader is the one that can say it.
        _Reader(text).whole()
        raise
    if _SURROGATE.search(text):
        _refuse_halves(text, read)
    return read


def _refuse_depth(read: Any) -> None:
    """Raise ValueError for what the second reader takes for too deep."""
    containers = [read]
    for _ in range(DEPTH_MAX + 1):
        containers = [
            inner
            for one in containers
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not containers:
            return
    raise ValueError("too deep")


def _refuse_halves(text: str, read: Any) -> None:
    """Refuse half a letter: a lone surrogate is no text that could be written anywhere."""
    try:
        json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        found = _SURROGATE.search(text)
        at = found.start() if found else 0
        raise JsonRefused("an escape is half a letter", _place(text, at)) from None


def places_in(raw: bytes) -> dict[tuple[str | int, ...], Place]:
    """Where each name and each element of a list stands, by the way to it."""
    reader = _Reader(_decoded(raw))
    reader.whole()
    return reader.places


def _decoded(raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise JsonRefused("it begins with a byte order mark; save it without one", Place(1, 1))
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4]:
        raise JsonRefused("it is not UTF-8 but UTF-16 or UTF-32; save it as UTF-8", Place(1, 1))
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        found = raw[error.start]
        raise JsonRefused(f"byte {found:#04x} is not UTF-8", _place(before, len(before))) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


def _float(text: str) -> float:
    found = float(text)
    if len(text) > DIGITS_MAX or isinf(found):
        raise ValueError(text)
    return found


def _int(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise ValueError(text)
    return int(text)


@cache
def _decoder() -> json.JSONDecoder:
    """The library's reader, made once."""
    return json.JSONDecoder(
        object_pairs_hook=_object, parse_constant=_refuse, parse_float=_float, parse_int=_int
    )


def _place(text: str, at: int) -> Place:
    line = text.count("\n", 0, at) + 1
    return Place(line, at - (text.rfind("\n", 0, at) + 1) + 1)


class _Reader:
    """Reads with places. It refuses whatever the fast reader refuses, and says why."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[tuple[str | int, ...], Place] = {}
        self._twice: list[JsonRefused] = []

    def whole(self) -> None:
        """Read all of it. Raises JsonRefused."""
        try:
            self._whole()
        except JsonRefused as refused:
            self._twice.append(refused)
        if self._twice:
            first, *more = self._twice
            first.more = tuple(more)
            raise first

    def _whole(self) -> None:
        self._skip()
        if self.at == len(self.text):
            self._fail("it is empty; an object is wanted, at least {}")
        self._value(())
        if self.at != len(self.text):
            self._fail("something follows after the end of the object")

    def _fail(self, text: str, at: int | None = None) -> NoReturn:
        raise JsonRefused(text, _place(self.text, self.at if at is None else at))

    def _skip(self) -> None:
        found = _BLANKS.match(self.text, self.at)
        self.at = found.end() if found else self.at
        if self.text.startswith(("//", "/*", "#"), self.at):
            self._fail("JSON has no comments; put the words into another file")

    def _value(self, way: tuple[str | int, ...]) -> None:
        if len(way) > DEPTH_MAX:
            self._fail(f"it nests deeper than {DEPTH_MAX}")
        letter = self.text[self.at : self.at + 1]
        if letter == "{":
            self._object(way)
        elif letter == "[":
            self._list(way)
        elif letter == '"':
            self._string()
        else:
            self._bare()
        self._skip()

    def _object(self, way: tuple[str | int, ...]) -> None:
        known: dict[str, Place] = {}
        for at in self._members("}", "object"):
            if self.text[self.at : self.at + 1] != '"':
                self._fail("a name in double quotes is wanted here")
            name = self._string()
            place = _place(self.text, at)
            if name in known:
                text = f'"{name}" stands twice, the first time at {known[name]}'
                if len(self._twice) < TWICE_MAX:
                    self._twice.append(JsonRefused(text, place))
            known.setdefault(name, place)
            self.places[(*way, name)] = place
            self._skip()
            if self.text[self.at : self.at + 1] != ":":
                self._fail(f'a colon is wanted after "{name}"')
            self.at += 1
            self._skip()
            self._value((*way, name))

    def _list(self, way: tuple[str | int, ...]) -> None:
        for index, at in enumerate(self._members("]", "list")):
            self.places[(*way, index)] = _place(self.text, at)
            self._value((*way, index))

    def _members(self, end: str, what: str) -> Iterator[int]:
        """Where each member begins; the caller reads it. Reads the commas and the end."""
        begun = self.at
        self.at += 1
        self._skip()
        if self.text[self.at : self.at + 1] == end:
            self.at += 1
            return
        while True:
            yield self.at
            letter = self.text[self.at : self.at + 1]
            if letter == end:
                self.at += 1
                return
            if not letter:
                self._fail(f"the {what} that begins at {_place(self.text, begun)} never ends")
            if letter != ",":
                self._fail(f"a comma or {end} is wanted here")
            comma = self.at
            self.at += 1
            self._skip()
            if self.text[self.at : self.at + 1] == end:
                self._fail("a comma before the end is not JSON", comma)

    def _string(self) -> str:
        found = _TEXT.match(self.text, self.at)
        if found is None:
            self._fail("a text is not closed, or has a letter that needs a backslash")
        self.at = found.end()
        return str(json.loads(found[0]))

    def _bare(self) -> None:
        for word in _FOREIGN:
            if self.text.startswith(word, self.at):
                self._fail(f"{word} is no number of JSON")
        for word in _WORDS:
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            letter = self.text[self.at : self.at + 1]
            self._fail(f"a value is wanted here, not {letter!r}" if letter else "it ends too early")
        whole = found[0].lstrip("-").isdecimal()
        if len(found[0]) > DIGITS_MAX or (not whole and isinf(float(found[0]))):
            self._fail("the number is too large")
        self.at = found.end()
