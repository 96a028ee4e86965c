"""Changing names: exchange, rename, unlink, folders.

Owns every call that changes what a name names. A name is durable once its
folder was synced: each primitive says whether it did that or leaves it.

Laws
N1. Nothing here replaces or removes an object that its caller did not name.
N2. `exchange` and `rename_noreplace` are one step: a reader, and a crash, see
    the names before it or after it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from noodle_engine.disk import calls
from noodle_engine.disk.failures import (
    DiskDenied,
    DiskError,
    DiskFailed,
    ExchangeUnsupported,
    FolderUnsafe,
    explained,
)

__all__ = [
    "exchange",
    "fsync_folder",
    "make_folder",
    "make_link",
    "probe_files",
    "prove_exchange",
    "remove_empty_folder",
    "remove_folder",
    "rename_noreplace",
    "shift_aside",
    "unlink_quietly",
]

PROBE_NAMES_MAX = 16
"""How many names that are not free a probe steps over."""
_PROBE = ".noodle-probe-"

_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: all that were changed before the call.

    It syncs no file's content. After a failure it is unknown which are durable.
    """
    with explained("sync the folder", folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def exchange(first: Path, second: Path) -> None:
    """Exchange what two existing names of one file system name, in one step.

    Not durable on return: the caller checks what was displaced, then syncs the
    folder (both, if they differ). After a failure nothing has changed.

    Raises ExchangeUnsupported if the file system cannot.
    """
    try:
        with explained("exchange", first):
            calls.rename_exchange(str(first), str(second))
    except DiskError as error:
        if error.number in _UNSUPPORTED:
            raise ExchangeUnsupported(folder=first.parent) from error
        raise


def rename_noreplace(source: Path, target: Path) -> bool:
    """Rename `source` to `target` if nothing is there; False if something is.

    Not durable on return: the caller syncs both folders. After False or a
    failure nothing has changed. A hard link of `source` at `target` counts as
    something.

    Raises ExchangeUnsupported if the file system cannot.
    """
    try:
        with explained("rename", source):
            try:
                calls.rename_exclusive(str(source), str(target))
            except FileExistsError:
                return False
    except DiskError as error:
        if error.number in _UNSUPPORTED:
            raise ExchangeUnsupported(folder=target.parent) from error
        raise
    return True


def unlink_quietly(path: Path) -> bool:
    """Remove the name of a file or link; False if there was none.

    Not durable on return: the caller syncs the folder.
    """
    with explained("remove", path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
    return True


def shift_aside(path: Path, kept: int) -> None:
    """Give a file the name `NAME.1`, which becomes `NAME.2`, up to `kept`; the oldest goes.

    For files that can be lost: nothing is durable on return. Raises DiskError.
    """
    with explained("put aside", path):
        for number in range(kept, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            newer = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
            try:
                os.rename(newer, older)
            except FileNotFoundError:
                continue


def make_link(path: Path, text: str) -> None:
    """Make a symbolic link under a new name. Not durable on return: the caller syncs the folder.

    Raises DiskError (FileExistsError's among them).
    """
    with explained("make the link", path):
        os.symlink(text, path)


def make_folder(path: Path, mode: int) -> None:
    """Make `path` a folder with exactly `mode`, durably; one that is there stays.

    On return its name in its own parent is durable if it was made now.

    Raises FolderUnsafe if something else is there (a link too), or a folder of
    another user than root, the running one or the parent's owner: whoever owns
    it could exchange what is in it, as the parent's owner can anyway.
    """
    with explained("make the folder", path):
        made = False
        with suppress(FileExistsError):
            os.mkdir(path, mode)
            made = True
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise FolderUnsafe(path=path, found="not a folder")
        if found.st_uid not in (0, os.geteuid(), os.stat(path.parent).st_uid):
            raise FolderUnsafe(path=path, found=f"a folder of user {found.st_uid}")
        if made:
            os.chmod(path, mode)
    if made:
        fsync_folder(path.parent)


def remove_empty_folder(path: Path) -> bool:
    """Remove a folder that holds nothing; False if there is none, or something is in it.

    Not durable on return: the caller syncs the parent.
    """
    with explained("remove the folder", path):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
    return True


def remove_folder(path: Path) -> bool:
    """Remove a folder of ours with the plain files in it; False if there is none.

    It goes one level deep and never follows a link. A folder that holds a
    folder is left, with what is in it. Not durable on return.
    """
    with explained("remove the folder", path):
        try:
            names = os.listdir(path)
        except FileNotFoundError:
            return False
        for name in names:
            with suppress(IsADirectoryError, FileNotFoundError):
                os.unlink(path / name)
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
    return True


def prove_exchange(folder: Path) -> None:
    """Exchange two new, empty files in `folder`, and remove them.

    The kernel asks a file system only about names that exist. A process that is
    killed here leaves two empty files named `.noodle-probe-*`, which the next
    probe removes; nothing else reads or minds them. Nothing is made durable.

    Raises ExchangeUnsupported if the file system cannot, DiskError if the
    folder cannot be written.
    """
    with probe_files(folder) as (first, second):
        _exchange_own(first[0], second[0])


Probe = tuple[Path, int]
"""A probe's name and its open descriptor."""


@contextmanager
def probe_files(folder: Path) -> Iterator[tuple[Probe, Probe]]:
    """Two new, empty files in `folder`, open to read and write, that are gone afterwards.

    What is made of them must stay empty and keep its name, or take one with the
    same beginning: what a killed probe leaves is found by both. Raises DiskError.
    """
    with explained("write in", folder):
        _remove_left_probes(folder)
    with ExitStack() as undo:
        made: list[Probe] = []
        for number in range(PROBE_NAMES_MAX):
            path = folder / f"{_PROBE}{os.getpid()}-{number}"
            with explained("write in", folder), suppress(FileExistsError):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(path, flags, 0o600)
                undo.callback(os.close, descriptor)
                undo.callback(unlink_quietly, path)
                # Locked while it is in use: who finds it unlocked may remove it.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                made += [(path, descriptor)] if os.fstat(descriptor).st_nlink else []
            if len(made) == 2:
                yield made[0], made[1]
                return
        raise DiskFailed(doing="write in", path=folder, cause=f"too many {_PROBE}* are there")


def _remove_left_probes(folder: Path) -> None:
    """Remove the empty files of probes that were killed; a strange one stays."""
    for name in os.listdir(folder):
        if not name.startswith(_PROBE):
            continue
        path = folder / name
        with suppress(OSError):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                facts = os.fstat(descriptor)
                if stat.S_ISREG(facts.st_mode) and facts.st_size == 0:
                    os.unlink(path)
            finally:
                os.close(descriptor)


def _exchange_own(first: Path, second: Path) -> None:
    """Exchange two files just made: who is denied that is on a system without rename."""
    try:
        exchange(first, second)
    except DiskDenied as error:
        raise ExchangeUnsupported(folder=first.parent) from error
