"""What `noodle config` asks of the settings here, with or without a home.

Owns the way from a command's words to the files, variables and options that it means.
Everything here imports the model: what only obeys settings goes to `settings`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from noodle_engine.execute.failures import SettingsRefused, SettingUnknown
from noodle_engine.execute.home.layout import find_home
from noodle_engine.execute.home.settings import Options, inputs_of
from noodle_policies.settings import failures
from noodle_policies.settings.explaining import Explanation, Listing, explain
from noodle_policies.settings.failures import Problem
from noodle_policies.settings.reading.files import FILES, Inputs, read_inputs
from noodle_policies.settings.resolving import ENVIRONMENTS, Resolution, examine
from noodle_policies.settings.showing import (
    DifferencesView,
    ValidatedView,
    differences,
    problem_rows,
)

__all__ = ["compared", "explained", "folders_here", "in_force", "inputs_here", "validated"]

HERE: Final = "in force"
NO_ENVIRONMENT: Final = "none"
_ENVIRONMENT: Final = "NOODLE_ENVIRONMENT"


def inputs_here(home: str | None, options: Options) -> Inputs:
    """What the settings are made of here. A home need not be there."""
    return _inputs(home, os.environ, options)


def folders_here(home: str | None) -> list[Path]:
    """The folders whose settings files count here, without those of environments below."""
    variables = {name: value for name, value in os.environ.items() if name != _ENVIRONMENT}
    return [Path(one) for one in _inputs(home, variables, ()).layers]


def in_force(home: str | None, options: Options) -> Resolution:
    """The settings in force here. Raises SettingsRefused."""
    return _used(inputs_here(home, options))


def explained(home: str | None, options: Options, name: str) -> Explanation | Listing:
    """What a key, section or variable is here. Raises SettingUnknown."""
    found, problems = examine(inputs_here(home, options))
    try:
        return explain(name, found, problems)
    except failures.SettingUnknown as unknown:
        raise SettingUnknown(name, unknown.nearest) from unknown


def validated(home: str | None, options: Options, folder: Path | None) -> ValidatedView:
    """Everything that is wrong with the settings here, or with those of a folder."""
    if folder is None:
        looked = [inputs_here(home, options)]
    else:
        looked = [_of_folder(folder, options, name) for name in _environments(folder)]
    problems: dict[Problem, None] = {}
    warnings: dict[str, None] = {}
    for inputs in looked:
        found, wrong = examine(inputs)
        named = found.environment if folder is not None else None
        problems.update(dict.fromkeys(_in_environment(one, named, problems) for one in wrong))
        warnings.update(dict.fromkeys(found.warnings))
    folders = tuple(dict.fromkeys(layer for one in looked for layer in one.layers))
    return ValidatedView(
        valid=not problems,
        problems=problem_rows(problems),
        warnings=tuple(warnings),
        environments=tuple(one.variables.get(_ENVIRONMENT) or NO_ENVIRONMENT for one in looked),
        folders=folders,
        files=tuple(dict.fromkeys(file.path for one in looked for file in one.files)),
        unread=tuple(_unread(folders)),
    )


def compared(home: str | None, options: Options, one: Path, other: Path | None) -> DifferencesView:
    """Where two folders differ, or one from what is in force. Raises SettingsRefused."""
    environment = os.environ.get(_ENVIRONMENT)
    left = _used(_of_folder(one, (), environment))
    right = (
        _used(inputs_here(home, options))
        if other is None
        else _used(_of_folder(other, (), environment))
    )
    return DifferencesView(
        one=str(one),
        other=HERE if other is None else str(other),
        differing=differences(left, right),
    )


def _inputs(home: str | None, variables: Mapping[str, str], options: Options) -> Inputs:
    found = find_home(home, variables, os.geteuid())
    return inputs_of(None if _absent(found.config) else found, variables, options)


def _absent(folder: Path) -> bool:
    """Whether there is no such folder. One that this user may not look into is there."""
    try:
        return not stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _used(inputs: Inputs) -> Resolution:
    found, problems = examine(inputs)
    if problems:
        raise SettingsRefused([str(problem) for problem in problems])
    return found


def _of_folder(folder: Path, options: Options, environment: str | None) -> Inputs:
    """What a folder's files alone make."""
    variables: Mapping[str, str] = {} if environment is None else {_ENVIRONMENT: environment}
    return read_inputs([folder], variables, options, user=os.geteuid(), group=os.getegid())


def _environments(folder: Path) -> list[str | None]:
    """No environment, each that has a folder of its own, and the one that is set here."""
    named = os.environ.get(_ENVIRONMENT)
    found = [name for name in ENVIRONMENTS if os.path.isdir(folder / name) or name == named]  # noqa: PTH112 - raises nothing
    return [None, *found] if named is None or named in ENVIRONMENTS else [None, *found, named]


def _in_environment(
    problem: Problem, environment: str | None, known: Mapping[Problem, None]
) -> Problem:
    """A problem that there is only in one environment says so."""
    if environment is None or problem in known:
        return problem
    return replace(problem, text=f"{problem.text} (in {environment})")


def _unread(folders: tuple[str, ...]) -> list[str]:
    """JSON files that somebody may take for settings."""
    found = []
    for folder in folders:
        if not os.path.isdir(folder) or Path(folder) == Path.cwd():  # noqa: PTH112 - as above
            continue  # a working folder has JSON files of all kinds
        found += [
            str(path) for path in sorted(Path(folder).glob("*.json")) if path.name not in FILES
        ]
    return found
