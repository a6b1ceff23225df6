"""Statuses of refusals, which are built once and get each call's id: the same as if they were rebuilt."""

import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BridgeDraining, BridgeOverloaded
from bridge.outcome import BridgeError
from bridge.transcoding.status import REFUSALS, rich_status, wire_status

CALL_IDS = st.text(st.sampled_from("abcXYZ019._-"), min_size=1, max_size=64)
ERRORS = st.one_of(
    st.builds(BridgeDraining),
    st.builds(
        BridgeOverloaded,
        cause=st.sampled_from(["", "queue", "provider", "no_message"]),
        retry_after_s=st.sampled_from([None, 0.5, 1.0]),
    ),
)


@given(ERRORS, CALL_IDS)
def test_a_refusal_is_the_same_as_a_new_one(error: BridgeError, call_id: str) -> None:
    """Details, message and trailers of a refusal have this call's id, whatever ids came before it."""
    code, message, trailers = wire_status(error, call_id)
    again = rich_status(error, call_id)
    found = dict(trailers)
    details = found["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    assert Status.FromString(details) == again
    assert (code, message, found["wallet-call-id"]) == (again.code, again.message, call_id)
    assert ("wallet-safe-to-repeat" in found) == isinstance(error, BridgeDraining)


@pytest.mark.parametrize("call_id", ["", "a", "~" * 64])
def test_any_text_as_an_id(call_id: str) -> None:
    """An id that no caller can have is no harm either."""
    again = rich_status(BridgeDraining(), call_id)
    assert wire_status(BridgeDraining(), call_id).trailers[0] == ("grpc-status-details-bin", again.SerializeToString())


def test_the_refusals_are_those_of_admission() -> None:
    """Nothing that an answer of the wallet, an attempt or a violation belongs to is among them."""
    assert {BridgeOverloaded, BridgeDraining} == REFUSALS
