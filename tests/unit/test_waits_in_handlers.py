"""Compiled coroutines wait for nothing while they handle an exception.

In a coroutine that mypyc has compiled, the exception that is handled stays the thread's own across a wait: until the
coroutine goes on, it becomes the context of every error that anything else raises, and stays alive.
"""

import ast
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

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


@pytest.mark.parametrize("name", COMPILED)
def test_no_compiled_coroutine_waits_while_it_handles_an_exception(name: str) -> None:
    """No module of the table waits in an `except` or `finally` block, or at the end of an `async with`."""
    assert waits((ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")) == []
