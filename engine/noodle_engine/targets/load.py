"""Finding the target kind that a release names.

Owns the door's handle. A kind of Noodle's own is found by its name, without
reading what is installed; any other by its entry point in `noodle.targets`. A
plug-in cannot take a name of Noodle's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from noodle_engine.targets.base import ENTRY_POINT_GROUP, Target
from noodle_engine.targets.failures import KindNotBuilt, KindUnknown, KindUnusable

__all__ = ["KINDS_TO_COME", "known_kinds", "load_target"]

_BUILT_IN: Final[Mapping[str, str]] = {
    "directory": "noodle_engine.targets.directory:DirectoryTarget",
    "file": "noodle_engine.targets.file:FileTarget",
}
KINDS_TO_COME: Final = ("compiler", "python", "service", "sqlite")
"""Kinds that `noodle.toml` knows and this version does not upgrade."""


def load_target(kind: str) -> Target:
    """An instance of the target kind called `kind`.

    Raises KindNotBuilt for one of KINDS_TO_COME, KindUnknown for a name that
    nothing brings, KindUnusable for a plug-in that fails or breaks the contract.
    """
    where = _BUILT_IN.get(kind)
    if where is not None:
        module, _, name = where.partition(":")
        return _made(kind, "noodle", getattr(import_module(module), name))
    if kind in KINDS_TO_COME:
        raise KindNotBuilt(kind=kind, known=known_kinds())
    return _from_plug_in(kind)


def known_kinds() -> tuple[str, ...]:
    """The kinds that can be upgraded here, plug-ins' among them, sorted."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms that `file` need not pay

    brought = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return tuple(sorted((brought - set(KINDS_TO_COME)) | _BUILT_IN.keys()))


def _from_plug_in(kind: str) -> Target:
    from importlib.metadata import entry_points  # noqa: PLC0415 - see known_kinds

    for point in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        provider = point.dist.name if point.dist is not None else point.value
        try:
            found = point.load()
        except Exception as error:  # whatever a plug-in's import raises
            why = f"{type(error).__name__}: {error}"
            raise KindUnusable(kind=kind, provider=provider, why=why) from error
        return _made(kind, provider, found)
    raise KindUnknown(kind=kind, known=known_kinds())


def _made(kind: str, provider: str, found: object) -> Target:
    if not callable(found):
        raise KindUnusable(kind=kind, provider=provider, why="its entry point is no class")
    try:
        made = found()
    except Exception as error:  # whatever a plug-in's constructor raises
        why = f"{type(error).__name__}: {error}"
        raise KindUnusable(kind=kind, provider=provider, why=why) from error
    if not isinstance(made, Target):
        why = "it lacks methods of noodle_engine.targets.base.Target"
        raise KindUnusable(kind=kind, provider=provider, why=why)
    if made.kind != kind:
        why = f"its kind says `{made.kind}`"
        raise KindUnusable(kind=kind, provider=provider, why=why)
    return made
