"""A native server with a test's own handlers, and a channel to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from bridge.server.native.server import NativeServer
from tests.support.whole_path import CHANNEL_OPTIONS

REQUEST_BYTES_MAX, METADATA_BYTES_MAX, STREAMS_MAX = 1000, 2000, 1200
OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.max_concurrent_streams", STREAMS_MAX),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
)
SERVICE = "test.Service"
DEADLINE_S = 60.0
"""No test waits for it: a call that hangs ends as DEADLINE_EXCEEDED, which no test expects."""

unary: Any = grpc.unary_unary_rpc_method_handler
"""The handler of a method that answers once."""
stream: Any = grpc.unary_stream_rpc_method_handler
"""The handler of a method that answers with a stream."""


@asynccontextmanager
async def native(handlers: Mapping[str, Any]) -> AsyncIterator[tuple[NativeServer, grpc.aio.Channel]]:
    """Serve these handlers, method by method, and open a channel with a connection of its own."""
    server = NativeServer(OPTIONS)
    server.add_registered_method_handlers(SERVICE, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
            yield server, channel
    finally:
        await server.stop(None)


def call(channel: grpc.aio.Channel, method: str, request: bytes = b"", answer: str = "unary", **arguments: Any) -> Any:
    """Begin a call that is answered once, or with a stream."""
    begin: Any = getattr(channel, f"unary_{answer}")(f"/{SERVICE}/{method}")
    return begin(request, **{"timeout": DEADLINE_S, **arguments})


async def status_of(begun: Any) -> tuple[str, str]:
    """Wait for a call to end; return its code and its message."""
    return (await begun.code()).name, await begun.details()
