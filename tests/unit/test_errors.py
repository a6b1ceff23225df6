"""The tree of failures: what each leaf promises, and that its drawing in the docstring is the tree."""

import re
from collections.abc import Iterator

import pytest
from google.rpc import code_pb2

from bridge import errors
from bridge.errors import WalletRejected, WalletUnreachable, leaves
from bridge.outcome import BridgeError, ByCode, GrpcCode, Outcome, WalletFacts
from wallet.v1 import wallet_error_pb2

LEAVES = leaves()
NAMES = [leaf.__name__ for leaf in LEAVES]
REASON = re.compile(r"[A-Z][A-Z0-9_]+[A-Z0-9]")  # google.rpc.ErrorInfo.reason
each_leaf = pytest.mark.parametrize("leaf", LEAVES, ids=NAMES)

# docs/design/contract.md, "Failures": reason -> (gRPC code, outcomes). WALLET_REJECTED's code: test_verdict.py.
CONTRACT = {
    "INVALID_REQUEST": ("INVALID_ARGUMENT", {"NOT_SENT"}),
    "PROVIDER_NOT_CONFIGURED": ("FAILED_PRECONDITION", {"NOT_SENT"}),
    "CALLER_NOT_ALLOWED": ("PERMISSION_DENIED", {"NOT_SENT"}),
    "DEADLINE_TOO_SHORT": ("DEADLINE_EXCEEDED", {"NOT_SENT"}),
    "BRIDGE_OVERLOADED": ("RESOURCE_EXHAUSTED", {"NOT_SENT"}),
    "BRIDGE_DRAINING": ("UNAVAILABLE", {"NOT_SENT"}),
    "WALLET_UNREACHABLE": ("UNAVAILABLE", {"NOT_SENT"}),
    "WALLET_NOT_PROCESSED": ("UNAVAILABLE", {"NOT_PROCESSED"}),
    "WALLET_TIMEOUT": ("DEADLINE_EXCEEDED", {"UNKNOWN"}),
    "WALLET_CONNECTION_LOST": ("UNKNOWN", {"UNKNOWN"}),
    "WALLET_GATEWAY_ERROR": ("UNKNOWN", {"UNKNOWN"}),
    "WALLET_UNAVAILABLE": ("UNAVAILABLE", {"REJECTED"}),
    "WALLET_THROTTLED": ("RESOURCE_EXHAUSTED", {"REJECTED"}),
    "WALLET_AUTH_REJECTED": ("INTERNAL", {"REJECTED"}),
    "WALLET_ENDPOINT": ("INTERNAL", {"REJECTED"}),
    "WALLET_UNKNOWN_ERROR": ("UNKNOWN", {"UNKNOWN"}),
    "WALLET_REJECTED": (None, {"REJECTED", "UNKNOWN"}),
    "WALLET_INCONSISTENT": ("INTERNAL", {"UNKNOWN"}),
    "WALLET_ECHO_MISMATCH": ("DATA_LOSS", {"UNKNOWN"}),
    "WALLET_RESPONSE_INVALID": ("INTERNAL", {"UNKNOWN"}),
    "BRIDGE_FAULT": ("INTERNAL", {"NOT_SENT", "UNKNOWN"}),
}


def drawn(kind: type[BridgeError] = BridgeError, depth: int = 1) -> Iterator[str]:
    """Yield the lines of the tree below this class as the docstring draws them: indentation and name."""
    yield f"{'  ' * (depth + 1)}{kind.__name__}"
    for child in kind.__subclasses__():
        if child is not ByCode:
            yield from drawn(child, depth + 1)


def test_the_docstring_draws_the_tree() -> None:
    """Every class stands in the drawing at its place, and nothing else does; the mixin is no failure."""
    lines = re.findall(r"^( {4,}[A-Za-z]+)(?:  .*)?$", errors.__doc__ or "", re.MULTILINE)
    assert lines == list(drawn())


@pytest.mark.parametrize("reason", CONTRACT)
def test_each_row_of_the_contract_has_its_class(reason: str) -> None:
    """Reason, gRPC code and outcome are those of docs/design/contract.md."""
    code, outcomes = CONTRACT[reason]
    named = [leaf for leaf in LEAVES if leaf.reason == reason]
    assert {leaf.outcome.name for leaf in named} == outcomes
    assert code is None or {leaf.grpc_code.name for leaf in named} == {code}


def test_there_is_no_failure_beside_the_contract() -> None:
    """The table of docs/design/contract.md is the whole table."""
    assert {leaf.reason for leaf in LEAVES} == set(CONTRACT) == errors.REASONS


@each_leaf
def test_a_leaf_says_what_happened(leaf: type[BridgeError]) -> None:
    """A reason that ErrorInfo allows, a code that is no success, and a short ASCII text without a line end."""
    assert REASON.fullmatch(leaf.reason)
    assert len(leaf.reason) <= 63
    assert leaf.grpc_code is not GrpcCode.OK
    assert leaf.summary.isascii()
    assert leaf.summary.isprintable()
    assert 20 <= len(leaf.summary) <= 300


def test_the_text_of_an_error_is_reason_and_cause() -> None:
    """What str() gives holds nothing of a caller or a wallet."""
    assert str(WalletUnreachable()) == "WALLET_UNREACHABLE"
    assert str(WalletUnreachable(cause="dns")) == "WALLET_UNREACHABLE: dns"
    assert "secret" not in str(WalletRejected(wallet=WalletFacts(message="secret")))


def test_grpc_codes_are_googles() -> None:
    """GrpcCode has the names and numbers of google.rpc.Code."""
    assert {code.name: code.value for code in GrpcCode} == dict(code_pb2.Code.items())


def test_outcomes_are_those_of_the_proto() -> None:
    """Outcome has the numbers of wallet.v1.Outcome; what is never sent has no name here."""
    proto = {name.removeprefix("OUTCOME_"): number for name, number in wallet_error_pb2.Outcome.items()}
    assert {outcome.name: outcome.value for outcome in Outcome} | {"UNSPECIFIED": 0} == proto
