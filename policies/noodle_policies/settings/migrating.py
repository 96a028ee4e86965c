"""From the version of a settings file to the next one.

Pure. Owns the list of migrations; each takes a file's content one version further.
Nothing migrates by itself: a file of an older version is refused until somebody asks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "MIGRATIONS",
    "VERSION",
    "Migrated",
    "Migration",
    "MigrationAbsent",
    "leads_here",
    "migrate",
]

VERSION: Final = 1
"""The version of the files that this Noodle reads."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: from `version` to the next one.

    says: what it does, for a person. change: changes a file's content in place; it gets any
    content that is an object, and leaves alone what it does not know.
    """

    version: int
    says: str
    change: Callable[[dict[str, Any]], None]


MIGRATIONS: Final[tuple[Migration, ...]] = ()
"""All there are, oldest first. There is one version so far, so there is none."""


def leads_here(version: object, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Whether migrations lead from a version to VERSION, and there is something to do."""
    if isinstance(version, bool) or not isinstance(version, int) or version >= VERSION:
        return False
    known = {one.version for one in migrations}
    return all(number in known for number in range(version, VERSION))


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a file became: its content, the version that it had, what was done."""

    content: dict[str, Any]
    version: int
    steps: tuple[str, ...]


class MigrationAbsent(ValueError):
    """No way leads from a file's version to the one that is read."""

    def __init__(self, version: object) -> None:
        self.version = version
        super().__init__(f"no way leads from version {version!r} to {VERSION}")


def migrate(
    content: dict[str, Any], migrations: Sequence[Migration] = MIGRATIONS
) -> Migrated | None:
    """The content of a file at VERSION; None for one that has it already.

    `content` stays as it is. Raises MigrationAbsent.
    """
    version = content.get("version", VERSION)
    if version == VERSION and not isinstance(version, bool):
        return None
    if isinstance(version, bool) or not isinstance(version, int) or version > VERSION:
        raise MigrationAbsent(version)
    by_version = {one.version: one for one in migrations}
    made = copy.deepcopy(content)
    steps = []
    for number in range(version, VERSION):
        step = by_version.get(number)
        if step is None:
            raise MigrationAbsent(version)
        step.change(made)
        steps.append(f"{number} to {number + 1}: {step.says}")
    made.pop("version", None)
    return Migrated({"version": VERSION, **made}, version, tuple(steps))
