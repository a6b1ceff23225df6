"""gRPC servers and their ports: with which limits they take connections, how they open a port, how they run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from bridge.address import bind_error, cannot_listen
from bridge.server.descriptors import connections_max
from bridge.settings.model import Settings
from bridge.settings.server import Server

REQUEST_BYTES_MAX = 64 * 1024
METADATA_BYTES_MAX = 16 * 1024

AGE_GRACE_S = 1.0
"""Time beyond any call's deadline for which a connection that is too old stays open: time for the status to arrive."""

SPARE_STREAMS = 50
"""Streams of a connection beyond those that admission takes: for refusals, health checks and reflection."""

ENDED_STREAMS_MAX = 300
"""Streams of a connection beyond its limit that have ended and that this process has not let go: of a client that has
as many calls as it may, when many are answered in one turn of the event loop and it begins as many. Those beyond are
refused, without details. Cancelled calls are held (tarpit.py), and count too."""

PENDING_CALLS_MIN, PENDING_CALLS_SPARE = 1_500, 150
"""Number of calls that gRPC's C core keeps until this process has looked at them: at least so many, and so many more
than one connection may have, so that no connection fills the queue for all others.

It resets those beyond as CANCELLED, with no word of what to do; the bridge itself refuses in less than a millisecond
what is too much, and says so. One that waits here costs about 24 KiB and delays the next by 0.2 to 0.3 ms, so that with
more of them a flood would delay the calls of others by still more. A burst of 1,500 calls that begin at once, over
three connections or more, is answered in full."""

PENDING_CALL_S = 600
"""For how long a call may wait there. By default the core ends it after 30 s as CANCELLED, with no word of what to do,
although a caller may wait for longer: `wallet.deadline_max_s` may be 300. The number of such calls is bounded, and a
call ends with its deadline or its connection."""

HEALTH_STREAMS_MAX = 100
"""Streams of a connection to the listener for health alone; a prober uses one, a client that watches one more."""

CONNECTIONS_MAX = 2_000
"""Connections at once to each port, in each process. An idle one costs about 20 KiB."""

PING_INTERVAL_S = 1.0
"""Least time between two pings of a caller. docs/callers.md promises 5 s; a ping that a slow network delays, so that
the next one follows closely, must not count against the caller."""

KEEPALIVE_S, KEEPALIVE_TIMEOUT_S = 60.0, 20.0
"""Silence of a caller before it is pinged, and time for its answer, in seconds."""

READ_BYTES_MAX = 16 * 1024
"""Bytes read from a connection at once: as much as a frame has at most, by default (RFC 9113, section 4.2)."""

HANDSHAKE_S = 10.0
"""Time for TLS and the preface of HTTP/2, and so how long a silent connection is kept; then as long again for the
acknowledgement of our SETTINGS."""

STREAM_WINDOW_BYTES = 4 * 1024
"""Bytes that a stream may hold beyond the message that is being read. A larger message is granted its room when it is
read, for a round trip more; requests have some hundred bytes."""

Options = tuple[tuple[str, int], ...]


def server_options(settings: Settings, *, reuse_port: bool) -> Options:
    """Return the limits of the server for calls, as gRPC's channel arguments.

    A connection that has reached `server.connection_age_s`, give or take gRPC's own 10 % (gRFC A9), gets a GOAWAY: its
    client goes on with another one. It closes when its last call has ended; the grace is longer than any call may
    last, so that it cuts off none.
    """
    return _options(settings, streams_max(settings.server), ENDED_STREAMS_MAX, reuse_port=reuse_port)


def streams_max(server: Server) -> int:
    """Return how many calls one connection may have at once: all that admission takes, and a few more.

    So a caller with one connection can use all of the bridge, and gets a reason where it has too much.
    """
    return server.max_in_flight + server.max_queued + SPARE_STREAMS


def health_options(settings: Settings, *, reuse_port: bool) -> Options:
    """Return the limits of the server for health alone."""
    return _options(settings, HEALTH_STREAMS_MAX, HEALTH_STREAMS_MAX, reuse_port=reuse_port)


def _options(settings: Settings, streams: int, ended_max: int, *, reuse_port: bool) -> Options:
    pending_max = max(PENDING_CALLS_MIN, streams + ended_max + PENDING_CALLS_SPARE)
    options: Options = (
        ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.server.max_pending_requests", pending_max),
        ("grpc.server.max_pending_requests_hard_limit", pending_max),
        ("grpc.server_max_unrequested_time_in_server", PENDING_CALL_S),
        # Two unrelated servers could share the port without a word; only several workers of one bridge may.
        ("grpc.so_reuseport", int(reuse_port)),
        # RFC 9113, section 5.1.2. Without a limit a caller may open any number of streams, and reset them at once.
        ("grpc.max_concurrent_streams", streams),
        ("grpc.max_allowed_incoming_connections", connections_max(CONNECTIONS_MAX)),
        ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(PING_INTERVAL_S)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _milliseconds(KEEPALIVE_S)),
        ("grpc.keepalive_timeout_ms", _milliseconds(KEEPALIVE_TIMEOUT_S)),
        # The core waits for this one where it is the longer; its default is a minute.
        ("grpc.http2.ping_timeout_ms", _milliseconds(KEEPALIVE_TIMEOUT_S)),
        # A connection that has not finished TLS and the preface of HTTP/2 (RFC 9113, section 3.4); default 120 s.
        ("grpc.server_handshake_timeout_ms", _milliseconds(HANDSHAKE_S)),
        # Streams that have ended, but are not freed, count too (CVE-2023-44487: they are opened and reset at once). By
        # default none may be above the limit, so that clients that keep to it would be refused without details.
        ("grpc.http.overload_protection", 1),
        ("grpc.http2.max_deallocating_streams", ended_max),
        # Windows that grow with the bandwidth are for large messages. They would let each stream hold up to 4 MiB.
        ("grpc.http2.bdp_probe", 0),
        # By default the core reads up to 4 MiB at once, and keeps what it has read until the last of it is parsed.
        ("grpc.experimental.tcp_max_read_chunk_size", READ_BYTES_MAX),
        # By default the next buffer is as large as all that was read since the socket was last empty: megabytes for a
        # caller that never stops sending.
        ("grpc.experimental.tcp_max_read_buffer_size", READ_BYTES_MAX),
        ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
        # Limits that SETTINGS announce hold once they are acknowledged (RFC 9113, section 6.5.3): until then the core
        # takes 16 MiB of headers for a call, and a large frame. Default: a minute.
        ("grpc.http2.settings_timeout", _milliseconds(HANDSHAKE_S)),
    )
    if not settings.server.connection_age_s:
        return options
    return (
        *options,
        ("grpc.max_connection_age_ms", _milliseconds(settings.server.connection_age_s)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(settings.wallet.deadline_max_s + AGE_GRACE_S)),
    )


@asynccontextmanager
async def listening(
    server: grpc.aio.Server, setting: str, address: str, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Serve on "host:port", in plaintext without credentials, for as long as the context lasts.

    Yield the address with the port's number where it was 0. Raise ListenError, which names the setting.
    """
    port = _open_port(server, setting, address, credentials)
    await server.start()
    try:
        yield f"{address.rpartition(':')[0]}:{port}"
    finally:
        # Calls that are still open end at once: a drain has waited for them before.
        await server.stop(grace=None)


def _open_port(server: grpc.aio.Server, setting: str, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        # gRPC writes the reason to its own log and keeps it from us.
        raise cannot_listen(setting, address, bind_error(address)) from None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
