"""Record of what a server saw: plain values that a test compares, and a way to wait for them without sleeping."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

_Entry = TypeVar("_Entry")


class Pulse:
    """Lets tasks wait for a condition: it is checked again after every beat."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Wake everybody who waits: something happened."""
        self._next.set()
        self._next = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; without a limit of its own."""
        while not condition():
            await self._next.wait()


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP/2 request. Its repr shows no credential, signature, token or body."""

    connection: int
    """The number of the connection, which counts from 1."""
    stream_id: int
    headers: list[tuple[str, str]] = field(repr=False)
    """As they came: names in lower case, HTTP/2's pseudo-headers first, all as latin-1 text."""
    body: bytes = field(repr=False)
    """As received, cut after the server's `body_bytes_max`."""

    @property
    def method(self) -> str:
        """The method; empty where there is none."""
        return self._pseudo_header(":method")

    @property
    def path(self) -> str:
        """The path with its query, escapes and all; empty where there is none."""
        return self._pseudo_header(":path")

    @property
    def fields(self) -> dict[str, Any]:
        """The body's JSON object, integers exact. ValueError for a body that is no JSON."""
        return cast("dict[str, Any]", json.loads(self.body))

    @property
    def token(self) -> str:
        """The body's token, unchecked; empty without one. ValueError for a body that is no JSON."""
        return str(self.fields.get("token", ""))

    def header(self, name: str) -> str | None:
        """Return the value of a header that must be there once; None if it is missing or there twice."""
        values = [value for key, value in self.headers if key == name]
        return values[0] if len(values) == 1 else None

    def _pseudo_header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


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


class Recent(list[_Entry]):
    """A list that forgets its oldest entries once it holds `entries_max`. None: it never forgets."""

    def __init__(self, entries_max: int | None) -> None:
        super().__init__()
        self._entries_max = entries_max

    def append(self, entry: _Entry) -> None:
        """Add an entry."""
        super().append(entry)
        if self._entries_max is not None and len(self) > self._entries_max:
            del self[0]


@dataclass(eq=False, kw_only=True)
class Record:
    """Everything that happened at the server so far. A test may clear the lists."""

    remembered_max: int | None = None
    """Entries of each list; beyond it the oldest are forgotten. None: all are kept."""
    calmed: int = field(default=0, init=False)
    """Connections that the server has closed because the client reset too many streams."""
    connections: int = field(default=0, init=False)
    """TCP connections accepted so far, whatever became of them."""
    pings: int = field(default=0, init=False)
    """PING frames that the client sent; its answers to ours are not counted."""
    ignored_streams: int = field(default=0, init=False)
    """Streams that the client opened above the last one of our GOAWAY."""
    received_bytes: int = field(default=0, init=False)
    """Bytes that clients sent, after decryption; 0 proves that no part of a request left."""
    changed: Pulse = field(default_factory=Pulse, init=False)
    """Beats whenever something of the record may have changed."""

    def __post_init__(self) -> None:
        """Begin with empty lists."""
        self.requests: list[Request] = Recent(self.remembered_max)
        """Requests given to a behaviour, in that order; not those that a GOAWAY disowned."""
        self.processed: list[str] = Recent(self.remembered_max)
        """Tokens of the requests whose effect took place, whatever the client got to see of it."""
        self.resets: list[Reset] = Recent(self.remembered_max)
        """Streams that the client reset."""
        self.goaways: list[Goaway] = Recent(self.remembered_max)
        """GOAWAY frames that the client sent."""
        self.client_errors: list[Exception] = Recent(self.remembered_max)
        """Violations of HTTP/2 by the client, as h2 sees them; each closed its connection."""
        self.handshake_errors: list[OSError] = Recent(self.remembered_max)
        """TLS handshakes that failed."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` over this record holds, for example `lambda: len(server.requests) == 3`."""
        await self.changed.until(condition)
