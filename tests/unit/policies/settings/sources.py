"""Settings from a few files, variables and options: what the tests of settings begin with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from noodle_policies.settings.failures import Problem, SettingsInvalid
from noodle_policies.settings.reading.files import read_inputs
from noodle_policies.settings.resolving import Resolution, resolve

REFERENCE = Path(__file__).parents[5] / "shared" / "reference"


def reference(name: str) -> Path:
    """A part of the reference; skips the test where that is not beside the checkout."""
    path = REFERENCE / name
    if not path.exists():
        pytest.skip("the reference of the settings is not beside this checkout")
    return path


def write(folder: Path, name: str, content: object) -> Path:
    """Put a settings file into a folder, and return that."""
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def nested(key: str, value: object) -> dict[str, object]:
    """One key as it stands in a file."""
    made: object = value
    for part in reversed(key.split(".")):
        made = {part: made}
    assert isinstance(made, dict)
    return made


def resolved(
    folders: Iterable[Path] = (),
    variables: Mapping[str, str] | None = None,
    options: Iterable[tuple[str, str]] = (),
) -> Resolution:
    inputs = read_inputs(
        list(folders), variables or {}, options, user=os.geteuid(), group=os.getegid()
    )
    return resolve(inputs)


def problems_of(
    folders: Iterable[Path] = (),
    variables: Mapping[str, str] | None = None,
    options: Iterable[tuple[str, str]] = (),
) -> list[Problem]:
    with pytest.raises(SettingsInvalid) as caught:
        resolved(folders, variables, options)
    return list(caught.value.problems)
