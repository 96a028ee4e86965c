"""What the registry refuses, as failures with code, problem, cause and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from noodle_engine.machine.text import path_text
from noodle_journal.errors import NoodleError

__all__ = [
    "AddStopped",
    "HomeShort",
    "KeyUnusable",
    "ManifestInvalid",
    "NameRefused",
    "PayloadRefused",
    "ReleaseConflict",
    "ReleaseDamaged",
    "ReleaseUnknown",
    "ReleaseUnusable",
    "VersionRefused",
]


class NameRefused(NoodleError):
    """A component's name breaks the rule."""

    code: ClassVar[str] = "name_refused"
    exit_code: ClassVar[int] = 2

    def __init__(self, *, text: str, rule: str) -> None:
        self.text = text
        shown = path_text(text)
        super().__init__(
            problem=f"`{shown}` is no name of a component",
            cause=f"a name is {rule}: small letters and digits, then also . _ and -",
            remedy="correct the name; a release is written NAME@VERSION",
            data={"text": shown},
        )


class VersionRefused(NoodleError):
    """A text is no version, or no range of versions."""

    code: ClassVar[str] = "version_refused"
    exit_code: ClassVar[int] = 2

    def __init__(self, *, text: str, why: str) -> None:
        self.text = text
        self.why = why
        shown = path_text(text)
        super().__init__(
            problem=f"`{shown}` is no version or range of versions",
            cause=why,
            remedy="write a version as SemVer 2 has it, for example 1.4.0",
            data={"text": shown, "why": why},
        )


class ManifestInvalid(NoodleError):
    """A noodle.toml is not one. `problems` lists all: line, key and what is wrong."""

    code: ClassVar[str] = "manifest_invalid"
    exit_code: ClassVar[int] = 2

    def __init__(self, *, path: Path, problems: tuple[str, ...]) -> None:
        self.path = path
        self.problems = problems
        name = path_text(str(path))
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            problem=f"{name} has {count}",
            cause="; ".join(problems),
            remedy=f"correct {'it' if len(problems) == 1 else 'them'}, then run the command again",
            data={"path": name, "problems": list(problems)},
        )


class ReleaseUnusable(NoodleError):
    """A folder is no release."""

    code: ClassVar[str] = "release_unusable"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, path: Path, why: str) -> None:
        self.path = path
        name = path_text(str(path))
        super().__init__(
            problem=f"{name} is no release that can be registered",
            cause=why,
            remedy="a release is a folder with noodle.toml and the payload that it names",
            data={"path": name, "why": why},
        )


class PayloadRefused(NoodleError):
    """What is, or was, in a payload cannot be part of a release."""

    code: ClassVar[str] = "payload_refused"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, path: Path, why: str, remedy: str) -> None:
        self.path = path
        self.why = why
        name = path_text(str(path))
        super().__init__(
            problem=f"{name} cannot be registered",
            cause=why,
            remedy=remedy,
            data={"path": name, "why": why},
        )


class ReleaseConflict(NoodleError):
    """The version is registered with another content."""

    code: ClassVar[str] = "release_conflict"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, name: str, version: str, differs: str) -> None:
        self.name = name
        self.version = version
        super().__init__(
            problem=f"{name}@{version} is registered already, with another {differs}",
            cause="a version names one content for ever",
            remedy="give the release a new version",
            data={"component": name, "version": version, "differs": differs},
        )


class ReleaseUnknown(NoodleError):
    """The registry has no such component or release."""

    code: ClassVar[str] = "release_unknown"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, wanted: str, known: tuple[str, ...]) -> None:
        self.wanted = wanted
        self.known = known
        shown = ", ".join(known) if known else "none"
        super().__init__(
            problem=f"{wanted} is not registered",
            cause=f"registered are: {shown}",
            remedy="correct the name, or add the release: `noodle component add RELEASE`",
            data={"wanted": wanted, "known": list(known)},
        )


class ReleaseDamaged(NoodleError):
    """A registered release is not what was signed."""

    code: ClassVar[str] = "release_damaged"
    exit_code: ClassVar[int] = 6

    def __init__(self, *, name: str, version: str, part: str, why: str) -> None:
        self.name = name
        self.version = version
        self.part = part
        super().__init__(
            problem=f"the registered {name}@{version} cannot be trusted: its {part} {why}",
            cause="it was changed after it was registered, or the disk damaged it",
            remedy="register the release under a new version, from its source",
            data={"component": name, "version": version, "part": part, "why": why},
        )


class KeyUnusable(NoodleError):
    """The publisher's key is missing, unreadable or open to others."""

    code: ClassVar[str] = "publisher_key_unusable"
    exit_code: ClassVar[int] = 6

    def __init__(self, *, path: Path, why: str) -> None:
        self.path = path
        name = path_text(str(path))
        super().__init__(
            problem=f"the publisher's key {name} cannot be used",
            cause=why,
            remedy="put the key back from your backup; `noodle init` makes one for a new home",
            data={"path": name, "why": why},
        )


class HomeShort(NoodleError):
    """The home's file system has too little space or too few inodes for a release."""

    code: ClassVar[str] = "home_short"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, home: Path, needed: int, free: int, unit: str) -> None:
        self.needed = needed
        self.free = free
        name = path_text(str(home))
        super().__init__(
            problem=f"{name} has {free} {unit} left, {needed} are needed",
            cause="a release is copied into the home before it is known; nothing was written",
            remedy="free some, then run the command again",
            data={"home": name, "needed": needed, "free": free, "unit": unit},
        )


class AddStopped(NoodleError):
    """Adding a release was asked to end early. It is not known, and nothing is left of it."""

    code: ClassVar[str] = "add_stopped"
    exit_code: ClassVar[int] = 130

    def __init__(self, *, path: Path) -> None:
        self.path = path
        name = path_text(str(path))
        super().__init__(
            problem=f"nothing was added: adding {name} was stopped before its end",
            cause="the command was asked to stop",
            remedy="run the command again when there is time: it begins anew",
            data={"path": name},
        )
