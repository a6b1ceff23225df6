"""Callers' identities, from the certificates that they showed.

A caller's identities are the DNS names and URIs among its certificate's subject alternative names, read from the
certificate itself. TLS has verified it before; gRPC's own list of the names is not used, because it cuts a name at a
NUL. Nothing else is an identity: no common name (RFC 9525, section 2), no e-mail and no IP address. A name that is
not well formed, or that has a wildcard in it, is no identity either, and a certificate that cannot be read has none.

A spiffe:// URI is one only if it is a SPIFFE ID (SPIFFE-ID, section 2), the certificate's only URI, and the certificate
one of a workload: not of an authority, and not to sign certificates with (X509-SVID, sections 2 and 5.2).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

from cryptography import x509

from bridge.identity import DNS_NAME, OTHER_URI, SPIFFE_ID, AuthContext

CERTIFICATE = "x509_pem_cert"
"""gRPC's name for the certificate that the other end has shown, as PEM."""
PEM_BYTES_MAX = 64 * 1024
"""A longer certificate gives no identity: it would only fill the cache."""
CACHED_MAX = 256
"""Size of the certificate cache: each connection asks for its caller's identities at every call."""

ANONYMOUS: frozenset[str] = frozenset()

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


def identities_of(peer: AuthContext) -> frozenset[str]:
    """Return the identities that a caller has proven; none without a client certificate."""
    shown = tuple(peer.get(CERTIFICATE, ()))
    if len(shown) != 1:
        return ANONYMOUS
    pem = shown[0].encode() if isinstance(shown[0], str) else shown[0]
    return _certified(pem) if len(pem) <= PEM_BYTES_MAX else ANONYMOUS


@lru_cache(CACHED_MAX)
def _certified(pem: bytes) -> frozenset[str]:
    try:
        return _identities(x509.load_pem_x509_certificate(pem).extensions)
    except Exception:  # noqa: BLE001 - bytes of a caller: whatever the parser makes of them, they prove no identity
        return ANONYMOUS


def _identities(extensions: x509.Extensions) -> frozenset[str]:
    names = _extension(extensions, x509.SubjectAlternativeName)
    if names is None:
        return ANONYMOUS
    dns_names = filter(DNS_NAME.fullmatch, names.get_values_for_type(x509.DNSName))
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    spiffe_ids = _spiffe_ids(uris) if _is_workload(extensions) else ()
    return frozenset((*dns_names, *filter(OTHER_URI.fullmatch, uris), *spiffe_ids))


def _spiffe_ids(uris: Sequence[str]) -> Iterable[str]:
    return filter(SPIFFE_ID.fullmatch, uris) if len(uris) == 1 else ()


def _is_workload(extensions: x509.Extensions) -> bool:
    constraints = _extension(extensions, x509.BasicConstraints)
    usage = _extension(extensions, x509.KeyUsage)
    is_authority = constraints is not None and constraints.ca
    return not (is_authority or (usage is not None and (usage.key_cert_sign or usage.crl_sign)))


def _extension(extensions: x509.Extensions, kind: type[ExtensionT]) -> ExtensionT | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
