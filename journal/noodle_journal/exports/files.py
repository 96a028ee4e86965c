"""The files of an export, in a folder or in one tar archive.

Owns how they are found and read, line by line. A link is never followed, and a name is only
ever one of those that a manifest may have.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from noodle_journal.exports.manifest import MANIFEST_NAME
from noodle_journal.failures import ExportUnreadable

ARCHIVE_SUFFIX: Final = ".tar"
_NAME: Final = re.compile(r"manifest\.json|segment-\d{6,}\.jsonl")
FILES_MAX: Final = 1_000_000


class ExportFiles:
    """The files of an export. Close it."""

    def __init__(self, path: Path) -> None:
        """Raises: ExportUnreadable."""
        self.path = path
        self._archive: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            if path.is_dir():
                self.names = sorted(os.listdir(path))
            else:
                self._open_archive(path)
        except (OSError, tarfile.TarError) as exc:
            self.close()
            raise ExportUnreadable(path=str(path), reason=str(exc)) from exc

    def _open_archive(self, path: Path) -> None:
        self._archive = tarfile.open(path, "r:")  # noqa: SIM115 - closed by close
        names: list[str] = []
        for member in self._archive:
            names.append(member.name)
            if member.isreg():
                self._members.setdefault(member.name, member)
            if len(names) > FILES_MAX:
                raise ExportUnreadable(path=str(path), reason="too many files are in it")
        self.names = sorted(names)

    def close(self) -> None:
        """Give the files back."""
        if self._archive is not None:
            self._archive.close()

    def strange(self) -> list[str]:
        """Names that no export has, or that are there twice."""
        return [
            name
            for at, name in enumerate(self.names)
            if _NAME.fullmatch(name) is None or name in self.names[at + 1 : at + 2]
        ]

    def manifest(self, most: int) -> bytes:
        """The manifest's bytes, at most so many. Raises: ExportUnreadable."""
        with self.open(MANIFEST_NAME) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ExportUnreadable(path=str(self.path), reason="its manifest is too long")
        return data

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file to read. Raises: ExportUnreadable."""
        try:
            with self._opened(name) as file:
                yield file
        except (OSError, tarfile.TarError) as exc:
            raise ExportUnreadable(path=f"{self.path}/{name}", reason=str(exc)) from exc

    def _opened(self, name: str) -> BinaryIO:
        if self._archive is not None:
            member = self._members.get(name)
            found = None if member is None else self._archive.extractfile(member)
            if found is None:
                raise FileNotFoundError(f"{name} is not in it")
            return cast("BinaryIO", found)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.path / name, flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(f"{name} is no file")
        return os.fdopen(descriptor, "rb")
