"""Where the wallet is, and a way to knock there without a word."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from bridge.headers import Headers
from bridge.settings.model import Wallet
from bridge.upstream.signing import USER_AGENT


@dataclass(frozen=True, slots=True)
class Place:
    """The content of wallet.url, and the path that is asked for."""

    wallet: Wallet
    path: str
    """Never an operation's path."""
    now: datetime

    @property
    def host(self) -> str:
        """The host, an IPv6 address without brackets."""
        return urlsplit(self.wallet.url).hostname or ""

    @property
    def port(self) -> int:
        """The port, also where the URL gives none."""
        url = urlsplit(self.wallet.url)
        return url.port or {"https": 443, "http": 80}[url.scheme]

    @property
    def is_tls(self) -> bool:
        """Whether it is https://."""
        return urlsplit(self.wallet.url).scheme == "https"

    @property
    def request_headers(self) -> Headers:
        """A request that changes nothing: a GET (RFC 9110, section 9.2.1) without credentials.

        Not HEAD or OPTIONS: GET is what every front, gateway and wallet of any kind has an answer to. It names the
        bridge as every call does, or a firewall would refuse it for that alone; it has no body, so no content-length.
        """
        url = urlsplit(self.wallet.url)
        headers = {":method": "GET", ":authority": url.netloc, ":scheme": url.scheme, ":path": self.path}
        return (*((name.encode(), value.encode()) for name, value in headers.items()), USER_AGENT)


class Agreed(NamedTuple):
    """Result of a TLS handshake; all empty where there was none."""

    version: str = ""
    alpn: str = ""
    der: bytes = b""
    """The certificate that was shown, trusted or not."""


def agreed_on(transport: asyncio.BaseTransport) -> Agreed:
    """Return what the two ends of a connection agreed on."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return Agreed()
    return Agreed(tls.version() or "", tls.selected_alpn_protocol() or "", tls.getpeercert(binary_form=True) or b"")


async def knock(place: Place, address: str, context: ssl.SSLContext | None = None) -> Agreed:
    """Connect, over TLS if there is a context, and hang up; return what was agreed on.

    Raise OSError, which is a TimeoutError after wallet.connect_timeout_s.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(place.wallet.connect_timeout_s):
        transport, silent = await loop.create_connection(
            lambda: _Silent(loop.create_future()),
            address,
            place.port,
            ssl=context,
            server_hostname=place.host if context else None,
        )
    agreed = agreed_on(transport)
    transport.abort()
    await silent.closed
    return agreed


@dataclass(frozen=True, slots=True)
class _Silent(asyncio.Protocol):
    closed: asyncio.Future[None]

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed.set_result(None)
