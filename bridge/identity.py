"""Callers' identities, from the certificates that they showed, and the list of those who may call.

A caller's identities are the DNS names and URIs among its certificate's subject alternative names, read from the
certificate itself. TLS has verified it before; gRPC's own list of the names is not used, because it cuts a name at a
NUL. Nothing else is an identity: no common name (RFC 9525, section 2), no e-mail and no IP address. A name that is
not well formed, or that has a wildcard in it, is no identity either, and a certificate that cannot be read has none.

A spiffe:// URI is one only if it is a SPIFFE ID (SPIFFE-ID, section 2), the certificate's only URI, and the certificate
one of a workload: not of an authority, and not to sign certificates with (X509-SVID, sections 2 and 5.2).

Identities are compared exactly, letter by letter. One pattern is possible in the list: "*" as the whole last segment of
a spiffe:// URI stands for exactly one segment.

    spiffe://cluster.local/ns/games/sa/*    allows spiffe://cluster.local/ns/games/sa/slots
                                            not    spiffe://cluster.local/ns/games/sa/slots/canary
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from cryptography import x509

from bridge.errors import CallerNotAllowed

SPIFFE = "spiffe://"
ANY_SEGMENT = "/*"

# Only what can be in a certificate: an entry that could never match is a mistake. A DNS name has no colon and a URI
# has one, so that neither can pass for the other. Numbers and dots alone are an IP address.
DNS_NAME = re.compile(r"(?![0-9.]+\Z)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
OTHER_URI = re.compile(r"(?!(?i:spiffe):)[A-Za-z][A-Za-z0-9+.-]*:[!-)+-~]+")

# SPIFFE-ID, sections 2.1 to 2.3: a trust domain of 1 to 255 bytes, segments that are neither empty nor "." nor "..", no
# escapes, port, user, query or fragment, and 2048 bytes in all.
TRUST_DOMAIN = r"[a-z0-9._-]{1,255}"
SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+"
SPIFFE_ID = re.compile(rf"(?=.{{1,2048}}\Z)spiffe://{TRUST_DOMAIN}(?:/{SEGMENT})*")

CERTIFICATE = "x509_pem_cert"
"""gRPC's name for the certificate that the other end has shown, as PEM."""
PEM_BYTES_MAX = 64 * 1024
"""A longer certificate gives no identity: it would only fill the cache."""
CACHED_MAX = 256
"""How many certificates are known again: each connection asks for its caller's identities at every call."""

NOBODY: frozenset[str] = frozenset()

AuthContext = Mapping[str, Iterable[bytes | str]]
"""What is known of a connection's other end: property -> values, as gRPC's auth_context() has it."""

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


def is_allowed_identity(text: str) -> bool:
    """Say whether a text can stand in an allow-list: a DNS name, a URI, or a spiffe:// URI that ends in "/*"."""
    if text.startswith(SPIFFE):
        return SPIFFE_ID.fullmatch(text.removesuffix(ANY_SEGMENT)) is not None
    return (DNS_NAME.fullmatch(text) or OTHER_URI.fullmatch(text)) is not None


def identities_of(peer: AuthContext) -> frozenset[str]:
    """Return the identities that a caller has proven; none without a client certificate."""
    shown = tuple(peer.get(CERTIFICATE, ()))
    if len(shown) != 1:
        return NOBODY
    pem = shown[0].encode() if isinstance(shown[0], str) else shown[0]
    return _certified(pem) if len(pem) <= PEM_BYTES_MAX else NOBODY


class AllowList:
    """Those who may call. `allowed`: texts for which `is_allowed_identity` is true."""

    def __init__(self, allowed: Iterable[str]) -> None:
        entries = frozenset(allowed)
        patterns = frozenset(entry for entry in entries if entry.startswith(SPIFFE) and entry.endswith(ANY_SEGMENT))
        self._exact = entries - patterns
        # With the slash at the end: "spiffe://a/b/".
        self._folders = frozenset(pattern.removesuffix("*") for pattern in patterns)

    def check(self, identities: Iterable[str]) -> None:
        """Raise CallerNotAllowed unless one of a caller's identities is on the list."""
        if not any(map(self._allows, identities)):
            raise CallerNotAllowed

    def _allows(self, identity: str) -> bool:
        if identity in self._exact:
            return True
        folder, slash, _ = identity.rpartition("/")
        return f"{folder}{slash}" in self._folders and SPIFFE_ID.fullmatch(identity) is not None


# --- certificates -----------------------------------------------------------------------------------------------


@lru_cache(CACHED_MAX)
def _certified(pem: bytes) -> frozenset[str]:
    try:
        return _identities(x509.load_pem_x509_certificate(pem).extensions)
    except Exception:  # noqa: BLE001 - bytes of a caller: whatever the parser makes of them, they name nobody
        return NOBODY


def _identities(extensions: x509.Extensions) -> frozenset[str]:
    names = _extension(extensions, x509.SubjectAlternativeName)
    if names is None:
        return NOBODY
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
