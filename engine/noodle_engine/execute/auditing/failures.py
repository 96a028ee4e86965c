"""What an auditor's commands refuse. Nothing was written before one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from noodle_journal.errors import NoodleError

__all__ = ["ExportRunning", "OutputTaken", "TextUnreadable"]


class TextUnreadable(NoodleError):
    """A file that was named is not what it is taken for. Nothing was done."""

    code: ClassVar[str] = "audit_file_unreadable"
    exit_code: ClassVar[int] = 2

    def __init__(self, path: Path, what: str, why: str) -> None:
        super().__init__(
            problem=f"{path} cannot be read as {what}: {why}",
            cause="it is not there, was cut or changed, or is another file",
            remedy="name the file that `noodle audit checkpoint --out` or "
            "`noodle audit prove --out` wrote, as it was written",
            data={"path": str(path), "what": what, "why": why},
        )


class OutputTaken(NoodleError):
    """Something has the name that was to be written. It is as it was."""

    code: ClassVar[str] = "output_taken"
    exit_code: ClassVar[int] = 3

    def __init__(self, path: Path) -> None:
        super().__init__(
            problem=f"{path} is there already",
            cause="nothing is written over what is there",
            remedy="name a path that is not there yet",
            data={"path": str(path)},
        )


class ExportRunning(NoodleError):
    """Another process exports to the same place. It goes on."""

    code: ClassVar[str] = "export_running"
    exit_code: ClassVar[int] = 9

    def __init__(self, path: Path) -> None:
        super().__init__(
            problem=f"another process is exporting to {path}",
            cause="its draft beside it is locked",
            remedy="wait for it, or name another path",
            data={"path": str(path)},
        )
