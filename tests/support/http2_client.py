"""Clients that share no code with the bridge: an ordinary one, and one that sees and sends single HTTP/2 events."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TypeVar

import httpx
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


def well_behaved(url: str, tls: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """Make an ordinary HTTP/2 client, one by prior knowledge where there is no TLS."""
    verify = tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(http1=False, http2=True, verify=verify, base_url=url, trust_env=False)


class RawClient:
    """One connection. Its h2 state machine is open to the test; `flush` sends what that produced."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, credit: bool) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=True))
        self._reader = reader
        self._writer = writer
        self._credit = credit
        self._inbound = bytearray()
        self.events: list[events.Event] = []
        """What arrived and was not yet taken by `next`."""
        self.frame_types: list[int] = []
        """The type byte of every frame that arrived, also of those that h2 makes no event of."""

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, port: int, tls: ssl.SSLContext | None = None, *, credit: bool = True
    ) -> AsyncIterator["RawClient"]:
        """Connect to 127.0.0.1; without `credit` flow-control windows are never opened again."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        client = cls(reader, writer, credit=credit)
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

    def raw(self, data: bytes) -> None:
        """Send these bytes unchecked."""
        self._writer.write(data)

    def open(self) -> int:
        """Send the headers of a request and return its stream id; the body is to follow."""
        stream_id = self.h2.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "http"), (":authority", "wallet"), (":path", "/terminate")]
        self.h2.send_headers(stream_id, headers)
        self.flush()
        return stream_id

    def request(self, token: str = "t") -> int:
        """Send a whole Terminate request and return its stream id."""
        stream_id = self.open()
        self.h2.send_data(stream_id, terminate_body(token), end_stream=True)
        self.flush()
        return stream_id

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

    async def ping(self) -> None:
        """Send PING and wait for its ACK: the server then has handled everything sent before."""
        self.h2.ping(b"barrier!")
        self.flush()
        await self.next(events.PingAckReceived)

    async def until_closed(self) -> None:
        """Read until the server sends FIN. ConnectionResetError if it sends TCP RST."""
        with contextlib.suppress(EOFError):
            while True:
                await self._read()

    async def _read(self) -> None:
        data = await self._reader.read(_READ_BYTES_MAX)
        if not data:
            raise EOFError
        self._inbound += data
        for frame in take_frames(self._inbound):
            self.frame_types.append(frame[3])
            for event in self.h2.receive_data(frame):
                self._react(event)
        self.flush()

    def _react(self, event: events.Event) -> None:
        self.events.append(event)
        if isinstance(event, events.ConnectionTerminated):
            # h2 would refuse what still comes on the streams that GOAWAY lets finish.
            self.h2.state_machine.state = ConnectionState.CLIENT_OPEN
        if isinstance(event, events.DataReceived) and self._credit and event.flow_controlled_length:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


def _text(block: Iterable[Header]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in block}
