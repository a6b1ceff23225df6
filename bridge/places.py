"""Places of an exception in the code, for logs: its text may hold anything, and is left out."""

import traceback
from pathlib import PurePath
from types import TracebackType


def places(kind: type[BaseException], trace: TracebackType | None) -> str:
    """Return an exception's type and the places of its traceback, innermost last: "KeyError at a.py:3 f > b.py:8 g"."""
    frames = traceback.extract_tb(trace)
    where = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{kind.__name__} at {where}" if where else kind.__name__


def places_of(error: BaseException) -> str:
    """Return the type and the places of an exception that was raised."""
    return places(type(error), error.__traceback__)
