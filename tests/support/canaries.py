"""Secrets that are easy to recognise, and the search for them in every form in which they could stand somewhere."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

CANARIES: Mapping[str, str] = {
    "access key": "canary-6b1f-access-key",
    "private key": "6b1f0000-ca9a-4bee-8bad-c0ffee000001",
    "new access key": "canary-6b1f-new-access-key",
    "new private key": "6b1f0000-ca9a-4bee-8bad-c0ffee000002",
    "bad new access key": "canary-6b1f-bad-\x01-access-key",
    "bad new private key": "canary-6b1f-no-uuid-at-all",
    "access key in the environment": "canary-6b1f-environment-access-key",
    "private key in the environment": "6b1f0000-ca9a-4bee-8bad-c0ffee000003",
    "fingerprint key": "canary-6b1f-fingerprint-key",
    "fingerprint key in the environment": "canary-6b1f-environment-fingerprint-key",
    "settlement key": "canary-6b1f-settlement-key-32byt",
    "token": "canary-6b1f-token",
    "player": "8070605040302010907",
    "caller metadata": "canary-6b1f-metadata",
    "collector key": "canary-6b1f-collector-key",
}
"""By what it is. Every token of a call begins with that canary; it is what is searched for."""

BASE64_GROUP = 3
"""Bytes that base64 writes together: text inside of another text stands at one of so many offsets."""


def forms(secret: str) -> set[bytes]:
    """Return the secret as it is, escaped, without dashes, backwards, in hex, and in base64 at each offset."""
    found = {escape(secret).encode() for escape in ESCAPES}
    for text in (secret.encode(), secret.replace("-", "").encode()):
        found |= {text, text[::-1], text.hex().encode(), text.hex().upper().encode()}
        found |= {inner for offset in range(BASE64_GROUP) for inner in _in_base64(text, offset)}
    return {form.strip(b"\"'") for form in found}


def found_in(text: bytes, secrets: Iterable[str]) -> list[str]:
    """Return those of the secrets that a text holds in any form."""
    return [secret for secret in secrets if any(form in text for form in forms(secret))]


ESCAPES = (
    str,
    repr,
    json.dumps,
    lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    lambda text: quote(text, safe=""),
    lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
)
"""For Python, for JSON (RFC 8259, section 7: what must be, and everything), for URLs (RFC 3986: likewise)."""


def _in_base64(text: bytes, offset: int) -> Iterator[bytes]:
    # Only the digits that depend on the text alone: those at its ends hold bits of what stands before and behind.
    first, last = -(-offset * 8 // 6), (offset + len(text)) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(bytes(offset) + text)[first:last]
