"""Errors of an exchange with the wallet: httpx's own, with what is proven about the request.

    httpx.TransportError
      UnreachableError(ConnectError)              NOT_SENT: no byte of the request left
      NotProcessedError(RemoteProtocolError)      NOT_PROCESSED: refused stream, or above GOAWAY's last id
      ConnectionLostError(ReadError)              UNKNOWN: broken after the first byte
      AnswerTimeoutError(ReadTimeout)             UNKNOWN: no complete answer in time

Each has a `cause`, for callers and operators, and a `detail`, for the log: fixed words of ours (`causes.py`), or "".
An error of any other transport carries nothing, and so proves nothing: see `outcome_of`.
"""

import httpx

from bridge.outcome import Outcome


class UnreachableError(httpx.ConnectError):
    """No byte of the request left. `cause`: refused, timeout, dns, tls, http2_required, network or closed."""

    outcome = Outcome.NOT_SENT

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(f"nothing was sent: {cause}")
        self.cause = cause
        self.detail = detail


class NotProcessedError(httpx.RemoteProtocolError):
    """HTTP/2 proves that the server did not process the request (RFC 9113, sections 6.8 and 8.7).

    `cause`: http2_required where the server has said so, else "".
    """

    outcome = Outcome.NOT_PROCESSED

    def __init__(self, cause: str = "", detail: str = "") -> None:
        super().__init__("the server did not process the request")
        self.cause = cause
        self.detail = detail


class ConnectionLostError(httpx.ReadError):
    """The stream or its connection broke after the first byte of the request had left.

    `cause`: http2_required where the server has said so, else "".
    """

    outcome = Outcome.UNKNOWN

    def __init__(self, what: str, cause: str = "") -> None:
        super().__init__(f"the answer did not come to its end: {what}")
        self.cause = cause
        self.detail = what


class AnswerTimeoutError(httpx.ReadTimeout):
    """The time was over after the first byte of the request had left, and before the answer was complete."""

    outcome = Outcome.UNKNOWN

    def __init__(self) -> None:
        super().__init__("no complete answer in time")


def outcome_of(error: httpx.TransportError) -> Outcome:
    """Return what an error proves: UNKNOWN unless it says otherwise."""
    outcome = getattr(error, "outcome", Outcome.UNKNOWN)
    return outcome if isinstance(outcome, Outcome) else Outcome.UNKNOWN
