"""Parts of `bridge certify` by themselves: made-up tokens, recognised secrets, kinds of headers, slow answers."""

import base64
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.certify.codes import Proposal, merged, toml
from bridge.cli.certify.findings import Evidence, findings
from bridge.cli.certify.seen import Guard, Seen, code_of, headers_of, request_id_of
from bridge.cli.certify.tokens import made_up_token
from bridge.http2.exchange import RawAnswer
from bridge.outcome import GrpcCode
from bridge.transcoding.verdict import Answer, read

LONG = "eyJ0.Abcdefghijklmnop_qrstuvwxyz-0123456789~="


def test_a_made_up_token_has_the_form_of_the_live_one() -> None:
    """Digits stay digits, letters letters of their case, anything else as it is; and it is another token each time."""
    made_up = {made_up_token(LONG) for _ in range(20)}
    assert len(made_up | {LONG}) == 21
    for token in made_up:
        kinds = [(a.isdigit(), a.islower(), a.isupper(), a.isalnum() or a) for a in token]
        assert kinds == [(a.isdigit(), a.islower(), a.isupper(), a.isalnum() or a) for a in LONG]


@pytest.mark.parametrize(
    "live", [None, "1", "short-token", str(uuid.uuid4()), "\u00e9" * 40], ids=["none", "1", "short", "UUID", "no ASCII"]
)
def test_a_token_that_cannot_be_imitated(live: str | None) -> None:
    """A token with too little in it to be redrawn might be hit: the made-up one is a random UUID."""
    made_up = made_up_token(live)
    assert uuid.UUID(made_up).version == 4
    assert made_up != live


SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    lambda secret: secret[::-1],
    lambda secret: secret.replace("-", ""),
    lambda secret: secret.encode().hex(),
    lambda secret: quote(secret, safe=""),
    lambda secret: base64.b64encode(secret.encode()).decode(),
    lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
)


@given(st.text(st.characters(min_codepoint=48, max_codepoint=126), min_size=6, max_size=60), st.sampled_from(SPELLINGS))
def test_a_guard_knows_a_secret_in_its_forms(secret: str, spell: Callable[[str], str]) -> None:
    """Raw, in capitals, reversed, without dashes, percent-encoded, in hex and base64, inside of another text: found."""
    guard = Guard([secret])
    assert guard.hides(f"before {spell(secret)} behind")
    assert repr(guard) == "Guard()"


SHOWN: dict[str, tuple[str, str, str]] = {
    "a UUID": ("89aac521-7a56-4ad1-8310-1ed2bbf9e55d", "canary-token", "89aac521-7a56-4ad1-8310-1ed2bbf9e55d"),
    "the token": ("3dc8fe01-2018-486e-9632-35aef21028a5", "3dc8fe01-2018-486e-9632-35aef21028a5", "UUID withheld"),
    "in capitals": ("3DC8FE01-2018-486E-9632-35AEF21028A5", "3dc8fe01-2018-486e-9632-35aef21028a5", "UUID withheld"),
    "the token's bytes": (str(uuid.UUID(bytes=b"canary-token-16b")), "canary-token-16b and more", "UUID withheld"),
    "a part of a signature": (str(uuid.UUID("ab" * 16)), "ab" * 32, "UUID withheld"),
    "a text": ("see canary", "canary-token", "no UUID"),
    "empty": ("", "canary-token", "no UUID"),
}


@pytest.mark.parametrize(("request_id", "secret", "shown"), SHOWN.values(), ids=SHOWN)
def test_request_ids(request_id: str, secret: str, shown: str) -> None:
    """A request_id is shown if it is a UUID and no part of a secret, however that is spelt."""
    reading = read(Answer(200, f'{{"status":false,"code":3,"request_id":"{request_id}"}}'.encode(), {}))
    assert request_id_of(reading, Guard([secret])) == shown


@pytest.mark.parametrize(
    ("code", "secret", "shown"),
    [(7, "7", 7), (44, "token-44", 44), (123456789, "123456789", None), (123456789, "a-1234-56789-b", None)],
)
def test_codes_that_spell_a_token(code: int, secret: str, shown: int | None) -> None:
    """A code whose digits are a part of a secret is withheld; a short one is no part of a secret."""
    reading = read(Answer(200, f'{{"status":false,"code":{code}}}'.encode(), {}))
    assert code_of(reading, Guard([secret])) == shown


def test_headers_are_words_of_ours() -> None:
    """Of the headers that matter the kind is kept, and of no other even the name."""
    raw = {
        "content-type": "application/json; charset=utf-8",
        "content-encoding": "canary",
        "content-length": "12",
        "date": "Thu, 26 Nov 2026 06:00:00 GMT",
        "retry-after": "canary",
        "www-authenticate": 'Basic realm="canary"',
        "location": "https://wallet.example/canary",
        "x-canary": "canary",
    }
    headers = tuple((name.encode(), value.encode()) for name, value in raw.items())
    assert headers_of(RawAnswer(200, (*headers, (b"via", b"a"), (b"via", b"b")), b"")) == {
        "content-type": "application/json",
        "content-encoding": "other",
        "content-length": "number",
        "date": "date",
        "retry-after": "other",
        "www-authenticate": "basic",
        "location": "present",
        "via": "more than one",
    }


@pytest.mark.parametrize(
    ("value", "kind"), [("5", "seconds"), ("Thu, 26 Nov 2026 06:00:00 GMT", "date"), ("-5", "other")]
)
def test_retry_after(value: str, kind: str) -> None:
    """It is seconds or a date (RFC 9110, section 10.2.3)."""
    assert headers_of(RawAnswer(429, ((b"retry-after", value.encode()),), b"")) == {"retry-after": kind}


def evidence(**changes: Any) -> Evidence:
    """Return the evidence of a good second terminate, changed."""
    seen = Seen("http1", **{"duration_s": 0.1, "http_status": 505, "reason": "WALLET_GATEWAY_ERROR", **changes})
    return Evidence({"http1": seen}, (), has_second_token=False, patience_s=5.0)


@pytest.mark.parametrize(
    ("duration_s", "status", "is_slow"),
    [(0.1, 505, False), (2.49, 505, False), (2.5, 505, True), (4.9, 505, True), (9.0, 0, False)],
)
def test_slow_answers(duration_s: float, status: int, *, is_slow: bool) -> None:
    """An answer that takes half of the default deadline or more needs a decision; no answer has its own finding."""
    found = [each for each in findings(evidence(duration_s=duration_s, http_status=status)) if "took" in each.text]
    assert [each.level.value for each in found] == ["DECIDE"] * is_slow
    assert all(f"took {duration_s:.1f} s of wallet.deadline_default_s = 5 s" in each.text for each in found)


def test_nothing_seen_is_nothing_found() -> None:
    """Findings are about what was seen, whenever the probes ended."""
    assert list(findings(Evidence({}, (), has_second_token=True, patience_s=5.0))) == []


def test_one_section_for_each_code() -> None:
    """Sections stand in the order of the codes; the first proposal for one wins, and all its questions are there."""
    proposals = [
        Proposal(9, ("first?",), GrpcCode.NOT_FOUND, "A"),
        Proposal(7, ("seven?",), GrpcCode.OK),
        Proposal(9, ("second?",), GrpcCode.ABORTED, "B"),
    ]
    assert toml(merged(proposals)) == (
        "# seven?\n[wallet.codes.7]\nsuccess = true\n\n"
        '# first?\n# second?\n[wallet.codes.9]\ngrpc = "NOT_FOUND"\nreason = "A"\n'
    )
