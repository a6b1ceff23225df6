"""Server reflection over sockets, v1 and v1alpha alike: what is found, how errors are reported, and how streams end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2

from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from bridge.server import reflection as server_reflection
from bridge.server.reflection import METHOD, NAMES, REQUESTS_MAX, Reflection
from tests.support.engines import on_both_engines
from tests.support.whole_path import bridge_to, until

pytestmark = [on_both_engines, pytest.mark.parametrize("name", NAMES)]

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


def stream(channel: grpc.aio.Channel, name: str) -> Any:
    """Open a reflection stream by the service's name."""
    ask = channel.stream_stream(f"/{name}/{METHOD}", Request.SerializeToString, Response.FromString)
    return ask()


async def answers(name: str, requests: Iterable[Request]) -> list[Response]:
    """Ask a bridge all of these on one stream, one after the other."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        call, found = stream(caller.channel, name), []
        for request in requests:
            await call.write(request)
            found.append(await call.read())
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK
    return found


def files_in(response: Response) -> list[str]:
    """Return the names of the files in an answer, in order."""
    found = response.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(file).name for file in found]


SERVICE_FILE = "wallet/v1/wallet_service.proto"
SYMBOLS = {
    "wallet.v1.WalletService": SERVICE_FILE,
    ".wallet.v1.WalletService": SERVICE_FILE,
    "wallet.v1.WalletService.Terminate": SERVICE_FILE,
    "wallet.v1.WalletService/Terminate": SERVICE_FILE,
    "/wallet.v1.WalletService/Terminate": SERVICE_FILE,
    "wallet.v1.TerminateRequest": SERVICE_FILE,
    "wallet.v1.TerminateRequest.provider_id": SERVICE_FILE,
    "wallet.v1.Outcome": "wallet/v1/wallet_error.proto",
    "wallet.v1.OUTCOME_UNKNOWN": "wallet/v1/wallet_error.proto",
    "wallet.v1.echo": "wallet/v1/options.proto",
    "google.rpc.ErrorInfo": "google/rpc/error_details.proto",
    "google.api.HttpRule.pattern": "google/api/http.proto",
    "grpc.health.v1.Health.Watch": "grpc_health/v1/health.proto",
    "grpc.reflection.v1.ServerReflection": server_reflection.STABLE_FILE,
    "grpc.reflection.v1.ServerReflection.ServerReflectionInfo": server_reflection.STABLE_FILE,
    "grpc.reflection.v1.ServerReflectionRequest": server_reflection.STABLE_FILE,
    "grpc.reflection.v1alpha.ServerReflection": reflection_pb2.DESCRIPTOR.name,
}


async def test_symbols(name: str) -> None:
    """Every kind of symbol is found, methods in each way that tools write them: first its file, then all it imports."""
    found = await answers(name, [Request(file_containing_symbol=symbol) for symbol in SYMBOLS])
    assert dict(zip(SYMBOLS, [files_in(each)[0] for each in found], strict=True)) == SYMBOLS
    for each in found:
        protos = [FileDescriptorProto.FromString(f) for f in each.file_descriptor_response.file_descriptor_proto]
        names = [proto.name for proto in protos]
        assert len(names) == len(set(names))
        assert {imported for proto in protos for imported in proto.dependency} <= set(names)


async def test_other_questions(name: str) -> None:
    """Files by their names, extensions by number, all numbers of a type, and the services."""
    extension = reflection_pb2.ExtensionRequest(containing_type="google.protobuf.FieldOptions", extension_number=50001)
    by_file, by_stable, by_extension, numbers, none, services = await answers(
        name,
        [
            Request(file_by_filename="wallet/v1/options.proto"),
            Request(file_by_filename=server_reflection.STABLE_FILE),
            Request(file_containing_extension=extension),
            Request(all_extension_numbers_of_type="google.protobuf.FieldOptions"),
            Request(all_extension_numbers_of_type="wallet.v1.TerminateRequest"),
            Request(list_services="*"),
        ],
    )
    assert files_in(by_file)[0] == "wallet/v1/options.proto"
    assert files_in(by_stable) == [server_reflection.STABLE_FILE]
    assert files_in(by_extension)[0] == "wallet/v1/options.proto"
    assert numbers.all_extension_numbers_response.base_type_name == "google.protobuf.FieldOptions"
    assert {1052, 50001} <= set(numbers.all_extension_numbers_response.extension_number)
    assert list(none.all_extension_numbers_response.extension_number) == []
    assert [service.name for service in services.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "wallet.v1.WalletService",
    ]


NOT_FOUND, INVALID_ARGUMENT = 5, 3
WRONG = {
    "a file": (Request(file_by_filename="no/such.proto"), NOT_FOUND),
    "a symbol": (Request(file_containing_symbol="wallet.v1.Nothing"), NOT_FOUND),
    "a package": (Request(file_containing_symbol="wallet.v1"), NOT_FOUND),
    "a method": (Request(file_containing_symbol="wallet.v1.WalletService.Nothing"), NOT_FOUND),
    "an empty symbol": (Request(file_containing_symbol=""), NOT_FOUND),
    "a NUL": (Request(file_containing_symbol="wallet.v1.WalletService\0"), NOT_FOUND),
    "an extended type": (
        Request(file_containing_extension=reflection_pb2.ExtensionRequest(containing_type="no.Type")),
        NOT_FOUND,
    ),
    "an extension": (
        Request(
            file_containing_extension=reflection_pb2.ExtensionRequest(
                containing_type="google.protobuf.FieldOptions", extension_number=-1
            )
        ),
        NOT_FOUND,
    ),
    "a type": (Request(all_extension_numbers_of_type="no.Type"), NOT_FOUND),
    "nothing": (Request(host="anyone"), INVALID_ARGUMENT),
}


async def test_errors_are_answers(name: str) -> None:
    """What is not there is an error response with the request in it, and the stream goes on to the next one."""
    requests = [request for request, _ in WRONG.values()]
    found = await answers(name, [*requests, Request(host="h", list_services="")])
    codes = {kind: each.error_response.error_code for kind, each in zip(WRONG, found[:-1], strict=True)}
    assert codes == {kind: code for kind, (_, code) in WRONG.items()}
    assert [each.original_request for each in found[:-1]] == requests
    assert found[-1].WhichOneof("message_response") == "list_services_response"
    assert (found[-1].valid_host, found[-1].original_request.host) == ("h", "h")


async def test_a_description_can_be_used(name: str) -> None:
    """The files of v1's own description build, and describe a service whose messages are those that were sent."""
    (found,) = await answers(name, [Request(file_containing_symbol=NAMES[0])])
    pool = DescriptorPool()
    for file in found.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(file)
    method = pool.FindMethodByName(f"{NAMES[0]}.{METHOD}")
    shape = [(field.name, field.number, field.type) for field in method.output_type.fields]
    assert shape == [(field.name, field.number, field.type) for field in Response.DESCRIPTOR.fields]
    assert method.output_type.file.package == "grpc.reflection.v1"


