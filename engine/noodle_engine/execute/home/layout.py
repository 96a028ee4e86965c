"""The home: where the journal, the keys and the releases live.

Owns the layout of the folder, its making and the checks before it is used.

Laws
H1. A home appears whole, by one rename, or not at all.
H2. Nothing in it is readable by anybody but its owner, save the public key.
H3. A home of another format, or without its journal, is never written to.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import orjson

from noodle_engine.disk.failures import DiskError, LockHeld
from noodle_engine.disk.locks import FileLock, lock_file, write_mark
from noodle_engine.disk.names import fsync_folder, rename_noreplace
from noodle_engine.execute.failures import (
    HomeAbsent,
    HomeExists,
    HomeFormatUnknown,
    HomeHeld,
    HomeOwnedByOther,
    HomeUnusable,
)

__all__ = [
    "FORMAT",
    "Home",
    "create_home",
    "find_home",
    "hold_alone",
    "machine_id",
]

T = TypeVar("T")

FORMAT = 1
_FOLDERS = ("keys", "config", "runtime_components", "cache", "logs", "diagnostics")


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything of one home lies. Makes nothing."""

    path: Path

    @property
    def lock_file(self) -> Path:
        """The lock of the one process that writes."""
        return self.path / "lock"

    @property
    def socket_file(self) -> Path:
        """The socket of the lock's holder."""
        return self.path / "socket"

    @property
    def master_key_file(self) -> Path:
        """The master key, where `encryption.key_source` is `file`."""
        return self.path / "keys" / "master.key"

    @property
    def public_key_file(self) -> Path:
        """The journal's public key."""
        return self.path / "keys" / "log.pub"

    @property
    def clock_file(self) -> Path:
        """What an engine of this boot kept of its clock. Disposable."""
        return self.path / "cache" / "clock"

    @property
    def settings_cache(self) -> Path:
        """The settings as they were made last. Disposable."""
        return self.path / "cache" / "settings"

    @property
    def config(self) -> Path:
        """The settings files."""
        return self.path / "config"

    def check(self) -> None:
        """Refuse a folder that is no home of this format, or not ours to use.

        Raises HomeAbsent, HomeFormatUnknown or HomeOwnedByOther.
        """
        try:
            found = (self.path / "format").read_bytes().decode("ascii", "backslashreplace").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise HomeAbsent(str(self.path)) from None
        except PermissionError:
            owner = _owner(self.path)
            raise HomeOwnedByOther(str(self.path), owner, os.geteuid()) from None
        except OSError as error:
            raise HomeUnusable(str(self.path), str(error)) from error
        if found != str(FORMAT):
            raise HomeFormatUnknown(str(self.path), found[:32], FORMAT)
        owner = _owner(self.path)
        if os.geteuid() not in (0, owner):
            raise HomeOwnedByOther(str(self.path), owner, os.geteuid())


def hold_alone(home: Home) -> FileLock:
    """The lock of a home that no process holds; the caller releases it. Raises HomeHeld."""
    try:
        return lock_file(home.lock_file)
    except LockHeld as held:
        raise HomeHeld(str(home.path), held.holder) from held


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return -1


def find_home(given: Path | str | None, environment: Mapping[str, str], user: int) -> Home:
    """The home that an option, NOODLE_HOME or the platform's custom names."""
    named = given or environment.get("NOODLE_HOME")
    if named:
        return Home(Path(named).absolute())
    if user == 0:
        return Home(Path("/var/lib/noodle"))
    state = environment.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path(environment.get("HOME", "/"), ".local", "state")
    return Home(folder / "noodle")


def machine_id() -> str:
    """The machine's id as systemd keeps it, or `unknown`."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            found = Path(path).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found
    return "unknown"


def create_home(path: Path, fill: Callable[[Path], T], *, key_source: str = "file") -> T:
    """Make a home at `path` (law H1) and return what `fill` returns.

    `fill` is called with the folder in which to make journal and keys; the first settings
    name `key_source` as the place of the master key. On any
    failure nothing is left at `path`; a process killed half way leaves a
    `.NAME.init-PID` beside it, which the next `init` removes.

    Raises HomeExists, HomeUnusable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_existing(path)
        _remove_abandoned(path)
        stage = path.parent / f".{path.name}.init-{os.getpid()}"
        stage.mkdir(mode=0o700)
    except OSError as error:
        raise HomeUnusable(str(path), f"{error.strerror}: {error.filename}") from error
    lock: FileLock | None = None
    try:
        lock = lock_file(stage / "lock")
        for name in _FOLDERS:
            (stage / name).mkdir(mode=0o700)
        made = fill(stage)
        first = {"version": 1, "encryption": {"key_source": key_source}}
        settings = orjson.dumps(first, option=orjson.OPT_INDENT_2).decode()
        write_mark(stage / "config" / "runtime_upgrade_config.json", settings, replace=False)
        write_mark(stage / "format", str(FORMAT), replace=False)
        for folder in (*(stage / name for name in _FOLDERS), stage):
            fsync_folder(folder)
        if path.is_dir():
            _remove_empty(path)
        if not rename_noreplace(stage, path):
            raise HomeExists(str(path))
        fsync_folder(path.parent)
    except (OSError, DiskError) as error:
        shutil.rmtree(stage, ignore_errors=True)
        cause = error.cause if isinstance(error, DiskError) else f"{error.strerror}"
        raise HomeUnusable(str(path), cause) from error
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            lock.release()
    return made


def _remove_empty(path: Path) -> None:
    try:
        path.rmdir()
    except FileNotFoundError:
        return  # another `init` removed it, and has not yet put its own there
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise HomeExists(str(path)) from None  # another `init` was faster
        raise


def _refuse_existing(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or any(path.iterdir()):
        raise HomeExists(str(path))
    if path.is_mount():
        raise HomeUnusable(
            str(path),
            "it is itself a mount, and a home appears by a rename: choose a folder inside it",
        )


def _remove_abandoned(path: Path) -> None:
    """Remove what a killed `init` left; one that still runs has its number, and its lock."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.init-*"):
        if _runs(left.name.rpartition("-")[2]):
            continue
        try:
            lock = lock_file(left / "lock")
        except LockHeld:
            continue
        shutil.rmtree(left, ignore_errors=True)
        lock.release()


def _runs(process: str) -> bool:
    """Whether a process other than this one has that number."""
    return process != str(os.getpid()) and Path("/proc", process).is_dir()
