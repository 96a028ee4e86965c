"""Answers that only the command line gives: JSON shapes with no view of the API behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noodle_engine.execute.answers.views import AuditEntry, UpgradeView

__all__ = [
    "AuditEntries",
    "Candidate",
    "CompletionView",
    "DemoStep",
    "DemoView",
    "DoneView",
    "OpenView",
    "RescueView",
    "RunView",
    "SchemaView",
]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class DoneView:
    """The answer of a command that only does: what was done, to which path."""

    done: str
    path: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class AuditEntries:
    """The answer of audit show."""

    entries: tuple[AuditEntry, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class CompletionView:
    """The answer of completion: what the shell is to read."""

    shell: str
    script: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class SchemaView:
    """The answer of config schema: the schema as it stands in specs/settings.schema.json."""

    schema: Mapping[str, Any]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class RunView:
    """What `run` answers once it drives upgrades: before it ends, not after."""

    home: str
    ready: bool
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that can take a target's place. `role`: beside, point, foreign, unproved, target."""

    location: str
    role: str
    root: str
    size: str | None = None
    modified: str | None = None


@dataclass(frozen=True, slots=True)
class RescueView:
    """The answer of rescue. `exchanged` is the candidate that was put in place, if one was."""

    target: str
    candidates: tuple[Candidate, ...]
    exchanged: str | None = None
    kept: str | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class OpenView:
    """The answer of resume: each upgrade that was taken up, as `status ID` answers."""

    upgrades: tuple[UpgradeView, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One step of the demo: the commands it ran, what they showed, where to look next."""

    name: str
    commands: tuple[str, ...]
    told: tuple[str, ...]
    look: str | None = None


@dataclass(frozen=True, slots=True)
class DemoView:
    """The answer of demo."""

    steps: tuple[DemoStep, ...]
    seconds: float
    kept: str | None = None
    format: int = FORMAT
