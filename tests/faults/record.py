"""What a fault server saw: plain values that a test compares, and a way to wait for them without sleeping."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast


class Pulse:
    """Lets tasks wait for a condition: it is checked again after every beat."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Something happened: everybody who waits looks again."""
        self._next.set()
        self._next = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; without a limit of its own."""
        while not condition():
            await self._next.wait()


@dataclass(frozen=True)
class Received:
    """One request. `connection` counts accepted connections from 1; header names and values are latin-1 text."""

    connection: int
    stream_id: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The body's JSON object, integers exact. ValueError for a body that is no JSON."""
        return cast("dict[str, Any]", json.loads(self.body))

    @property
    def token(self) -> str:
        """The body's token, which names a call in these tests; empty without one."""
        return str(self.fields.get("token", ""))


@dataclass(frozen=True)
class Reset:
    """A RST_STREAM frame from the client."""

    connection: int
    stream_id: int
    error_code: int


@dataclass(frozen=True)
class Goaway:
    """A GOAWAY frame from the client."""

    connection: int
    last_stream_id: int
    error_code: int


@dataclass(eq=False, kw_only=True)
class Record:
    """Everything that happened at the server so far. Lists only grow; a test may clear them."""

    requests: list[Received] = field(default_factory=list, init=False)
    """Requests given to a behaviour, in that order; not those that a GOAWAY disowned."""
    processed: list[str] = field(default_factory=list, init=False)
    """Tokens of the requests whose effect took place, whatever the client got to see of it."""
    resets: list[Reset] = field(default_factory=list, init=False)
    """Streams that the client reset."""
    goaways: list[Goaway] = field(default_factory=list, init=False)
    """GOAWAY frames that the client sent."""
    client_errors: list[Exception] = field(default_factory=list, init=False)
    """Violations of HTTP/2 by the client, as h2 judges; each closed its connection."""
    calmed: int = field(default=0, init=False)
    """Connections that the server has closed because the client reset too many streams."""
    handshake_errors: list[OSError] = field(default_factory=list, init=False)
    """TLS handshakes that failed."""
    connections: int = field(default=0, init=False)
    """TCP connections accepted so far, whatever became of them."""
    pings: int = field(default=0, init=False)
    """PING frames that the client sent; its answers to ours are not counted."""
    ignored_streams: int = field(default=0, init=False)
    """Streams that the client opened above the last one of our GOAWAY."""
    received_bytes: int = field(default=0, init=False)
    """Bytes that clients sent, after decryption; 0 proves that no part of a request left."""
    changed: Pulse = field(default_factory=Pulse, init=False)
    """Beats whenever one of the above may have changed."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` over this record holds, for example `lambda: len(server.requests) == 3`."""
        await self.changed.until(condition)
