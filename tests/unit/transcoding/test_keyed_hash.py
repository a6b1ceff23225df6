"""HMAC-SHA256 from two states of SHA-256, beside the standard library's."""

import hmac

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.transcoding.keyed_hash import BLOCK_BYTES, KeyedHash


@given(key=st.binary(max_size=200), messages=st.lists(st.binary(max_size=500), max_size=3))
@example(key=b"", messages=[b"", b""])
@example(key=bytes(BLOCK_BYTES), messages=[bytes(BLOCK_BYTES)])
@example(key=b"\xff" * (BLOCK_BYTES + 1), messages=[b"a"])
def test_it_is_hmac(key: bytes, messages: list[bytes]) -> None:
    """Whatever the lengths of key and message, and as often as it is asked."""
    keyed = KeyedHash(key)
    assert [keyed.digest(one) for one in messages] == [hmac.digest(key, one, "sha256") for one in messages]
    assert [keyed.hexdigest(one) for one in messages] == [hmac.digest(key, one, "sha256").hex() for one in messages]


def test_its_repr_holds_no_key() -> None:
    """Nor do the states in it show one."""
    keyed = KeyedHash(b"a canary")
    assert "canary" not in repr(keyed) + repr([getattr(keyed, name) for name in KeyedHash.__slots__])
