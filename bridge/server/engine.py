"""Engines that carry gRPC: `server.engine` -> factory of its servers. Handlers, health and drain are independent."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import grpc.aio

from bridge.server.first_message import GrpcioServer
from bridge.server.listeners import Options

Engine = Callable[[Options], grpc.aio.Server]
"""Makes a server with these limits, which has neither handlers nor a port yet."""


def _grpcio(options: Options) -> grpc.aio.Server:
    return GrpcioServer(options)


def _native(options: Options) -> grpc.aio.Server:
    from bridge.server.native.server import NativeServer  # noqa: PLC0415 - an extra, which need not be installed

    return NativeServer(options)


ENGINES: Mapping[str, Engine] = MappingProxyType({"grpcio": _grpcio, "native": _native})
"""By the names that the setting may have."""
