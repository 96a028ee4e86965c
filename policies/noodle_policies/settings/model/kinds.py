"""The kinds of values that more than one section uses.

Owns their form. What a value means beside others is checked elsewhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Strict, StringConstraints, WithJsonSchema

from noodle_policies.settings.sizes import SIZE_FORM

__all__ = [
    "ABSOLUTE",
    "ANCHOR",
    "ARGUMENT_MAX",
    "BELOW",
    "ENTRY",
    "NAME",
    "SECRET_NAME",
    "TEXT_LENGTH_MAX",
    "ZONE_FORMAT",
    "AbsolutePath",
    "Anchors",
    "Arguments",
    "Clock",
    "Day",
    "Deployment",
    "EntryName",
    "Eviction",
    "FolderNames",
    "Impact",
    "Level",
    "LogLevel",
    "Mode",
    "Name",
    "Names",
    "PathBelow",
    "Permission",
    "Range",
    "SecretNamed",
    "SemVer",
    "Size",
    "Strategy",
    "Window",
    "Windows",
    "Zone",
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

# A pattern is both what the loader asks and what the schema says. It holds for the whole text:
# `$` would let a line break pass, and \Z is not known to every reader of schemas.
_END: Final = r"(?![\s\S])"
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_PRE: Final = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER: Final = (
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PRE}(?:\.{_PRE})*)?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)
_COMPARISON: Final = rf"[ \t]*(?:==|!=|>=|<=|>|<|=|\^|~)?[ \t]*{_SEMVER}[ \t]*"

SIZE: Final = rf"^{SIZE_FORM}{_END}"
CLOCK: Final = rf"^(?:{_TIME}|24:00){_END}"
WINDOW: Final = rf"^({_TIME})-(?!\1{_END})(?:{_TIME}|24:00){_END}"
ZONE: Final = rf"^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*{_END}"
SEMVER: Final = rf"^{_SEMVER}{_END}"
RANGE: Final = rf"^{_COMPARISON}(?:,{_COMPARISON})*{_END}"
NAME: Final = rf"^[^\s\x00-\x1f](?:[^\x00-\x1f]*[^\s\x00-\x1f])?{_END}"
ABSOLUTE: Final = rf"^/[^\x00-\x1f]*{_END}"
BELOW: Final = rf"^(?!/)(?!(?:[^/]*/)*\.\.(?:/|{_END}))[^\x00-\x1f]+{_END}"
ENTRY: Final = rf"^[A-Za-z0-9][A-Za-z0-9_-]{{0,62}}{_END}"
_PORT: Final = r"(?::[0-9]{1,5})?(?:/[!-~]*)?"
ANCHOR: Final = (
    r"^(?:stdout|file:/[^\x00-\x1f,]*|plugin:[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
    rf"|https://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]){_PORT}"
    rf"|http://(?:127\.0\.0\.1|localhost|\[::1\]){_PORT}"
    r"|postgresql://(?![^/?@]*:[^/?@]*@)(?![!-~]*[?&](?:ssl)?password=)[!-~]+)"
    rf"{_END}"
)

ARGUMENT_MAX: Final = 2**53 - 1
"""No number among arguments is larger: each reader of JSON has those up to here exactly."""
_SECRETS: Final = (
    r"(?:passw(?:or)?d|passphrase|secret|token|credentials?|(?:api|access|private)[_-]?key)"
)
# Schemas know no flag for letters of both kinds.
SECRET_NAME: Final = (
    "".join(f"[{one}{one.upper()}]" if one.islower() else one for one in _SECRETS) + _END
)
"""How a name ends whose text is a secret, in small letters or large ones."""

ZONE_FORMAT: Final = "iana-timezone"
"""The format of a zone's name in the schema: which zones there are, each machine knows."""


def _text(pattern: str, words: str, *, length_max: int = TEXT_LENGTH_MAX, **schema: Any) -> Any:
    """A text of one form: `words` say what it is where it is not."""
    form = re.compile(pattern)

    def check(text: str) -> str:
        if not form.match(text):
            raise ValueError(words)
        return text

    said = {"type": "string", "maxLength": length_max, "pattern": pattern, **schema}
    return Annotated[
        str, StringConstraints(max_length=length_max), AfterValidator(check), WithJsonSchema(said)
    ]


_SECRET: Final = re.compile(SECRET_NAME)


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("this machine knows no such IANA zone, as Europe/Vienna or UTC") from None
    return text


class SecretNamed(ValueError):
    """A text stands under a name of a secret."""


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    waiting: list[Any] = [given]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if any(isinstance(one, str) and _SECRET.search(name) for name, one in found.items()):
                raise SecretNamed(
                    "a secret has no place in settings: name a file or a variable of it"
                )
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
        elif isinstance(found, (int, float)) and abs(found) > ARGUMENT_MAX:
            raise ValueError(f"no number among arguments is beyond {ARGUMENT_MAX}")
    return given


if TYPE_CHECKING:
    Name: TypeAlias = str
    Size: TypeAlias = str
    Clock: TypeAlias = str
    Window: TypeAlias = str
    Zone: TypeAlias = str
    SemVer: TypeAlias = str
    Range: TypeAlias = str
    AbsolutePath: TypeAlias = str
    PathBelow: TypeAlias = str
    EntryName: TypeAlias = str
    _Anchor: TypeAlias = str
else:
    Name = _text(NAME, "a name has no blanks around it and no control characters")
    Size = _text(SIZE, "a size is a whole number with KB, MB or GB, as 100MB")
    Clock = _text(CLOCK, "a time of day is HH:MM, 00:00 to 24:00")
    Window = _text(
        WINDOW,
        "a window is HH:MM-HH:MM; it begins before 24:00, and does not end when it begins: all "
        "day is 00:00-24:00",
    )
    Zone = Annotated[
        _text(ZONE, "a zone is one of IANA's, as Europe/Vienna or UTC", format=ZONE_FORMAT),
        AfterValidator(_zone),
    ]
    SemVer = _text(SEMVER, "a version is MAJOR.MINOR.PATCH, as SemVer 2 has it")
    Range = _text(RANGE, 'a range is comparisons with commas, as ">=1.0.0, <2.0.0"')
    AbsolutePath = _text(ABSOLUTE, "a path from the root on, without control characters")
    PathBelow = _text(BELOW, "a path that begins with no / and has no ..")
    EntryName = _text(ENTRY, "a name of letters, digits, _ and -", length_max=63)
    _Anchor = _text(
        ANCHOR,
        "an anchor is stdout, file:/PATH, https://..., postgresql://... without a password, or "
        "plugin:NAME",
    )

Arguments = Annotated[dict[str, Any], AfterValidator(_arguments)]
"""What is handed on to a program of the user's: any JSON, with no secret in it."""

# JSON has lists, the model keeps tuples: nothing can change one afterwards.
Names = Annotated[tuple[Name, ...], Strict(strict=False)]
FolderNames = Names
Anchors = Annotated[tuple[_Anchor, ...], Strict(strict=False)]
Windows = Annotated[tuple[Window, ...], Strict(strict=False)]
