"""What settings are made of, as it lies there: files, variables, options.

The one module of the settings that does I/O. It reads and judges nothing but what
can only be seen on the disk: size, owner and mode.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = [
    "CONFIG_VARIABLE",
    "FILES",
    "FILE_BYTES_MAX",
    "FOLDER_CUSTOM",
    "HOOK_VARIABLES",
    "KNOWN_VARIABLES",
    "PREFIX",
    "SECRET_VARIABLES",
    "SWITCH_VARIABLE",
    "FileRead",
    "Inputs",
    "config_folder",
    "read_inputs",
    "read_one",
]

FILE_BYTES_MAX: Final = 1 << 20
FILES: Final = (
    "runtime_upgrade_config.json",
    "self_improvement_upgrade_config.json",
    "runtime_upgrade_integration_config.json",
    "compiler_upgrade_integration_config.json",
    "ai_agents_upgrade_integration_config.json",
    "deployment_upgrade_integration_config.json",
    "component_sections.json",
    "noodle.json",
)
"""The files of a settings folder. What else lies in one is not read."""
FOLDER_CUSTOM: Final = Path("noodle-core", "config")
PREFIX: Final = "NOODLE_"
CONFIG_VARIABLE: Final = "NOODLE_CONFIG_DIR"
SWITCH_VARIABLE: Final = "NOODLE_RUNTIME_UPGRADE_DEBUG"
"""It is on or off, and sets no key."""
SECRET_VARIABLES: Final = frozenset({"NOODLE_ANCHOR_TOKEN", "NOODLE_JOURNAL_KEY", "NOODLE_TOKEN"})
"""Never shown or written."""
HOOK_VARIABLES: Final = frozenset(
    {"NOODLE_UPGRADE_ID", "NOODLE_STEP_KEY", "NOODLE_FROM", "NOODLE_TO"}
)
"""A hook gets these; NOODLE_FROM is empty where nothing was there before."""
KNOWN_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NOODLE_HOME": "Where journal, keys and releases live",
        CONFIG_VARIABLE: "The folder of the settings files",
        "NOODLE_ENVIRONMENT": "Which environment this is: production, staging or development. Its "
        "folder below each settings folder counts more than that",
        "NOODLE_JOURNAL_KEY": "The master key of the journal. It is never shown or written",
        "NOODLE_ANCHOR_TOKEN": "The token that goes with anchors over HTTP. It is never shown or "
        "written",
        "NOODLE_TOKEN": "The token of a caller. It is never shown or written",
        SWITCH_VARIABLE: "Whether the loggers of upgrades, and only they, write everything",
        # Hooks get these four; a `noodle` that a hook starts must not mind them.
        "NOODLE_UPGRADE_ID": "For hooks: the upgrade that runs them",
        "NOODLE_STEP_KEY": "For hooks: the same for each try of one step",
        "NOODLE_FROM": "For hooks: the version before",
        "NOODLE_TO": "For hooks: the version after",
    }
)
"""Variables with the prefix that set no key, and what they are for."""
_PERMISSION: Final = os.strerror(errno.EACCES)
_CLOSED: Final = f"it cannot be opened: {_PERMISSION}"
_MATTERING: Final = ("NOODLE_ENVIRONMENT", SWITCH_VARIABLE)


@dataclass(frozen=True, slots=True)
class FileRead:
    """One file as it lies there. layer: its folder; a later one counts more.

    refused: why its bytes were not read, or may not be used. unsafe: whether that is because
    another user could have written them.
    """

    path: str
    layer: str
    raw: bytes
    refused: str | None = None
    unsafe: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that settings are made of.

    layers: the folders, the one that counts least first. files: what was found in them.
    variables: those that begin with NOODLE_. options: pairs of key and text.
    """

    layers: tuple[str, ...]
    files: tuple[FileRead, ...]
    variables: Mapping[str, str]
    options: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of all that makes values. Secrets among the variables are not in it."""
        made = hashlib.sha256()
        for part in self._parts():
            made.update(b"%d:" % len(part))
            made.update(part)
        return made.hexdigest()

    def _parts(self) -> Iterable[bytes]:
        for file in self.files:
            # Where they lie is told in problems only, and those are made anew each time.
            yield b"%d" % self.layers.index(file.layer)
            yield os.fsencode(os.path.basename(file.path))  # noqa: PTH119 - a name of ours
            yield file.raw
            yield (file.refused or "").encode()
        yield b"variables"
        for name, value in sorted(self.variables.items()):
            # One that is set to nothing is wrong, whichever it is.
            if name in _MATTERING or name not in KNOWN_VARIABLES or not value.strip():
                yield os.fsencode(name)
                yield os.fsencode(value)
        yield b"options"
        for key, text in self.options:
            yield os.fsencode(key)
            yield os.fsencode(text)


def config_folder(variables: Mapping[str, str], working: Path) -> Path | None:
    """The settings folder: NOODLE_CONFIG_DIR, else FOLDER_CUSTOM, else the working folder.

    The latter two count only where they, or the folder of NOODLE_ENVIRONMENT below them, hold
    at least one of FILES, be it of what kind it may: a link to nothing is told as wrong, and
    does not silently mean the defaults. A folder FOLDER_CUSTOM that may not be looked into is
    one that was meant.
    """
    named = variables.get(CONFIG_VARIABLE)
    if named:
        return working / named
    custom = working / FOLDER_CUSTOM
    try:
        if _hold_one(_layers(custom, variables)):
            return custom
    except OSError:
        # Where not even its name can be looked up it is the working folder that is closed, as
        # it is for `sudo -u` in another's home: no application's.
        with suppress(OSError):
            custom.parent.lstat()
            return custom
    try:
        return working if _hold_one(_layers(working, variables)) else None
    except OSError:
        return None


def _hold_one(layers: Iterable[Path]) -> bool:
    """Whether something has the name of one of FILES. Raises OSError if that cannot be seen."""
    for path in (layer / name for layer in layers for name in FILES):
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
            return True
    return False


def _layers(folder: Path, variables: Mapping[str, str]) -> list[Path]:
    """A settings folder, and the folder below it that counts more in this environment."""
    environment = variables.get("NOODLE_ENVIRONMENT", "")
    plain = environment and "/" not in environment and environment not in (".", "..")
    return [folder, folder / environment] if plain else [folder]


def read_inputs(
    folders: Sequence[Path],
    variables: Mapping[str, str],
    options: Iterable[tuple[str, str]] = (),
    *,
    user: int,
    group: int,
) -> Inputs:
    """Read the settings files of some folders, each counting more than the one before.

    Below each folder that of NOODLE_ENVIRONMENT counts more than it. Absent files and
    folders are no problem. Nothing is raised: what cannot be read is in the result.
    """
    layers = [layer for folder in folders for layer in _layers(folder, variables)]
    found = [file for layer in layers for file in _of_folder(layer, user, group)]
    return Inputs(
        tuple(str(layer) for layer in layers),
        tuple(found),
        {name: value for name, value in variables.items() if name.startswith(PREFIX)},
        tuple(options),
    )


def read_one(path: Path, variables: Mapping[str, str], *, user: int, group: int) -> Inputs:
    """Read one settings file, whatever its name. One that is not there is refused."""
    found = _read(path, str(path.parent), user, group)
    if found is None:
        found = FileRead(str(path), str(path.parent), b"", "it is not there")
    named = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    return Inputs((str(path.parent),), (found,), named)


def _of_folder(folder: Path, user: int, group: int) -> list[FileRead]:
    """What a folder holds; where it is no folder, or closed, that once and not for each file."""
    layer = str(folder)
    found = [
        file for name in FILES if (file := _read(folder / name, layer, user, group)) is not None
    ]
    refused = {file.refused for file in found}
    if len(found) == len(FILES) and refused == {_CLOSED}:
        return [FileRead(layer, layer, b"", f"it cannot be looked into: {_PERMISSION}")]
    if not found:
        with suppress(OSError):
            if not stat.S_ISDIR(folder.stat().st_mode):
                return [FileRead(layer, layer, b"", "it is no folder")]
    return found


def _read(path: Path, layer: str, user: int, group: int) -> FileRead | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except NotADirectoryError:
        return None
    except FileNotFoundError:
        if path.is_symlink():
            return FileRead(str(path), layer, b"", "it is a link to nothing")
        return None
    except OSError as error:
        return FileRead(str(path), layer, b"", f"it cannot be opened: {error.strerror}")
    try:
        found = os.fstat(descriptor)
        unsafe = _unsafe(found, user, group)
        refused = _unreadable(found) or unsafe
        if refused is not None:
            return FileRead(str(path), layer, b"", refused, unsafe=refused == unsafe)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        return FileRead(str(path), layer, b"", f"it cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)
    if len(raw) > FILE_BYTES_MAX:
        return FileRead(str(path), layer, b"", f"it is larger than {FILE_BYTES_MAX} bytes")
    return FileRead(str(path), layer, raw)


def _unreadable(found: os.stat_result) -> str | None:
    """Why a file is not read."""
    if not stat.S_ISREG(found.st_mode):
        return "it is no file"
    if found.st_size > FILE_BYTES_MAX:
        return f"it is larger than {FILE_BYTES_MAX} bytes"
    return None


def _unsafe(found: os.stat_result, user: int, group: int) -> str | None:
    """Why a file may not be used: who else could have written it decides for the engine."""
    if found.st_uid not in (0, user):
        return f"it belongs to user {found.st_uid}: only your own files and root's are taken"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write it (mode o+w); chmod o-w it"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in (0, group):
        return f"group {found.st_gid} may write it (mode g+w); chmod g-w it"
    return None
