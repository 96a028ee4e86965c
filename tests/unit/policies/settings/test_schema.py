"""J1: the schema and the loader take and refuse the same, at the same key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.model.kinds import ZONE_FORMAT
from noodle_policies.settings.reading.sections import Way, private_keys, read_sections
from noodle_policies.settings.schema import schema_text, settings_schema
from tests.unit.policies.settings.sources import nested, reference

SHIPPED = Path(__file__).parents[4] / "specs" / "settings.schema.json"
PEM = "-----BEGIN RSA PRIVATE KEY-----"
SCALARS: tuple[object, ...] = (None, True, False, 0, 1, -1, 1.5, 30.0, 101, 1e15, 10**30, 0.999)
TEXTS: tuple[str, ...] = (
    *("", " ", "x", "x ", "x\n", "a\x00b", "\x85", "\u0661\u0660MB", "x" * 5000, PEM, f"/{PEM}"),
    *("1MB", "01MB", "1.5MB", "1mb", "10GB\n", "0KB"),
    *(
        "00:00",
        "24:00",
        "24:01",
        "7:00",
        "07:00-07:00",
        "24:00-07:00",
        "07:00-24:00",
        "22:00-02:00",
    ),
    *("UTC", "Europe/Vienna", "../etc/passwd", "/UTC"),
    *("1.2.3", "1.2.3-a.1+b", "1.2.3-01", "1.2", "v1.2.3", "1.2.3\n", "1.\u0662.3"),
    *(">=1.0.0, <2.0.0", ">= 1.0.0", ">=1.0.0,", "*", "^1.0.0", ",1.0.0"),
    *("/a/b", "a/b", "a/../b", "..", "../a", "a..b", "a/..b", "strict", "DEBUG", "monday"),
)
NESTED: tuple[object, ...] = ([], {}, ["x"], ["x", "x"], [1], [None], ["monday"], {"a": 1}, [{}])


def validator_of_settings() -> Draft202012Validator:
    schema = settings_schema_cached()
    Draft202012Validator.check_schema(schema)
    formats = FormatChecker(())
    formats.checks(ZONE_FORMAT, (KeyError, ValueError, OSError))(known_zone)
    return Draft202012Validator(schema, format_checker=formats)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return validator_of_settings()


def known_zone(text: object) -> bool:
    return not isinstance(text, str) or bool(ZoneInfo(text))


def refused_by_loader(content: dict[str, Any]) -> set[str]:
    def nowhere(_way: Way) -> str:
        return ""

    problems = [*read_sections(content, nowhere)[1], *private_keys(content, (), nowhere)]
    return {key_of(str(one.key).split(".")) for one in problems}


def refused_by_schema(validator: Draft202012Validator, content: object) -> set[str]:
    return {name for error in validator.iter_errors(content) for name in names_of(error)}


def names_of(error: ValidationError) -> Iterable[str]:
    """The keys that an error is about, as the loader names them: the name of an unknown one."""
    way = [str(part) for part in error.absolute_path]
    if error.validator == "additionalProperties":
        assert isinstance(error.instance, dict)
        known = error.schema.get("properties", {})
        return [key_of([*way, name]) for name in error.instance if name not in known]
    if error.validator == "pattern" and "propertyNames" in error.absolute_schema_path:
        shown = str(error.instance).replace("\n", "\\x0a")  # as a problem names it
        return [key_of([*way, shown])]
    return [key_of(way)]


def key_of(way: list[str]) -> str:
    """The key that a way leads to or into, or the whole way."""
    for length in range(1, len(way) + 1):
        if catalogue().find(".".join(way[:length])):
            return ".".join(way[:length])
    return ".".join(way)


def test_the_shipped_schema_is_what_the_model_makes() -> None:
    """If this fails: python -m noodle_engine.cli.pages."""
    assert SHIPPED.read_text() == schema_text()


def test_every_key_and_no_other_is_in_the_schema() -> None:
    def names(part: dict[str, Any], prefix: str) -> Iterator[str]:
        for name, inner in part["properties"].items():
            if "x-variables" in inner or "properties" not in inner:
                yield f"{prefix}{name}"
            else:
                yield from names(inner, f"{prefix}{name}.")

    found = set(names(settings_schema(), "")) - {"version"}
    entries = {"deployment.policies", "deployment.maintenance_windows"}
    assert entries <= found
    assert found - entries == {
        name
        for name in catalogue().keys
        if not name.startswith(tuple(f"{one}." for one in entries))
    }


def test_the_schema_tells_default_unit_and_sentence_of_each_key() -> None:
    for key in catalogue().keys.values():
        if key.name.startswith(("deployment.policies.", "deployment.maintenance_windows.")):
            continue
        found: Any = settings_schema_part(key)
        assert found["description"] == key.facts.says
        assert found.get("x-unit", "") == key.facts.unit
        if key.kind != "mapping":
            assert found["default"] == json.loads(json.dumps(key.default)), key.name


def settings_schema_part(key: Key) -> Any:
    schema = settings_schema_cached()
    for part in key.name.split("."):
        schema = schema["properties"][part]
    return schema


def form_of(key: Key) -> str:
    """What the schema says of a key but for words and default: keys of one form are alike."""
    entry = {"deployment.policies": 1, "deployment.maintenance_windows": 1}
    part: Any = settings_schema_cached()
    above = ""
    for name in key.name.split("."):
        part = part["additionalProperties"] if above in entry else part["properties"][name]
        above = f"{above}.{name}".removeprefix(".")
    words = {"description", "default", "x-live", "x-unit", "x-variables"}
    return json.dumps({name: one for name, one in part.items() if name not in words})


@cache
def settings_schema_cached() -> dict[str, Any]:
    return settings_schema()


def samples(key: Key) -> Iterator[object]:
    yield from SCALARS
    if key.kind == "string":
        yield from TEXTS
    if key.kind == "list":
        yield from ([text] for text in TEXTS)
    yield from NESTED
    yield json.loads(json.dumps(key.default))
    if key.kind == "mapping":
        yield from (
            {"a": {"severity": "error"}},
            {"a": {"timeout": 0}},
            {"a": {"args": {"x": [1, {"y": None}]}}},
            {"a": {"args": {"x": [1, {"y": PEM}]}}},
            {"a": {"args": {"x": [10**30]}}},
            {"a": {"args": {"x": 1e300, "y": -(2.0**53)}}},
            {"a": {"args": {"x": [2**53 - 1, -1.5]}}},
            {"a": {"args": {"x": [{"db_Password": "x"}]}}},
            {"a": {"args": {"API-KEY": "x"}}},
            {"a": {"args": {"token": 3, "tokens": "x", "secret_file": "x"}}},
            {"a ": {}},
            {"": {}},
            {"x" * 5000: {}},
            {"a": {"b": 1}},
        )
    if key.structured and key.kind == "list":
        yield from (
            [{"start": "x"}, {"duration": 0}],
            [{"timezone": "UTC", "rrule": None}],
            [{"timezone": "Nowhere"}],
            [{"reason": "x" * 2000}],
            [{"other": 1}],
        )


def test_each_value_of_each_key_is_taken_by_both_or_refused_by_both(
    validator: Draft202012Validator,
) -> None:
    """Every value for one key of each form, some values for every key."""
    taken = refused = 0
    looked: set[str] = set()
    for key in catalogue().keys.values():
        form = form_of(key)
        few = [None, [1], {"a": 1}, json.loads(json.dumps(key.default))]
        for value in few if form in looked else samples(key):
            content = nested(key.name, value)
            ours = refused_by_loader(content)
            assert refused_by_schema(validator, content) == ours, (key.name, value)
            taken, refused = taken + (not ours), refused + bool(ours)
        looked.add(form)
    assert min(taken, refused) > 300


@pytest.mark.parametrize(
    "content",
    [
        {"debug": None},
        {"debug": [], "runtime": "x"},
        {"debugg": {}},
        {"debug": {"enabledd": 1, "log_level": "x"}, "runtime": {"a": {}}},
        {"deployment": {"policies": {"a b": {}, "qa": {"x": 1}, "": {}, "a\n": {}}}},
        {"deployment": {"policies": []}},
        {"security": {"password": "x"}},
        {"runtime_upgrade": {"enabled": {"x": 1}, "rollback": 3}},
    ],
)
def test_what_is_no_key_is_refused_at_the_same_name(
    content: dict[str, Any], validator: Draft202012Validator
) -> None:
    found = refused_by_loader(content)
    assert found
    assert refused_by_schema(validator, content) == found


def test_a_whole_set_of_defaults_passes(validator: Draft202012Validator) -> None:
    for name, value in catalogue().defaults.items():
        assert validator.is_valid(nested(name, json.loads(json.dumps(value)))), name


def test_the_reference_files_pass_an_independent_validator(
    validator: Draft202012Validator,
) -> None:
    files = sorted(reference("config").glob("*.json"))
    assert len(files) == 7
    for file in files:
        assert list(validator.iter_errors(json.loads(file.read_text()))) == [], file.name
