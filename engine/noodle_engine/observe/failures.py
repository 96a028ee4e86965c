"""What telling of oneself refuses, as failures. Nothing was changed before one."""

from __future__ import annotations

from typing import ClassVar

from noodle_journal.errors import NoodleError

__all__ = ["BundleUnwritable", "DiagnosticsDisabled", "LogUnwritable"]


class LogUnwritable(NoodleError):
    """The log was set to a file that cannot be written. Going back works all the same."""

    code: ClassVar[str] = "log_unwritable"
    exit_code: ClassVar[int] = 2

    def __init__(self, *, path: str, cause: str) -> None:
        super().__init__(
            problem=f"the log {path} cannot be written",
            cause=cause,
            remedy="name another file, make its folder, or let this user write it; or take "
            "debug.log_file out of the settings: then the log is in the home",
            data={"path": path},
        )


class DiagnosticsDisabled(NoodleError):
    """Bundles are switched off."""

    code: ClassVar[str] = "diagnostics_disabled"
    exit_code: ClassVar[int] = 3

    def __init__(self) -> None:
        super().__init__(
            problem="bundles are switched off",
            cause="the setting diagnostics.enabled is false",
            remedy="set it to true; `noodle doctor` works as it is",
        )


class BundleUnwritable(NoodleError):
    """A bundle could not be written where it was wanted. No part of it is left there."""

    code: ClassVar[str] = "bundle_unwritable"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, path: str, cause: str) -> None:
        super().__init__(
            problem=f"the bundle {path} cannot be written",
            cause=cause,
            remedy="name another file with --out, or mend the cause",
            data={"path": path},
        )
