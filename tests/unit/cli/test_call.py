"""`bridge call`: what it sends and how it prints an answer, over a fake channel and over a real socket."""

import asyncio
import io
import json
import socket
from decimal import Decimal

import pytest
from google.type.decimal_pb2 import Decimal as ProtoDecimal

from bridge.cli.call import run
from bridge.cli.call_output import answer_text
from bridge.sandbox import serve
from tests.support.command_runs import parsed
from tests.support.fake_channel import EXAMPLE, Terminated
from tests.support.proto_text import HEADER, compile_proto, message_class
from tests.support.whole_path import TOKEN, bridge_to, terminate_request
from wallet.v1.wallet_service_pb2 import TerminateRequest, TerminateResponse

RUNTIMES = "grpc.metadata_added_by_runtime"
"""What the fake channel adds to every call's metadata."""


def test_flags_become_the_request() -> None:
    """The flags of the wallet page's example make exactly its request, and no metadata goes along."""
    call = Terminated(*EXAMPLE, "--address", "[::1]:7")
    assert TerminateRequest.FromString(call.request) == terminate_request()
    assert call.addresses == ["[::1]:7"]
    assert [name for name, _ in call.metadata] == [RUNTIMES]


def test_absent_flags_are_unset_fields() -> None:
    """A call without flags is sent too: how the bridge refuses it is worth seeing."""
    assert Terminated().request == b""


ANSWER = TerminateResponse(
    code=1,
    request_id="89aac521",
    player_id=2**64 - 1,
    game_id="example",
    balance=ProtoDecimal(value="123456789012345678.901234567891"),
)


def test_answer_is_printed_by_field() -> None:
    """An answer is a line for each set field in the order of the proto, numbers exact, and exit code 0."""
    call = Terminated(response=ANSWER)
    assert call.exit_code == 0
    assert call.text == (
        "code: 1\n"
        "request_id: 89aac521\n"
        "player_id: 18446744073709551615\n"
        "game_id: example\n"
        "balance: 123456789012345678.901234567891\n"
        "wallet-call-id: call-7\n"
    )


def test_answer_as_json() -> None:
    """With --json an answer is one object whose numbers are bare and exact."""
    call = Terminated("--json", response=ANSWER)
    assert json.loads(call.text, parse_float=Decimal) == {
        "code": 1,
        "request_id": "89aac521",
        "player_id": 2**64 - 1,
        "game_id": "example",
        "balance": Decimal("123456789012345678.901234567891"),
        "@call_id": "call-7",
    }


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["text", "json"])
def test_an_answer_without_an_id(arguments: tuple[str, ...]) -> None:
    """What answers without the trailer, an older bridge or a stand-in, is printed without an id."""
    assert "call" not in Terminated(*arguments, response=ANSWER, trailers=()).text


def test_the_id_is_sent() -> None:
    """--call-id goes out as x-request-id, and nothing else does."""
    sent = {name: value for name, value in Terminated("--call-id", "round-7").metadata if name != RUNTIMES}
    assert sent == {"x-request-id": "round-7"}


def test_balance_that_is_no_number_stays_text() -> None:
    """A balance that is no JSON number, from something that is no bridge of ours, does not break the JSON."""
    call = Terminated("--json", response=TerminateResponse(balance=ProtoDecimal(value='1}"')))
    assert json.loads(call.text)["balance"] == '1}"'


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["text", "json"])
def test_answer_that_cannot_be_read(arguments: tuple[str, ...]) -> None:
    """Bytes that are no response are reported in one line that names the address and the type."""
    call = Terminated(*arguments, response=b"\xff")
    assert (call.exit_code, call.text.count("\n")) == (1, 1)
    assert "127.0.0.1:50051: the answer is no wallet.v1.TerminateResponse" in call.text


SHAPES = """
enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GOOD = 1; }
message Player { string name = 1; int64 id = 2; }
message Answer {
  bool final = 1;
  repeated Player players = 2;
  map<string, bytes> proofs = 3;
  repeated Mood moods = 4;
  optional string note = 5;
  repeated google.type.Decimal stakes = 6;
}
"""


