"""The page of JSON shapes, made from the frozen types that answers are."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import StrEnum
from typing import Any

from noodle_engine.cli.pages.answers import ANSWERS, below, hints_of

__all__ = ["shapes_page"]

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", object: "any"}

_HEAD = """\
# JSON shapes

With `--json` a command writes one JSON document to its standard output and nothing else; which
shape that is stands in [cli.md](cli.md). A field is never left out: what is not there is `null`.
`format` is 1 until a field changes its meaning. Times (`..._ms`) are milliseconds since 1970 in
UTC, durations (`duration_ms`) milliseconds; hashes are hexadecimal.

A failure is written to the standard output too, in this shape, with the exit code of
[errors.md](errors.md):

```json
{"format": 1,
 "error": {"code": "...", "problem": "...", "cause": "...", "remedy": "...", "data": {}}}
```

Made from the types by `python -m noodle_engine.cli.pages`; do not edit.
"""


def shapes_page() -> str:
    """The page, in Markdown."""
    kinds: dict[type, None] = {}
    for answers in ANSWERS.values():
        for answer in answers:
            kinds.update(dict.fromkeys(below(answer)))
    lines = [_HEAD]
    for kind in sorted(kinds, key=lambda one: one.__name__):
        lines += [f"## {kind.__name__}", "", inspect.getdoc(kind) or "", ""]
        lines += ["| field | type |", "|---|---|"]
        lines += [f"| `{name}` | {_named(hint)} |" for name, hint in hints_of(kind).items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _named(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_named(one) for one in typing.get_args(hint))
    if origin in (tuple, list):
        return f"list of {_named(typing.get_args(hint)[0])}"
    if origin in (dict, Mapping):
        return f"object of {_named(typing.get_args(hint)[1])}"
    if hint is type(None):
        return "null"
    if hasattr(hint, "__supertype__"):
        return _named(hint.__supertype__)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return ", ".join(f"`{one.value}`" for one in hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    return _PLAIN.get(hint, "any")
