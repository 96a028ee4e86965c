"""The page of what was checked: `docs/reference/model.md`, written and held by `specs/run`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from models import EACH_STATE, ENDS, FAULTS_SAY, LEFT_OUT, MODELS, PROPERTIES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "model.md"
States = Mapping[tuple[str, str], int]
"""How many states a search of a model, by its name, looked at."""

HEAD = """# What the model was checked for

Written by `specs/run --write`; do not edit. `make specs` fails if what it finds is not what stands
here. [specs/README.md](../../specs/README.md) says how the models are built and how to read a
counterexample.
"""


def text(states: States, version: str) -> str:
    """The page. A search that is not in `states` has no number."""
    return (
        "\n".join((HEAD, *_models(states, version), *_properties(), *_faults(states), *_left()))
        + "\n"
    )


def without_counts(page: str) -> str:
    """A page without its numbers of states, which differ from one Spin to the next."""
    return re.sub(r"\b\d{1,3}(,\d{3})*(?= states)|(?<=Searched by Spin )\S+", "-", page)


def _count(states: States, model: str, search: str) -> str:
    found = states.get((model, search))
    return "- states" if found is None else f"{found:,} states"


def _models(states: States, version: str) -> Iterator[str]:
    yield f"## Models\n\nSearched by Spin {version}, each to its end: within the bounds there is no"
    yield "further state.\n"
    yield "| model | what | bounds | all properties of each state | `ends` |\n|---|---|---|---|---|"
    for model in MODELS:
        bounds = ", ".join(f"{name.lower()} {n}" for name, n in model.bounds.items())
        fewer = ", ".join(f"{name.lower()} {n}" for name, n in model.ends_bounds.items())
        fewer = f" ({fewer})" if fewer else ""
        yield (
            f"| `{model.name}` | {model.about} | {bounds} "
            f"| {_count(states, model.name, EACH_STATE)} "
            f"| {_count(states, model.name, ENDS)}{fewer} |"
        )
    yield (
        "\nA bound is how often it happens, at any place. `mishaps` are aborts, failing steps and "
        "strangers together; `losses` how often a worker takes the other for dead. A crash is a "
        "kill or a power cut.\n"
    )


def _properties() -> Iterator[str]:
    yield "## Properties\n\n| property | promise | what holds | in |\n|---|---|---|---|"
    for name, (promise, says) in PROPERTIES.items():
        models = ", ".join(
            model.name for model in MODELS if name in (*model.in_each_state, *model.over_time)
        )
        yield f"| `{name}` | {promise} | {says} | {models} |"


def _faults(states: States) -> Iterator[str]:
    yield (
        "\n## Planted faults\n\nEach is broken on purpose, and has to be found by the property "
        "beside it, with one crash (and one loss) at most.\n"
    )
    yield "| model | fault | what is broken | found by | after |\n|---|---|---|---|---|"
    for model in MODELS:
        for fault, name in model.faults.items():
            count = _count(states, model.name, fault)
            yield f"| {model.name} | `{fault}` | {FAULTS_SAY[fault]} | `{name}` | {count} |"


def _left() -> Iterator[str]:
    yield "\n## Left out\n"
    yield from (f"- {one}" for one in LEFT_OUT)
