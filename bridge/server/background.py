"""Background tasks that run as long as the bridge."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from bridge.events import Emit, LogLinesDropped, StateSampled
from bridge.http2.transport import Http2Transport
from bridge.service import BridgeService
from bridge.telemetry.log_writer import LogWriter

SAMPLE_S = 1.0


@asynccontextmanager
async def in_background(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these, which never end by themselves, until the context ends."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def sample(service: BridgeService, transport: Http2Transport, emit: Emit) -> None:
    """Emit the load of the process about once a second."""
    while True:
        await asyncio.sleep(SAMPLE_S)
        emit(
            StateSampled(
                in_flight=service.admission.count,
                queued=service.admission.queued,
                detached=service.detached,
                connections=transport.connections,
                streams=transport.streams,
            )
        )


async def report_dropped(writer: LogWriter, emit: Emit) -> None:
    """Emit the number of dropped log lines, if any, about once a second."""
    reported = 0
    while True:
        await asyncio.sleep(SAMPLE_S)
        if writer.dropped > reported:
            reported, before = writer.dropped, reported
            emit(LogLinesDropped(reported - before))
