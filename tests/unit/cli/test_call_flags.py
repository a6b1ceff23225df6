"""The flags of `bridge call`: built from protos, and what they take."""

import argparse
import os
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from bridge.address import LISTEN
from bridge.cli.call import WALLET_SERVICE, add_arguments
from tests.support.proto_text import HEADER, compile_proto

SECRET = "canary-7d1f"


def parser(service: ServiceDescriptor = WALLET_SERVICE) -> argparse.ArgumentParser:
    """Return a parser with the operations of a service."""
    made = argparse.ArgumentParser(prog="bridge call")
    add_arguments(made, service)
    return made


def fields(*arguments: str) -> dict[str, object]:
    """Return the fields that these flags of `terminate` set."""
    parsed = vars(parser().parse_args(("terminate", *arguments)))
    return {name.removeprefix("field."): value for name, value in parsed.items() if name.startswith("field.")}


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line that refuses these flags of `terminate`."""
    with pytest.raises(SystemExit) as left:
        parser().parse_args(("terminate", *arguments))
    assert left.value.code == 2
    return capsys.readouterr().err.splitlines()[-1].removeprefix("bridge call terminate: error: ")


@given(number=st.integers(0, 2**64 - 1))
def test_every_uint64_is_exact(number: int) -> None:
    """A uint64 flag takes every number of 64 bits as it is."""
    assert fields("--player-id", str(number)) == {"player_id": number}


UINT64 = "argument --player-id: must be uint64, 0 to 18446744073709551615 (player_id: {})"
NOT_WHOLE = UINT64.format("must be a whole number")
OUT_OF_RANGE = UINT64.format("number out of range")

REFUSED = {
    "2^64": ("--player-id=18446744073709551616", OUT_OF_RANGE),
    "-1": ("--player-id=-1", OUT_OF_RANGE),
    "1.0": ("--player-id=1.0", NOT_WHOLE),
    "1e3": ("--player-id=1e3", NOT_WHOLE),
    "empty": ("--player-id=", NOT_WHOLE),
    "underscore": ("--player-id=1_000", NOT_WHOLE),
    "other digits": ("--player-id=\N{ARABIC-INDIC DIGIT ONE}", NOT_WHOLE),
    "5000 digits": ("--player-id=" + "9" * 5000, NOT_WHOLE),
    "not UTF-8": ("--token=\udcff", "argument --token: must be string (not UTF-8)"),
    "no such file": ("--token=@/no/such/file", "argument --token: the file cannot be read: No such file or directory"),
    "an id with a space": ("--call-id=round 7", "argument --call-id: must be 1 to 64 characters of A-Z a-z 0-9 . _ -"),
    "no id": ("--call-id=", "argument --call-id: must be 1 to 64 characters of A-Z a-z 0-9 . _ -"),
    "no port": ("--address=localhost", "argument --address: must be host:port, like 127.0.0.1:50051"),
    "no seconds": ("--deadline-s=soon", "argument --deadline-s: must be seconds, more than 0, at most 3600"),
    "0 seconds": ("--deadline-s=0", "argument --deadline-s: must be seconds, more than 0, at most 3600"),
    "NaN seconds": ("--deadline-s=nan", "argument --deadline-s: must be seconds, more than 0, at most 3600"),
    "too many seconds": ("--deadline-s=inf", "argument --deadline-s: must be seconds, more than 0, at most 3600"),
}


@pytest.mark.parametrize(("argument", "line"), REFUSED.values(), ids=REFUSED)
def test_wrong_value_is_one_line(argument: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that a flag does not take is refused in one line with the flag and what it must be, but not the value."""
    assert refusal(capsys, argument) == line


def test_flags_are_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    """A shortened flag is no flag: today's only match may be another field's tomorrow."""
    assert refusal(capsys, "--tok=x") == "bridge call: error: unrecognized arguments: --tok=x"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["none", "newline", "CRLF"])
def test_value_from_a_file(end: str, tmp_path: Path) -> None:
    """@FILE is the file's text without its line end, so that no token has to stand among the arguments."""
    file = tmp_path / "token"
    file.write_bytes(f" {SECRET}\n{end}".encode())
    assert fields(f"--token=@{file}") == {"token": f" {SECRET}" + ("\n" if end else "")}


def test_value_from_a_pipe() -> None:
    """@ takes a pipe as well, as @/dev/stdin is one."""
    reading, writing = os.pipe()
    os.write(writing, b"42\n")
    os.close(writing)
    assert fields(f"--player-id=@/dev/fd/{reading}") == {"player_id": 42}
    os.close(reading)


def test_file_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not UTF-8 is refused without a word of what is in it."""
    file = tmp_path / "token"
    file.write_bytes(b"\xff" + SECRET.encode())
    assert refusal(capsys, f"--token=@{file}") == "argument --token: must be string (not UTF-8)"


def test_defaults() -> None:
    """Without flags: the bridge's own default address, 5 seconds, and no field set."""
    parsed = parser().parse_args(["terminate"])
    assert (parsed.address, parsed.deadline_s, parsed.json, parsed.dry_run) == (LISTEN, 5.0, False, False)
    assert fields() == {}


