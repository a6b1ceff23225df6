"""A new operation is a proto and nothing else: fields of every kind go through the whole path without new code."""

import json
from typing import Any

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.engines import on_both_engines
from tests.support.proto_text import HEADER, compile_proto
from tests.support.whole_path import Failure, bridge_to, end_of

pytestmark = on_both_engines

PROTO = (
    HEADER
    + """
service BonusService {
  rpc Grant(GrantRequest) returns (GrantResponse) {
    option (google.api.http) = { post: "/api/wallet/bonus/grant" body: "*" };
  }
}
enum Kind { KIND_UNSPECIFIED = 0; KIND_SPIN = 1; KIND_CASH = 2; }
message Player {
  uint64 id = 1 [(google.api.field_behavior) = REQUIRED];
  optional string nickname = 2;
}
message GrantRequest {
  uint64 provider_id = 1 [(google.api.field_behavior) = REQUIRED];
  Player player = 2 [(google.api.field_behavior) = REQUIRED];
  Kind kind = 3;
  repeated string tags = 4;
  bool silent = 5;
  int64 offset = 6;
  bytes proof = 7;
  map<string, int64> limits = 8;
  optional string note = 9;
  google.type.Decimal amount = 10 [(google.api.field_behavior) = REQUIRED];
  repeated Player friends = 11;
}
message GrantResponse {
  uint64 code = 1;
  string message = 2;
  string request_id = 3;
  uint64 provider_id = 4 [(wallet.v1.echo) = true];
  Player player = 5 [(wallet.v1.echo) = true];
  repeated string tags = 6 [(wallet.v1.echo) = true];
  Kind kind = 7;
  int64 offset = 8;
  bytes proof = 9;
  map<string, int64> limits = 10;
  optional bool silent = 11;
  google.type.Decimal amount = 12;
  repeated Player friends = 13;
}
"""
)

PLAYER: dict[str, Any] = {"id": 2**64 - 1, "nickname": "Zoë"}
REQUEST: dict[str, Any] = {
    "provider_id": 1,
    "player": PLAYER,
    "kind": "KIND_CASH",
    "tags": ["a", "b"],
    "silent": True,
    "offset": -(2**63),
    "proof": b"\x00\xff",
    "limits": {"day": 10, "month": -5},
    "amount": {"value": "0.10"},
    "friends": [{"id": 7}],
}

# The text, not a parsed form: the order of fields, bare 64-bit numbers and the exact decimal are the point.
BODY = (
    '{"provider_id":1,"player":{"id":18446744073709551615,"nickname":"Zoë"},"kind":"KIND_CASH","tags":["a","b"],'
    '"silent":true,"offset":-9223372036854775808,"proof":"AP8=","limits":{"day":10,"month":-5},"amount":0.10,'
    '"friends":[{"id":7}]}'
).encode()


@pytest.fixture(scope="module")
def proto() -> FileDescriptor:
    """Compile the test's own proto once."""
    return compile_proto(PROTO)


def message(proto: FileDescriptor, name: str, **fields: Any) -> Message:
    """Build one of the proto's messages."""
    return GetMessageClass(proto.message_types_by_name[name])(**fields)


async def grant(proto: FileDescriptor, wallet: FaultServer, **changes: Any) -> Any:
    """Call Grant with REQUEST, changed."""
    response_type = GetMessageClass(proto.message_types_by_name["GrantResponse"])
    services = [proto.services_by_name["BonusService"]]
    async with bridge_to(wallet.url, services=services) as caller:
        call: Any = caller.channel.unary_unary(
            "/wallet.test.BonusService/Grant", lambda sent: sent.SerializeToString(), response_type.FromString
        )
        return await end_of(call(message(proto, "GrantRequest", **(REQUEST | changes))))


def retrying(**changes: Any) -> Behaviour:
    """Answer with success and the request's own fields, changed."""

    async def behaviour(stream: Stream) -> None:
        envelope = {"status": True, "code": 1, "message": "", "request_id": "r"}
        body = (
            json.dumps(envelope | stream.request.fields | changes)
            .encode()
            .replace(b'"amount": 0.1,', b'"amount": 0.10,')
        )
        await stream.respond(200, body)

    return behaviour


async def test_every_kind_of_field_both_ways(proto: FileDescriptor) -> None:
    """Nested, enum, repeated, bool, int64, bytes, map, optional and decimal fields leave and return exactly."""
    async with FaultServer(retrying()) as wallet:
        end = await grant(proto, wallet)
        (received,) = wallet.requests
    assert received.body == BODY
    assert dict(received.headers)[":path"] == "/api/wallet/bonus/grant"
    assert end.code == "OK"
    fields = {name: value for name, value in REQUEST.items() if name != "note"}
    assert end.response == message(proto, "GrantResponse", code=1, request_id="r", **fields)


async def test_nested_violations(proto: FileDescriptor) -> None:
    """What is wrong inside a nested or repeated message is named by its path."""
    changes = {"player": {"nickname": "x" * 4097}, "friends": [{"id": 1}, {}], "amount": {"value": "1,5"}}
    async with FaultServer(retrying()) as wallet:
        end = await grant(proto, wallet, **changes)
        assert wallet.connections == 0
    violations = (
        ("player.id", "is required"),
        ("player.nickname", "is longer than 4096 bytes"),
        ("amount", "must be the decimal text of a number of 0 or more, like 12.50"),
        ("friends[1].id", "is required"),
    )
    Failure("INVALID_ARGUMENT", "INVALID_REQUEST", "NOT_SENT", violations=violations, attempts=0).check(end)


WRONG: dict[str, dict[str, Any]] = {"nested": {"player": {"id": 5, "nickname": "Zoë"}}, "repeated": {"tags": ["a"]}}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
async def test_echo_of_composite_fields(proto: FileDescriptor, changes: dict[str, Any]) -> None:
    """An echo of a nested or repeated field is compared as a whole."""
    async with FaultServer(retrying(**changes)) as wallet:
        end = await grant(proto, wallet)
    assert (end.code, end.error_info.metadata["cause"]) == ("DATA_LOSS", next(iter(changes)))


async def test_operation_that_is_not_idempotent(proto: FileDescriptor) -> None:
    """Without idempotency_level a call of unknown outcome is never repeated, nor "already done" a success."""

    async def gone(stream: Stream) -> None:
        stream.connection.abort()

    services = [proto.services_by_name["BonusService"]]
    settings = {"WALLET__RETRY_UNKNOWN": "true", "WALLET__CODES__7__SUCCESS": "true"}
    async with FaultServer(gone) as wallet, bridge_to(wallet.url, settings, services=services) as caller:
        call: Any = caller.channel.unary_unary("/wallet.test.BonusService/Grant")
        request = message(proto, "GrantRequest", **REQUEST).SerializeToString()
        assert (await end_of(call(request))).error_info.reason == "WALLET_CONNECTION_LOST"
        assert len(wallet.requests) == 1
        wallet.behaviour = retrying(status=False, code=7)
        assert (await end_of(call(request))).error_info.reason == "WALLET_REJECTED"
