"""One request of a probe and its answer: over the bridge's own HTTP/2, or over HTTP/1.1. Nothing is retried."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from bridge.cli.certify.requests import Prepared, Probe, Session
from bridge.cli.certify.seen import Guard, Seen, code_of, headers_of, message_of, request_id_of
from bridge.errors import WalletConnectionLost, WalletTimeout
from bridge.http2.channel import Channel, channel_to
from bridge.http2.errors import outcome_of
from bridge.http2.exchange import RawAnswer
from bridge.http2.limits import BODY_BYTES_MAX
from bridge.http2.transport import Http2Transport
from bridge.outcome import BridgeError, Outcome
from bridge.settings.model import Wallet
from bridge.transcoding.verdict import Answer, read
from bridge.upstream.client import FAILURES
from bridge.upstream.from_settings import tls_context

SECRET_HEADERS = frozenset({b"authorization", b"x-request-signature"})


@dataclass(frozen=True, slots=True)
class Exchanger:
    """Sends prepared requests to one wallet."""

    session: Session
    http2: Channel
    http1: Channel

    async def send(self, probe: Probe, token: str, live_tokens: Iterable[str]) -> Seen:
        """Send a probe with this token and return what came of it; raise nothing of the network's."""
        prepared = probe.prepare(self.session, token)
        guard = Guard((token, *live_tokens, *self.session.secrets, *_secret_values(prepared)))
        channel = self.http1 if probe.is_http1 else self.http2
        path, timeout_s = self.session.route.operation.path, self.session.settings.wallet.deadline_default_s
        started = time.monotonic()
        try:
            raw = await channel.post(path, prepared.headers, prepared.body, timeout_s, _never)
        except httpx.TransportError as error:
            return _not_answered(probe, error, time.monotonic() - started)
        return self._answered(Seen(probe.name, time.monotonic() - started), prepared, raw, guard)

    def _answered(self, bare: Seen, prepared: Prepared, raw: RawAnswer, guard: Guard) -> Seen:
        answer = _answer(raw)
        reading = read(answer)
        seen = replace(
            bare,
            http_status=raw.status,
            status=reading.status,
            code=code_of(reading, guard),
            message=message_of(reading),
            request_id=request_id_of(reading, guard),
            headers=headers_of(raw),
        )
        try:
            verdict = self.session.route.classify(prepared.request, answer)
        except BridgeError as error:
            return replace(seen, reason=error.reason, outcome=error.outcome, cause=error.cause)
        return replace(seen, missing=verdict.missing)


@asynccontextmanager
async def connected(session: Session) -> AsyncIterator[Exchanger]:
    """Make what sends requests, with TLS as `bridge serve` has it, and close all connections at the end."""
    wallet = session.settings.wallet
    transports: tuple[httpx.AsyncBaseTransport, httpx.AsyncBaseTransport] = (
        Http2Transport(tls_context(wallet), connect_timeout_s=wallet.connect_timeout_s, connections_max=1),
        # trust_env=False: no proxy of the environment's may come to read the token.
        httpx.AsyncHTTPTransport(verify=tls_context(wallet), trust_env=False),
    )
    try:
        yield Exchanger(session, *(_channel(transport, wallet) for transport in transports))
    finally:
        for transport in transports:
            await transport.aclose()


def _channel(transport: httpx.AsyncBaseTransport, wallet: Wallet) -> Channel:
    return channel_to(transport, wallet.url, BODY_BYTES_MAX)


def _answer(raw: RawAnswer) -> Answer:
    headers: dict[str, Any] = {}
    for raw_name, raw_value in raw.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    is_cut = len(raw.body) > BODY_BYTES_MAX
    return Answer(raw.status, b"" if is_cut else raw.body, headers, is_cut, time.time())


def _not_answered(probe: Probe, error: httpx.TransportError, duration_s: float) -> Seen:
    outcome = outcome_of(error)
    is_late = outcome is Outcome.UNKNOWN and isinstance(error, httpx.TimeoutException)
    kind = WalletTimeout if is_late else FAILURES.get(outcome, WalletConnectionLost)
    return Seen(
        probe.name, duration_s, reason=kind.reason, outcome=kind.outcome, cause=str(getattr(error, "cause", ""))
    )


def _secret_values(prepared: Prepared) -> list[str]:
    """Return the signature and the credentials as they are sent, without the scheme."""
    return [value.decode().rpartition(" ")[2] for name, value in prepared.headers if name in SECRET_HEADERS]


def _never() -> bool:
    return False
