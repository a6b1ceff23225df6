"""Server reflection (grpc/grpc, doc/server-reflection.md): grpc.reflection.v1 and v1alpha from one implementation.

The two differ in nothing but the package's name. grpcio-reflection has the messages of v1alpha only, and a servicer
that finds no methods: its messages are used for both, its servicer is not. The descriptor of v1 is made from v1alpha's.

A stream costs little and ends by itself, after so many requests or so long a silence; the tool opens another.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default, DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2

Context = grpc.aio.ServicerContext[Any, Any]
Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse
FoundT = TypeVar("FoundT")

ALPHA, STABLE = "grpc.reflection.v1alpha", "grpc.reflection.v1"
STABLE_FILE = "grpc/reflection/v1/reflection.proto"
SERVICE, METHOD = "ServerReflection", "ServerReflectionInfo"
NAMES = tuple(f"{package}.{SERVICE}" for package in (STABLE, ALPHA))

STREAMS_MAX = 100
"""Open streams at once, of both versions."""
REQUESTS_MAX = 1000
"""Requests of one stream."""
SILENCE_MAX_S = 60.0
"""Seconds from one answer that has been sent to the next, on one stream."""

UNKNOWN, UNASKED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT


class Reflection:
    """Answers about these services and every file that the process has loaded. `silence_max_s` is for tests."""

    def __init__(self, services: Iterable[str], silence_max_s: float = SILENCE_MAX_S) -> None:
        self._services = sorted({*services, *NAMES})
        self._silence_max_s = silence_max_s
        self._files = _Files(Default(), _stable_pool())
        self._streams: set[asyncio.Timeout] = set()
        # By the field of the request's oneof that is set.
        self._answers: dict[str, Callable[[Any], Response]] = {
            "file_by_filename": lambda name: _files_answer(self._files.named(name)),
            "file_containing_symbol": lambda name: _files_answer(self._files.with_symbol(name)),
            "file_containing_extension": self._file_containing_extension,
            "all_extension_numbers_of_type": self._all_extension_numbers,
            "list_services": self._list_services,
        }

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server that has not started answer, under both names."""
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self.converse, Request.FromString, Response.SerializeToString
        )
        for name in NAMES:
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {METHOD: handler}),))
            server.add_registered_method_handlers(name, {METHOD: handler})

    def close(self) -> None:
        """End every stream: the server is about to stop."""
        for patience in self._streams:
            _wait_for(patience, 0.0)

    async def converse(self, requests: AsyncIterator[Request], context: Context) -> None:
        """Answer a stream's requests in order. RESOURCE_EXHAUSTED where too many streams are open."""
        if len(self._streams) >= STREAMS_MAX:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many reflection streams are open: close some")
        patience, count = asyncio.timeout(self._silence_max_s), 0
        self._streams.add(patience)
        try:
            async with patience:
                async for request in requests:
                    await context.write(self.answer(request))
                    _wait_for(patience, self._silence_max_s)
                    count += 1
                    if count == REQUESTS_MAX:
                        break
        except TimeoutError:
            pass  # the stream ends as OK: nothing is wrong, and nothing is unanswered
        finally:
            self._streams.discard(patience)

    def answer(self, request: Request) -> Response:
        """Return the answer to one request, or the error in its place; each holds the request that it answers."""
        asked = request.WhichOneof("message_request")
        try:
            response = self._answers[asked](getattr(request, asked)) if asked else _error(UNASKED)
        except KeyError:
            response = _error(UNKNOWN)
        response.valid_host = request.host
        response.original_request.CopyFrom(request)
        return response

    def _file_containing_extension(self, asked: Any) -> Response:
        return _files_answer(self._files.with_extension(asked.containing_type, asked.extension_number))

    def _all_extension_numbers(self, type_name: str) -> Response:
        numbers = self._files.extension_numbers(type_name)
        found = reflection_pb2.ExtensionNumberResponse(base_type_name=type_name, extension_number=numbers)
        return Response(all_extension_numbers_response=found)

    def _list_services(self, _content: str) -> Response:
        services = [reflection_pb2.ServiceResponse(name=name) for name in self._services]
        return Response(list_services_response=reflection_pb2.ListServiceResponse(service=services))


