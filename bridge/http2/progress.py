"""What is proven about one POST: a value that the transport keeps up to date, not a guess from an exception's text."""

from dataclasses import dataclass

from bridge.outcome import Outcome

EXTENSION = "progress"
"""The key under which a Progress travels in `httpx.Request.extensions`."""


@dataclass(slots=True)
class Progress:
    """Begins as UNKNOWN, so that a transport which does not report is never believed to have sent nothing."""

    outcome: Outcome = Outcome.UNKNOWN
    """NOT_SENT until the first byte of the request leaves, NOT_PROCESSED once HTTP/2 proves it; UNKNOWN otherwise."""
    cause: str = ""
    """Why it was not sent: refused, timeout, dns, tls, http2_required or network."""