def test_answer_of_any_shape() -> None:
    """An answer of any proto is printed, each value with its path; an enum's number without a name stays a number."""
    answer = message_class(compile_proto(HEADER + SHAPES), "Answer")(
        final=True,
        players=[{"name": "x", "id": -1}, {"name": "y"}],
        proofs={"b": b"\xff", "a": b""},
        moods=[1, 7],
        note="",
        stakes=[{"value": "0.10"}],
    )
    assert answer_text(answer, as_json=False).splitlines() == [
        "final: true",
        "players[0].name: x",
        "players[0].id: -1",
        "players[1].name: y",
        "proofs.a: ",
        "proofs.b: /w==",
        "moods[0]: MOOD_GOOD",
        "moods[1]: 7",
        "note: ",
        "stakes[0]: 0.10",
    ]
    assert answer_text(answer, as_json=True) == (
        '{"final":true,"players":[{"name":"x","id":-1},{"name":"y"}],"proofs":{"a":"","b":"/w=="},'
        '"moods":["MOOD_GOOD",7],"note":"","stakes":[0.10]}'
    )


def called(*arguments: str) -> tuple[int, str]:
    """Run `bridge call terminate` over a channel of its own, patiently; return exit code and text."""
    out = io.StringIO()
    return run(parsed("call", "terminate", "--deadline-s=60", *arguments), out=out), out.getvalue()


async def test_real_answer() -> None:
    """The wallet page's example goes through a real bridge to a wallet and comes back."""
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        arguments = (*EXAMPLE, "--call-id", "round-7", "--address", caller.bridge.address)
        exit_code, text = await asyncio.to_thread(called, *arguments)
    assert exit_code == 0
    assert text.startswith("code: 1\nrequest_id: ")
    assert text.endswith(
        f"\ntoken: {TOKEN}\nplayer_id: 1\ngame_id: example\nsite_id: 1\nprovider_id: 1\nbalance: 22085.75\n"
        "wallet-call-id: round-7\n"
    )


async def test_no_proxy_comes_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names gets no call, and so no token, to read."""
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        exit_code, _ = await asyncio.to_thread(called, *EXAMPLE, "--address", caller.bridge.address)
    assert exit_code == 0


async def test_real_failure() -> None:
    """A failure's details and trailers arrive over a real channel too."""
    arguments = (*EXAMPLE, "--token", "test-echo-player", "--call-id", "round-7")
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        exit_code, text = await asyncio.to_thread(called, *arguments, "--address", caller.bridge.address)
    assert exit_code == 1
    assert text.startswith("code: DATA_LOSS\nmessage: WALLET_ECHO_MISMATCH: ")
    assert "\nwallet.v1.WalletError:\n  outcome: OUTCOME_UNKNOWN\n" in text
    assert "\nwallet-call-id: round-7\n" in text
    assert text.endswith("\ngrpc-retry-pushback-ms: -1\n")


async def test_deadline_is_the_calls() -> None:
    """--deadline-s ends the call: an answer that comes later is not waited for."""
    arguments = (*EXAMPLE, "--token", "test-slow-20000", "--deadline-s", "0.3")
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        exit_code, text = await asyncio.to_thread(called, *arguments, "--address", caller.bridge.address)
    assert exit_code == 1
    assert text.startswith("code: DEADLINE_EXCEEDED\n")


def test_no_bridge_there() -> None:
    """Where nothing listens, one line names the address and says what to do."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused, and not anyone else's
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        exit_code, text = called(*EXAMPLE, "--address", address)
        _, as_json = called(*EXAMPLE, "--address", address, "--json")
    assert (exit_code, text.count("\n")) == (1, 1)
    assert text.startswith(f"{address}: no answer from a bridge (")
    assert text.endswith("); is `bridge serve` running there?\n")
    assert json.loads(as_json)["code"] == "UNAVAILABLE"
