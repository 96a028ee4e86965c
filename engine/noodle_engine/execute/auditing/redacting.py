"""What of a record may be read by everybody: the redacted form of an export.

Owns the rule. It denies by default: a text stays only where its field is one of ours and its
value one of our own words, or it is an upgrade's id. Every other text is a keyed digest, the
same as in the audit log, so that equal names can be told to be equal, and nobody without the
home's key can try names out. Numbers, times and switches stay.

Laws
U4. No name, path, reason or other text of the user's is in what this returns.
U5. No secret is, not even as what a digest is made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from noodle_engine.execute.ids import is_upgrade_id
from noodle_engine.machine import plan, records, states, upgrade
from noodle_engine.observe.audit import Digests
from noodle_engine.observe.secrets import Redactor

__all__ = ["Redaction"]

_WORDED: Final = frozenset(
    {"from", "to", "message", "reason", "hold", "how", "outcome", "undo_outcome", "direction"}
    | {"on_crash", "state", "at"}
)
"""Fields whose values are words of ours."""
_STEPS: Final = frozenset({"step", "id"})
_CODES: Final = frozenset({"code", "policy", "verdict", "permission", "via", "keys", "plan_hash"})
"""Fields that name nothing of the user's, as the audit log has it."""
_CODE: Final = re.compile(r"[a-z0-9_.-]{1,64}")
_OWN_FIELDS: Final = frozenset(
    {"upgrade", "actor", "at_ms", "from", "to", "adopted", "identity", "file_system", "inode"}
    | {"machine_id", "volume"}
)
_ACTOR: Final = re.compile(r"engine|uid:\d{1,10}")


class Redaction:
    """Redacts bodies, with the digests of one home."""

    def __init__(self, digests: Digests, redactor: Redactor) -> None:
        self._digests = digests
        self._redactor = redactor

    def body(self, _kind: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """A body without what names anything (laws U4 and U5)."""
        return {self._name(name): self._value(name, value) for name, value in body.items()}

    def _value(self, field: str, value: Any) -> Any:
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self._text(field, value)
            case Mapping():
                return self.body(0, value)
            case list() | tuple():
                return [self._value(field, one) for one in value]
            case _:
                return self._digest(str(value))

    def _text(self, field: str, text: str) -> str:
        name, colon, rest = text.partition(":")
        is_ours = (
            is_upgrade_id(text)
            or (field == "actor" and _ACTOR.fullmatch(text) is not None)
            or (field in _WORDED and text in _words())
            or (field in _CODES and _CODE.fullmatch(text) is not None)
        )
        if is_ours:
            return text
        if field in _STEPS and colon and name in _words():
            component, colon, index = rest.partition(":")
            return f"{name}:{self._digest(component)}{colon}{index if index.isdecimal() else ''}"
        return self._digest(text)

    def _name(self, name: str) -> str:
        """A field's name, or the key of a map: a component, a step, a setting."""
        if name in _fields() or is_upgrade_id(name):
            return name
        return self._text("step", name)

    def _digest(self, text: str) -> str:
        return self._digests.of(self._redactor.text(text))


@cache
def _words() -> frozenset[str]:
    """Every word of the closed sets of the machine."""
    return frozenset(
        word.value
        for module in (states, plan)
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, StrEnum)
        for word in found
    )


@cache
def _fields() -> frozenset[str]:
    """Every field of what the machine records, and of the settings."""
    from noodle_policies.settings.model.catalogue import catalogue  # noqa: PLC0415 - heavy

    ours: Iterable[str] = (
        one.metadata.get("name", one.name)
        for module in (records, plan, upgrade)
        for found in vars(module).values()
        if isinstance(found, type) and is_dataclass(found)
        for one in fields(found)
    )
    settings = (part for key in catalogue().keys for part in key.split("."))
    return _OWN_FIELDS | frozenset(ours) | frozenset(settings)
