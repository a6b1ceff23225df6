"""An HTTP/2 client that shares no code with the bridge, and sees and sends single events."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TypeVar

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from hpack.struct import Header

from bridge.sandbox.wire import take_frames

_Event = TypeVar("_Event", bound=events.Event)
_READ_BYTES_MAX = 65536


@dataclass(frozen=True)
class Answer:
    """A complete answer. Headers and trailers as latin-1 text."""

    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str]


def terminate_body(token: str = "t", **changes: object) -> bytes:
    """Build the wallet page's Terminate request with this token; `changes` replace or add fields."""
    request = {"token": token, "player_id": 1, "site_id": 1, "provider_id": 1, "game_id": "example", "currency": "EUR"}
    return json.dumps(request | changes).encode()


class RawClient:
    """One connection. Its h2 state machine is open to the test; `flush` sends what that produced."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=True))
        self._reader = reader
        self._writer = writer
        self._inbound = bytearray()
        self.events: list[events.Event] = []
        """What arrived and was not yet taken by `next`."""

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator["RawClient"]:
        """Connect to 127.0.0.1."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        client = cls(reader, writer)
        client.h2.initiate_connection()
        client.flush()
        try:
            yield client
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    def flush(self) -> None:
        """Send what h2 has ready."""
        self._writer.write(self.h2.data_to_send())

    async def next(self, kind: type[_Event], stream_id: int | None = None) -> _Event:
        """Take the next event of this kind, of this stream if one is given. EOFError once the server sent FIN."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream_id in (None, getattr(event, "stream_id", None)):
                    self.events.remove(event)
                    return event
            await self._read()

    def events_of(self, stream_id: int) -> list[events.Event]:
        """Of what was not yet taken, that which concerns this stream."""
        return [event for event in self.events if getattr(event, "stream_id", None) == stream_id]

    async def answer(self, stream_id: int) -> Answer:
        """Wait for the end of the stream and return what came before it."""
        await self.next(events.StreamEnded, stream_id)
        headers, body, trailers = {}, b"", {}
        for event in self.events_of(stream_id):
            match event:
                case events.ResponseReceived():
                    headers = _text(event.headers)
                case events.DataReceived():
                    body += event.data
                case events.TrailersReceived():
                    trailers = _text(event.headers)
        return Answer(headers, body, trailers)

    async def _read(self) -> None:
        data = await self._reader.read(_READ_BYTES_MAX)
        if not data:
            raise EOFError
        self._inbound += data
        # Frame by frame: GOAWAY changes what h2 accepts of those behind it.
        for frame in take_frames(self._inbound):
            for event in self.h2.receive_data(frame):
                self._react(event)
        self.flush()

    def _react(self, event: events.Event) -> None:
        self.events.append(event)
        if isinstance(event, events.ConnectionTerminated):
            # h2 would refuse what still comes on the streams that GOAWAY lets finish.
            self.h2.state_machine.state = ConnectionState.CLIENT_OPEN
        if isinstance(event, events.DataReceived) and event.flow_controlled_length:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


def _text(block: Iterable[Header]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in block}
