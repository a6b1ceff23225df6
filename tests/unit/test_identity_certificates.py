"""Callers' identities are read from the certificate's bytes: names that are cut, escaped or doubled name no one."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.identity import AuthContext, is_allowed_identity
from bridge.identity.certificate import CERTIFICATE, PEM_BYTES_MAX, identities_of
from tests.support.certificates import DNS, EMAIL, IP, OTHER_NAME, SEQUENCE, URI, certificate, element, names, with_san

SLOTS = b"spiffe://cluster.local/ns/games/sa/slots"
A_DNS, A_URI, A_SPIFFE = (DNS, b"a.example"), (URI, b"https://id.example/a"), (URI, SLOTS)


def identities(pem: bytes) -> set[str]:
    """Return the identities of a caller with this certificate."""
    return set(identities_of({CERTIFICATE: [pem]}))


NAMED = {
    "dns": ([A_DNS], {"a.example"}),
    "two dns": ([A_DNS, (DNS, b"B_c-1.example")], {"a.example", "B_c-1.example"}),
    "uri": ([A_URI], {"https://id.example/a"}),
    "two uris": ([A_URI, (URI, b"urn:game:slots")], {"https://id.example/a", "urn:game:slots"}),
    "spiffe": ([A_SPIFFE], {SLOTS.decode()}),
    "spiffe without a path": ([(URI, b"spiffe://td")], {"spiffe://td"}),
    "spiffe beside dns": ([A_DNS, A_SPIFFE], {"a.example", SLOTS.decode()}),
    "spiffe beside email and ip": ([(EMAIL, b"a@b.example"), (IP, bytes([10, 0, 0, 1])), A_SPIFFE], {SLOTS.decode()}),
    "spiffe of 2048 bytes": ([(URI, b"spiffe://td/" + b"a" * 2036)], {"spiffe://td/" + "a" * 2036}),
    "trust domain of 255 bytes": ([(URI, b"spiffe://" + b"d" * 255)], {"spiffe://" + "d" * 255}),
    # X509-SVID, section 2: exactly one URI.
    "spiffe beside a uri": ([A_SPIFFE, A_URI], {"https://id.example/a"}),
    "spiffe beside a malformed uri": ([A_SPIFFE, (URI, b"\0")], set()),
    "spiffe twice": ([A_SPIFFE, A_SPIFFE], set()),
    "two spiffe": ([A_SPIFFE, (URI, b"spiffe://cluster.local/b")], set()),
    # A name of one kind must not pass for one of another.
    "spiffe as dns": ([(DNS, SLOTS)], set()),
    "uri as dns": ([(DNS, b"https://id.example/a")], set()),
    "dns as uri": ([(URI, b"a.example")], set()),
    "spiffe as email": ([(EMAIL, SLOTS)], set()),
    "other name": ([(OTHER_NAME, element(6, b"\x2a\x03") + element(0xA0, element(0x0C, SLOTS)))], set()),
    "email and ip": ([(EMAIL, b"a@b.example"), (IP, bytes([10, 0, 0, 1]))], set()),
    # One that is malformed takes the others nothing.
    "a bad dns name beside a good one": ([(DNS, b"a.example\0"), A_DNS], {"a.example"}),
}


@pytest.mark.parametrize(("general_names", "expected"), NAMED.values(), ids=NAMED)
def test_identities_of_a_certificate(general_names: list[tuple[int, bytes]], expected: set[str]) -> None:
    """DNS names, URIs and the one SPIFFE ID are identities, each only as what it is in the certificate."""
    assert identities(certificate(names(*general_names))) == expected


NO_DNS_NAMES = {
    "NUL at the end": b"a.example\0",
    "NUL and more": b"a.example\0.evil.example",
    "NUL at the begin": b"\0a.example",
    "wildcard": b"*.example",
    "wildcard alone": b"*",
    "wildcard in a label": b"a*.example",
    "dot at the end": b"a.example.",
    "empty": b"",
    "empty label": b"a..example",
    "blank": b"a.example ",
    "line break": b"a.example\n",
    "UTF-8": "\u00e4.example".encode(),
    "not ASCII": b"\xe4.example",
    "full-width letter": "\uff41.example".encode(),
    "address": b"10.0.0.1",
    "DEL": b"a.example\x7f",
}


@pytest.mark.parametrize("name", NO_DNS_NAMES.values(), ids=NO_DNS_NAMES)
def test_a_dns_name_that_is_none(name: bytes) -> None:
    """An IA5String that is no host name, or has a wildcard, is no identity: in no part and in no other form."""
    assert identities(certificate(names((DNS, name)))) == set()


NO_SPIFFE_IDS = {
    "NUL at the end": SLOTS + b"\0",
    "NUL and more": SLOTS + b"\0/canary",
    "dot": b"spiffe://td/.",
    "two dots": b"spiffe://td/..",
    "dots inside": b"spiffe://td/a/../b",
    "escaped slash": b"spiffe://td/a%2fb",
    "escaped letter": b"spiffe://td/%61",
    "star": b"spiffe://td/*",
    "star inside": b"spiffe://td/*/a",
    "empty segment": b"spiffe://td//a",
    "slash at the end": b"spiffe://td/a/",
    "slash alone": b"spiffe://td/",
    "no trust domain": b"spiffe:///a",
    "nothing": b"spiffe://",
    "upper-case trust domain": b"spiffe://TD/a",
    "upper-case scheme": b"SPIFFE://td/a",
    "mixed-case scheme": b"Spiffe://td/a",
    "no authority": b"spiffe:td/a",
    "port": b"spiffe://td:443/a",
    "user": b"spiffe://user@td/a",
    "query": b"spiffe://td/a?b",
    "fragment": b"spiffe://td/a#b",
    "address": b"spiffe://[::1]/a",
    "UTF-8": "spiffe://td/\u00e4".encode(),
    "blank": b"spiffe://td/a b",
    "line break": b"spiffe://td/a\n",
    "back slash": b"spiffe://td/a\\b",
    "trust domain of 256 bytes": b"spiffe://" + b"d" * 256,
    "2049 bytes": b"spiffe://td/" + b"a" * 2037,
}


@pytest.mark.parametrize("uri", NO_SPIFFE_IDS.values(), ids=NO_SPIFFE_IDS)
def test_a_spiffe_uri_that_is_no_spiffe_id(uri: bytes) -> None:
    """A spiffe URI that SPIFFE-ID, section 2, does not allow is no identity, neither as such nor as another URI."""
    assert identities(certificate(names((URI, uri)))) == set()


def test_an_authority_is_no_workload() -> None:
    """A certificate that may sign others is no SPIFFE identity (X509-SVID, section 5.2); its DNS names stay."""
    assert identities(certificate(names(A_SPIFFE, A_DNS), is_authority=True)) == {"a.example"}


@pytest.mark.parametrize(
    ("usages", "is_workload"),
    [
        (("digital_signature",), True),
        (("digital_signature", "key_cert_sign"), False),
        (("digital_signature", "crl_sign"), False),
    ],
    ids=["signature", "certificates", "revocations"],
)
def test_a_key_for_certificates_is_no_workloads(usages: tuple[str, ...], is_workload: bool) -> None:  # noqa: FBT001 -- a case's column
    """A key that may sign certificates or revocation lists gives no SPIFFE identity (X509-SVID, section 5.2)."""
    assert identities(certificate(names(A_SPIFFE), usages=usages)) == ({SLOTS.decode()} if is_workload else set())


UNREADABLE = {
    "empty": b"",
    "no PEM": b"\0\xff",
    "PEM of nothing": b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    "cut short": certificate(names(A_DNS))[:300],
    "names cut short": certificate(with_san(element(SEQUENCE, element(DNS, b"a.example"))[:-3])),
    "names that are no sequence": certificate(with_san(element(DNS, b"a.example"))),
    "more behind the names": certificate(with_san(element(SEQUENCE, element(DNS, b"a.example")) + b"\5\0")),
    "unknown kind of name": certificate(names((DNS, b"a.example"), (0x8F, b"a"))),
    "address of five bytes": certificate(names((DNS, b"a.example"), (IP, bytes(5)))),
    "too long": certificate(names(A_DNS)).ljust(PEM_BYTES_MAX + 1, b"\n"),
}


@pytest.mark.parametrize("pem", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_names_no_one(pem: bytes) -> None:
    """A certificate, or names, that cannot be read to their end give no identity at all."""
    assert identities(pem) == set()


@pytest.mark.parametrize(
    "peer",
    [
        {},
        {"transport_security_type": [b"ssl"]},
        {CERTIFICATE: []},
        {CERTIFICATE: [certificate(names(A_DNS)), certificate(names(A_DNS))]},
        # What gRPC has read from a certificate is not asked.
        {
            "peer_dns": [b"a.example"],
            "peer_uri": [SLOTS],
            "peer_spiffe_id": [SLOTS],
            "x509_common_name": [b"a.example"],
        },
        {"peer_dns": [b"a.example"], CERTIFICATE: [certificate(names((DNS, b"a.example\0")))]},
        {CERTIFICATE: [certificate()]},
    ],
    ids=["plaintext", "no certificate", "none shown", "two", "gRPC's names", "gRPC's cut name", "common name"],
)
def test_a_caller_without_identity(peer: AuthContext) -> None:
    """Only the one certificate that was shown gives identities."""
    assert identities_of(peer) == frozenset()


def test_a_certificate_as_text() -> None:
    """A server may hand the certificate over as text."""
    assert identities_of({CERTIFICATE: (certificate(names(A_DNS)).decode(),)}) == {"a.example"}


# Pieces find more than arbitrary bytes do: each is one that a name is made of.
BITS = (b"spiffe://", b"td", b"/", b"a", b"..", b"*", b"%2f", b"\0", b".", b"A", b":", b"@", b"?", b"\xc3\xa4", b"10.0")
CONTENT = st.binary(max_size=8) | st.lists(st.sampled_from(BITS), max_size=8).map(b"".join)
GENERAL_NAMES = st.lists(st.tuples(st.sampled_from([DNS, URI, EMAIL, IP, 0x83, 0x8F]), CONTENT), max_size=4)


@given(GENERAL_NAMES)
@example([(DNS, b"a.example\0")])
def test_any_names(general_names: list[tuple[int, bytes]]) -> None:
    """Every identity is, byte for byte, a name of its kind in the certificate, and one that an allow-list may hold."""
    found = identities(certificate(names(*general_names)))
    for identity in found:
        assert (URI if ":" in identity else DNS, identity.encode()) in general_names
        assert is_allowed_identity(identity)
        assert not identity.endswith("*")
    assert len({content for tag, content in general_names if tag == URI}) <= 1 or not any(
        identity.startswith("spiffe:") for identity in found
    )


@given(st.binary(max_size=40) | GENERAL_NAMES.map(lambda each: b"".join(element(*name) for name in each)))
def test_any_bytes_as_names(der: bytes) -> None:
    """Whatever a certificate holds in the place of its names, nothing is raised and nothing ill-formed is found."""
    assert all(map(is_allowed_identity, identities(certificate(with_san(der)))))
    assert all(map(is_allowed_identity, identities(certificate(with_san(element(SEQUENCE, der))))))


def test_two_extensions_of_names_name_no_one() -> None:
    """A certificate with two subjectAltName extensions contradicts itself (RFC 5280, section 4.2)."""
    pem = certificate(names(A_DNS), x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.18"), b"\x30\x00"))
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    # issuerAltName (2.5.29.18) becomes subjectAltName (2.5.29.17): its signature is TLS's business, not this one's.
    doubled = der.replace(bytes.fromhex("551d12"), bytes.fromhex("551d11"))
    assert doubled != der
    assert identities(ssl.DER_cert_to_PEM_cert(doubled).encode()) == set()
