"""Everything that a request must be before the wallet does anything, checked from the outside in.

Written from the wallet's documentation alone, with the standard library alone: it checks what the bridge sends.
What the wallet itself would say is in its words (a JSON body); what a web server before it would say is a page.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NoReturn

from bridge.sandbox.answers import Answer, Headers, failure, page
from bridge.sandbox.operations import Operation
from bridge.sandbox.providers import Provider
from bridge.sandbox.record import Request

BODY_BYTES_MAX = 65_536
"""Largest request body. A terminate has some hundred bytes."""

_JSON = "application/json"


class Refusal(Exception):
    """The request is refused with `answer`. Its text says why and quotes no credential, signature or token."""

    def __init__(self, answer: Answer, why: str, *, is_authorised: bool = False) -> None:
        super().__init__(why)
        self.answer = answer
        self.is_authorised = is_authorised


def find_operation(request: Request, operations: Mapping[str, Operation]) -> Operation:
    """Return the operation that is asked for; raise Refusal for what a web server would not let through."""
    if (operation := operations.get(request.path)) is None:
        _turn_away(HTTPStatus.NOT_FOUND, "there is no operation at this path")
    if request.method != "POST":
        _turn_away(HTTPStatus.METHOD_NOT_ALLOWED, "the method must be POST", (("allow", "POST"),))
    if len(request.body) > BODY_BYTES_MAX:
        _turn_away(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {BODY_BYTES_MAX} bytes")
    _check_length(request)
    if request.header("user-agent") is None:
        _turn_away(HTTPStatus.FORBIDDEN, "user-agent must name the client, once")
    for name in ("content-type", "accept"):
        if request.header(name) != _JSON:
            _turn_away(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{name} must be application/json, once")
    return operation


def _check_length(request: Request) -> None:
    """See that content-length is there and right; raise Refusal (411, 400) otherwise, as many web servers do."""
    length = request.header("content-length")
    if length is None:
        _turn_away(HTTPStatus.LENGTH_REQUIRED, "content-length must be there, once")
    if length != str(len(request.body)):
        _turn_away(HTTPStatus.BAD_REQUEST, "content-length is not the length of the body")


def authenticate(request: Request, providers: Mapping[bytes, Provider]) -> Provider:
    """Return the provider that authorization names with its access key; raise Refusal (401) when there is none.

    `providers` is keyed by the user of HTTP Basic: the decimal text of the provider_id.
    """
    user, access_key = basic_credentials(request.header("authorization"))
    provider = providers.get(user)
    if provider is None or not hmac.compare_digest(access_key, provider.access_key.encode()):
        _refuse(HTTPStatus.UNAUTHORIZED, "authorization names no known provider with its access key")
    return provider


def check_signature(request: Request, provider: Provider) -> None:
    """See that the provider signed this very body; raise Refusal (403) otherwise."""
    signature = request.header("x-request-signature") or ""
    if not hmac.compare_digest(signature.encode("latin-1"), signature_of(request.body, provider).encode()):
        _refuse(HTTPStatus.FORBIDDEN, "x-request-signature is not that of this body with the provider's private key")


def signature_of(body: bytes, provider: Provider) -> str:
    """Return HMAC-SHA256 of the body in lower-case hex, 64 characters (page security/request-signature)."""
    return hmac.new(provider.private_key.encode(), body, hashlib.sha256).hexdigest()


def read_fields(request: Request, operation: Operation, provider: Provider) -> Mapping[str, Any]:
    """Return the body's members, every one of its operation's type; raise Refusal (400, 422, 403) otherwise."""
    members = _json_object(request.body)
    required = operation.fields.keys() - operation.optional_fields
    if missing := sorted(required - members.keys()):
        _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"missing: {', '.join(missing)}", is_authorised=True)
    if unknown := len(members.keys() - operation.fields.keys()):
        _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"{unknown} fields are not the operation's", is_authorised=True)
    for name, value in members.items():
        if not operation.fields[name].accepts(value):
            rule = operation.fields[name].requirement
            _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} must be {rule}", is_authorised=True)
    if members["provider_id"] != provider.provider_id:
        _refuse(HTTPStatus.FORBIDDEN, "provider_id is not the provider that authorization names")
    return members


def basic_credentials(authorization: str | None) -> tuple[bytes, bytes]:
    """Return user and password of HTTP Basic (RFC 7617, section 2); both empty when there are none."""
    scheme, _, encoded = (authorization or "").encode("latin-1").partition(b" ")
    try:
        credentials = base64.b64decode(encoded, validate=True) if scheme.lower() == b"basic" else b""
    except binascii.Error:
        credentials = b""
    user, _, password = credentials.partition(b":")
    return user, password


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        # Refuses a lone surrogate: it has no UTF-8, so that it could not be echoed.
        json.dumps(value, ensure_ascii=False).encode()
    # ValueError covers JSON, UTF-8, surrogates, duplicate names and integers beyond Python's 4300 digits.
    except (ValueError, RecursionError):
        _refuse(HTTPStatus.BAD_REQUEST, "the body is not JSON in UTF-8 with unique names", is_authorised=True)
    if not isinstance(value, dict):
        _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is not a JSON object", is_authorised=True)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _turn_away(status: HTTPStatus, why: str, headers: Headers = ()) -> NoReturn:
    raise Refusal(page(status, headers), why)


def _refuse(status: HTTPStatus, why: str, *, is_authorised: bool = False) -> NoReturn:
    # The wallet's codes for these are not published: 9000 + the HTTP status is the sandbox's own choice.
    raise Refusal(failure(status, 9000 + status, f"Sandbox: {why}."), why, is_authorised=is_authorised)
