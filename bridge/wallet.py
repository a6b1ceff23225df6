"""The client of the wallet: attempts inside a deadline, each one signed POST, each failure with its outcome."""

import asyncio
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import cast

import httpx

from bridge.deadline import Deadline
from bridge.errors import BridgeError, WalletConnectionLost, WalletNotProcessed, WalletTimeout, WalletUnreachable
from bridge.http2.errors import outcome_of
from bridge.operation import Operation
from bridge.outcome import Outcome
from bridge.retry import RetryPolicy
from bridge.signing import Headers
from bridge.verdict import Answer, Verdict

ANSWER_BYTES_MAX = 64 * 1024
"""The longest body that is read; the wallet's own are below 1 KiB. What is longer is cut off and judged as invalid."""


GUARD_S = 0.02
"""How much later than the deadline a transport that does not keep it is cut off."""


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
        self._base = httpx.URL(url)
        self._authority = (b"host", self._base.netloc)
        self._retries = retries or RetryPolicy()
        self._urls: dict[str, httpx.URL] = {}

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
        request = self._request(post, deadline)
        try:
            # The transport keeps the time and knows what is proven when it is over; this only guards against one that
            # does not.
            async with asyncio.timeout(deadline.remaining_s() + GUARD_S):
                return await self._exchange(request)
        except TimeoutError:
            raise WalletTimeout from None
        except httpx.TransportError as error:
            # Without the chain: the text of a foreign exception is nothing that anybody should come to read.
            raise _failure(error) from None

    async def _exchange(self, request: httpx.Request) -> Answer:
        response = await self._transport.handle_async_request(request)
        try:
            body, is_cut = await _read(cast("AsyncIterable[bytes]", response.stream))
        finally:
            await response.aclose()
        return Answer(response.status_code, body, response.headers, is_cut)

    def _request(self, post: Post, deadline: Deadline) -> httpx.Request:
        return httpx.Request(
            "POST",
            self._url(post.operation.path),
            headers=[self._authority, *post.headers],
            # A stream of ours, not `content`: httpx would add headers to it, and nothing else may be sent.
            stream=httpx.ByteStream(post.body),
            extensions={"timeout": {"read": max(deadline.remaining_s(), 0.0)}},
        )

    def _url(self, path: str) -> httpx.URL:
        if path not in self._urls:
            self._urls[path] = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        return self._urls[path]


async def _read(stream: AsyncIterable[bytes]) -> tuple[bytes, bool]:
    chunks, size_bytes = [], 0
    async for chunk in stream:
        size_bytes += len(chunk)
        if size_bytes > ANSWER_BYTES_MAX:
            return b"", True
        chunks.append(chunk)
    return b"".join(chunks), False


def _failure(error: httpx.TransportError) -> BridgeError:
    """Return what a POST without an answer means: what the error proves decides, not what it is called."""
    outcome = outcome_of(error)
    if outcome is Outcome.NOT_SENT:
        return WalletUnreachable(cause=getattr(error, "cause", ""))
    if outcome is Outcome.NOT_PROCESSED:
        return WalletNotProcessed()
    return WalletTimeout() if isinstance(error, httpx.TimeoutException) else WalletConnectionLost()
