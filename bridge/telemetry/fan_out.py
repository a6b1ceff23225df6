"""One event, several listeners, none of which can spoil it for the others or for the call that it is about."""

import logging

from bridge.telemetry.events import Emit, Event

LOGGER = logging.getLogger(__name__)


def fan_out(*listeners: Emit) -> Emit:
    """Return a listener that tells each of these in turn; one that raises is logged, and the others are told."""

    def emit(event: Event) -> None:
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                # logs.py tells an exception by its places, never by its text.
                LOGGER.exception("a listener failed at the event %s", type(event).__name__)

    return emit
