"""The fingerprint of a token: published vectors, and what must not be learnt from a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.telemetry.fingerprint import KEY_BYTES_MIN, Fingerprint
from tests.support.whole_path import TOKEN

KEY = bytes(range(32))

# RFC 4231, sections 4.7 and 4.8: the first 16 digits of HMAC-SHA-256.
RFC_4231_KEY = b"\xaa" * 131
RFC_4231 = {
    "4.7": ("Test Using Larger Than Block-Size Key - Hash Key First", "60e431591ee0b67f"),
    "4.8": (
        (
            "This is a test using a larger than block-size key and a larger than block-size data. "
            "The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb",
    ),
}


@pytest.mark.parametrize(("text", "expected"), RFC_4231.values(), ids=RFC_4231)
def test_rfc_4231(text: str, expected: str) -> None:
    """It is HMAC-SHA256, cut to 16 hex digits."""
    assert Fingerprint(RFC_4231_KEY)(text) == expected


def test_no_token_has_no_fingerprint() -> None:
    """A call whose token could not be read has none, so that such calls do not look alike."""
    assert Fingerprint(KEY)("") == ""


@given(st.text(min_size=1), st.text(min_size=1))
def test_one_for_each_token(one: str, other: str) -> None:
    """The same token has the same fingerprint everywhere, another token another one."""
    assert (Fingerprint(KEY)(one) == Fingerprint(KEY)(other)) == (one == other)
    assert len(Fingerprint(KEY)(one)) == 16


def test_another_key_another_fingerprint() -> None:
    """Who has not the key cannot test a guess."""
    assert Fingerprint(KEY)(TOKEN) != Fingerprint(KEY[::-1])(TOKEN)


def test_without_a_key_each_process_has_its_own() -> None:
    """None means a random key: not one that everybody knows."""
    assert Fingerprint(None)(TOKEN) != Fingerprint(None)(TOKEN)


@pytest.mark.parametrize("size", [0, KEY_BYTES_MIN - 1])
def test_short_key(size: int) -> None:
    """A key that could be guessed is refused, and the refusal does not hold it."""
    with pytest.raises(ValueError, match="at least 16 bytes") as raised:
        Fingerprint(b"k" * size)
    assert "kk" not in str(raised.value)


def test_no_key_in_the_repr() -> None:
    """Printed, it shows nothing."""
    key = b"canary-fingerprint-key-0123456789"
    assert "canary" not in repr(Fingerprint(key)) + str(Fingerprint(key))


@given(st.lists(st.text(min_size=1), min_size=2, max_size=4))
def test_none_depends_on_those_before(texts: list[str]) -> None:
    """One process makes many with one key; each is the one that a new process would make."""
    fingerprint = Fingerprint(KEY)
    assert [fingerprint(text) for text in texts] == [Fingerprint(KEY)(text) for text in texts]
