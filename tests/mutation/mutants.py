"""The changes that are tried: one small one in one function at a time.

Words for people are left alone (a text with a space in it): tests match a failure's class
or code, never its wording. What runs when a module is imported - tables, defaults, types -
is not changed here: the table is checked at import, by `make specs` and by tests of literals.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Final

__all__ = ["Mutant", "codes_of", "mutants_of", "outermost"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Key = tuple[str, int]
"""A function: its name, and the line of its code."""

COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: where, what it was and is.

    `number` is its node's place in its file's tree; -1 is none: the code as it is.
    """

    path: str
    function: str
    line: int
    was: str
    now: str
    key: Key
    number: int
    changed: ast.AST

    @property
    def name(self) -> str:
        """What it is called on the page: it does not move with the lines above it."""
        return f"{self.path} {self.function}: {self.was} -> {self.now}"

    def code(self, root: Path) -> CodeType:
        """The code that its function then has."""
        file = root / self.path
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for at, node in enumerate(tuple(ast.walk(tree))):
            if at == self.number:
                _Exchange(node, self.changed).visit(tree)
        made = ast.fix_missing_locations(tree)
        return codes_of(compile(made, str(file), "exec", dont_inherit=True))[self.key]


def mutants_of(root: Path, path: str) -> Iterator[Mutant]:
    """Each change of a file's functions, in their order."""
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    numbers = {id(node): at for at, node in enumerate(ast.walk(tree))}
    for function, qualified in _functions(tree, ""):
        key = (function.name, _first_line(function))
        for site in _sites(function):
            for changed in _changes(site):
                yield Mutant(
                    path,
                    qualified,
                    site.lineno,
                    _shown(site),
                    _shown(changed),
                    key,
                    numbers[id(site)],
                    changed,
                )


def codes_of(module: CodeType) -> dict[Key, CodeType]:
    """The code of each function that a module's import defines; of what is in it, nothing."""
    found: dict[Key, CodeType] = {}
    for part in module.co_consts:
        if not isinstance(part, CodeType):
            continue
        if part.co_flags & 2:  # CO_NEWLOCALS: a function, no class body
            found[part.co_name, part.co_firstlineno] = part
        else:
            found |= codes_of(part)
    return found


def outermost(module: CodeType) -> dict[Key, Key]:
    """Of each function, and those inside it, the one that an import defines."""
    found: dict[Key, Key] = {}
    for key, code in codes_of(module).items():
        for inner in _all(code):
            found[inner.co_name, inner.co_firstlineno] = key
    return found


def _all(code: CodeType) -> Iterator[CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _all(part)


def _first_line(function: Function) -> int:
    return min([function.lineno, *(one.lineno for one in function.decorator_list)])


def _functions(node: ast.AST, inside: str) -> Iterator[tuple[Function, str]]:
    for part in ast.iter_child_nodes(node):
        if isinstance(part, Function):
            yield part, f"{inside}{part.name}"
        elif isinstance(part, ast.ClassDef):
            yield from _functions(part, f"{inside}{part.name}.")


Site = ast.expr | ast.stmt


def _sites(function: Function) -> Iterator[Site]:
    for statement in function.body:
        yield from _walk(statement)


def _walk(node: ast.AST) -> Iterator[Site]:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=None) | ast.JoinedStr():
            return  # a docstring, a type, words
        case ast.Call(func=ast.Name(id="cast"), args=[_, value]):
            yield from _walk(value)
            return
        case ast.AnnAssign(value=ast.expr() as value):
            yield from _walk(value)
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            for statement in node.body:
                yield from _walk(statement)
            return
    if isinstance(node, (ast.expr, ast.stmt)):
        yield node
    for part in ast.iter_child_nodes(node):
        yield from _walk(part)


def _changes(node: Site) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=[op], left=left, comparators=[right]):
            yield ast.Compare(left, [COMPARED[type(op)]()], [right])
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in CALCULATED:
            yield ast.BinOp(left, CALCULATED[type(op)](), right)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Constant():
            yield from _other_constants(node.value)
        case ast.stmt():
            yield from _other_statements(node)


def _other_constants(value: object) -> Iterator[ast.AST]:
    match value:
        case bool():
            yield ast.Constant(not value)
        case int():
            yield ast.Constant(value + 1)
        case str() if value and " " not in value:
            yield ast.Constant(f"{value}x")
        case bytes() if value:
            yield ast.Constant(value + b"x")


def _other_statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.If(test=test, body=body, orelse=orelse) if not _is_changed(test):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Raise() | ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_changed(test: ast.expr) -> bool:
    """Whether a change of the condition itself says the same already."""
    negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    return isinstance(test, ast.Compare) or negated


def _shown(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()
    return text[0] if len(text[0]) <= SHOWN_MAX else f"{text[0][: SHOWN_MAX - 3]}..."


SHOWN_MAX: Final = 100


class _Exchange(ast.NodeTransformer):
    def __init__(self, site: ast.AST, changed: ast.AST) -> None:
        self.site = site
        self.changed = changed

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self.site:
            return ast.copy_location(self.changed, node)
        self.generic_visit(node)
        return node
