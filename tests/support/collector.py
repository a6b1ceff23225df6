"""A collector for traces that keeps what it gets: OTLP over HTTP, on 127.0.0.1. It refuses the first batch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bridge.sandbox.record import Pulse

REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 10\r\nconnection: close\r\n\r\nnot today\n"
TAKEN = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass
class Collector:
    """What came."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    """The request line and headers of each batch."""
    bodies: list[bytes] = field(default_factory=list)
    """Its spans: ExportTraceServiceRequest, where each string stands as it is."""
    changed: Pulse = field(default_factory=Pulse)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one batch."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = await reader.readexactly(int(fields[b"content-length"]))
            writer.write(TAKEN if self.bodies else REFUSAL)
            self.heads.append(head)
            self.bodies.append(body)
            self.changed.beat()
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector until the context ends."""
    collector = Collector()
    async with await asyncio.start_server(collector.take, "127.0.0.1", 0) as server:
        collector.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield collector
