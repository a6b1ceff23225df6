"""The sandbox on a real socket: HTTP/2 with prior knowledge over TCP, or by ALPN over TLS."""

import contextlib
import logging
import os
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial

from bridge.sandbox.app import WalletApp
from bridge.sandbox.connections import Connections, ListeningSocket
from bridge.sandbox.operations import OPERATIONS, Operation
from bridge.sandbox.providers import SAMPLE_PROVIDERS, Provider
from bridge.sandbox.wallet import Received, Wallet

RECEIVED_MAX = 10_000
"""How many requests the sandbox remembers; then it forgets the oldest."""

File = str | os.PathLike[str]
OnCall = Callable[[Received], None]

# How many connections the kernel holds until the loop accepts them: a burst of callers is not refused.
_BACKLOG = 1024


class Sandbox:
    """A sandbox wallet that listens."""

    def __init__(self, url: str, port: int, received: Iterable[Received]) -> None:
        self.url = url
        """What `wallet.url` of the bridge wants: scheme, host and port, no path."""
        self.port = port
        self._received = received

    @property
    def received(self) -> tuple[Received, ...]:
        """The last RECEIVED_MAX requests that were read to their end, oldest first, answered or not."""
        return tuple(self._received)


@contextlib.asynccontextmanager
async def serve(  # noqa: PLR0913 -- keywords with defaults, all of one kind: what the sandbox is to be
    host: str = "127.0.0.1",
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
    wallet = Wallet(providers, operations)
    tls = _tls(certificate_file, key_file)
    _hush_header_logs()
    received: deque[Received] = deque(maxlen=RECEIVED_MAX)

    def on_received(request: Received) -> None:
        received.append(request)
        if on_call:
            on_call(request)

    with _listen(host, port) as listening:
        bound_port = listening.getsockname()[1]
        async with Connections(listening, partial(WalletApp, wallet, on_received), tls):
            yield Sandbox(_url(host, bound_port, is_tls=tls is not None), bound_port, received)


def _hush_header_logs() -> None:
    """Keep hpack from printing credentials and signatures: at DEBUG it logs every header that it reads."""
    logger = logging.getLogger("hpack")
    logger.setLevel(max(logger.level, logging.WARNING))


def _tls(certificate_file: File | None, key_file: File | None) -> ssl.SSLContext | None:
    if certificate_file is None and key_file is None:
        return None
    if certificate_file is None or key_file is None:
        raise ValueError("the sandbox wants both a certificate file and a key file, or neither")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9113, section 9.2
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(certificate_file, key_file)
    except OSError as error:  # ssl.SSLError is one; neither names the file
        files = f"certificate {os.fspath(certificate_file)} with key {os.fspath(key_file)}"
        raise OSError(f"the sandbox cannot use {files}: {error.strerror or error}") from error
    return context


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[ListeningSocket]:
    """Bind and listen at once: whoever connects from here on waits in the kernel until the loop accepts it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: asyncio turns Nagle's algorithm off only for a socket that says that it is TCP, and with it
    # an answer would wait up to 40 ms for the client's delayed acknowledgement.
    with ListeningSocket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        try:
            _bind(listening, host, port)
        except (OSError, OverflowError) as error:  # OverflowError: a port above 65535
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"the sandbox cannot listen on {host}:{port}: {reason}") from error
        yield listening


def _bind(listening: socket.socket, host: str, port: int) -> None:
    if os.name == "posix":  # elsewhere it would let two servers share a port
        # A restart does not have to wait until the kernel has forgotten the last connections.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(_BACKLOG)
    listening.settimeout(0)


def _url(host: str, port: int, *, is_tls: bool) -> str:
    return f"{'https' if is_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
