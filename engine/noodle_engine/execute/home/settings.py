"""The settings of a home: read, kept, and taken from the journal.

Owns where a home looks for its settings, and the cache that spares a command the model.

Laws
G1. What the cache gives is what the model would give: it is keyed by everything that the
    settings are made of, and by the code that makes them; and nobody else can have written
    it. Root, in the home of another, makes its own each time.
G2. A cache that is lost, torn or unwritable costs time, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

import noodle_policies.settings
from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.whole import read_whole, write_disposable
from noodle_engine.execute.failures import SettingsRefused
from noodle_engine.execute.home.layout import Home
from noodle_policies.settings.failures import SettingsInvalid
from noodle_policies.settings.reading.files import (
    CONFIG_VARIABLE,
    FileRead,
    Inputs,
    config_folder,
    read_inputs,
)
from noodle_policies.settings.values import Values

__all__ = [
    "Options",
    "Settled",
    "code_stamp",
    "folders_of",
    "inputs_of",
    "settings_from_journal",
    "settings_of",
    "settle",
    "settled_from",
    "with_inert",
]

CACHE_BYTES_MAX: Final = 1 << 20

Options = Sequence[tuple[str, str]]
"""What `--set` says: dotted keys and texts. The last one of a key counts."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The settings, or why there are none. Going back works without them."""

    values: Values | None
    failure: SettingsRefused | None

    def must(self) -> Values:
        """The settings; raises the failure if there are none."""
        if self.values is None:
            raise self.failure or SettingsRefused(["no settings"])
        return self.values


def settle(home: Home, environment: Mapping[str, str], options: Options) -> Settled:
    """Read the settings; a failure is kept, not raised."""
    return settled_from(home, inputs_of(home, environment, options))


def settled_from(home: Home, inputs: Inputs) -> Settled:
    """The settings that some inputs make for a home; a failure is kept, not raised."""
    try:
        return Settled(_values_of(home, inputs), None)
    except SettingsRefused as failure:
        return Settled(None, failure)


def inputs_of(
    home: Home | None,
    environment: Mapping[str, str],
    options: Options = (),
    *,
    working: Path | None = None,
) -> Inputs:
    """What the settings of a home are made of: its own files, and the config folder's over them.

    `working` is the folder in which the application is looked for; by default that of the
    process.
    """
    folders = folders_of(home, environment, working=working)
    found = read_inputs(folders, environment, options, user=os.geteuid(), group=os.getegid())
    wrong = _no_folder(folders[-1]) if environment.get(CONFIG_VARIABLE) else None
    if wrong is not None:
        # What a person names is meant: nothing there means other settings than were meant.
        named = str(folders[-1])
        absent = FileRead(named, named, b"", f"{CONFIG_VARIABLE} names it, and {wrong}")
        others = (file for file in found.files if file.path != named)
        return replace(found, files=(*others, absent))
    return found


def _no_folder(path: Path) -> str | None:
    """Why a path is no folder that settings can be in; None if it is one."""
    try:
        return None if stat.S_ISDIR(path.stat().st_mode) else "it is no folder"
    except (FileNotFoundError, NotADirectoryError):
        return "it is no folder"
    except OSError as error:
        return f"it cannot be looked into: {error.strerror}"


def folders_of(
    home: Home | None, environment: Mapping[str, str], *, working: Path | None = None
) -> list[Path]:
    """The folders that the settings of a home are read from; some may be absent."""
    folders = [] if home is None else [home.config]
    try:
        folder = config_folder(environment, working or Path.cwd())
    except OSError:  # a working folder that is gone is no application's
        folder = None
    if folder is not None and folder not in folders:
        folders.append(folder)
    return folders


def settings_of(home: Home, environment: Mapping[str, str], options: Options = ()) -> Values:
    """The settings in force for a home. Raises SettingsRefused naming all problems."""
    return _values_of(home, inputs_of(home, environment, options))


def _values_of(home: Home, inputs: Inputs) -> Values:
    digest = hashlib.sha256(inputs.digest.encode() + code_stamp(_CODE)).hexdigest()
    kept = _kept(home.settings_cache, digest)
    if kept is not None:
        return kept
    # The model takes longer to import than most commands take.
    from noodle_policies.settings.resolving import resolve  # noqa: PLC0415

    try:
        values = resolve(inputs).in_force()
    except SettingsInvalid as error:
        raise SettingsRefused(
            [str(problem) for problem in error.problems],
            [problem.key for problem in error.problems if problem.key is not None],
            [problem.without_value for problem in error.problems],
        ) from error
    _keep(home.settings_cache, digest, values)
    return values


def settings_from_journal(values: Mapping[str, Any]) -> Values:
    """The settings that an upgrade was requested under.

    A key that an older version did not write down has its default. Which keys have no effect
    the journal does not say: see `with_inert`.
    """
    return Values(_Completed(values))


def with_inert(values: Values) -> Values:
    """Settings of the journal, with the keys that have no effect because a switch is off."""
    from noodle_policies.settings.checks import dependencies  # noqa: PLC0415 - the model
    from noodle_policies.settings.model.catalogue import catalogue  # noqa: PLC0415

    known = {key: values.by_key[key] for key in catalogue().keys}
    inert, _ = dependencies(known, lambda _key: 0, frozenset())
    return replace(values, inert=inert)


class _Completed(Mapping[str, Any]):
    """Values of the journal, and the defaults behind them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        found: Any = self._values
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                break
            found = found[part]
        else:
            return found
        if key in self._values:  # as the first journals have it
            return self._values[key]
        from noodle_policies.settings.model.catalogue import catalogue  # noqa: PLC0415

        return catalogue().defaults[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


_CODE: Final = os.path.dirname(noodle_policies.settings.__file__)  # noqa: PTH120 - each start pays


def code_stamp(root: str) -> bytes:
    """What changes with the code that makes settings: the stamps of the files below a folder.

    Some package managers give every file the same time; when it came to be there
    (st_ctime) nobody can set.
    """
    stamps = []
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                elif entry.name.endswith(".py"):
                    found = entry.stat()
                    times = f"{found.st_mtime_ns} {found.st_ctime_ns}"
                    stamps.append(f"{entry.path} {found.st_size} {times}")
    return "\n".join(sorted(stamps)).encode()


def _kept(path: Path, digest: str) -> Values | None:
    """What the cache has for a digest; None if it has something else, or is damaged."""
    try:
        raw = read_whole(path, bytes_max=CACHE_BYTES_MAX, owner=os.geteuid())
    except DiskError:
        return None
    head, _, body = (raw or b"").partition(b"\n")
    if head != _head(digest, body):
        return None
    found = orjson.loads(body)
    return Values(found["values"], found["inert"], tuple(found["warnings"]))


def _keep(path: Path, digest: str, values: Values) -> None:
    body = orjson.dumps(
        {
            "values": dict(values.by_key),
            "inert": dict(values.inert),
            "warnings": list(values.warnings),
        }
    )
    with suppress(DiskError):
        write_disposable(path, _head(digest, body) + b"\n" + body, 0o600)


def _head(digest: str, body: bytes) -> bytes:
    return f"{digest} {hashlib.sha256(body).hexdigest()}".encode()
