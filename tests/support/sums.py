"""Sums in documents, calculated from their text alone."""

import ast
import math
import operator
from collections.abc import Callable

OPERATORS: dict[type, Callable[[float, float], float]]
OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value(formula: str) -> int:
    """Return what a sum comes to, rounded; raise KeyError or AssertionError for anything else than a sum."""
    return round(_value(ast.parse(formula, mode="eval").body))


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        assert node.func.id == "ceil"
        return math.ceil(_value(node.args[0]))
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, (int, float))
    return node.value
