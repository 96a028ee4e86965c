"""The kinds of values that more than one section uses.

Owns their form. What a value means beside others is checked elsewhere.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

import semver
from pydantic import AfterValidator, Strict, StringConstraints

__all__ = [
    "Clock",
    "Day",
    "Deployment",
    "Eviction",
    "FolderNames",
    "Impact",
    "Level",
    "LogLevel",
    "Mode",
    "Names",
    "Permission",
    "Range",
    "SemVer",
    "Size",
    "Strategy",
    "Window",
    "Windows",
    "Zone",
    "size_bytes",
]

LIST_LENGTH_MAX: Final = 1024
TEXT_LENGTH_MAX: Final = 4096

Level = Literal["strict", "normal", "permissive"]
Strategy = Literal["immediate", "gradual", "blue_green", "canary", "rolling"]
Mode = Literal["synchronous", "asynchronous", "rolling", "blue_green", "canary"]
Deployment = Literal["production", "staging", "development"]
Impact = Literal["low", "medium", "high"]
Eviction = Literal["lru", "lfu", "fifo"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Permission = Literal[
    "runtime_upgrade:read",
    "runtime_upgrade:write",
    "runtime_upgrade:execute",
    "runtime_upgrade:admin",
    "runtime_upgrade:rollback",
]

_SIZE: Final = re.compile(r"([1-9][0-9]{0,11})(KB|MB|GB)")
_UNITS: Final = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
_CLOCK: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_COMPARISON: Final = re.compile(r"(?:==|!=|>=|<=|>|<|=|\^|~)?\s*(\S+)")


def size_bytes(text: str) -> int:
    """How many bytes a size is. `MB` is 10^6 bytes. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError("a size is a whole number with KB, MB or GB, as 100MB")
    return int(found[1]) * _UNITS[found[2]]


def _size(text: str) -> str:
    size_bytes(text)
    return text


def _clock(text: str) -> str:
    if text != "24:00" and not _CLOCK.fullmatch(text):
        raise ValueError("a time of day is HH:MM, 00:00 to 24:00")
    return text


def _window(text: str) -> str:
    start, dash, end = text.partition("-")
    if not dash:
        raise ValueError("a window is HH:MM-HH:MM")
    if _clock(start) == "24:00":
        raise ValueError("a window begins before 24:00")
    _clock(end)
    if start == end:
        raise ValueError("a window that ends when it begins never opens; all day is 00:00-24:00")
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("this machine knows no such IANA zone, as Europe/Vienna or UTC") from None
    return text


def _version(text: str) -> str:
    if not semver.Version.is_valid(text):
        raise ValueError("a version is MAJOR.MINOR.PATCH, as SemVer 2 has it")
    return text


def _range(text: str) -> str:
    for part in text.split(","):
        found = _COMPARISON.fullmatch(part.strip())
        if found is None or not semver.Version.is_valid(found[1]):
            raise ValueError('a range is comparisons with commas, as ">=1.0.0, <2.0.0"')
    return text


def _plain(text: str) -> str:
    if text != text.strip() or any(ord(letter) < ord(" ") for letter in text):
        raise ValueError("a name has no blanks around it and no control characters")
    return text


Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TEXT_LENGTH_MAX),
    AfterValidator(_plain),
]
# JSON has lists, the model keeps tuples: nothing can change one afterwards.
Names = Annotated[tuple[Name, ...], Strict(strict=False)]
FolderNames = Names
Size = Annotated[str, AfterValidator(_size)]
Clock = Annotated[str, AfterValidator(_clock)]
Window = Annotated[str, AfterValidator(_window)]
Windows = Annotated[tuple[Window, ...], Strict(strict=False)]
Zone = Annotated[str, AfterValidator(_zone)]
SemVer = Annotated[str, AfterValidator(_version)]
Range = Annotated[str, AfterValidator(_range)]
