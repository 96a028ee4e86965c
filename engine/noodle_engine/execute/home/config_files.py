"""Making and migrating settings files: `noodle config init` and `migrate`.

Owns the order of writing: everything is worked out and checked before the first file is
touched, and what a file was is kept beside it before it changes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from noodle_engine.disk.failures import DiskError, explained
from noodle_engine.disk.names import unlink_quietly
from noodle_engine.disk.whole import read_whole, write_whole
from noodle_engine.execute.failures import (
    SettingsExist,
    SettingsRefused,
    SettingsVersionUnknown,
)
from noodle_policies.settings.migrating import (
    MIGRATIONS,
    VERSION,
    Migration,
    MigrationAbsent,
    migrate,
)
from noodle_policies.settings.reading.files import (
    FILE_BYTES_MAX,
    FILES,
    FOLDER_CUSTOM,
    FileRead,
    Inputs,
    config_folder,
    read_inputs,
)
from noodle_policies.settings.reading.json_text import JsonRefused, read_json
from noodle_policies.settings.resolving import ENVIRONMENTS, examine
from noodle_policies.settings.starting import NOTES_FILE, starting_files

__all__ = ["MadeView", "MigratedRow", "MigratedView", "make_files", "migrate_files"]

FORMAT: Final = 1
MODE: Final = 0o644
BACKUPS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class MadeView:
    """The answer of config init: the folder, the files in it, and whether it is found as it is."""

    folder: str
    environment: str
    files: tuple[str, ...]
    found: bool
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class MigratedRow:
    """A file that was (or, in a dry run, would be) brought to the version that is read."""

    file: str
    from_version: int
    to_version: int
    steps: tuple[str, ...]
    backup: str | None


@dataclass(frozen=True, slots=True)
class MigratedView:
    """The answer of config migrate: what was changed, and what had its version already."""

    migrated: tuple[MigratedRow, ...]
    current: tuple[str, ...]
    folders: tuple[str, ...]
    dry_run: bool
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class _Change:
    file: FileRead
    row: MigratedRow
    text: bytes


def make_files(
    folder: Path | None, environment: str, variables: Mapping[str, str], working: Path
) -> MadeView:
    """Write the starting files of an environment into a folder, which is made.

    Without a folder: NOODLE_CONFIG_DIR, else `noodle-core/config` in `working`. Raises
    SettingsExist if a file of one of their names, or any settings file, is there; a disk
    failure: then what was written is gone again.
    """
    named = variables.get("NOODLE_CONFIG_DIR")
    where = working / (folder or (Path(named) if named else FOLDER_CUSTOM))
    there = [name for name in (*FILES, NOTES_FILE) if os.path.lexists(where / name)]
    if there:
        raise SettingsExist(str(where), there)
    files = starting_files(environment)
    written: list[Path] = []
    try:
        with explained("make", where):
            where.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            if not write_whole(where / name, text.encode(), MODE, replace=False):
                raise SettingsExist(str(where), [name])
            written.append(where / name)
    except BaseException:
        for path in written:
            with suppress(DiskError):
                unlink_quietly(path)
        raise
    found = config_folder(variables, working)
    is_found = found is not None and found.resolve() == where.resolve()
    return MadeView(str(where), environment, tuple(files), is_found)


def migrate_files(
    folders: Sequence[Path],
    *,
    dry_run: bool = False,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> MigratedView:
    """Bring the settings files of some folders, and of the environments' below, to VERSION.

    Each file's old bytes stay beside it as `NAME.version-N`. Raises SettingsRefused for a
    file that cannot be read or that would not load afterwards, and SettingsVersionUnknown; then
    nothing was changed. After a disk failure each file is wholly old or wholly new, and a
    second run goes on.
    """
    looked = [_inputs([one, *(one / name for name in ENVIRONMENTS)]) for one in folders]
    changes: dict[str, _Change] = {}
    current: list[str] = []
    for inputs in looked:
        for file in inputs.files:
            change = _changed(file, migrations)
            if change is None:
                current.append(file.path)
            else:
                changes[file.path] = change
    if changes:
        for inputs in looked:
            _check(inputs, changes)
    rows = [
        one.row if dry_run else replace(one.row, backup=_write(one)) for one in changes.values()
    ]
    return MigratedView(tuple(rows), tuple(current), tuple(str(one) for one in folders), dry_run)


def _inputs(folders: Sequence[Path]) -> Inputs:
    return read_inputs(folders, {}, user=os.geteuid(), group=os.getegid())


def _changed(file: FileRead, migrations: Sequence[Migration]) -> _Change | None:
    if file.refused is not None:
        raise SettingsRefused([f"{file.path}: {file.refused}"])
    try:
        content = read_json(file.raw)
    except JsonRefused as refused:
        raise SettingsRefused([f"{file.path}:{refused.place}: {refused.text}"]) from refused
    if not isinstance(content, dict):
        raise SettingsRefused([f"{file.path}:1:1: an object is wanted"])
    try:
        made = migrate(content, migrations)
    except MigrationAbsent as absent:
        raise SettingsVersionUnknown(file.path, repr(absent.version), VERSION) from absent
    if made is None:
        return None
    row = MigratedRow(file.path, made.version, VERSION, made.steps, None)
    return _Change(file, row, _text(made.content))


def _text(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _check(inputs: Inputs, changes: Mapping[str, _Change]) -> None:
    """Refuse what would not load: in each folder by itself, and with each environment over it."""
    base, *environments = inputs.layers
    for layers in [(base,), *((base, one) for one in environments)]:
        files = tuple(
            replace(file, raw=changes[file.path].text) if file.path in changes else file
            for file in inputs.files
            if file.layer in layers
        )
        _, problems = examine(Inputs(layers, files, {}))
        if problems:
            raise SettingsRefused([f"after its migration {problem}" for problem in problems])


def _write(change: _Change) -> str:
    """Keep the old bytes, then put the new ones in their place. Returns where the old are."""
    path = Path(change.file.path).resolve()  # a link stays one
    mode = stat.S_IMODE(path.stat().st_mode)
    backup = _kept(path, change, mode)
    write_whole(path, change.text, mode, replace=True)
    return str(backup)


def _kept(path: Path, change: _Change, mode: int) -> Path:
    first = path.with_name(f"{path.name}.version-{change.row.from_version}")
    for number in range(1, BACKUPS_MAX + 1):
        backup = first if number == 1 else first.with_name(f"{first.name}.{number}")
        if write_whole(backup, change.file.raw, mode, replace=False):
            return backup
        if read_whole(backup, bytes_max=FILE_BYTES_MAX) == change.file.raw:
            return backup  # of a run that was killed before it wrote the file
    raise SettingsExist(str(path.parent), [f"{first.name}.{BACKUPS_MAX}"])
