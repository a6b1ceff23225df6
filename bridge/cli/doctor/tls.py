"""The doctor's checks of TLS with the wallet, and of the protocol that is agreed on with it."""

import ssl

from bridge.cli.doctor.certificate import Certificate, rated, read_certificate
from bridge.cli.doctor.finding import Finding, Level
from bridge.cli.doctor.handshake import handshake_problem
from bridge.cli.doctor.target import Agreed, Place, knock
from bridge.http2.causes import is_no_common_protocol
from bridge.http2.connection import ALPN_HTTP2
from bridge.settings.messages import one_line
from bridge.settings.model import Wallet
from bridge.upstream.from_settings import hardened_context, tls_context

EXPIRY_WARN_DAYS = 14
ALPN_HTTP1 = "http/1.1"


def context_offering(wallet: Wallet, alpn: str) -> ssl.SSLContext:
    """Return the bridge's own context, with one protocol to agree on."""
    context = tls_context(wallet)
    context.set_alpn_protocols([alpn])
    return context


async def agreed_findings(place: Place, address: str, agreed: Agreed) -> list[Finding]:
    """Check a handshake that was made with an offer of HTTP/2 alone."""
    if agreed.alpn != ALPN_HTTP2:
        return await _without_http2(place, address)
    strict = await _strict_findings(place, address)
    return [_rated(place, agreed), *strict, Finding(Level.OK, "alpn", agreed.alpn)]


async def failed_findings(place: Place, address: str, error: OSError) -> list[Finding]:
    """Say why a handshake failed that was made with an offer of HTTP/2 alone."""
    if is_no_common_protocol(error):
        return await _without_http2(place, address)
    return [await _failed(place, address, error)]


async def _without_http2(place: Place, address: str) -> list[Finding]:
    """Check a server that does not agree to HTTP/2 by what it agrees to instead."""
    try:
        agreed = await knock(place, address, context_offering(place.wallet, ALPN_HTTP1))
    except OSError as error:
        return [await _failed(place, address, error)]
    instead = f"it agrees to {agreed.alpn}" if agreed.alpn else "it agrees to no protocol at all (ALPN)"
    text = f"the wallet does not agree to HTTP/2, {instead}: turn HTTP/2 on there, or in what stands before it"
    return [_rated(place, agreed), Finding(Level.FAIL, "alpn", text)]


async def _strict_findings(place: Place, address: str) -> list[Finding]:
    """Warn of a certificate that the bridge takes, and a client with VERIFY_X509_STRICT, as many have it, does not."""
    context = context_offering(place.wallet, ALPN_HTTP2)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        await knock(place, address, context)
    except ssl.SSLCertVerificationError as error:
        text = f"stricter clients (VERIFY_X509_STRICT) refuse the wallet's certificates: {error.verify_message}"
        return [Finding(Level.WARN, "tls", f"{one_line(text)}; the bridge takes them")]
    except OSError:
        pass  # what is wrong with the way is another finding's business
    return []


async def _failed(place: Place, address: str, error: OSError) -> Finding:
    certificate = await _shown(place, address) if isinstance(error, ssl.SSLCertVerificationError) else None
    return Finding(Level.FAIL, "tls", handshake_problem(error, place.wallet, place.host, certificate, place.now))


async def _shown(place: Place, address: str) -> Certificate | None:
    """Return the certificate that is not trusted: ssl shows it only to a client that trusts every certificate."""
    context = hardened_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return read_certificate((await knock(place, address, context)).der)
    except (OSError, ValueError):
        return None


def _rated(place: Place, agreed: Agreed) -> Finding:
    try:
        certificate = read_certificate(agreed.der)
    except ValueError:
        return Finding(Level.WARN, "tls", f"{agreed.version}; the dates of the wallet's certificate cannot be read")
    level, text = rated(certificate.not_before, certificate.not_after, place.now, EXPIRY_WARN_DAYS)
    return Finding(level, "tls", f"{one_line(agreed.version)}; the wallet's certificate {text}")
