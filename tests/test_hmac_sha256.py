"""HMAC-SHA256 with prepared keys: the standard library is the oracle."""

import hmac

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.hmac_sha256 import BLOCK_BYTES, HmacSha256


@given(st.binary(max_size=3 * BLOCK_BYTES), st.lists(st.binary(max_size=300), max_size=3))
@example(b"", [b""])
@example(b"k" * BLOCK_BYTES, [b"exactly a block"])
@example(b"k" * (BLOCK_BYTES + 1), [b"hashed first"])
def test_every_message_has_the_code_that_the_standard_library_gives(key: bytes, messages: list[bytes]) -> None:
    """Keys of any length, also above a block (RFC 2104, section 2), and messages one after the other."""
    mac = HmacSha256(key)
    assert [mac.hexdigest(message) for message in messages] == [
        hmac.digest(key, message, "sha256").hex() for message in messages
    ]


def test_no_key_is_shown() -> None:
    """A repr, which may come to stand in a log, tells nothing of the key."""
    assert repr(HmacSha256(b"secret")) == "HmacSha256()"
