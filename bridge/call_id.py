"""The id of a call: the same text for its caller and for the bridge's operator, whatever the wallet says.

It is the caller's own where it sent one as metadata `x-request-id`, else a UUID made here. It ends every call as the
trailer `wallet-call-id`, stands in the details of a failure, in the log and in the trace, and never goes to the wallet
(docs/callers.md, "The call's id").
"""

import os
import re
from collections.abc import Iterable

REQUEST_ID_METADATA = "x-request-id"
"""The de facto name that proxies and frameworks use; Envoy sets it where a caller did not."""
TRAILER = "wallet-call-id"

CALLER_ID_WANTED = "1 to 64 characters of A-Z a-z 0-9 . _ -"
_CALLER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_caller_id(text: str) -> bool:
    """Say whether a caller's text is taken as the id: nothing in it can forge a log line or swell one."""
    return _CALLER_ID.fullmatch(text) is not None


def call_id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the id that this metadata gives, names in lower case; a new one where it gives none, several or a bad one.

    A bad id fails no call: it is a name for logs, and the caller reads in the trailer which one stands there.
    """
    given = []
    for name, value in metadata:  # in a comprehension each call would pay for a function more
        if name == REQUEST_ID_METADATA:
            given.append(value)
    if len(given) == 1 and isinstance(given[0], str) and is_caller_id(given[0]):
        return given[0]
    return new_call_id()


def new_call_id() -> str:
    """Return a random UUID as text."""
    return uuid_of(os.urandom(16))


def uuid_of(random: bytes) -> str:
    """Return the UUID of 16 random bytes (RFC 9562, section 5.4) as text, at a third of the cost of `uuid.uuid4`'s."""
    digits = random.hex()
    # Two fields are fixed: the version, 4, and the variant, whose two bits 10 leave 8, 9, a or b as the digit.
    variant = "89ab"[random[8] & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
