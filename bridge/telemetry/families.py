"""Every Prometheus metric of the bridge: its name, what it says, its labels. docs/operations.md has a row for each.

    grpc_server_*     game services' calls: gRFC A66, named as OpenTelemetry's exporter for Prometheus would
    http_client_*     attempts at the wallet: OpenTelemetry's semantic conventions for HTTP clients
    process_*         the process, by Prometheus' own names
    wallet_bridge_*   what no convention knows

Where several workers count, counters and histograms are sums over all workers there ever were, and a gauge says what
its mode makes of those that live: their sum, the largest or the smallest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

# The moment in which each series began would be as many series again.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation there

Mode = Literal["sum", "max", "min"]
MetricT = TypeVar("MetricT", Counter, Gauge, Histogram)
Labels = tuple[str, ...]

GRPC_BUCKETS_S = (
    *(0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008),
    *(0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5),
    *(0.65, 0.8, 1, 2, 5, 10, 20, 50, 100),
)
"""gRFC A66, "Units": latency."""

HTTP_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""OpenTelemetry, semantic conventions for HTTP metrics, http.client.request.duration."""


@dataclass(frozen=True, slots=True)
class Family(Generic[MetricT]):
    """A metric before it counts anything."""

    kind: type[MetricT]
    name: str
    """Without the suffix that the exposition adds, like _total."""
    what: str
    labels: Labels
    options: Mapping[str, Any]
    mode: Mode = "sum"
    """A supervisor's aggregation of the values of several workers."""

    def register(self, registry: CollectorRegistry) -> MetricT:
        """Return the metric itself, in this registry; ValueError where it is there already."""
        return self.kind(self.name, self.what, self.labels, registry=registry, **self.options)


def _counter(name: str, what: str, *labels: str) -> Family[Counter]:
    return Family(Counter, name, what, labels, {})


def _gauge(name: str, what: str, *labels: str, mode: Mode = "sum") -> Family[Gauge]:
    return Family(Gauge, name, what, labels, {}, mode)


def _histogram(name: str, what: str, *labels: str, buckets: tuple[float, ...]) -> Family[Histogram]:
    return Family(Histogram, name, what, labels, {"buckets": buckets})


# --- calls ------------------------------------------------------------------------------------------------------

CALLS_STARTED = _counter(
    "grpc_server_call_started", "Calls that began, also those that have not ended (gRFC A66).", "grpc_method"
)
CALL_DURATION = _histogram(
    "grpc_server_call_duration_seconds",
    "How long calls took (gRFC A66).",
    *("grpc_method", "grpc_status"),
    buckets=GRPC_BUCKETS_S,
)
CALLS = _counter(
    "wallet_bridge_calls",
    "Calls that ended, by what is certain about the wallet and why.",
    *("grpc_method", "outcome", "reason"),
)
DETACHED_ENDS = _counter(
    "wallet_bridge_detached_ends", "Ends of calls that the client had cancelled after they were sent.", "outcome"
)
WALLET_CODES = _counter("wallet_bridge_wallet_codes", "Answers of the wallet, by their result code.", "code")
MISSING_FIELDS = _counter(
    "wallet_bridge_missing_fields", "Fields that successful answers lacked.", "grpc_method", "field"
)
UNKNOWN_MEMBERS = _counter(
    "wallet_bridge_unknown_members", "Members of successful answers that the proto does not have.", "grpc_method"
)
ADMISSION_QUEUE = _histogram(
    "wallet_bridge_admission_queue_seconds",
    "How long calls waited for admission, of those that had to.",
    buckets=(0.001, *HTTP_BUCKETS_S),
)
OVERLOADED = _counter(
    "wallet_bridge_overloaded", "Calls refused with BRIDGE_OVERLOADED, by provider and limit.", "provider_id", "limit"
)

# --- attempts ---------------------------------------------------------------------------------------------------

REQUEST_DURATION = _histogram(
    "http_client_request_duration_seconds",
    "How long attempts at the wallet took (OpenTelemetry semantic conventions).",
    *("rpc_method", "http_request_method", "http_response_status_code", "error_type"),
    buckets=HTTP_BUCKETS_S,
)
RETRIES = _counter("wallet_bridge_retries", "Attempts beyond a call's first, by how they ended.", "reason")
UNREACHABLE_ATTEMPTS = _counter(
    "wallet_bridge_unreachable_attempts", "Attempts for which there was no connection.", "cause"
)

# --- state ------------------------------------------------------------------------------------------------------