PROTO = (
    HEADER
    + """
service Rounds {
  rpc CloseRound(CloseRoundRequest) returns (CloseRoundResponse) {
    option (google.api.http) = { post: "/api/rounds/close" body: "*" };
  }
}
enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GOOD = 1; }
message Player { string name = 1; uint64 id = 2; }
message CloseRoundRequest {
  uint64 provider_id = 1;
  int64 change = 2;
  bool final = 3;
  Mood mood = 4;
  bytes proof = 5;
  google.type.Decimal stake = 6;
  Player player = 7;
  repeated string tags = 8;
  map<string, uint64> scores = 9;
  optional string note = 10;
  string address = 11;
  bool help = 12;
  uint32 field_of_play = 13;
}
message CloseRoundResponse {
  uint64 code = 1;
  string message = 2;
  string request_id = 3;
}
"""
)


@pytest.fixture(scope="module")
def service() -> ServiceDescriptor:
    """Compile a service with fields of every shape."""
    return compile_proto(PROTO).services_by_name["Rounds"]


def request(service: ServiceDescriptor, *arguments: str) -> Message:
    """Return the request that these flags of `close-round` make."""
    parsed = parser(service).parse_args(("close-round", *arguments))
    values = {name.removeprefix("field."): value for name, value in vars(parsed).items() if name.startswith("field.")}
    return GetMessageClass(parsed.operation.request)(**values)


SHAPES = {
    "negative int64": ("--change", str(-(2**63)), {"change": -(2**63)}),
    "bool": ("--final", "true", {"final": True}),
    "enum": ("--mood", "MOOD_GOOD", {"mood": 1}),
    "bytes": ("--proof", "AP8=", {"proof": b"\x00\xff"}),
    "decimal": ("--stake", "0.10", {"stake": {"value": "0.10"}}),
    "message": ("--player", f'{{"name": "x", "id": {2**64 - 1}}}', {"player": {"name": "x", "id": 2**64 - 1}}),
    "repeated": ("--tags", '["a", "b"]', {"tags": ["a", "b"]}),
    "map": ("--scores", '{"a": 1}', {"scores": {"a": 1}}),
    "optional, empty": ("--note", "", {"note": ""}),
    "a name of the command's own": ("--field-address", "here", {"address": "here"}),
    "a name of argparse's": ("--field-help", "true", {"help": True}),
    "several words": ("--field-of-play", "7", {"field_of_play": 7}),
}


@pytest.mark.parametrize(("flag", "value", "expected"), SHAPES.values(), ids=SHAPES)
def test_every_shape_has_a_flag(flag: str, value: str, expected: dict[str, object], service: ServiceDescriptor) -> None:
    """Every field of every proto that the engine takes can be set by a flag of its name, without code of its own."""
    made = request(service, flag, value)
    assert made == type(made)(**expected)


NO_JSON = {
    "no JSON": ("--tags", "a", "not JSON"),
    "nothing": ("--tags", "", "not JSON"),
    "two values": ("--final", "true,false", "not JSON"),
    "a second member": ("--final", 'true,"other":1', "not JSON"),
    "out of the object": ("--final", 'true},{"value":true', "not JSON"),
    "the wrong type": ("--tags", "[1.5]", "tags: must be a string"),
    "inside a message": ("--player", '{"id":-1}', "player.id: number out of range"),
}


@pytest.mark.parametrize(("flag", "value", "flaw"), NO_JSON.values(), ids=NO_JSON)
def test_wrong_json_is_one_line(
    flag: str, value: str, flaw: str, service: ServiceDescriptor, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that is not the JSON of its field is refused in one line that says where it is wrong."""
    with pytest.raises(SystemExit):
        request(service, flag, value)
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"bridge call close-round: error: argument {flag}: must be JSON of ")
    assert line.endswith(f" ({flaw})")


@given(value=st.text())
def test_any_text_is_a_token_or_refused(value: str) -> None:
    """No text as a flag's value ends in anything but a field or a refusal."""
    if value.startswith("@"):
        value = f"_{value}"
    assert fields(f"--token={value}") == {"token": value}


def test_help_is_built_from_the_proto(service: ServiceDescriptor, capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows every field's flag with its type, and where the operation goes."""
    with pytest.raises(SystemExit):
        parser(service).parse_args(["--help"])
    assert "wallet.test.Rounds/CloseRound, POST /api/rounds/close" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        parser(service).parse_args(["close-round", "--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert "--provider-id UINT64 provider_id: uint64, 0 to 18446744073709551615" in help_text
    assert "--mood ENUM mood: wallet.test.Mood" in help_text
    assert "--tags JSON tags: JSON of repeated string" in help_text
