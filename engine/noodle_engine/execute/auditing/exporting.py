"""Exporting a home's journal to a folder or a file, whole or not at all.

Owns the draft: it lies beside what it will be, under another name, and gets its name as the
last thing of all. A killed export leaves a draft at most, which the next one to the same
place clears away; two at once are told apart by a lock on the draft.
"""

from __future__ import annotations

import fcntl
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from noodle_engine.disk.failures import DiskError, explained
from noodle_engine.disk.files import sync_file
from noodle_engine.disk.names import (
    fsync_folder,
    make_folder,
    remove_folder,
    rename_noreplace,
    unlink_quietly,
)
from noodle_engine.execute.answers.views import AuditVerdict
from noodle_engine.execute.auditing.failures import ExportRunning, OutputTaken
from noodle_engine.execute.auditing.redacting import Redaction
from noodle_engine.execute.auditing.verifying import verdict_of
from noodle_engine.execute.auditing.views import ExportView
from noodle_engine.execute.observing.observer import redactor_of
from noodle_engine.observe.audit import Digests
from noodle_journal import Note
from noodle_journal.exports.checking import check_export
from noodle_journal.exports.files import ARCHIVE_SUFFIX
from noodle_journal.exports.manifest import Form
from noodle_journal.exports.writing import Exported, export

__all__ = ["Form", "checked_export", "export_journal"]

Progress = Callable[[int, int], None]

_DRAFT: Final = ".{}.exporting"


def export_journal(
    home: Path,
    out: Path,
    *,
    form: Form,
    master_key: bytes,
    environment: Mapping[str, str],
    progress: Progress | None = None,
) -> ExportView:
    """Write the journal, as it is now, to the new folder `out`, or file if it ends in `.tar`.

    Durable on return. After a failure or a kill `out` is not there.

    Raises OutputTaken, ExportRunning, DiskError; JournalDamaged and its kin, as
    `noodle_journal.exports.writing.export`.
    """
    path = Path(os.path.abspath(out))  # noqa: PTH100 - a link stays one
    if os.path.lexists(path):  # said before anything is read; renaming looks again
        raise OutputTaken(path)
    redaction = Redaction(Digests(master_key), redactor_of(environment, master_key))
    with _draft(path) as draft:
        made = export(
            home,
            draft,
            master_key=master_key,
            form=form,
            redact=redaction.body,
            progress=progress,
        )
        fsync_folder(draft)
        if path.suffix == ARCHIVE_SUFFIX:
            _archive(draft, path)
        elif not rename_noreplace(draft, path):
            raise OutputTaken(path)
        fsync_folder(path.parent)
    return _view(path, form, made)


def checked_export(
    path: Path,
    public_key: bytes,
    *,
    since: Note | None = None,
    every_signature: bool = False,
    progress: Progress | None = None,
) -> AuditVerdict:
    """The verdict over an export: needs no home and no secret. Raises ExportUnreadable."""
    found = check_export(
        path,
        public_key=public_key,
        since=() if since is None else (since,),
        every_signature=every_signature,
        progress=progress,
    )
    return verdict_of(found.report, with_key=False, since=since, form=found.form or "unknown")


def _view(path: Path, form: Form, made: Exported) -> ExportView:
    return ExportView(
        path=str(path),
        form=form.value,
        log_id=made.log_id,
        size=made.size,
        root=made.root.hex(),
        segments=made.segments,
        size_bytes=made.size_bytes,
    )


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, locked; at the end nothing of it is left under its own name.

    Raises ExportRunning, DiskError.
    """
    draft = path.with_name(_DRAFT.format(path.name))
    lock = _locked(draft, path)
    try:
        for left in draft.iterdir():
            unlink_quietly(left)  # of one that was killed
        yield draft
    finally:
        # By name: under the lock nobody else has made another.
        with suppress(DiskError):
            if _is_locked_one(lock, draft):
                remove_folder(draft)
        os.close(lock)


def _locked(draft: Path, path: Path) -> int:
    while True:
        make_folder(draft, 0o700)
        with explained("open the folder", draft):
            try:
                lock = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # another export has just ended
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise ExportRunning(path) from None
        if _is_locked_one(lock, draft):
            return lock
        os.close(lock)


def _is_locked_one(lock: int, draft: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.lstat(draft))
    except FileNotFoundError:
        return False


def _archive(draft: Path, path: Path) -> None:
    """One file of what is in the draft; the same content gives the same bytes."""
    made = path.with_name(f"{_DRAFT.format(path.name)}.tar")
    try:
        unlink_quietly(made)
        with explained("write", made):
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with (
                os.fdopen(descriptor, "wb") as file,
                tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as archive,
            ):
                for one in sorted(draft.iterdir()):
                    _add(archive, one)
        sync_file(made)
        if not rename_noreplace(made, path):
            raise OutputTaken(path)
    finally:
        with suppress(DiskError):
            unlink_quietly(made)


def _add(archive: tarfile.TarFile, path: Path) -> None:
    entry = tarfile.TarInfo(path.name)
    entry.size = path.stat().st_size
    entry.mode = 0o600
    with path.open("rb") as file:
        archive.addfile(entry, file)
