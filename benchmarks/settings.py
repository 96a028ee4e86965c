"""Measurement 10: all six settings files, beside reading and validating the same once.

The files hold every key that the reference's files can hold, at its default. Noodle
reads each with its own checks, settles twins and layers, and looks for contradictions;
the other side is `json.loads` of each and one validation of all of it by the same model.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Answer, Goal, Question, Rounds, Sense, alternate
from benchmarks.sizes import Sizes
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.model.root import Settings
from noodle_policies.settings.reading.files import FILES, Inputs, read_inputs
from noodle_policies.settings.resolving import resolve

SIX = FILES[:6]
THREE_TIMES = Goal(Sense.AT_MOST, 3.0)

QUESTIONS = (
    Question(
        "settings.load",
        "CPU time of all six files with every key: read, checked, settled",
        "ms",
        "`json.loads` of each, and one pydantic validation of all",
        THREE_TIMES,
        "Each file is validated by itself, so that what a higher layer covers is right as well; "
        "beside that stand the twins, the layers and what may not contradict itself.",
    ),
)


def six_files(folder: Path) -> Inputs:
    """The six files with every key at its default, written and read."""
    content: dict[str, dict[str, Any]] = {name: {} for name in SIX}
    for name, key in catalogue().keys.items():
        if key.own:
            continue
        section, *inner = name.split(".")
        place = content[_file_of(section)].setdefault(section, {})
        for part in inner[:-1]:
            place = place.setdefault(part, {})
        place[inner[-1]] = key.default
    folder.mkdir(parents=True, exist_ok=True)
    for name, sections in content.items():
        (folder / name).write_text(json.dumps(sections, indent=2))
    return read_inputs([folder], {}, user=os.geteuid(), group=os.getegid())


def _file_of(section: str) -> str:
    """The file that a section's name begins; sections without one stand in the first."""
    integration = f"{section}_upgrade_integration_config.json"
    names = {"runtime": SIX[2], "self_improvement": SIX[1]}
    return names.get(section, integration if integration in SIX else SIX[0])


def loaded_ms(inputs: Inputs) -> float:
    """What the settings take of this processor: nobody else is waited for in it."""
    began = time.thread_time()
    resolve(inputs)
    return (time.thread_time() - began) * 1000


def validated_ms(inputs: Inputs, merged: Mapping[str, Any]) -> float:
    """What reading the same text and validating the same content takes."""
    began = time.thread_time()
    for file in inputs.files:
        json.loads(file.raw)
    Settings.model_validate(merged)
    return (time.thread_time() - began) * 1000


def compared(folder: Path, rounds: int) -> Rounds:
    """Both sides, in turns."""
    inputs = six_files(folder)
    merged: dict[str, Any] = {}
    for file in inputs.files:
        merged |= json.loads(file.raw)
    return alternate(
        {"noodle": lambda: loaded_ms(inputs), "bare": lambda: validated_ms(inputs, merged)},
        rounds=rounds,
    )


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row of this measurement."""
    rounds = compared(folder, sizes.settings_rounds)
    return [rounds.answer("settings.load", "noodle", "bare")]
