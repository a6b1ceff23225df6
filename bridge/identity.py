"""Who a caller is, by the certificate that it showed, and who may call.

A caller's identities are the DNS names and URIs among its certificate's subject alternative names, as the server's TLS
verified them. They are compared exactly, letter by letter. Nothing else is an identity: no common name (RFC 9525,
section 2), no e-mail and no IP address. A spiffe:// URI is one only where it is the certificate's only URI, and well
formed (the SPIFFE X.509-SVID standard, section 2).

One pattern is possible: "*" as the whole last segment of a spiffe:// URI stands for exactly one segment.

    spiffe://cluster.local/ns/games/sa/*    allows spiffe://cluster.local/ns/games/sa/slots
                                            not    spiffe://cluster.local/ns/games/sa/slots/canary
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from bridge.errors import CallerNotAllowed

SPIFFE = "spiffe://"
ANY_SEGMENT = "/*"

# Only what can be in a certificate: an entry that could never match is a mistake. A DNS name has no colon and a URI
# has one, so that neither can pass for the other. Numbers and dots alone are an IP address.
DNS_NAME = r"(?![0-9.]+\Z)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
SPIFFE_ID = r"spiffe://[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)*"
OTHER_URI = r"(?!(?i:spiffe):)[A-Za-z][A-Za-z0-9+.-]*:[!-)+-~]+"
ALLOWED = re.compile(rf"{DNS_NAME}|{SPIFFE_ID}(?:/\*)?|{OTHER_URI}")

# What the server's TLS found in the certificate, kind by kind: gRPC's names for it. Each kind has the identities that
# it may hold, because a DNS name that reads "spiffe://..." is no SPIFFE ID.
KINDS: Mapping[str, Callable[[str], bool]] = {
    "peer_dns": lambda name: ":" not in name,
    "peer_uri": lambda uri: ":" in uri and not uri.startswith("spiffe:"),
    "peer_spiffe_id": lambda uri: uri.startswith(SPIFFE),
}

AuthContext = Mapping[str, Iterable[bytes | str]]
"""What is known of a connection's other end: property -> values, as gRPC's auth_context() has it."""


def is_allowed_identity(text: str) -> bool:
    """Say whether a text can stand in an allow-list: a DNS name, a URI, or a spiffe:// URI that ends in "/*"."""
    return ALLOWED.fullmatch(text) is not None


def identities_of(peer: AuthContext) -> frozenset[str]:
    """Return the identities that a caller has proven; none without a client certificate."""
    return frozenset(_identities(peer))


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
        folder, slash, segment = identity.rpartition("/")
        return bool(segment) and f"{folder}{slash}" in self._folders


def _identities(peer: AuthContext) -> Iterator[str]:
    for kind, belongs in KINDS.items():
        for value in peer.get(kind, ()):
            text = value if isinstance(value, str) else value.decode(errors="replace")
            if belongs(text):
                yield text
