"""What is the same for many settings: variables, twins, and keys with one legal value."""

from __future__ import annotations

import json

import pytest

from noodle_policies.settings.failures import ProblemKind, SettingsInvalid
from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.reading.files import FileRead, Inputs
from noodle_policies.settings.resolving import resolve
from tests.clauses.table import CLAUSES, only_values
from tests.laws.legal_values import legal_values, nested

TWINS = [name for name, node in CLAUSES.items() if "test_a_twin_is" in node]


def of_file(key: str, value: object) -> Inputs:
    raw = json.dumps(nested({key: value})).encode()
    return Inputs(("a",), (FileRead("a/noodle.json", "a", raw),), {})


def away(key: str) -> object:
    """A value that is not the default, and contradicts no other default."""
    for value in legal_values(key)[1:]:
        try:
            resolve(of_file(key, value))
        except SettingsInvalid:
            continue
        return value
    raise LookupError(key)


def text_of(value: object) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value)


@pytest.mark.parametrize("variable", catalogue().variables)
def test_a_variable_sets_its_keys(variable: str) -> None:
    """Each of them, away from its default; and it beats a file."""
    keys = catalogue().variables[variable]
    value = away(keys[0])
    found = resolve(Inputs((), (), {variable: text_of(value)})).values
    for key in keys:
        held = found[key]
        assert (list(held) if isinstance(held, tuple) else held) == value
        assert held != catalogue().keys[key].default


@pytest.mark.parametrize("key", TWINS)
def test_a_twin_is_the_same_setting(key: str) -> None:
    """What is set under this name is what the others have, of which one is obeyed."""
    value = away(key)
    found = resolve(of_file(key, value)).values
    for name in catalogue().twins_of(catalogue().keys[key]):
        assert found[name] == value


@pytest.mark.parametrize("key", only_values(), ids=lambda key: key.name)
def test_every_value_but_the_only_one_is_refused(key: Key) -> None:
    assert resolve(of_file(key.name, key.default)).values[key.name] == key.default
    with pytest.raises(SettingsInvalid) as refused:
        resolve(of_file(key.name, "another"))
    assert [(one.kind, one.key) for one in refused.value.problems] == [
        (ProblemKind.RANGE, key.name)
    ]
