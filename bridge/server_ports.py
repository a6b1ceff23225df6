"""gRPC servers and their ports: with which limits they take connections, how they open a port, how they run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from bridge.config import Settings
from bridge.listen import cannot_listen

REQUEST_BYTES_MAX = 64 * 1024
METADATA_BYTES_MAX = 16 * 1024

AGE_GRACE_S = 1.0
"""How much longer than any call's deadline a connection that is too old stays open: time for the status to arrive."""

PENDING_CALLS_MAX = 5_000
"""How many calls gRPC's C core keeps until this process has looked at them. By default it keeps 1000 and resets those
beyond as CANCELLED, with no word of what to do; the bridge itself refuses in less than a millisecond what is too much,
and says so. One that waits here costs about 10 KiB. With more of them the last would be told too late to be of use."""

Options = tuple[tuple[str, int], ...]


def server_options(settings: Settings, *, reuse_port: bool) -> Options:
    """Return the limits of every server of this bridge, as gRPC's channel arguments.

    A connection that has reached `server.connection_age_s`, give or take gRPC's own 10 % (gRFC A9), gets a GOAWAY: its
    client goes on with another one. It closes when its last call has ended; the grace is longer than any call may
    last, so that it cuts off none.
    """
    options: Options = (
        ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.server.max_pending_requests", PENDING_CALLS_MAX),
        ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS_MAX),
        # Two unrelated servers could share the port without a word; only several workers of one bridge may.
        ("grpc.so_reuseport", int(reuse_port)),
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
        # What is still open ends at once: whoever wanted to wait for it has done so.
        await server.stop(grace=None)


def _open_port(server: grpc.aio.Server, setting: str, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise cannot_listen(setting, address, uses_tls=credentials is not None) from None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
