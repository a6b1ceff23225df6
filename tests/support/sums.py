"""Sums in documents, calculated from their text alone."""

import ast
import math
import operator

OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value(formula: str) -> int:
    """Return what a sum comes to, rounded; raise KeyError or ValueError for anything else than a sum."""
    return round(_value(ast.parse(formula, mode="eval").body))


def _value(node: ast.expr) -> float:
    match node:
        case ast.BinOp(left, operation, right):
            return float(OPERATORS[type(operation)](_value(left), _value(right)))
        case ast.Call(ast.Name("ceil"), [argument]):
            return math.ceil(_value(argument))
        case ast.Constant(int() | float() as number):
            return number
    raise ValueError(ast.unparse(node))
