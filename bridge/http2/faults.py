"""Faults of the bridge's own in the callbacks of a connection: where they are reported, and as what its calls fail.

The event loop ends a connection whose callback raises, and every call on it, or loses what a timer should have done.
So no callback lets an exception out: it becomes a fault of one stream, or of the connection where none is known.
"""

import functools
import logging
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from bridge.places import places_of

LOGGER = logging.getLogger(__name__)

FAULT: Final = "a fault of the bridge"


class Faulty(Protocol):
    """Something whose callbacks may fail."""

    def fault(self, error: Exception, /) -> None:
        """End because the code failed."""


Subject = TypeVar("Subject", bound=Faulty)
Arguments = ParamSpec("Arguments")


def report(what: str, error: BaseException) -> None:
    """Log a fault by its type and places, innermost last. Its text may be the server's, and stays out of the log."""
    LOGGER.error("a fault in %s: %s", what, places_of(error))


def guarded(
    callback: Callable[Concatenate[Subject, Arguments], None],
) -> Callable[Concatenate[Subject, Arguments], None]:
    """Turn what a callback raises into a fault of its object."""

    @functools.wraps(callback)
    def guard(subject: Subject, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        try:
            callback(subject, *arguments, **named)
        except Exception as error:  # noqa: BLE001 - whatever it is, the loop must not see it
            subject.fault(error)

    return guard
