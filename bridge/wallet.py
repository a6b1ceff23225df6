"""The client of the wallet: attempts inside a deadline, each one signed POST, each failure with its outcome."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import httpx

from bridge.deadline import Deadline
from bridge.errors import BridgeError, WalletConnectionLost, WalletNotProcessed, WalletTimeout, WalletUnreachable
from bridge.http2.channel import channel_to
from bridge.http2.errors import outcome_of
from bridge.operation import Operation
from bridge.outcome import Outcome
from bridge.retry import RetryPolicy
from bridge.signing import Headers
from bridge.verdict import HEADERS_LOOKED_AT, Answer, Verdict

ANSWER_BYTES_MAX = 64 * 1024
"""The longest body that is read; the wallet's own are below 1 KiB. What is longer is cut off and judged as invalid."""

LOOKED_AT = {name.encode(): name for name in HEADERS_LOOKED_AT}


@dataclass(frozen=True, slots=True, repr=False)
class Post:
    """What is sent, the same bytes in every attempt. Without a repr: it holds a token and a signature."""

    operation: Operation
    headers: Headers
    body: bytes


class WalletClient:
    """Sends POSTs to one wallet. Safe for any number of calls at once."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        url: str,
        *,
        retries: RetryPolicy | None = None,
    ) -> None:
        self._transport = transport
        self._channel = channel_to(transport, url, ANSWER_BYTES_MAX)
        self._retries = retries or RetryPolicy()

    async def call(self, post: Post, judge: Callable[[Answer], Verdict], deadline: Deadline) -> tuple[Verdict, int]:
        """Return the verdict on the wallet's answer and the number of attempts; raise the BridgeError that it was."""
        attempts = 0
        while True:
            attempts += 1
            try:
                verdict = judge(await self._attempt(post, deadline))
            except BridgeError as error:
                error.attempts = attempts
                delay_s = self._retries.delay_s(error, attempts, idempotent=post.operation.idempotent)
                if delay_s is None or deadline.remaining_s() <= delay_s:
                    raise
            else:
                self._retries.budget.succeeded()
                return verdict, attempts
            await asyncio.sleep(delay_s)

    async def aclose(self) -> None:
        """Close every connection to the wallet."""
        await self._transport.aclose()

    async def _attempt(self, post: Post, deadline: Deadline) -> Answer:
        try:
            raw = await self._channel.post(
                post.operation.path, post.headers, post.body, max(deadline.remaining_s(), 0.0)
            )
        except httpx.TransportError as error:
            # Without the chain: the text of a foreign exception is nothing that anybody should come to read.
            raise _failure(error) from None
        is_cut = len(raw.body) > ANSWER_BYTES_MAX
        return Answer(raw.status, b"" if is_cut else raw.body, _looked_at(raw.headers), is_cut)


def _looked_at(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return those headers that a verdict looks at; of several with one name, all (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = LOOKED_AT.get(raw_name)
        if name is not None:
            value = raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _failure(error: httpx.TransportError) -> BridgeError:
    """Return what a POST without an answer means: what the error proves decides, not what it is called."""
    outcome = outcome_of(error)
    if outcome is Outcome.NOT_SENT:
        return WalletUnreachable(cause=getattr(error, "cause", ""))
    if outcome is Outcome.NOT_PROCESSED:
        return WalletNotProcessed()
    return WalletTimeout() if isinstance(error, httpx.TimeoutException) else WalletConnectionLost()
