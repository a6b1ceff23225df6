"""The annotations of a proto become operations; what the engine cannot carry out is refused when the bridge starts."""

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from bridge.transcoding.operation import ContractError, Operation, operations
from tests.support.proto_text import HEADER, compile_proto
from wallet.v1 import settlement_service_pb2, wallet_service_pb2

# A contract that works. Each case of a refusal changes one piece of it.
PROTO = (
    HEADER
    + """
service Asking {
  rpc Ask(AskRequest) returns (AskResponse) {
    option (google.api.http) = { post: "/ask" body: "*" };
  }
}
message Place { string name = 1; }
message AskRequest {
  uint64 provider_id = 1;
  string token = 2;
  repeated uint64 numbers = 3;
  Place place = 4;
}
message AskResponse {
  uint64 code = 1;
  string message = 2;
  string request_id = 3;
  string token = 4 [(wallet.v1.echo) = true];
  repeated uint64 numbers = 5 [(wallet.v1.echo) = true];
  Place place = 6 [(wallet.v1.echo) = true];
  string note = 7;
}
"""
)

OPTION = 'option (google.api.http) = { post: "/ask" body: "*" };'
SETTLE = "option (wallet.v1.settle) = true;"
NOT_IDEMPOTENT = "wallet.test.Asking.Ask: is settled, so it must have option idempotency_level = IDEMPOTENT"
ENVELOPE = "wallet.test.AskResponse: must have a field"
UNARY = "wallet.test.Asking.Ask: a wallet call is unary; remove `stream`"
BINDING = 'wallet.test.Asking.Ask: must have option (google.api.http) = { post: "/a/fixed/path" body: "*" }'
PROVIDER = "wallet.test.AskRequest: must have a field `uint64 provider_id`"


def binding(text: str) -> str:
    """Return the option with another binding."""
    return f"option (google.api.http) = {{ {text} }};"


def no_echo(name: str) -> str:
    """Return the refusal of an echo that cannot be one."""
    return f"wallet.test.AskResponse.{name}: echoes a field that wallet.test.AskRequest has not, or not as this type"


# What is changed, into what, and what the refusal says.
REFUSALS = {
    "a stream of requests": ("Ask(AskRequest)", "Ask(stream AskRequest)", UNARY),
    "a stream of responses": ("returns (AskResponse)", "returns (stream AskResponse)", UNARY),
    "settled but not idempotent": (OPTION, f"{OPTION}{SETTLE}", NOT_IDEMPOTENT),
    "settled but of unknown idempotency": (
        OPTION,
        f"{OPTION}option idempotency_level = IDEMPOTENCY_UNKNOWN; {SETTLE}",
        NOT_IDEMPOTENT,
    ),
    "settled but no operation": (
        OPTION,
        "option idempotency_level = IDEMPOTENT; option (wallet.v1.settle) = true;",
        "wallet.test.Asking.Ask: is settled but is no operation; add option (google.api.http)",
    ),
    "an empty binding": (OPTION, "option (google.api.http) = {};", BINDING),
    "another verb": (OPTION, binding('get: "/ask"'), BINDING),
    "no body": (OPTION, binding('post: "/ask"'), BINDING),
    "one field as body": (OPTION, binding('post: "/ask" body: "token"'), BINDING),
    "a path template": (OPTION, binding('post: "/ask/{token}" body: "*"'), BINDING),
    "a wildcard in the path": (OPTION, binding('post: "/ask/*" body: "*"'), BINDING),
    "a query in the path": (OPTION, binding('post: "/ask?a=1" body: "*"'), BINDING),
    "an empty path": (OPTION, binding('post: "" body: "*"'), BINDING),
    "a relative path": (OPTION, binding('post: "ask" body: "*"'), BINDING),
    "a part of the response": (OPTION, binding('post: "/ask" body: "*" response_body: "note"'), BINDING),
    "a second path": (OPTION, binding('post: "/ask" body: "*" additional_bindings { post: "/b" body: "*" }'), BINDING),
    "no provider_id": ("uint64 provider_id = 1;", "", PROVIDER),
    "provider_id a string": ("uint64 provider_id = 1;", "string provider_id = 1;", PROVIDER),
    "provider_id too small": ("uint64 provider_id = 1;", "uint32 provider_id = 1;", PROVIDER),
    "provider_id repeated": ("uint64 provider_id = 1;", "repeated uint64 provider_id = 1;", PROVIDER),
    "no code": ("uint64 code = 1;", "", f"{ENVELOPE} `uint64 code`"),
    "code signed": ("uint64 code = 1;", "int64 code = 1;", f"{ENVELOPE} `uint64 code`"),
    "no message": ("string message = 2;", "", f"{ENVELOPE} `string message`"),
    "no request_id": ("string request_id = 3;", "", f"{ENVELOPE} `string request_id`"),
    "request_id as bytes": ("string request_id = 3;", "bytes request_id = 3;", f"{ENVELOPE} `string request_id`"),
    "an echo of nothing": ("string note = 7;", "string note = 7 [(wallet.v1.echo) = true];", no_echo("note")),
    "an echo of another type": ("string token = 2;", "bytes token = 2;", no_echo("token")),
    "an echo of many by one": ("string token = 2;", "repeated string token = 2;", no_echo("token")),
    "an echo of another message": ("Place place = 4;", "AskRequest place = 4;", no_echo("place")),
}


