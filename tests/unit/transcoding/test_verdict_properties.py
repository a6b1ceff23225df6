"""Whatever the wallet, or a server in its place, answers: a verdict, or one of our errors."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.outcome import BridgeError, GrpcCode, Outcome
from bridge.transcoding.verdict import Verdict
from tests.support.examples import examples
from tests.support.verdict_answers import CODES, DONE, REQUEST, SUCCESS, verdict_on

STATUSES = st.integers(100, 599) | st.sampled_from([200, 204, 302, 401, 404, 429, 500, 503])
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "date", "content-encoding"]), st.text())

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
# JSON texts of values: any, those that fit somewhere, and what is no JSON at all.
TEXTS = st.one_of(
    VALUES.map(json.dumps),
    st.sampled_from([json.dumps(value) for value in SUCCESS.values()]),
    st.sampled_from(["true", "false", "0", "1", "2", "7", "9", "1e3", "-1", str(2**64), "NaN", "01", '"\\ud800"', ""]),
)
NAMES = st.sampled_from([*SUCCESS, "new"])


@st.composite
def near_bodies(draw: st.DrawFn) -> bytes:
    """Return a success or a failure of the wallet with members replaced, removed, added or given twice."""
    names = draw(st.sampled_from([tuple(SUCCESS), ("status", "code", "message", "request_id")]))
    members = [(name, json.dumps(SUCCESS[name])) for name in names]
    for name in draw(st.lists(NAMES, max_size=2)):
        members = [member for member in members if member[0] != name]
    members += draw(st.lists(st.tuples(NAMES, TEXTS), max_size=1))
    replaced = dict(draw(st.lists(st.tuples(NAMES, TEXTS), max_size=2)))
    return ("{" + ",".join(f'"{name}":{replaced.get(name, text)}' for name, text in members) + "}").encode()


BODIES = st.binary() | st.text().map(str.encode) | near_bodies()


def end_of(http_status: int, body: bytes, headers: Mapping[str, str]) -> Verdict | BridgeError:
    """Return how the call ends; any other exception gets through and fails the test."""
    try:
        return verdict_on(http_status, body, headers, codes=CODES)
    except BridgeError as error:
        return error


def holds(end: Verdict | BridgeError, http_status: int) -> None:
    """Check what every end must keep: success only for what was asked, UNAVAILABLE only where that is safe."""
    if isinstance(end, BridgeError):
        assert end.wallet.http_status == http_status
        assert end.outcome in (Outcome.REJECTED, Outcome.UNKNOWN)
        assert not (end.outcome is Outcome.UNKNOWN and end.grpc_code is GrpcCode.UNAVAILABLE)
        assert end.retry_after_s is None or 0 <= end.retry_after_s <= 60
        return
    response: Any = end.response
    assert (http_status, response.code) == (200, 1) or response.code == DONE
    asked = (REQUEST.token, REQUEST.player_id, REQUEST.site_id, REQUEST.provider_id)
    assert (response.token, response.player_id, response.site_id, response.provider_id) == asked


@settings(max_examples=examples(200))
@given(http_status=STATUSES, body=BODIES, headers=HEADERS)
def test_every_answer_ends_as_a_verdict_or_an_error(http_status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Arbitrary status, bytes and headers."""
    holds(end_of(http_status, body, headers), http_status)


@settings(max_examples=examples(500))
@given(http_status=st.sampled_from([200, 200, 200, 400, 500, 503]), body=near_bodies())
def test_an_answer_that_is_nearly_right_ends_likewise(http_status: int, body: bytes) -> None:
    """Mutations of the wallet's own answers, which get further than arbitrary bytes do."""
    holds(end_of(http_status, body, {}), http_status)
