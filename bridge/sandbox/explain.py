"""Explanation of a request, check by check: what was expected, what came, and where the two part. Pure.

The likely mistakes of a wrong signature are tried out: people who write a client meet them in their first hour.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from bridge.sandbox.checks import (
    Refusal,
    authenticate,
    basic_credentials,
    check_signature,
    find_operation,
    read_fields,
    signature_of,
)
from bridge.sandbox.providers import Provider
from bridge.sandbox.record import Request
from bridge.sandbox.wallet import Wallet

CHECKS = ("request", "authorization", "signature", "body")
"""The checks in their order; the first that fails decides the answer."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The signature that was expected beside the one that came."""

    expected: str
    received: str
    differs_at: int | None
    """The index of the first character that differs; None where they are equal."""
    mistake: str = ""
    """The likely cause in words; "" where it is not known."""
    signed: str | None = None
    """Content that was signed in place of the body, as text; None where it was the body, or is not known."""


@dataclass(frozen=True, slots=True)
class Step:
    """One check and its end."""

    check: str
    """One of CHECKS."""
    passed: bool | None
    """None for a check that was not reached."""
    text: str
    signature: Comparison | None = None
    """For the check "signature" where the provider is known."""


def explain(request: Request, wallet: Wallet) -> tuple[Step, ...]:
    """Return what each check of the wallet said about a request, one Step for each of CHECKS."""
    steps: list[Step] = []
    try:
        for step in _passed(request, wallet):
            steps.append(step)  # noqa: PERF402 -- those before the refusal are kept
    except Refusal as no:
        check = CHECKS[len(steps)]
        comparison = compare(request, authenticate(request, wallet.providers)) if check == "signature" else None
        text = _unknown(request, wallet) if check == "authorization" else str(no)
        steps.append(Step(check, passed=False, text=text, signature=comparison))
    return (*steps, *(Step(check, passed=None, text="not reached") for check in CHECKS[len(steps) :]))


def _passed(request: Request, wallet: Wallet) -> Iterator[Step]:
    operation = find_operation(request, wallet.operations)
    yield Step("request", passed=True, text=f"POST {request.path}, with the headers that it needs")
    provider = authenticate(request, wallet.providers)
    yield Step("authorization", passed=True, text=f"provider {provider.provider_id} with its access key")
    check_signature(request, provider)
    text = f"HMAC-SHA256 of these {len(request.body)} bytes with the provider's private key"
    yield Step("signature", passed=True, text=text, signature=compare(request, provider))
    read_fields(request, operation, provider)
    yield Step("body", passed=True, text="every field is there and of its type")


def _unknown(request: Request, wallet: Wallet) -> str:
    """Return why authorization names no provider; of its content the user alone is shown."""
    value = request.header("authorization")
    if value is None:
        return "the header authorization must be there, once"
    user, _ = basic_credentials(value)
    if not user:
        return "authorization must be Basic and base64 of provider_id:access_key (RFC 7617)"
    if user in wallet.providers:
        return f"the access key is not that of provider {user.decode('ascii')}"
    known = ", ".join(str(provider.provider_id) for provider in wallet.providers.values())
    return f"the user of authorization is no provider of this sandbox, which has {known}"


def compare(request: Request, provider: Provider) -> Comparison:
    """Return the expected signature of a request beside the one that came."""
    expected, received = signature_of(request.body, provider), request.header("x-request-signature") or ""
    if expected == received:
        return Comparison(expected, received, None)
    pairs = enumerate(zip_longest(expected, received))
    differs_at = next(index for index, (wanted, came) in pairs if wanted != came)
    mistake, signed = _mistake(request, provider, received)
    return Comparison(
        expected, received, differs_at, mistake, None if signed is None else signed.decode(errors="replace")
    )


def _mistake(request: Request, provider: Provider, received: str) -> tuple[str, bytes | None]:
    count = sum(name == "x-request-signature" for name, _ in request.headers)
    if count != 1:
        return f"the header x-request-signature is there {count} times: it must be there once", None
    found = (
        (text, None if signed == request.body else signed)
        for signature, text, signed in _mistakes(request.body, provider)
        if signature == received
    )
    return next(found, ("", None))


def _mistakes(body: bytes, provider: Provider) -> Iterator[tuple[str, str, bytes]]:
    """Yield wrong signatures that clients really send, each with its cause and what was signed."""
    right = signature_of(body, provider)
    digest = bytes.fromhex(right)
    yield right.upper(), "the hex digits are in upper case: they must be in lower case", body
    yield f"sha256={right}", "a prefix stands before the hex digits: there must be none", body
    yield base64.b64encode(digest).decode(), "the signature is in base64: it must be in hex", body
    yield base64.urlsafe_b64encode(digest).decode(), "the signature is in base64: it must be in hex", body
    yield hashlib.sha256(body).hexdigest(), "the body is hashed without a key: HMAC-SHA256 with the private key", body
    for key, text in _wrong_keys(provider):
        yield _hmac(key, body), text, body
    for changed, text in _other_bodies(body):
        yield _hmac(provider.private_key.encode(), changed), text, changed


def _wrong_keys(provider: Provider) -> Iterator[tuple[bytes, str]]:
    yield provider.access_key.encode(), "the body is signed with the access key: it must be the private key"
    key = provider.private_key
    yield key.replace("-", "").encode(), "the dashes of the private key are left out: the key is its text as it stands"
    yield key.upper().encode(), "the private key is in upper case: the key is its text as it stands"
    yield f"{key}\n".encode(), "a line break follows the private key, perhaps from its file"
    try:
        yield (
            bytes.fromhex(key.replace("-", "")),
            "the private key is decoded to bytes: the key is its text as it stands",
        )
    except ValueError:
        return


def _other_bodies(body: bytes) -> Iterator[tuple[bytes, str]]:
    yield b"", "an empty body is signed: sign the bytes that are sent"
    yield body + b"\n", "a line break follows the body that is signed: sign the bytes that are sent"
    yield body.strip(), "white space around the body is not signed: sign the bytes that are sent"
    try:
        value = json.loads(body)
        texts = [
            json.dumps(value, ensure_ascii=escapes, separators=separators, sort_keys=is_sorted)
            for escapes in (False, True)
            for separators in ((",", ":"), (", ", ": "))
            for is_sorted in (False, True)
        ]
        others = [text.encode() for text in texts]
    except (ValueError, RecursionError, TypeError):
        return
    for other in others:
        yield other, "the JSON is signed in another form than it is sent: serialise once, sign and send the same bytes"


def _hmac(key: bytes, body: bytes) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()
