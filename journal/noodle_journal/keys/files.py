"""Key files: read only where nobody else can read them, written whole and never over others.

Laws
K3. A key file is never written over, and others can never read it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from noodle_journal.failures import (
    JournalExists,
    JournalFull,
    JournalUnreadable,
    KeyExposed,
    KeyInvalid,
    KeyMissing,
)
from noodle_journal.keys.recovery import parse_master_key

KEY_FILE_BYTES_MAX = 4096
KEY_VARIABLE = "NOODLE_JOURNAL_KEY"
MASTER_KEY_FILE = "keys/master.key"
PUBLIC_KEY_FILE = "keys/log.pub"


def load_master_key(*, variable: str | None, file: Path | None) -> bytes:
    """The master key: a set variable wins over the file.

    `variable` is the value of NOODLE_JOURNAL_KEY, or None where it is not set.

    Raises: KeyMissing, KeyInvalid, KeyExposed, JournalUnreadable.
    """
    if variable is not None:
        return parse_master_key(variable, source=KEY_VARIABLE)
    if file is None:
        raise KeyMissing(
            what="the master key",
            remedy=f"set {KEY_VARIABLE}, or `noodle init` to make a key file",
        )
    return parse_master_key(read_key_file(file), source=str(file))


def read_key_file(path: Path) -> str:
    """The text of a key file that only its owner can read.

    Raises: KeyMissing, KeyExposed, KeyInvalid, JournalUnreadable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as exc:
        raise KeyMissing(
            what=str(path),
            remedy=f"put the file back, set {KEY_VARIABLE}, or use the recovery key "
            "that `noodle init` showed",
        ) from exc
    except OSError as exc:
        raise JournalUnreadable(path=str(path), reason=exc.strerror or str(exc)) from exc
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KeyInvalid(source=str(path), reason="not a plain file")
        if found.st_mode & 0o077:
            raise KeyExposed(path=str(path), mode=f"{stat.S_IMODE(found.st_mode):04o}")
        data = os.read(descriptor, KEY_FILE_BYTES_MAX)
    except OSError as exc:
        raise JournalUnreadable(path=str(path), reason=exc.strerror or str(exc)) from exc
    finally:
        os.close(descriptor)
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as exc:
        raise KeyInvalid(source=str(path), reason="not text") from exc


def make_key_file(path: Path, key: bytes) -> None:
    """Write `key` to a new 0600 file, durable on return, its folder entry too.

    A cut leaves either no file or the whole one: it is written under another
    name and linked into place. Raises: JournalExists, JournalFull,
    JournalUnreadable.
    """
    write_new_file(path, (key.hex() + "\n").encode(), mode=0o600)


def read_public_key(path: Path) -> bytes:
    """The log's public key from a file with 64 hexadecimal digits.

    Raises: KeyMissing, KeyInvalid, JournalUnreadable.
    """
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX)
    except FileNotFoundError as exc:
        raise KeyMissing(
            what=str(path), remedy="give --public-key FILE, the one kept from `noodle init`"
        ) from exc
    except OSError as exc:
        raise JournalUnreadable(path=str(path), reason=exc.strerror or str(exc)) from exc
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError as exc:
        raise KeyInvalid(source=str(path), reason="not hexadecimal digits") from exc
    if len(key) != 32:
        raise KeyInvalid(source=str(path), reason=f"{len(key)} bytes, not 32")
    return key


def write_new_file(path: Path, data: bytes, *, mode: int) -> None:
    """A new file, whole or absent after any cut, never over an old one."""
    draft = draft_of(path)
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(draft, path)
        draft.unlink()
        sync_folder(path.parent)
    except FileExistsError as exc:
        draft.unlink(missing_ok=True)
        raise JournalExists(path=str(path)) from exc
    except OSError as exc:
        raise os_failure(path, exc) from exc


def remove_file(path: Path) -> None:
    """Remove a file of ours, durable on return; none there is good too."""
    try:
        if path.exists():
            path.unlink()
            sync_folder(path.parent)
    except OSError as exc:
        raise os_failure(path, exc) from exc


def remove_new_file(path: Path) -> None:
    """Remove a file that `write_new_file` made, and what a kill left of making it."""
    remove_file(draft_of(path))
    remove_file(path)


def draft_of(path: Path) -> Path:
    """Where a new file is written before it gets its name."""
    return path.with_name(path.name + ".new")


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def os_failure(path: Path, exc: OSError) -> JournalFull | JournalUnreadable:
    """The failure for an OSError before anything of the journal was written."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return JournalFull(path=str(path))
    return JournalUnreadable(path=str(path), reason=exc.strerror or str(exc))
