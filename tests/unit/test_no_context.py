"""Errors of compiled modules show no other error: mypyc forgets what `from` says, so each of them says it itself."""

import ast
import tomllib
import traceback
from pathlib import Path

import pytest

from bridge.places import without_context

ROOT = Path(__file__).parents[2]
with (ROOT / "pyproject.toml").open("rb") as file:
    COMPILED: list[str] = tomllib.load(file)["tool"]["wallet-bridge"]["compiled"]


def raises_from(source: str) -> list[ast.Raise]:
    """Return every statement that raises an error `from` something."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Raise) and node.cause is not None]


def says_it_itself(statement: ast.Raise) -> bool:
    """Say whether a statement raises `without_context(...) from None`."""
    error, cause = statement.exc, statement.cause
    return (
        isinstance(cause, ast.Constant)
        and cause.value is None
        and isinstance(error, ast.Call)
        and isinstance(error.func, ast.Name)
        and error.func.id == without_context.__name__
    )


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_modules_say_it_themselves(name: str) -> None:
    """No module of the table leaves it to `from` alone what an error shows."""
    source = (ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert [each.lineno for each in raises_from(source) if not says_it_itself(each)] == []


@pytest.mark.parametrize(
    ("statement", "is_right"),
    [
        ("raise without_context(ValueError()) from None", True),
        ("raise ValueError from None", False),
        ("raise ValueError() from error", False),
        ("raise without_context(ValueError()) from error", False),
        ("raise error.without_context() from None", False),
    ],
)
def test_what_is_found(statement: str, is_right: bool) -> None:  # noqa: FBT001 - a case, not a switch
    """Only the one form passes."""
    assert [says_it_itself(each) for each in raises_from(statement)] == [is_right]


def test_the_error_shows_no_other() -> None:
    """Raised while another error is handled, without any `from`, it suppresses that one, and has no cause."""

    def compiled() -> None:
        try:
            raise KeyError("text of another error")  # noqa: TRY301 - what is handled
        except KeyError:
            raise without_context(ValueError("ours"))  # noqa: B904 - what mypyc makes of `from None`

    with pytest.raises(ValueError, match="ours") as caught:
        compiled()
    shown = "".join(traceback.format_exception(caught.value))
    assert "ours" in shown
    assert "text of another error" not in shown
