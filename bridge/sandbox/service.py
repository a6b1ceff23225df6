"""The sandbox wallet on a real socket: HTTP/2 with prior knowledge over TCP, or by ALPN over TLS."""

import contextlib
import logging
import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from bridge.sandbox.answers import Plan, Reply, page
from bridge.sandbox.behaviours import carry_out
from bridge.sandbox.checks import BODY_BYTES_MAX
from bridge.sandbox.operations import OPERATIONS, Operation
from bridge.sandbox.providers import SAMPLE_PROVIDERS, Provider
from bridge.sandbox.record import Pulse
from bridge.sandbox.server import HOST, FaultServer
from bridge.sandbox.stream import Stream
from bridge.sandbox.wallet import Received, Wallet

RECEIVED_MAX = 10_000
"""Requests that the sandbox remembers; then it forgets the oldest."""

File = str | os.PathLike[str]
OnCall = Callable[[Received], None]

_LOGGER = logging.getLogger(__name__)


class Sandbox:
    """A sandbox wallet: checks every request and answers it, by its test token where it has one."""

    def __init__(self, wallet: Wallet, on_call: OnCall | None) -> None:
        self.url = ""
        """The value for `wallet.url` of the bridge: scheme, host and port, no path."""
        self.port = 0
        self.wallet = wallet
        self.count = 0
        """Requests so far; the last of them are in `received`."""
        self.changed = Pulse()
        """Beats after each request."""
        self._on_call = on_call
        self._received: deque[Received] = deque(maxlen=RECEIVED_MAX)

    @property
    def received(self) -> tuple[Received, ...]:
        """The last RECEIVED_MAX requests that were read to their end, oldest first, answered or not."""
        return tuple(self._received)

    async def __call__(self, stream: Stream) -> None:
        """Answer one request."""
        try:
            plan = self._decide(stream)
        except Exception:
            _LOGGER.exception("the sandbox failed at a request")
            plan = Reply(page(500))
        await carry_out(plan, stream)

    def _decide(self, stream: Stream) -> Plan:
        received, plan = self.wallet.decide(stream.request)
        self._received.append(received)
        self.count += 1
        self.changed.beat()
        if self._on_call:
            self._on_call(received)
        return plan


@contextlib.asynccontextmanager
async def serve(  # noqa: PLR0913 -- keywords with defaults, all of one kind: what the sandbox is to be
    host: str = HOST,
    port: int = 0,
    *,
    providers: Iterable[Provider] = SAMPLE_PROVIDERS,
    operations: Mapping[str, Operation] = OPERATIONS,
    certificate_file: File | None = None,
    key_file: File | None = None,
    on_call: OnCall | None = None,
) -> AsyncIterator[Sandbox]:
    """Serve the wallet in the running loop; it listens when this yields, and nothing of it is left afterwards.

    Port 0 takes a free one. With a certificate and its key (PEM) it speaks TLS with ALPN h2, else plain HTTP/2.
    `on_call` gets every request before its answer begins. On leaving, open streams are cut off: their connections are
    aborted. OSError when the address or a file cannot be used, ValueError for half a certificate or a provider twice.
    """
    sandbox = Sandbox(Wallet(providers, operations), on_call)
    tls = _tls(certificate_file, key_file)
    server = FaultServer(
        sandbox,
        host=host,
        listen_port=port,
        tls=tls,
        greets_first=False,
        body_bytes_max=BODY_BYTES_MAX + 1,
        remembered_max=1,
    )
    _hush_header_logs()
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(server)
        except (OSError, OverflowError) as error:  # OverflowError: a port above 65535
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"the sandbox cannot listen on {host}:{port}: {reason}") from error
        sandbox.url, sandbox.port = server.url, server.port
        yield sandbox


def _hush_header_logs() -> None:
    """Keep hpack from printing credentials and signatures: at DEBUG it logs every header that it reads."""
    logger = logging.getLogger("hpack")
    logger.setLevel(max(logger.level, logging.WARNING))


def _tls(certificate_file: File | None, key_file: File | None) -> ssl.SSLContext | None:
    if certificate_file is None and key_file is None:
        return None
    if certificate_file is None or key_file is None:
        raise ValueError("the sandbox requires both a certificate file and a key file, or neither")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9113, section 9.2
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(certificate_file, key_file)
    except OSError as error:  # ssl.SSLError is one; neither names the file
        files = f"certificate {os.fspath(certificate_file)} with key {os.fspath(key_file)}"
        raise OSError(f"the sandbox cannot use {files}: {error.strerror or error}") from error
    return context