@asynccontextmanager
async def patient_for(seconds: float, name: str) -> AsyncIterator[tuple[Reflection, grpc.aio.Channel]]:
    """Serve reflection alone, with so much patience for silence."""
    server, reflection = grpc.aio.server(), Reflection([name], seconds)
    reflection.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield reflection, channel
    await server.stop(None)


async def test_a_silent_stream_ends(name: str) -> None:
    """A stream on which nothing is asked for too long ends as OK, and leaves nothing behind."""
    async with patient_for(0.1, name) as (reflection, channel):
        call = stream(channel, name)
        assert await call.code() == grpc.StatusCode.OK
        await until(lambda: not reflection._streams)


async def test_a_stream_that_ends_twice(name: str) -> None:
    """A stream whose time is up in the moment of a drain ends once, and the drain goes on."""
    async with patient_for(20, name) as (reflection, channel):
        call = stream(channel, name)
        await until(lambda: bool(reflection._streams))
        reflection.close()
        (patience,) = reflection._streams
        while not patience.expired():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)
        reflection.close()
        assert await call.code() == grpc.StatusCode.OK


async def test_a_caller_who_reads_nothing_ends(name: str) -> None:
    """A stream whose answers are not read ends too: it waits no longer for that than for a question."""
    async with patient_for(0.5, name) as (reflection, channel):
        call = stream(channel, name)
        # On a machine that stops for so long the stream ends before, by the caller's own silence.
        with contextlib.suppress(asyncio.InvalidStateError):
            for _ in range(100):
                await call.write(Request(file_containing_symbol="wallet.v1.WalletService"))
        await until(lambda: not reflection._streams)


@pytest.mark.short("grpcio-grpc.reflection.v1.ServerReflection", "native-grpc.reflection.v1alpha.ServerReflection")
async def test_a_stream_has_so_many_requests(name: str) -> None:
    """After its last one it ends as OK, so that a tool which goes on opens another."""
    async with patient_for(20, name) as (_, channel):
        call = stream(channel, name)
        for _ in range(REQUESTS_MAX):
            await call.write(Request(list_services=""))
            assert await call.read() != grpc.aio.EOF
        assert await call.code() == grpc.StatusCode.OK


async def test_there_are_so_many_streams(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is RESOURCE_EXHAUSTED, of either version; when one ends, the next one is served."""
    monkeypatch.setattr(server_reflection, "STREAMS_MAX", 3)
    async with patient_for(20, name) as (reflection, channel):
        calls = [stream(channel, NAMES[number % 2]) for number in range(3)]
        await until(lambda: len(reflection._streams) == 3)
        assert await stream(channel, name).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        calls[0].cancel()
        await until(lambda: len(reflection._streams) == 2)
        call = stream(channel, name)
        await call.write(Request(list_services=""))
        assert (await call.read()).list_services_response.service
        for each in (*calls, call):
            each.cancel()


async def test_a_drain_does_not_wait_for_streams(name: str) -> None:
    """An open stream ends with the drain, as OK, and not by the grace of the server's end."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        call = stream(caller.channel, name)
        await call.write(Request(list_services=""))
        await call.read()
        draining = asyncio.create_task(caller.bridge.drain(0.05))
        assert await call.code() == grpc.StatusCode.OK
        await draining