def service(text: str = PROTO) -> ServiceDescriptor:
    """Return the service of this proto."""
    return compile_proto(text).services_by_name["Asking"]


def test_terminate_is_read_from_its_proto() -> None:
    """The wallet's page "Terminate" stands in protos/: path, idempotency and the four fields that come back."""
    found = operations(wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"])
    assert {one.method: one for one in found}["Terminate"] == Operation(
        service="wallet.v1.WalletService",
        method="Terminate",
        path="/api/wallet/terminate",
        idempotent=True,
        echoes=("token", "player_id", "site_id", "provider_id"),
        settles=True,
        secret="token",
        request=wallet_service_pb2.TerminateRequest.DESCRIPTOR,
        response=wallet_service_pb2.TerminateResponse.DESCRIPTOR,
    )


def test_another_contract_is_read_likewise() -> None:
    """Nothing about Terminate is built in: any service with the same annotations has operations."""
    asking = service()
    (ask,) = operations(asking)
    assert (ask.service, ask.method, ask.path) == ("wallet.test.Asking", "Ask", "/ask")
    assert ask.echoes == ("token", "numbers", "place")
    assert (ask.request, ask.response) == (asking.methods[0].input_type, asking.methods[0].output_type)


@pytest.mark.parametrize(
    ("level", "idempotent"),
    [
        ("", False),
        ("option idempotency_level = IDEMPOTENCY_UNKNOWN;", False),
        ("option idempotency_level = IDEMPOTENT;", True),
        ("option idempotency_level = NO_SIDE_EFFECTS;", True),
    ],
    ids=["not said", "unknown", "idempotent", "no side effects"],
)
def test_idempotency_is_the_protos_own_option(level: str, *, idempotent: bool) -> None:
    """Only an rpc that says so may be retried after an unknown outcome."""
    (ask,) = operations(service(PROTO.replace(OPTION, OPTION + level)))
    assert ask.idempotent is idempotent


def test_operations_come_in_the_order_of_the_proto() -> None:
    """A service may have any number of rpcs, each with its own path."""
    again = OPTION.replace("/ask", "/v2/ask-again.now")
    second = f"rpc Again(AskRequest) returns (AskResponse) {{ {again} }}"
    found = operations(service(PROTO.replace("service Asking {", f"service Asking {{ {second}")))
    assert [(one.method, one.path) for one in found] == [("Again", "/v2/ask-again.now"), ("Ask", "/ask")]


def test_an_rpc_without_a_rest_path_is_no_operation() -> None:
    """The bridge's own rpcs may stand beside the wallet's in one service, with whatever messages they need."""
    own = "rpc Own(Place) returns (stream Place) { option idempotency_level = NO_SIDE_EFFECTS; }"
    found = operations(service(PROTO.replace("service Asking {", f"service Asking {{ {own}")))
    assert [one.method for one in found] == ["Ask"]


def test_the_settlement_service_has_no_operations() -> None:
    """What asks about settlements is answered by the bridge and never sent to the wallet."""
    assert operations(settlement_service_pb2.DESCRIPTOR.services_by_name["SettlementService"]) == ()


@pytest.mark.parametrize("level", ["IDEMPOTENT", "NO_SIDE_EFFECTS"])
def test_settling_is_an_option_of_idempotent_operations(level: str) -> None:
    """An operation is settled by the bridge only where its proto says so."""
    option = f"{OPTION} option idempotency_level = {level};"
    (plain,) = operations(service(PROTO.replace(OPTION, option)))
    (settled,) = operations(service(PROTO.replace(OPTION, f"{option} option (wallet.v1.settle) = true;")))
    assert (plain.settles, settled.settles) == (False, True)


@pytest.mark.parametrize(("piece", "change", "text"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_work_is_refused(piece: str, change: str, text: str) -> None:
    """The refusal names the place and what is wanted there."""
    assert PROTO.count(piece) == 1
    changed = service(PROTO.replace(piece, change))
    with pytest.raises(ContractError) as refusal:
        operations(changed)
    assert str(refusal.value) == text
