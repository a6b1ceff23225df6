"""What mypyc compiles differently is not in the modules that it compiles.

In a coroutine that mypyc has compiled, the exception that is handled stays the thread's own across a wait: until the
coroutine goes on, it becomes the context of every error that anything else raises, and stays alive. And the bounds of a
slice are evaluated twice where what is sliced is no text, bytes, list or tuple.
"""

import ast
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parents[2]
with (ROOT / "pyproject.toml").open("rb") as file:
    COMPILED: list[str] = tomllib.load(file)["tool"]["wallet-bridge"]["compiled"]

ENDS_AT_ONCE = {"asyncio.timeout", "asyncio.timeout_at"}
"""Asynchronous context managers whose end waits for nothing."""


def nodes_of(parts: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Return all nodes of these, but not those of functions inside: they run at another time."""
    for part in parts:
        if not isinstance(part, ast.AsyncFunctionDef | ast.FunctionDef | ast.Lambda):
            yield part
            yield from nodes_of(ast.iter_child_nodes(part))


def waits(source: str) -> list[int]:
    """Return the lines in which a coroutine waits while it may be handling an exception."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Try):
            handling = nodes_of([*node.handlers, *node.finalbody])
            found |= {each.lineno for each in handling if isinstance(each, ast.Await | ast.AsyncFor | ast.AsyncWith)}
        if isinstance(node, ast.AsyncWith):
            ends = [item.context_expr for item in node.items]
            found |= {end.lineno for end in ends if ast.unparse(end).partition("(")[0] not in ENDS_AT_ONCE}
    return sorted(found)


def calls_in_bounds(source: str) -> list[int]:
    """Return the lines in which the bounds of a slice call anything but `len`, or assign."""
    slices = [each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.Slice)]
    return sorted({part.lineno for each in slices for part in ast.walk(each) if _has_an_effect(part)})


def _has_an_effect(part: ast.AST) -> TypeGuard[ast.expr]:
    return isinstance(part, ast.NamedExpr | ast.Await) or (
        isinstance(part, ast.Call) and ast.unparse(part.func) != "len"
    )


def source_of(name: str) -> str:
    """Return the source of a module."""
    return (ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMPILED)
def test_no_compiled_coroutine_waits_while_it_handles_an_exception(name: str) -> None:
    """No module of the table waits in an `except` or `finally` block, or at the end of an `async with`."""
    assert waits(source_of(name)) == []


@pytest.mark.parametrize("name", COMPILED)
def test_bounds_of_slices_may_be_evaluated_twice(name: str) -> None:
    """No module of the table has a slice whose bounds would do something twice."""
    assert calls_in_bounds(source_of(name)) == []
