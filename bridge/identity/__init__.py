"""Callers' identities, and the list of those who may call.

An identity is a DNS name or a URI that a caller's certificate names (certificate.py). Identities are
compared exactly, letter by letter. One pattern is possible in the list: "*" as the whole last segment of a spiffe://
URI stands for exactly one segment.

    spiffe://cluster.local/ns/games/sa/*    allows spiffe://cluster.local/ns/games/sa/slots
                                            not    spiffe://cluster.local/ns/games/sa/slots/canary
"""

import re
from collections.abc import Callable, Iterable, Mapping

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

AuthContext = Mapping[str, Iterable[bytes | str]]
"""Properties of a connection's other end: name -> values, as gRPC's auth_context() has it."""

CallerCheck = Callable[[AuthContext], None]
"""Raises CallerNotAllowed for a caller who may not call."""


def is_allowed_identity(text: str) -> bool:
    """Say whether a text can stand in an allow-list: a DNS name, a URI, or a spiffe:// URI that ends in "/*"."""
    if text.startswith(SPIFFE):
        return SPIFFE_ID.fullmatch(text.removesuffix(ANY_SEGMENT)) is not None
    return (DNS_NAME.fullmatch(text) or OTHER_URI.fullmatch(text)) is not None


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