class _Files:
    """The files of several pools; where more than one has an answer, the first. KeyError for what none has.

    An answer is the file in question, then all that it imports, each once.
    """

    def __init__(self, *pools: DescriptorPool) -> None:
        self._pools = pools

    def named(self, name: str) -> list[bytes]:
        """Return the file of this name."""
        return _with_imports(self._first(lambda pool: pool.FindFileByName(name)))

    def with_symbol(self, name: str) -> list[bytes]:
        """Return the file that declares this full name: of a service, method, message, field, enum or extension.

        A method may be written as in the path of its calls, with a slash, and a name may begin with a dot or slash.
        """
        name = name.replace("/", ".").removeprefix(".")
        finders: tuple[Callable[[DescriptorPool], FileDescriptor], ...] = (
            lambda pool: pool.FindFileContainingSymbol(name),
            lambda pool: pool.FindMethodByName(name).containing_service.file,
            lambda pool: pool.FindOneofByName(name).containing_type.file,
        )
        return _with_imports(self._first(*finders))

    def with_extension(self, type_name: str, number: int) -> list[bytes]:
        """Return the file that declares this extension of a message type."""
        found = self._first(lambda pool: pool.FindExtensionByNumber(pool.FindMessageTypeByName(type_name), number))
        return self.with_symbol(found.full_name)

    def extension_numbers(self, type_name: str) -> list[int]:
        """Return the numbers of all known extensions of a message type, the lowest first."""
        found = self._first(lambda pool: pool.FindAllExtensions(pool.FindMessageTypeByName(type_name)))
        return sorted(extension.number for extension in found)

    def _first(self, *finders: Callable[[DescriptorPool], FoundT]) -> FoundT:
        for pool in self._pools:
            for find in finders:
                try:
                    return find(pool)
                except KeyError:
                    continue
        raise KeyError


def _wait_for(patience: asyncio.Timeout, seconds: float) -> None:
    # One whose time is up refuses to be changed, although its task has not noticed yet.
    if not patience.expired():
        patience.reschedule(asyncio.get_running_loop().time() + seconds)


def _with_imports(file: FileDescriptor) -> list[bytes]:
    found = {each.name: each.serialized_pb for each in _imports(file, set())}
    return list(found.values())


def _imports(file: FileDescriptor, seen: set[str]) -> Iterator[FileDescriptor]:
    if file.name not in seen:
        seen.add(file.name)
        yield file
        for imported in file.dependencies:
            yield from _imports(imported, seen)


def _stable_pool() -> DescriptorPool:
    """Return a pool with the file of v1: that of v1alpha under the other name."""
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name, file.package = STABLE_FILE, STABLE
    file.ClearField("options")  # they name v1alpha in other languages' packages
    for field in (field for message in file.message_type for field in message.field if field.type_name):
        field.type_name = field.type_name.replace(f".{ALPHA}.", f".{STABLE}.")
    for method in (method for service in file.service for method in service.method):
        method.input_type = method.input_type.replace(f".{ALPHA}.", f".{STABLE}.")
        method.output_type = method.output_type.replace(f".{ALPHA}.", f".{STABLE}.")
    pool = DescriptorPool()
    pool.Add(file)
    return pool


def _files_answer(files: list[bytes]) -> Response:
    return Response(file_descriptor_response=reflection_pb2.FileDescriptorResponse(file_descriptor_proto=files))


def _error(status: grpc.StatusCode) -> Response:
    code, text = status.value
    return Response(error_response=reflection_pb2.ErrorResponse(error_code=code, error_message=text))
