"""One TCP connection of the sandbox: frames in, bytes out, and every way to end it."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import cast

from hyperframe.frame import Frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES = 9  # RFC 9113, section 4.1


class GoneError(Exception):
    """The stream or its connection is over: nothing more can be said on it. It ends a behaviour, and fails no test."""


def take_frames(buffer: bytearray) -> Iterator[bytes]:
    """Take every complete frame off the front of `buffer`, header included."""
    while len(buffer) >= FRAME_HEADER_BYTES:
        end = FRAME_HEADER_BYTES + int.from_bytes(buffer[:3])
        if len(buffer) < end:
            return
        frame = bytes(buffer[:end])
        del buffer[:end]
        yield frame


def send_reset_on_close(connected: socket.socket) -> None:
    """Make closing send RST instead of FIN: SO_LINGER with a time of zero."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Wire(asyncio.Protocol):
    """An accepted connection. It owns the socket from accept on, so that also a stalled handshake can be ended."""

    def __init__(self, accepted: socket.socket) -> None:
        self.lost = asyncio.Event()
        """Set once the connection is over; the transport is closed by then."""
        self._socket = accepted
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._frozen = False
        self._sent_goaway = False

    @property
    def speaks_http2(self) -> bool:
        """Whether HTTP/2 was agreed: by ALPN, or on plaintext by prior knowledge."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        return tls is None or tls.selected_alpn_protocol() == "h2"

    @property
    def established(self) -> bool:
        """Whether TCP and, if there is any, TLS came about; it stays so when the connection is lost."""
        return self._transport is not None

    @property
    def closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._transport is None or self._sent_goaway or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; uvloop's is no subclass of asyncio's, hence the cast."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """Wake everybody who waits for the end."""
        self._writable.set()
        self.lost.set()

    def pause_writing(self) -> None:
        """Hold `drain` back: the client does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        self._writable.set()

    def raw(self, data: bytes) -> None:
        """Put these bytes on the wire unchecked. GoneError once the connection closes; h2 does not learn of them."""
        if self._transport is None or self.closing:
            raise GoneError
        if not self._frozen:
            self._transport.write(data)

    def frame(self, frame: Frame) -> None:
        """Put any frame on the wire, legal or not. GoneError once the connection closes; h2 does not learn of it."""
        self.raw(frame.serialize())

    async def drain(self) -> None:
        """Let the client run, and wait while it does not read. GoneError once the connection closes."""
        await asyncio.sleep(0)
        await self._writable.wait()
        if self.closing:
            raise GoneError

    def close(self, *, waits_for_client: bool = False) -> None:
        """Send what is buffered, then FIN (over TLS: close_notify), and read on until the client closes too.

        Closing a socket at once sends RST instead of FIN if a byte of the client is unread or on its way. TLS has no
        half-close: with `waits_for_client` nothing is sent there, and the client is left to end the connection.
        """
        if self._transport is None or self.closing:
            return
        self._sent_goaway = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        elif not waits_for_client:
            self._transport.close()

    def abort(self) -> None:
        """Drop what is buffered and send TCP RST."""
        if not self.lost.is_set():
            with contextlib.suppress(OSError):  # over TLS the socket closes a turn of the loop before `connection_lost`
                send_reset_on_close(self._socket)
        self.dispose()

    def freeze(self) -> None:
        """Neither read nor write any more, like a host that lost power: TCP stands, nothing answers."""
        self._frozen = True
        if self._transport:
            self._transport.pause_reading()

    def dispose(self) -> None:
        """End the connection at once, whatever state it is in; a handshake under way fails."""
        if self._transport:
            self._transport.abort()
        else:
            with contextlib.suppress(OSError):  # the client may have left already
                self._socket.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the socket of a connection that never got a transport; otherwise the transport has closed it."""
        self._socket.close()
