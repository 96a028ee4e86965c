"""The JSON Schema of a settings file, made from the model.

Law J1. A file that the schema takes, loads, and one that it refuses is refused at the same
key; but for what no schema can say: rules between keys, the environment, and which time
zones this machine knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic.fields import FieldInfo

from noodle_policies.settings.migrating import VERSION
from noodle_policies.settings.model.catalogue import section_in
from noodle_policies.settings.model.kinds import (
    ARGUMENT_MAX,
    ENTRY,
    SECRET_NAME,
    TEXT_LENGTH_MAX,
)
from noodle_policies.settings.model.root import Settings
from noodle_policies.settings.model.section import Section, entries_of, facts_of
from noodle_policies.settings.reading.sections import PRIVATE_KEY

__all__ = ["DRAFT", "schema_text", "settings_schema"]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_NO_KEY: Final = {"not": {"pattern": PRIVATE_KEY}}
_ANY: Final = "any"


def settings_schema() -> dict[str, Any]:
    """The schema, draft 2020-12. Every settings file is an object with some of its names."""
    made = Settings.model_json_schema()
    whole = _section(Settings, made, made["$defs"])
    return {
        "$schema": DRAFT,
        "title": "Settings of Noodle",
        "description": "One settings file. Each name may be left out: its default counts then. "
        "x-unit is the unit of a number, x-live says that a change counts for running upgrades "
        "too, x-variables are the variables that set the key.",
        **{name: value for name, value in whole.items() if name != "description"},
        "properties": {
            "version": {
                "description": "The version of the file; absent means 1",
                "const": VERSION,
            },
            **whole["properties"],
        },
        "$defs": {_ANY: _anything()},
    }


def schema_text() -> str:
    """The schema as specs/settings.schema.json holds it."""
    return json.dumps(settings_schema(), indent=1) + "\n"


def _section(section: type[Section], made: Any, inner: Mapping[str, Any]) -> dict[str, Any]:
    """A section as it stands in a file. `made` is what pydantic says of it, `inner` of all."""
    properties: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        found = made["properties"][name]
        below = section_in(field)
        if below is None:
            properties[name] = _plain(found, inner) | _facts(field)
        elif entries_of(field) is None:
            properties[name] = _section(below, _named(found, inner), inner)
        else:
            (by_name,) = found["patternProperties"].values()
            properties[name] = {
                "type": "object",
                "propertyNames": {"pattern": ENTRY},
                "additionalProperties": _section(below, _named(by_name, inner), inner),
            }
    return {
        "description": " ".join((section.__doc__ or "").split()),
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _named(found: Mapping[str, Any], inner: Mapping[str, Any]) -> Any:
    return inner[found["$ref"].rpartition("/")[2]]


def _facts(field: FieldInfo) -> dict[str, Any]:
    """What the model says beside the form."""
    facts = facts_of(field)
    said: dict[str, Any] = {"description": facts.says}
    if facts.unit:
        said["x-unit"] = facts.unit
    if facts.live:
        said["x-live"] = True
    if facts.variables:
        said["x-variables"] = list(facts.variables)
    return said


_DROPPED: Final = ("noodle", "title")


def _plain(found: Any, inner: Mapping[str, Any]) -> Any:
    """A part of pydantic's schema without names of ours, and with no private key in a text."""
    if isinstance(found, list):
        return [_plain(one, inner) for one in found]
    if not isinstance(found, dict):
        return found
    if "$ref" in found:
        return _plain(_named(found, inner), inner)
    made = {
        name: {key: _plain(one, inner) for key, one in value.items()}
        if name == "properties"
        else _plain(value, inner)
        for name, value in found.items()
        if name not in _DROPPED
    }
    if made.get("additionalProperties") is True:
        made |= _by_any_name()
    elif "patternProperties" in made:
        ((pattern, value),) = made.pop("patternProperties").items()
        names = {"maxLength": TEXT_LENGTH_MAX, "pattern": pattern}
        made |= {"propertyNames": names, "additionalProperties": value}
    if made.get("type") == "string" and "enum" not in made and "const" not in made:
        made |= _NO_KEY
    return made


def _anything() -> dict[str, Any]:
    """Any value without a secret in it."""
    more = {"$ref": f"#/$defs/{_ANY}"}
    return {
        "anyOf": [
            {"type": ["boolean", "null"]},
            {"type": "number", "minimum": -ARGUMENT_MAX, "maximum": ARGUMENT_MAX},
            {"type": "string", **_NO_KEY},
            {"type": "array", "items": more},
            {"type": "object", **_by_any_name()},
        ]
    }


def _by_any_name() -> dict[str, Any]:
    """Values by any name, and no text by one that names a secret."""
    more = {"$ref": f"#/$defs/{_ANY}"}
    return {
        "patternProperties": {SECRET_NAME: {"allOf": [more, {"not": {"type": "string"}}]}},
        "additionalProperties": more,
    }
