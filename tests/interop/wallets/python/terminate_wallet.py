"""The wallet's decisions for every server in Python. See README.md of tests/interop for what every wallet does."""

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Mapping

PATH = "/api/wallet/terminate"
JSON = "application/json"
SLOW_S = float(os.environ["INTEROP_SLOW_S"])

_AUTHORIZATION = os.environ["INTEROP_AUTHORIZATION"]
_PRIVATE_KEY = os.environ["INTEROP_PRIVATE_KEY"].encode()
_SUCCESS = b'{"code":1,"status":true,"message":"","request_id":"r","balance":1.50,'
_REFUSAL = b'{"code":3,"status":false,"message":"refused"}'
_TOKEN = re.compile(rb'"token":"([^"]*)"')
# One write of a file that is open for appending: lines never mix.
_LEDGER = os.open(os.environ["INTEROP_LEDGER"], os.O_WRONLY | os.O_APPEND)


def answer(headers: Mapping[str, str], body: bytes) -> tuple[int, bytes, bool]:
    """Record a request; return the answer's status and body, and whether it is to wait SLOW_S.

    Names in `headers` are in lower case.
    """
    found = _TOKEN.search(body)
    token = found[1] if found else b"none"
    fault = _fault(headers, body)
    os.write(_LEDGER, b"%b %b %b\n" % (token, fault, base64.b64encode(body)))
    if fault != b"-":
        return 401, _REFUSAL, False
    return 200, _SUCCESS + body[1:], b"slow" in token


def _fault(headers: Mapping[str, str], body: bytes) -> bytes:
    if headers.get("content-length") != str(len(body)):
        return b"content-length"
    if headers.get("authorization") != _AUTHORIZATION:
        return b"authorization"
    signature = hmac.new(_PRIVATE_KEY, body, hashlib.sha256).hexdigest()
    return b"-" if headers.get("x-request-signature") == signature else b"signature"
