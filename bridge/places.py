"""What an exception shows: in logs its places in the code, to who catches it no other one. A text may hold anything."""

import traceback
from pathlib import PurePath
from types import TracebackType
from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


def places(kind: type[BaseException], trace: TracebackType | None) -> str:
    """Return an exception's type and the places of its traceback, innermost last: "KeyError at a.py:3 f > b.py:8 g"."""
    frames = traceback.extract_tb(trace)
    where = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{kind.__name__} at {where}" if where else kind.__name__


def places_of(error: BaseException) -> str:
    """Return the type and the places of an exception that was raised."""
    return places(type(error), error.__traceback__)


def without_context(error: Error) -> Error:
    """Let an error show no other one, and return it: to be raised `from None`.

    mypyc compiles `raise ... from None` without its `from`. What that means is an attribute, which both forms of the
    bridge set here (Python's library reference, "Exception context").
    """
    error.__cause__ = None  # sets __suppress_context__, too
    return error
