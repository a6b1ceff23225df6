"""The explanation of a request: which check said what, and what is wrong with a signature."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sandbox import OPERATIONS, SAMPLE_PROVIDERS
from bridge.sandbox.explain import CHECKS, Comparison, explain
from bridge.sandbox.record import Request
from bridge.sandbox.wallet import Wallet
from tests.unit.sandbox.test_sandbox import (
    ACCESS_KEY,
    EXAMPLE_BODY,
    EXAMPLE_SIGNATURE,
    PRIVATE_KEY,
    basic,
    body_of,
    request_of,
)

WALLET = Wallet(SAMPLE_PROVIDERS, OPERATIONS)


def signed(body: bytes = EXAMPLE_BODY, key: bytes = PRIVATE_KEY.encode()) -> str:
    """Return the signature of a body, in hex."""
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def compared(request: Request) -> Comparison:
    """Return what is said of a request's signature."""
    (found,) = [step.signature for step in explain(request, WALLET) if step.signature]
    return found


@pytest.mark.parametrize(
    ("request_", "failed", "text"),
    [
        (request_of(EXAMPLE_BODY), None, ""),
        (request_of(EXAMPLE_BODY, accept=None), "request", "accept must be application/json, once"),
        (request_of(EXAMPLE_BODY, authorization=None), "authorization", "the header authorization must be there, once"),
        (request_of(EXAMPLE_BODY, authorization="Bearer x"), "authorization", "authorization must be Basic and base64"),
        (
            request_of(EXAMPLE_BODY, authorization=basic("2:x")),
            "authorization",
            "no provider of this sandbox, which has",
        ),
        (request_of(EXAMPLE_BODY, authorization=basic("1:x")), "authorization", "access key is not that of provider 1"),
        (request_of(EXAMPLE_BODY, x_request_signature="0" * 64), "signature", "is not that of this body"),
        (request_of(body_of(player_id="1")), "body", "player_id must be an integer"),
    ],
    ids=["good", "accept", "no authorization", "bearer", "unknown", "access key", "signature", "body"],
)
def test_the_check_that_fails(request_: Request, failed: str | None, text: str) -> None:
    """Checks before the one that fails have passed, those after it were not reached, and it says why."""
    steps = explain(request_, WALLET)
    at = CHECKS.index(failed) if failed else len(CHECKS)
    assert tuple(step.check for step in steps) == CHECKS
    assert [step.passed for step in steps] == [True] * at + [False, *[None] * (3 - at)][: 4 - at]
    assert not failed or text in steps[at].text


OTHER_FORM = json.dumps(json.loads(EXAMPLE_BODY)).encode()
SORTED = json.dumps(json.loads(EXAMPLE_BODY), separators=(",", ":"), sort_keys=True).encode()
DIGEST = bytes.fromhex(EXAMPLE_SIGNATURE)

# What a client sends, a part of what it receives, and what it has signed in place of the body.
MISTAKES: dict[str, tuple[str | None, str, bytes | None]] = {
    "missing": (None, "is there 0 times", None),
    "upper case": (EXAMPLE_SIGNATURE.upper(), "upper case", None),
    "prefix": (f"sha256={EXAMPLE_SIGNATURE}", "prefix", None),
    "base64": (base64.b64encode(DIGEST).decode(), "base64", None),
    "base64 for URLs": (base64.urlsafe_b64encode(DIGEST).decode(), "base64", None),
    "no key": (hashlib.sha256(EXAMPLE_BODY).hexdigest(), "without a key", None),
    "access key": (signed(key=ACCESS_KEY.encode()), "signed with the access key", None),
    "no dashes": (signed(key=PRIVATE_KEY.replace("-", "").encode()), "dashes", None),
    "decoded key": (signed(key=bytes.fromhex(PRIVATE_KEY.replace("-", ""))), "decoded to bytes", None),
    "key in upper case": (signed(key=PRIVATE_KEY.upper().encode()), "private key is in upper case", None),
    "line break after the key": (signed(key=f"{PRIVATE_KEY}\n".encode()), "line break follows the private key", None),
    "line break after the body": (signed(EXAMPLE_BODY + b"\n"), "line break follows the body", EXAMPLE_BODY + b"\n"),
    "no body": (signed(b""), "an empty body is signed", b""),
    "JSON with spaces": (signed(OTHER_FORM), "another form", OTHER_FORM),
    "JSON in another order": (signed(SORTED), "another form", SORTED),
    "unknown": ("0" * 64, "", None),
}


@pytest.mark.parametrize(("sent", "text", "instead"), MISTAKES.values(), ids=MISTAKES)
def test_the_likely_mistake(sent: str | None, text: str, instead: bytes | None) -> None:
    """The usual mistakes of a signature are recognised, each with what was signed; any other is said to be unknown."""
    found = compared(request_of(EXAMPLE_BODY, x_request_signature=sent))
    assert (found.expected, found.received) == (EXAMPLE_SIGNATURE, sent or "")
    assert text in found.mistake
    assert bool(found.mistake) == bool(text)
    assert found.signed == (None if instead is None else instead.decode())


@pytest.mark.parametrize("at", [0, 1, 63])
def test_the_first_difference(at: int) -> None:
    """The first character that differs is named; a signature that is cut differs where it ends."""
    other = "0" if EXAMPLE_SIGNATURE[at] != "0" else "1"
    changed = EXAMPLE_SIGNATURE[:at] + other + EXAMPLE_SIGNATURE[at + 1 :]
    assert compared(request_of(EXAMPLE_BODY, x_request_signature=changed)).differs_at == at
    assert compared(request_of(EXAMPLE_BODY, x_request_signature=EXAMPLE_SIGNATURE[:at] or "")).differs_at == at
    assert compared(request_of(EXAMPLE_BODY)).differs_at is None


@given(st.binary(max_size=200), st.text(st.characters(max_codepoint=255), max_size=80))
def test_any_request_is_explained(body: bytes, signature: str) -> None:
    """Whatever is sent, the explanation agrees with the wallet's decision, and never fails itself."""
    request = request_of(body, x_request_signature=signature)
    received, _ = WALLET.decide(request)
    failed = [step for step in explain(request, WALLET) if step.passed is False]
    assert bool(failed) == bool(received.refusal)
