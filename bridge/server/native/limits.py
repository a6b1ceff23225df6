"""Limits of the native front, made from the channel arguments that say them to gRPC's C core."""

from dataclasses import dataclass

NOT_NEEDED = (
    # Calls that this process has not looked at: the front has no such queue of its own.
    "grpc.server.max_pending_requests",
    "grpc.server.max_pending_requests_hard_limit",
    "grpc.server_max_unrequested_time_in_server",
    # The front keeps to the time-out of keepalive.
    "grpc.http2.ping_timeout_ms",
    # It reads in small pieces.
    "grpc.experimental.tcp_max_read_chunk_size",
    "grpc.experimental.tcp_max_read_buffer_size",
)
"""Limits of gRPC's C core that the front keeps by itself."""

NOT_MET = (
    "grpc.max_allowed_incoming_connections",
    "grpc.server_handshake_timeout_ms",
    "grpc.http2.settings_timeout",
    "grpc.http2.min_ping_interval_without_data_ms",
    "grpc.http.overload_protection",
    "grpc.http2.max_deallocating_streams",
    "grpc.http2.bdp_probe",
    "grpc.http2.lookahead_bytes",
)
"""Limits that the front cannot keep; `server.native_trusts_callers` says that a proxy keeps them."""

Options = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what comes in, keepalive, and sharing of the port. Made from channel arguments."""

    request_bytes_max: int
    metadata_bytes_max: int
    streams_max: int
    keepalive_ms: int
    keepalive_timeout_ms: int
    pings_when_idle: bool
    reuse_port: bool

    @classmethod
    def of(cls, options: Options) -> "Limits":
        """Return the limits that these channel arguments mean; raise ValueError for one that the engine lacks."""
        given = {name: value for name, value in options if name not in {*NOT_NEEDED, *NOT_MET}}
        limits = cls(
            given.pop("grpc.max_receive_message_length"),
            min(given.pop("grpc.max_metadata_size"), given.pop("grpc.absolute_max_metadata_size")),
            given.pop("grpc.max_concurrent_streams"),
            given.pop("grpc.keepalive_time_ms"),
            given.pop("grpc.keepalive_timeout_ms"),
            bool(given.pop("grpc.keepalive_permit_without_calls")),
            bool(given.pop("grpc.so_reuseport")),
        )
        if given:
            raise ValueError(f"the native engine has no {', '.join(given)}")
        return limits
