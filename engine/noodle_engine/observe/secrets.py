"""What must never stand in a log or a bundle, and how it is taken out.

Owns the wrapper of a value that never prints, and the filter that all text passes on its
way out. The filter knows forms (PEM blocks, bearer tokens, passwords in addresses) and the
texts that it was told: those of the master key.

Laws
X1. A `Secret` prints as SHOWN, however it is printed; only `reveal` gives it.
X2. What the filter was told is in nothing that it lets pass, in any of its usual spellings.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, NoReturn

__all__ = ["SHOWN", "Redactor", "Secret", "spellings_of"]

SHOWN: Final = "[secret]"
KNOWN_LETTERS_MIN: Final = 8
"""A shorter text is no secret, and taking it out would tear words apart."""


class Secret:
    """A text that never prints (law X1)."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return SHOWN

    def __str__(self) -> str:
        return SHOWN

    def __format__(self, _form: str) -> str:
        return SHOWN

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied out of its process")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("secret", self._text))


_WORDS: Final = (
    r"(?:passw(?:or)?d|passphrase|secret|token|credential|(?:api|access|private|journal|master"
    r"|recovery)[_ -]?key)s?(?:[_-]?(?:key|value|text))?"
)
_BEGINNINGS: Final = (
    "-----begin",
    "://",
    "bearer",
    "basic",
    "eyj",
    "gh",
    "pat",
    "xox",
    "akia",
    "sk-",
    "pass",
    "secret",
    "token",
    "credential",
    "key",
    "authorization",
    "cookie",
)
"""One of these is in every text that one of the forms is in, in small letters."""
_RECOVERY_DASHES: Final = 7


def spellings_of(key: bytes) -> tuple[str, ...]:
    """A key as it may stand in a text: hexadecimal, base64 of both alphabets, base32."""
    return (
        key.hex(),
        base64.b64encode(key).decode().rstrip("="),
        base64.urlsafe_b64encode(key).decode().rstrip("="),
        base64.b32encode(key).decode().rstrip("="),
    )


class Redactor:
    """Takes secrets out of texts. `known` are texts that are secret whatever their form."""

    __slots__ = ("_known",)

    def __init__(self, known: Iterable[str] = ()) -> None:
        found = sorted({one for one in known if len(one) >= KNOWN_LETTERS_MIN}, key=len)
        joined = "|".join(re.escape(one) for one in reversed(found))
        self._known = re.compile(joined, re.IGNORECASE) if joined else None

    def text(self, text: str) -> str:
        """`text` with SHOWN for each secret in it (law X2)."""
        if self._known is not None:
            text = self._known.sub(SHOWN, text)
        if _may_have(text):
            return _forms().sub(_without, text)
        return text

    def value(self, value: Any) -> Any:
        """A value of JSON's kinds, each text in it redacted; what is none is shown as text."""
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.text(value)
            case Mapping():
                return {
                    self.text(str(name)): _hidden(one)
                    if isinstance(one, str | list | tuple) and _names_secret(str(name))
                    else self.value(one)
                    for name, one in value.items()
                }
            case list() | tuple() | set() | frozenset():
                return [self.value(one) for one in value]
            case _:
                return self.text(str(value))


def _hidden(value: Any) -> Any:
    """A text, or a list, without any of its texts."""
    if isinstance(value, list | tuple):
        return [_hidden(one) for one in value]
    return SHOWN if isinstance(value, str) else value


def _names_secret(name: str) -> bool:
    """Whether what has this name is a secret, whatever it looks like."""
    return _may_have(name) and _named().search(name) is not None


def _may_have(text: str) -> bool:
    small = text.lower()
    return any(one in small for one in _BEGINNINGS) or text.count("-") >= _RECOVERY_DASHES


@cache
def _named() -> re.Pattern[str]:
    return re.compile(_WORDS + r"\Z", re.IGNORECASE)


@cache
def _forms() -> re.Pattern[str]:
    """The forms that secrets have. Made when a text may have one: few do."""
    return re.compile(
        r"""
          (?P<pem>-----BEGIN[ ][^-\n]{0,80}-----.*?(?:-----END[ ][^-\n]{0,80}-----|\Z))
        | (?P<url>[a-z][a-z0-9+.-]{1,20}://[^\s/@:]*):(?P<userinfo>[^\s/@]+)@
        | (?P<header>\b(?:
              (?:proxy-)?authorization["']?[ ]*[:=][ ]*["']?(?:(?:bearer|basic|token|digest)[ ]+)?
            | (?:set-)?cookie["']?[ ]*:[ ]*["']?
          ))(?P<credential>[^\r\n"',]+)
        | (?P<scheme>\b(?:bearer|basic))[ ]+[A-Za-z0-9._~+/=-]{8,}
        | (?P<jwt>\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)
        | (?P<known>\b(?:gh[pousr]_|github_pat_|glpat-|xox[abpr]-|AKIA|sk-)[A-Za-z0-9_-]{12,})
        | (?P<recovery>\b(?:[A-Z2-7]{7}-){7}[A-Z2-7]{7}\b)
        | (?P<option>--[a-z-]{0,40}"""
        + _WORDS
        + r"""[ ]+)(?P<argument>"[^"]*"|'[^']*'|[^\s"'-][^\s"']*)
        | (?P<name>"""
        + _WORDS
        + r""")(?P<between>\\*["']?[ ]*(?:=>|[=:])[ ]*)
          (?P<value>\\+"[^"\\]*\\*"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&]+)
        """,
        re.IGNORECASE | re.DOTALL | re.VERBOSE,
    )


_QUOTE: Final = re.compile(r"\\*[\"']")


def _without(found: re.Match[str]) -> str:
    if found["userinfo"] is not None:
        return f"{found['url']}:{SHOWN}@"
    if found["scheme"] is not None:
        return f"{found['scheme']} {SHOWN}"
    if found["header"] is not None:
        return f"{found['header']}{SHOWN}"
    if found["option"] is not None:
        return f"{found['option']}{SHOWN}"
    if found["name"] is not None:
        quote = _QUOTE.match(found["value"])
        around = quote[0] if quote is not None else ""
        return f"{found['name']}{found['between']}{around}{SHOWN}{around}"
    return SHOWN
