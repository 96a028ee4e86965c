"""Take one setting, or one variable, out of all that is said.

Owns nothing of the product. Every Python process that finds this folder on PYTHONPATH
runs it at its start; with CLAUSES_MUTATED it then reads settings as if nobody had said
anything of that key: files, variables, options, and what the journal keeps of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MUTATED = os.environ.get("CLAUSES_MUTATED", "")
_READING = "noodle_policies.settings.reading.texts"
_RESOLVING = "noodle_policies.settings.resolving"
_VALUES = "noodle_policies.settings.values"


def _without(content: Any, way: Sequence[str]) -> Any:
    """The content of a file without what leads to the key."""
    if not isinstance(content, Mapping) or way[0] not in content:
        return content
    rest = {name: value for name, value in content.items() if name != way[0]}
    if len(way) > 1:
        rest[way[0]] = _without(content[way[0]], way[1:])
    return rest


def _change_sections(module: Any) -> None:
    read = module.read_sections

    def read_sections(content: Any, place: Any) -> Any:
        return read(_without(content, MUTATED.split(".")), place)

    module.read_sections = read_sections


def _change_variables(module: Any) -> None:
    read = module.read_variables

    def read_variables(variables: Mapping[str, str]) -> Any:
        return read({name: text for name, text in variables.items() if name != MUTATED})

    module.read_variables = read_variables


class _Defaulting(Mapping[str, Any]):
    """Settings by key, with the default of one in the place of its value."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        if key != MUTATED:
            return self._values[key]
        from noodle_policies.settings.model.catalogue import catalogue  # noqa: PLC0415

        found = catalogue().find(key)
        return self._values[key] if found is None else found.default

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _change_values(module: Any) -> None:
    values = module.Values
    begin = values.__init__

    def init(self: Any, by_key: Mapping[str, Any], *more: Any, **named: Any) -> None:
        begin(self, _Defaulting(by_key), *more, **named)

    values.__init__ = init


_KEY: dict[str, Callable[[ModuleType], None]] = {
    _READING: _change_sections,
    _RESOLVING: _change_sections,
    _VALUES: _change_values,
}
_VARIABLE: dict[str, Callable[[ModuleType], None]] = {_RESOLVING: _change_variables}


class _Changing(Loader):
    """Runs a module, and changes it."""

    def __init__(self, inner: Loader, change: Callable[[ModuleType], None]) -> None:
        self._inner = inner
        self._change = change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        self._change(module)


class _Finder(MetaPathFinder):
    """Finds the modules that are changed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = (_VARIABLE if MUTATED.startswith("NOODLE_") else _KEY).get(fullname)
        if change is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            raise ImportError(f"no {fullname} to change")
        spec.loader = _Changing(spec.loader, change)
        return spec


if MUTATED:
    sys.meta_path.insert(0, _Finder())
