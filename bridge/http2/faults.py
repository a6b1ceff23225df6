"""Faults of the bridge's own in the callbacks of a connection: where they are reported, and as what its calls fail.

The event loop ends a connection whose callback raises, and every call on it, or loses what a timer should have done.
So no callback lets an exception out: it becomes a fault of one stream, or of the connection where none is known.
"""

import logging
import traceback
from pathlib import PurePath
from typing import Final

LOGGER = logging.getLogger(__name__)

FAULT: Final = "a fault of the bridge"


def report(what: str, error: BaseException) -> None:
    """Log a fault by its type and places, innermost last. Its text may be the server's, and stays out of the log."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    LOGGER.error("a fault in %s: %s at %s", what, type(error).__name__, places)