CALLS_IN_FLIGHT = _gauge("wallet_bridge_calls_in_flight", "Calls that are admitted and have not ended.")
CALLS_QUEUED = _gauge("wallet_bridge_calls_queued", "Calls that wait for admission.")
CALLS_DETACHED = _gauge("wallet_bridge_calls_detached", "Calls that go on although the client has cancelled them.")
CONNECTIONS = _gauge("wallet_bridge_connections", "Open connections to the wallet.")
STREAMS = _gauge("wallet_bridge_streams", "Requests under way on these connections.")
DRAINING = _gauge("wallet_bridge_draining", "1 from the order to stop on, else 0.", mode="max")

# --- files ------------------------------------------------------------------------------------------------------

RELOADS = _counter("wallet_bridge_reloads", "Changed files that came into use, by setting.", "key")
RELOAD_FAILURES = _counter("wallet_bridge_reload_failures", "Changed files that cannot be used, by setting.", "key")
RELOAD_FAILING = _gauge(
    "wallet_bridge_reload_failing",
    "1 while a file cannot be used and its former content is in use, else 0.",
    "key",
    mode="max",
)

CERTIFICATE_END = _gauge(
    "wallet_bridge_certificate_not_after_timestamp_seconds",
    "When the certificate ends that is in use of this file, in seconds since 1970.",
    "key",
    mode="min",
)

# --- settlement -------------------------------------------------------------------------------------------------

SETTLEMENT_ENTRIES = _gauge(
    "wallet_bridge_settlement_entries", "Entries that the settlement store holds.", "state", mode="max"
)
SETTLEMENT_OLDEST = _gauge(
    "wallet_bridge_settlement_oldest_pending_seconds",
    "Age of the oldest entry that is PENDING; 0 without one.",
    mode="max",
)
SETTLEMENT_CHANGES = _counter(
    "wallet_bridge_settlement_changes",
    "Entries that came into a state, by the reason of the last failure.",
    "state",
    "reason",
)
SETTLEMENT_REJECTED = _counter(
    "wallet_bridge_settlement_rejected", "Entries that became REJECTED, by the wallet's result code.", "code"
)
SETTLEMENT_ATTEMPTS = _histogram(
    "wallet_bridge_settlement_attempts",
    "Attempts of the settler that entries took to become SETTLED.",
    buckets=(1, 2, 3, 5, 10, 20, 50, 100),
)
SETTLEMENT_DURATION = _histogram(
    "wallet_bridge_settlement_duration_seconds",
    "How long entries took to become SETTLED.",
    buckets=(1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400),
)
SETTLEMENT_PAUSED = _gauge(
    "wallet_bridge_settlement_paused",
    "1 while a provider's entries wait for an operator, else 0.",
    "provider_id",
    mode="max",
)
SETTLEMENT_STORE_ERRORS = _counter(
    "wallet_bridge_settlement_store_errors", "Requests to the settlement store that failed."
)
SETTLEMENT_STORE_FAILING = _gauge(
    "wallet_bridge_settlement_store_failing", "1 while the settlement store fails, else 0.", mode="max"
)
SETTLEMENT_QUEUED = _gauge(
    "wallet_bridge_settlement_queued_writes", "Writes to the settlement store that wait in memory."
)
SETTLEMENT_NOT_WRITTEN = _counter(
    "wallet_bridge_settlement_not_written", "Calls that were to be settled and could not be written down."
)
SETTLEMENT_OFF = _gauge(
    "wallet_bridge_settlement_off",
    "1 where settlement is switched off because its key does not fit the store.",
    mode="max",
)

# --- the log ----------------------------------------------------------------------------------------------------

LOG_LINES_DROPPED = _counter(
    "wallet_bridge_log_lines_dropped", "Log lines that were dropped: standard error was not read in time."
)

# --- processes --------------------------------------------------------------------------------------------------

BUILD_INFO = _gauge(
    "wallet_bridge_build_info", "Always 1; the labels say what runs.", "version", "python_version", mode="max"
)
WORKERS = _gauge("wallet_bridge_workers", "Worker processes that were started and have not ended.")
WORKER_RESTARTS = _counter("wallet_bridge_worker_restarts", "Workers that ended without an order to stop.")
PROCESS_CPU = _counter("process_cpu_seconds", "CPU time, user and system.")
PROCESS_MEMORY = _gauge("process_resident_memory_bytes", "Resident memory.")
PROCESS_OPEN_FILES = _gauge("process_open_fds", "Open file descriptors.")
PROCESS_MAX_FILES = _gauge("process_max_fds", "How many file descriptors may be open.")
PROCESS_START = _gauge(
    "process_start_time_seconds", "When the oldest process started, in seconds since 1970.", mode="min"
)

MODES: Mapping[str, Mode] = {
    family.name: family.mode for family in tuple(globals().values()) if isinstance(family, Family)
}
"""Metric -> its mode."""
