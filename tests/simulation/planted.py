"""Bugs to plant in the bridge (planted.txt), one at a time: each a line of its source that a test replaces.

A bug whose line is no longer there is an error: a change of the line says here what a bug in the new one would be.
"""

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any


@dataclass(frozen=True, slots=True)
class Bug:
    """One wrong line. `where`: module and function, `old` and `new`: text that occurs once in its source.

    `kind`: the name of the scenarios that find it. "anything" finds most, but needs more seeds for some.
    """

    name: str
    where: str
    old: str
    new: str
    kind: str

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug for as long as the context lasts, whichever module has imported the function by now."""
        function = _plain(self._attribute())
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.old) == 1, (
            f"{self.where} has changed: {self.old!r} occurs {source.count(self.old)} times"
        )
        namespace: dict[str, Any] = {}
        # Without postponed annotations they would be looked up in this empty namespace.
        code = compile("from __future__ import annotations\n" + source.replace(self.old, self.new), self.where, "exec")
        exec(code, namespace)  # noqa: S102 - our own source with one line of it replaced
        right = function.__code__
        function.__code__ = _plain(namespace[function.__name__]).__code__
        try:
            yield
        finally:
            function.__code__ = right

    def _attribute(self) -> Any:
        module, _, path = self.where.partition(":")
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = inspect.getattr_static(found, name)
        return found


def _plain(found: Any) -> FunctionType:
    """Return the function behind a property or a class method."""
    function = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    assert isinstance(function, FunctionType)
    return function


def _read(text: str) -> Iterator[Bug]:
    for block in text.split("\n\n")[1:]:
        heading, where, old, new = block.strip().splitlines()
        name, kind = heading.split(" | ")
        yield Bug(name, where, old.removeprefix("- "), new.removeprefix("+ "), kind)


BUGS = tuple(_read(Path(__file__).with_name("planted.txt").read_text(encoding="utf-8")))
