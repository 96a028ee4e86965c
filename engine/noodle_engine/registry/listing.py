"""Which releases a home has, by their folders' names alone.

Owns the way from folders to names and versions. Reads no release: who only lists them pays
for no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import explained
from noodle_engine.registry.failures import NameRefused, VersionRefused
from noodle_engine.registry.names import check_name
from noodle_engine.registry.versions import check_version, newest_first

__all__ = ["FOLDER", "folders", "is_name", "is_version", "known_releases", "versions_in"]

FOLDER: Final = "runtime_components"


def known_releases(home: Path) -> dict[str, tuple[str, ...]]:
    """The versions of every component that has a release, the newest first, by name."""
    found = {
        name: versions_in(home / FOLDER, name) for name in folders(home / FOLDER) if is_name(name)
    }
    return {name: versions for name, versions in found.items() if versions}


def versions_in(folder: Path, name: str) -> tuple[str, ...]:
    """The versions of one component in the folder of all, the newest first; none if unknown."""
    found = folders(folder / check_name(name))
    return newest_first(version for version in found if is_version(version))


def is_name(text: str) -> bool:
    """Whether a folder's name is a component's: strangers' folders are not shown."""
    try:
        check_name(text)
    except NameRefused:
        return False
    return True


def is_version(text: str) -> bool:
    """Whether a folder's name is a version's."""
    try:
        check_version(text)
    except VersionRefused:
        return False
    return True


def folders(path: Path) -> tuple[str, ...]:
    """The names of the folders in `path`, sorted; those with a dot are not ours to show."""
    with explained("list", path):
        if not path.is_dir():
            return ()
        return tuple(
            sorted(
                entry.name
                for entry in path.iterdir()
                if not entry.name.startswith(".") and entry.is_dir()
            )
        )
