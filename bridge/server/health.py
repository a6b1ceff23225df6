"""The health of the bridge (grpc.health.v1): SERVING, and NOT_SERVING from the start of a drain to the end.

The name `liveness` is for probes that restart a process that hangs. It is SERVING to the very end, in a drain too,
whose calls a restart would cut off; and as the handlers run on the event loop, an answer proves that the loop turns.

Not the servicer of grpcio-health-checking: that one holds a lock while it writes to a watcher, so that a single watcher
that reads nothing (its flow-control window is empty) would keep the bridge from draining for ever.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.server.watches import TooManyWatchesError, Watches

Context = grpc.aio.ServicerContext[Any, Any]
Request = health_pb2.HealthCheckRequest
Response = health_pb2.HealthCheckResponse

NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

WHOLE = ""
"""The name by which the protocol asks for the server as a whole."""

LIVENESS = "liveness"
"""The name by which a liveness probe asks."""


class Health(health_pb2_grpc.HealthServicer):
    """One state for all servers that it is added to. `services`: the full names that can be asked for."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset((WHOLE, LIVENESS, *services))
        self._watches = Watches()
        self._is_leaving = asyncio.Event()
        self._is_closed = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server that has not started answer questions about health."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    def leave(self) -> None:
        """Say NOT_SERVING from now on."""
        self._is_leaving.set()

    def close(self) -> None:
        """End every watch: the server is about to stop."""
        self._is_closed.set()

    async def Check(self, request: Request, context: Context) -> Response:  # noqa: N802 - the name of the rpc
        """Answer once; NOT_FOUND for a service that the bridge does not have."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return self._answer(request.service)

    async def List(self, _request: Any, _context: Context) -> Any:  # noqa: N802 - the name of the rpc
        """Answer for everything at once."""
        statuses = {service: self._answer(service) for service in sorted(self._services)}
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined]  # the stubs are older

    async def Watch(self, request: Request, context: Context) -> AsyncIterator[Response]:  # noqa: N802 - likewise
        """Answer now and at every change. The stream stays open until the caller ends it or the server stops."""
        try:
            with self._watches.one_more(context.peer()):
                async with aclosing(self._answers(request.service)) as answers:
                    async for answer in answers:
                        yield answer
        except TooManyWatchesError:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watches are open; use Check")
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the bridge stops")

    async def _answers(self, service: str) -> AsyncGenerator[Response, None]:
        """Answer now and at every change, until the server stops."""
        if service not in self._services:
            yield Response(status=Response.SERVICE_UNKNOWN)
        else:
            reported = self._answer(service)
            yield reported
            await self._is_leaving.wait()
            if reported != self._answer(service):
                yield self._answer(service)
        await self._is_closed.wait()

    def _answer(self, service: str) -> Response:
        is_leaving = self._is_leaving.is_set() and service != LIVENESS
        return Response(status=Response.NOT_SERVING if is_leaving else Response.SERVING)
