"""Several listeners of the same events, each for itself."""

import logging

from bridge.events import Emit, Event

LOGGER = logging.getLogger(__name__)


def fan_out(*listeners: Emit) -> Emit:
    """Return a listener that calls each of these in turn; where one raises, that is logged, and the others follow."""

    def emit(event: Event) -> None:
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                # records.py logs an exception by its places, never by its text.
                LOGGER.exception("a listener failed at the event %s", type(event).__name__)

    return emit
