"""What the command line itself refuses, as failures with code, problem, cause and remedy."""

from __future__ import annotations

from typing import ClassVar

from noodle_journal.errors import NoodleError

__all__ = [
    "Abandoned",
    "Declined",
    "DemoFailed",
    "OutputFailed",
    "PlatformUnsupported",
    "Unexpected",
    "UsageWrong",
]


class UsageWrong(NoodleError):
    """The command was written wrongly. Nothing was done."""

    code: ClassVar[str] = "usage"
    exit_code: ClassVar[int] = 2

    def __init__(self, *, problem: str, command: str) -> None:
        super().__init__(
            problem=problem,
            cause="the command is not written as it is understood",
            remedy=f"`{command} --help` shows how it is written",
            data={"command": command},
        )


class Declined(NoodleError):
    """The person who was asked said no. Nothing was changed."""

    code: ClassVar[str] = "declined"
    exit_code: ClassVar[int] = 3

    def __init__(self) -> None:
        super().__init__(
            problem="nothing was changed",
            cause="the answer to the question was no",
            remedy="run the command again and answer y, or give --yes",
        )


class Abandoned(NoodleError):
    """The command was interrupted outside an upgrade's steps."""

    code: ClassVar[str] = "abandoned"
    exit_code: ClassVar[int] = 130

    def __init__(self) -> None:
        super().__init__(
            problem="the command was interrupted",
            cause="it got Ctrl-C or a signal to end",
            remedy="`noodle status` shows whether an upgrade is open, and how it goes on",
        )


class OutputFailed(NoodleError):
    """The answer could not be written. What the command did is done all the same."""

    code: ClassVar[str] = "output_failed"
    exit_code: ClassVar[int] = 1

    def __init__(self, *, cause: str) -> None:
        super().__init__(
            problem="the answer could not be written to the standard output",
            cause=cause,
            remedy="free space or give another output; `noodle status` shows what was done",
        )


class PlatformUnsupported(NoodleError):
    """The machine lacks what Noodle stands on. Nothing was done."""

    code: ClassVar[str] = "platform_unsupported"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, found: str, missing: str) -> None:
        super().__init__(
            problem=f"Noodle does not run on {found}",
            cause=f"it needs {missing}",
            remedy="run it on Linux x86-64 with kernel 5.6 or later and CPython 3.11 or later",
            data={"found": found, "missing": missing},
        )


class DemoFailed(NoodleError):
    """A step of the demo did not show what it must. Its service and folder are gone."""

    code: ClassVar[str] = "demo_failed"
    exit_code: ClassVar[int] = 1

    def __init__(self, *, step: str, problem: str, kept: str | None = None) -> None:
        looks = f"look at {kept}" if kept else "run `noodle demo --keep FOLDER` and look there"
        super().__init__(
            problem=f"step `{step}` of the demo failed: {problem}",
            cause="what a command answered, or what is on disk, is not what the step promises",
            remedy=f"{looks}; `noodle doctor` tells whether something is missing",
            data={"step": step, "found": problem},
        )


class Unexpected(NoodleError):
    """A bug in Noodle. The journal says how far it came."""

    code: ClassVar[str] = "unexpected"
    exit_code: ClassVar[int] = 1

    def __init__(self, *, exception: str) -> None:
        super().__init__(
            problem=f"something unexpected happened: {exception}",
            cause="this is a bug in Noodle, not something you did",
            remedy="`noodle status` shows whether an upgrade is open; "
            "run the command again with --debug for a traceback, and report it",
            data={"exception": exception},
        )
