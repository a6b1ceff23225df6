"""Who a caller is, and who may call: names compared letter by letter, and one pattern."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import CallerNotAllowed
from bridge.identity import AllowList, is_allowed_identity

SLOTS = "spiffe://cluster.local/ns/games/sa/slots"
ANY_OF_GAMES = "spiffe://cluster.local/ns/games/sa/*"
NO_SEGMENTS = (".", "..", "*", "%2f", "a%2fb", "a?b", "a#b", "a b", "a\0b", "a\n", "\u00e4", "a:b", "a@b", "a\\b")
"""What no segment of a SPIFFE ID may be (SPIFFE-ID, section 2.2)."""


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
        *((ANY_OF_GAMES, [f"spiffe://cluster.local/ns/games/sa/{segment}"]) for segment in NO_SEGMENTS),
        ("https://id.example/*", ["https://id.example/slots"]),
    ],
    ids=[
        *("no-identity", "case", "dot-at-the-end", "subdomain", "slash-at-the-end", "longer", "two-segments"),
        *("empty-segment", "no-segment", "another-folder", "prefix-inside", *NO_SEGMENTS, "pattern-of-no-spiffe"),
    ],
)
def test_not_allowed(allowed: str, identities: list[str]) -> None:
    """What is only like an entry of the list is not on it."""
    assert not allows(allowed, *identities)


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a.example", "a_b.Games.example", "10.example", SLOTS, ANY_OF_GAMES, "spiffe://td", "spiffe://td/*"),
        *("https://id.example/a?b=1,2", "urn:game:s", "spiffe://td/...", "spiffe://td/.a/..b/c.", "spiffe://a_b-c.d"),
        *(f"spiffe://{'d' * 255}/a", f"spiffe://td/{'a' * 2036}", f"spiffe://td/{'a' * 2036}/*"),
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
        *("spiffe:td", "https://id.example/*", "https:", "a:b\n", "a.example\0", "spiffe://td/a\0", "spiffe://td/a\n"),
        *("spiffe://td/.", "spiffe://td/..", "spiffe://td/../a", "spiffe://td/a/./b", "spiffe://td/../*"),
        *("spiffe://td/%2f", "spiffe://td/%2F/*", "spiffe://td:443/a", "spiffe://user@td/a", "spiffe://td/a?b"),
        *("spiffe://td/a#b", "spiffe://td?b", "spiffe://td/ä", "spiffe://td/a b", "spiffe://td/a/*/", "spiffe://td/**"),
        *("spiffe://%74d/a", "spiffe://[::1]/a"),
        *(f"spiffe://{'d' * 256}/a", f"spiffe://td/{'a' * 2037}", f"spiffe://td/{'a' * 2037}/*"),
    ],
)
def test_what_cannot_stand_in_a_list(text: str) -> None:
    """What could never match, and a star anywhere else, is a mistake."""
    assert not is_allowed_identity(text)


PART = st.text(st.sampled_from("ab/*.:%"), max_size=6)


@given(allowed=st.lists(PART.map("spiffe://{}".format), max_size=4), identity=PART.map("spiffe://{}".format))
def test_as_the_definition_says(allowed: list[str], identity: str) -> None:
    """A caller is let in if and only if an entry is equal, or ends in a star that stands for one segment of its ID."""
    head, _, last = identity.rpartition("/")
    expected = any(
        entry == f"{head}/*" and is_allowed_identity(identity) and last != "*"
        if entry.endswith("/*")
        else entry == identity
        for entry in allowed
    )
    try:
        AllowList(allowed).check([identity])
        found = True
    except CallerNotAllowed:
        found = False
    assert found == expected
