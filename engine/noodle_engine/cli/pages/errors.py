"""The catalogue of failures as a page, read from the failure classes themselves.

Owns which classes are failures that a user can meet, and how their sentences
are shown: the text stands where it is raised, in the class, and what is filled
in there is shown as {name}.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
import textwrap
from collections.abc import Iterator
from itertools import groupby
from types import ModuleType

import noodle_engine
import noodle_journal
import noodle_policies
from noodle_engine.cli import exits
from noodle_journal.errors import NoodleError

__all__ = ["errors_page", "failures"]

_UNKNOWN = "{what was found}"
_PARTS = {"problem": "says", "cause": "why", "remedy": "do"}


def failures() -> tuple[type[NoodleError], ...]:
    """Every class of failure that can be raised, by code.

    Imports all modules of the three packages, so that none is missed. A class
    that only others derive from is left out: private, or without a constructor
    of its own, or with the code of a class below it.
    """
    for package in (noodle_engine, noodle_journal, noodle_policies):
        _import_all(package)
    found = {one for one in _below(NoodleError) if not _only_a_base(one)}
    return tuple(sorted(found, key=lambda one: (one.code, one.__name__)))


def _import_all(package: ModuleType) -> None:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _below(kind: type[NoodleError]) -> Iterator[type[NoodleError]]:
    for one in kind.__subclasses__():
        if _ours(one):
            yield one
        yield from _below(one)


def _ours(kind: type) -> bool:
    # Not the root itself, and nothing that a test made up.
    return kind is not NoodleError and kind.__module__.startswith("noodle_")


def _only_a_base(kind: type[NoodleError]) -> bool:
    below = tuple(_below(kind))
    if kind.__name__.startswith("_"):
        return True
    return bool(below) and (
        "__init__" not in vars(kind) or any(one.code == kind.code for one in below)
    )


def errors_page() -> str:
    """The page, in Markdown."""
    every = failures()
    lines = [
        "# Errors",
        "",
        "Every failure has a code that never changes its meaning, and three sentences: what is",
        "wrong, why, and what to do. Unless it says otherwise, nothing was changed. Programs match",
        "the code (`--json`: `error.code`) and the exit code, never the wording; `error.data`",
        "holds the same facts. {name} stands for what is filled in.",
        "",
        "Made from the failure classes by `python -m noodle_engine.cli.pages`; do not edit.",
        "",
        "| exit | meaning | codes |",
        "|---|---|---|",
    ]
    by_exit = sorted(every, key=lambda one: (one.exit_code, one.code))
    for code, group in groupby(by_exit, key=lambda one: one.exit_code):
        names = ", ".join(f"[{one.code}](#{one.code})" for one in group)
        lines.append(f"| {code} | {exits.ALL.get(code, '')} | {names} |")
    for one in every:
        lines += ["", f"## {one.code}", "", f"{_summary(one)} Exit {one.exit_code}.", ""]
        lines += [f"- {_PARTS[part]}: {text}" for part, text in _sentences(one).items()]
    return "\n".join(lines) + "\n"


def _summary(kind: type[NoodleError]) -> str:
    text = inspect.getdoc(kind) or ""
    return " ".join(text.partition("\n\n")[0].split())


def _sentences(kind: type[NoodleError]) -> dict[str, str]:
    """The three sentences, from the constructors of the class and those above it."""
    found: dict[str, str] = {}
    passed: dict[str, ast.expr] = {}
    for one in kind.__mro__:
        if not _ours(one) or "__init__" not in vars(one):
            continue
        call = _constructor_call(one)
        if call is None:
            continue
        given = {word.arg: word.value for word in call.keywords if word.arg}
        for part in _PARTS:
            value = given.get(part)
            if part in found or value is None:
                continue
            if isinstance(value, ast.Name) and value.id == part and part in passed:
                value = passed[part]
            found[part] = _text(value, kind)
        passed = given
    return {part: found.get(part, _UNKNOWN) for part in _PARTS}


def _constructor_call(kind: type) -> ast.Call | None:
    source = textwrap.dedent(inspect.getsource(kind))
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "__init__"
        ):
            return node
    return None


def _text(node: ast.expr, kind: type) -> str:
    """A sentence as it stands in the source, with names for what is filled in."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_text(value, kind) for value in values)
        case ast.FormattedValue(value=value):
            return _text(value, kind)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, kind) + _text(right, kind)
        case ast.IfExp(body=body, orelse=orelse):
            either = [_text(body, kind), _text(orelse, kind)]
            return " / ".join(text or "(nothing)" for text in either)
        case ast.BoolOp(values=[first, *_]):
            return _text(first, kind)
        case _:
            return _filled_in(node, kind)


def _filled_in(node: ast.expr, kind: type) -> str:
    """A constant's text, or the name of what is filled in."""
    match node:
        case ast.Attribute(attr=name, value=ast.Name(id="self" | "cls")):
            known = getattr(kind, name, None)
        case ast.Name(id=name):
            known = getattr(sys.modules[kind.__module__], name, None)
        case ast.Attribute(attr=name):
            known = None
        case ast.Call(args=[first, *_]):
            return _text(first, kind)
        case ast.Call(func=ast.Attribute(value=value)):
            return _text(value, kind)
        case _:
            return _UNKNOWN
    return known if isinstance(known, str) else f"{{{name}}}"
