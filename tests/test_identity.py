"""Who a caller is, and who may call: names compared letter by letter, and one pattern."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import CallerNotAllowed
from bridge.identity import AllowList, AuthContext, identities_of, is_allowed_identity

SLOTS = "spiffe://cluster.local/ns/games/sa/slots"
ANY_OF_GAMES = "spiffe://cluster.local/ns/games/sa/*"


def allows(allowed: str, *identities: str) -> bool:
    """Say whether an allow-list of one entry lets in a caller with these identities."""
    try:
        AllowList([allowed]).check(identities)
    except CallerNotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    ("allowed", "identities"),
    [
        ("slots.games.example", ["slots.games.example"]),
        ("slots.games.example", ["other.example", "slots.games.example"]),
        (SLOTS, [SLOTS]),
        ("https://id.example/slots", ["https://id.example/slots"]),
        ("urn:game:slots", ["urn:game:slots"]),
        (ANY_OF_GAMES, [SLOTS]),
        ("spiffe://cluster.local/*", ["spiffe://cluster.local/slots"]),
    ],
    ids=["dns", "one-of-several", "spiffe", "https", "urn", "pattern", "pattern-below-the-domain"],
)
def test_allowed(allowed: str, identities: list[str]) -> None:
    """One identity that is on the list is enough."""
    assert allows(allowed, *identities)


@pytest.mark.parametrize(
    ("allowed", "identities"),
    [
        ("slots.games.example", []),
        ("slots.games.example", ["Slots.games.example"]),
        ("slots.games.example", ["slots.games.example."]),
        ("games.example", ["slots.games.example"]),
        (SLOTS, [f"{SLOTS}/"]),
        (SLOTS, [f"{SLOTS}2"]),
        (ANY_OF_GAMES, [f"{SLOTS}/canary"]),
        (ANY_OF_GAMES, ["spiffe://cluster.local/ns/games/sa/"]),
        (ANY_OF_GAMES, ["spiffe://cluster.local/ns/games/sa"]),
        (ANY_OF_GAMES, ["spiffe://cluster.local/ns/other/sa/slots"]),
        (ANY_OF_GAMES, ["spiffe://evil.example/spiffe://cluster.local/ns/games/sa/slots"]),
        ("https://id.example/*", ["https://id.example/slots"]),
    ],
    ids=[
        *("no-identity", "case", "dot-at-the-end", "subdomain", "slash-at-the-end", "longer", "two-segments"),
        *("empty-segment", "no-segment", "another-folder", "prefix-inside", "pattern-of-no-spiffe"),
    ],
)
def test_not_allowed(allowed: str, identities: list[str]) -> None:
    """What is only like an entry of the list is not on it."""
    assert not allows(allowed, *identities)


@pytest.mark.parametrize(
    ("peer", "identities"),
    [
        ({}, set()),
        ({"transport_security_type": [b"ssl"]}, set()),
        ({"peer_dns": [b"a.example", b"b.example"]}, {"a.example", "b.example"}),
        ({"peer_uri": [b"https://id.example/a"]}, {"https://id.example/a"}),
        ({"peer_uri": [SLOTS.encode()], "peer_spiffe_id": [SLOTS.encode()]}, {SLOTS}),
        ({"peer_dns": ["a.example"], "peer_spiffe_id": (SLOTS,)}, {"a.example", SLOTS}),
        # The standard allows one URI; where there are two, gRPC names no SPIFFE ID.
        ({"peer_uri": [SLOTS.encode(), b"https://id.example/a"]}, {"https://id.example/a"}),
        # A name of one kind must not pass for one of another.
        ({"peer_dns": [SLOTS.encode()]}, set()),
        ({"peer_dns": [b"https://id.example/a"]}, set()),
        ({"peer_uri": [b"a.example"]}, set()),
        ({"x509_common_name": [b"a.example"], "x509_subject_alternative_name": [b"b.example"]}, set()),
        ({"peer_email": [b"a@b.example"], "peer_ip": [b"10.0.0.1"]}, set()),
        ({"peer_dns": [b"\xff"]}, {"\ufffd"}),
    ],
    ids=[
        *("plaintext", "no-certificate", "dns", "uri", "spiffe", "text", "two-uris", "spiffe-as-dns", "uri-as-dns"),
        *("dns-as-uri", "common-name", "email-and-ip", "not-utf-8"),
    ],
)
def test_identities(peer: AuthContext, identities: set[str]) -> None:
    """DNS names, URIs and the one SPIFFE ID are identities, each only if it was found as such."""
    assert identities_of(peer) == identities


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a.example", "a_b.Games.example", "10.example", SLOTS, ANY_OF_GAMES, "spiffe://td", "spiffe://td/*"),
        *("https://id.example/a?b=1,2", "urn:game:slots"),
    ],
)
def test_what_can_stand_in_a_list(text: str) -> None:
    """DNS names, URIs, and a pattern as the last segment of a SPIFFE ID."""
    assert is_allowed_identity(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a b", "a.example ", "a.example\n", "*", "*.example", "a.*", ".example", "a..example", "10.0.0.1"),
        *("a@b.example", "ä.example", "spiffe://", "spiffe:///a", "spiffe://td/", "spiffe://*", "spiffe://*/a"),
        *("spiffe://td/*/a", "spiffe://td/a*", "spiffe://td/*a", "spiffe://td//a", "spiffe://TD/a", "SPIFFE://td/a"),
        *("spiffe:td", "https://id.example/*", "https:", "a:b\n"),
    ],
)
def test_what_cannot_stand_in_a_list(text: str) -> None:
    """What could never match, and a star anywhere else, is a mistake."""
    assert not is_allowed_identity(text)


PART = st.text(st.sampled_from("ab/*.:"), max_size=6)


@given(allowed=st.lists(PART.map("spiffe://{}".format), max_size=4), identity=PART.map("spiffe://{}".format))
def test_as_the_definition_says(allowed: list[str], identity: str) -> None:
    """A caller is let in if and only if an entry is equal, or ends in a star that stands for one segment of his."""
    head, _, last = identity.rpartition("/")
    expected = any(
        bool(last) and entry == f"{head}/*" if entry.endswith("/*") else entry == identity for entry in allowed
    )
    try:
        AllowList(allowed).check([identity])
        found = True
    except CallerNotAllowed:
        found = False
    assert found == expected
