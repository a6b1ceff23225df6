"""The client of the wallet: attempts inside a deadline, each one signed POST, each failure with its outcome."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

import httpx

from bridge.deadline import Deadline, since_s
from bridge.errors import WalletConnectionLost, WalletNotProcessed, WalletTimeout, WalletUnreachable
from bridge.events import AttemptEnded, Emit, ignore
from bridge.headers import Headers
from bridge.http2.channel import channel_to
from bridge.http2.errors import outcome_of
from bridge.http2.exchange import RawAnswer
from bridge.http2.hpack import KNOWN_MAX, Fields
from bridge.http2.limits import BODY_BYTES_MAX
from bridge.outcome import BridgeError, Outcome, Value
from bridge.places import without_context
from bridge.tracer import CallSpan
from bridge.transcoding.operation import Operation
from bridge.transcoding.verdict import HEADERS_LOOKED_AT, Answer, Verdict
from bridge.upstream.retry import RetryPolicy
from bridge.upstream.signing import Credentials, KeyVersions, may_be_about_keys

LOOKED_AT = {name.encode(): name for name in HEADERS_LOOKED_AT}

GoesOn = Callable[[], bool]
"""Called when the client cancels after the call was sent: whether the call is finished all the same."""


class Post(Value, frozen=True):
    """A request to the wallet, the same bytes in every attempt. Its repr holds neither the token nor a key."""

    operation: Operation
    body: bytes
    keys: KeyVersions
    """Credentials to sign with: current and previous during a rotation."""

    def __repr__(self) -> str:
        return f"Post({self.operation.method})"


def ends() -> bool:
    """Return False: the call ends when its client cancels."""
    return False


class Watch:
    """Observers of one call while it is sent."""

    __slots__ = ("goes_on", "so_far", "span")

    def __init__(self, goes_on: GoesOn = ends, span: CallSpan | None = None) -> None:
        self.goes_on = goes_on
        self.span = span
        self.so_far = Outcome.NOT_SENT
        """Proof from the ended attempts while the call is retried."""


class WalletClient:
    """Sends POSTs to one wallet. Safe for any number of calls at once."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        url: str,
        *,
        retries: RetryPolicy | None = None,
        emit: Emit = ignore,
    ) -> None:
        self._transport = transport
        self._channel = channel_to(transport, url, BODY_BYTES_MAX)
        self._retries = retries or RetryPolicy()
        self._emit = emit

    async def call(
        self,
        post: Post,
        classify: Callable[[Answer], Verdict],
        deadline: Deadline,
        watch: Watch | None = None,
    ) -> tuple[Verdict, int]:
        """Return the verdict on the wallet's answer and the number of attempts; raise the BridgeError that it was."""
        watch = watch or Watch()
        signers, attempts = [post.keys.preferred], 0
        headers = signers[-1].headers(post.body)
        unknown: BridgeError | None = None
        while True:
            attempts += 1
            try:
                verdict = classify(await self._attempt(post, headers, attempts, deadline, watch))
            except BridgeError as error:
                if error.outcome is Outcome.UNKNOWN:
                    unknown = error
                # A lost attempt may have been carried out: a later refusal proves nothing about it, a success does.
                failure = unknown or error
                failure.attempts = attempts
                delay_s = self._retries.delay_s(
                    error,
                    attempts,
                    idempotent=post.operation.idempotent,
                    provider_id=post.keys.newest.provider_id,
                    left_s=deadline.remaining_s(),
                )
                signer = _other_signer(post, signers, error)
                if signer is not None:
                    # Refused for its keys alone, and so not carried out: sent again at once, outside the retry policy.
                    signers.append(signer)
                    headers, delay_s = signer.headers(post.body), 0.0
                if delay_s is None or deadline.remaining_s() <= delay_s:
                    raise without_context(failure) from None
                watch.so_far = failure.outcome
            else:
                post.keys.accepted(signers[-1])
                self._retries.succeeded(signers[-1].provider_id)
                return verdict, attempts
            await asyncio.sleep(delay_s)

    async def aclose(self) -> None:
        """Close every connection to the wallet."""
        await self._transport.aclose()

    async def _attempt(self, post: Post, headers: Headers, number: int, deadline: Deadline, watch: Watch) -> Answer:
        started = time.monotonic()
        method = post.operation.method
        if watch.span is not None:
            headers += watch.span.attempt(number)
        timeout_s = max(deadline.remaining_s(), 0.0)
        try:
            raw = await self._channel.post(post.operation.path, headers, post.body, timeout_s, watch.goes_on)
        except httpx.TransportError as error:
            failure = _failure(error)
            self._report(watch, _failed(method, number, since_s(started), failure))
            # Without the chain: the text of a library's exception must not reach a log.
            raise without_context(failure) from None
        self._report(watch, AttemptEnded(method, number, since_s(started), http_status=raw.status))
        return _answer(raw)

    def _report(self, watch: Watch, event: AttemptEnded) -> None:
        if watch.span is not None:
            watch.span.attempt_ended(event)
        self._emit(event)


def _other_signer(post: Post, signers: list[Credentials], error: BridgeError) -> Credentials | None:
    return post.keys.instead_of(signers) if may_be_about_keys(error) else None


def _answer(raw: RawAnswer) -> Answer:
    is_cut = len(raw.body) > BODY_BYTES_MAX
    return Answer(raw.status, b"" if is_cut else raw.body, _looked_at(raw.headers), is_cut, time.time())


# Many answers have the very same header fields. The result is never changed.
@lru_cache(maxsize=KNOWN_MAX)
def _looked_at(headers: Fields) -> Mapping[str, str]:
    """Return those headers that a verdict looks at; of several with one name, all (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = LOOKED_AT.get(raw_name)
        if name is not None:
            value = raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _failed(method: str, number: int, duration_s: float, failure: BridgeError) -> AttemptEnded:
    reason, cause, detail = failure.reason, failure.cause, failure.detail
    return AttemptEnded(method, number, duration_s, reason=reason, cause=cause, detail=detail)


def _failure(error: httpx.TransportError) -> BridgeError:
    """Return what a POST without an answer means: what the error proves decides, not what it is called."""
    outcome = outcome_of(error)
    if outcome is Outcome.UNKNOWN and isinstance(error, httpx.TimeoutException):
        return WalletTimeout()
    # Another transport's errors have neither.
    cause, detail = getattr(error, "cause", ""), getattr(error, "detail", "")
    return FAILURES.get(outcome, WalletConnectionLost)(cause=cause, detail=detail)


FAILURES: Mapping[Outcome, type[BridgeError]] = {
    Outcome.NOT_SENT: WalletUnreachable,
    Outcome.NOT_PROCESSED: WalletNotProcessed,
}
"""Meaning of a POST without an answer, by what is proven; for anything else its connection is lost."""
