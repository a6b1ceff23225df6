"""Metrics: what each event adds."""

from typing import Any

import pytest

from bridge import __version__
from bridge.events import (
    AttemptEnded,
    CallStarted,
    Draining,
    Event,
    Reloaded,
    ReloadFailed,
    Serving,
    StateSampled,
    Stopped,
)
from tests.support.metrics_page import METHOD, RPC, SERVICE, call, counted, failed, supervised

CALLS, DURATION = "wallet_bridge_calls_total", "grpc_server_call_duration_seconds"
REQUEST, UNREACHABLE = "http_client_request_duration_seconds", "wallet_bridge_unreachable_attempts_total"
DETACHED, RETRIES = "wallet_bridge_detached_ends_total", "wallet_bridge_retries_total"

Added = tuple[Event, str, float, dict[str, str]]


def adds(event: Event, name: str, value: float = 1, **labels: str) -> Added:
    """Say by how much an event moves a series of its method."""
    return event, name, value, {"grpc_method": METHOD, **labels}


def attempt(name: str, value: float, http_status: int, error_type: str = "", **facts: Any) -> Added:
    """Say by how much an attempt of 0.25 s moves a series of requests."""
    event = AttemptEnded(RPC, 1, 0.25, http_status=http_status, **facts)
    labels = {"http_request_method": "POST", "rpc_method": RPC, "error_type": error_type}
    return event, f"{REQUEST}_{name}", value, {**labels, "http_response_status_code": str(http_status or "")}


ADDED: dict[str, Added] = {
    "start of a call": adds(CallStarted(SERVICE, RPC), "grpc_server_call_started_total"),
    "end of a call, which is no start": adds(call(), "grpc_server_call_started_total", 0),
    "duration of a call": adds(call(), f"{DURATION}_sum", 0.08, grpc_status="OK"),
    "bucket of a call": adds(
        failed("WALLET_TIMEOUT", grpc_code="ABORTED"), f"{DURATION}_bucket", grpc_status="ABORTED", le="0.08"
    ),
    "OK": adds(call(), CALLS, outcome="OK", reason="OK"),
    "failure": adds(failed("WALLET_TIMEOUT"), CALLS, outcome="UNKNOWN", reason="WALLET_TIMEOUT"),
    "an operator's reason": adds(
        failed("TOKEN_NOT_FOUND", "REJECTED", "NOT_FOUND"), CALLS, outcome="REJECTED", reason="TOKEN_NOT_FOUND"
    ),
    "cancelled": adds(call(grpc_code="CANCELLED", outcome="NOT_SENT"), CALLS, outcome="NOT_SENT", reason="CANCELLED"),
    "code": (call(wallet_code=1), "wallet_bridge_wallet_codes_total", 1, {"code": "1"}),
    "code 0": (failed("WALLET_REJECTED", wallet_code=0), "wallet_bridge_wallet_codes_total", 1, {"code": "0"}),
    "missing": adds(call(missing_fields=("balance", "message")), "wallet_bridge_missing_fields_total", field="message"),
    "unknown members": adds(call(unknown_count=3), "wallet_bridge_unknown_members_total", 3),
    "queued": (call(queue_s=0.25), "wallet_bridge_admission_queue_seconds_sum", 0.25, {}),
    "not queued": (call(), "wallet_bridge_admission_queue_seconds_count", 0, {}),
    "detached, OK": (call(is_detached=True), DETACHED, 1, {"outcome": "OK"}),
    "detached, failed": (failed("WALLET_TIMEOUT", is_detached=True), DETACHED, 1, {"outcome": "UNKNOWN"}),
    "status of a detached call": adds(call(is_detached=True), f"{DURATION}_count", grpc_status="CANCELLED"),
    "end of a detached call": adds(call(is_detached=True), CALLS, outcome="OK", reason="OK"),
    "not detached": (failed("WALLET_TIMEOUT"), DETACHED, 0, {"outcome": "UNKNOWN"}),
    "answered attempt": attempt("sum", 0.25, 200),
    "redirected attempt": attempt("count", 1, 302),
    "refused attempt": attempt("count", 1, 409, "409"),
    "attempt without an answer": attempt("count", 1, 0, "WALLET_TIMEOUT", reason="WALLET_TIMEOUT"),
    "attempt without a connection": (
        AttemptEnded(RPC, 1, 0.25, reason="WALLET_UNREACHABLE", cause="dns"),
        *(UNREACHABLE, 1, {"cause": "dns"}),
    ),
    "attempt that was lost": (
        AttemptEnded(RPC, 1, 0.25, reason="WALLET_TIMEOUT", cause="timeout"),
        *(UNREACHABLE, 0, {"cause": "timeout"}),
    ),
    "answered retry": (AttemptEnded(RPC, 2, 0.25, http_status=200), RETRIES, 1, {"reason": "ANSWERED"}),
    "failed retry": (
        AttemptEnded(RPC, 3, 0.25, reason="WALLET_NOT_PROCESSED"),
        *(RETRIES, 1, {"reason": "WALLET_NOT_PROCESSED"}),
    ),
    "reload": (Reloaded("wallet.ca_file"), "wallet_bridge_reloads_total", 1, {"key": "wallet.ca_file"}),
    "failed reload": (ReloadFailed("a", "is empty"), "wallet_bridge_reload_failures_total", 1, {"key": "a"}),
    "draining": (Draining(5.0), "wallet_bridge_draining", 1, {}),
    "serving": (Serving("a", "b"), "wallet_bridge_draining", 0, {}),
}


@pytest.mark.parametrize(("event", "name", "value", "labels"), ADDED.values(), ids=ADDED)
def test_an_event_is_counted(event: Event, name: str, value: float, labels: dict[str, str]) -> None:
    """Each kind of event moves the series of it, by as much as it says."""
    assert counted(event).value(name, **labels) == value


def test_a_first_attempt_is_no_retry() -> None:
    """Retries are attempts beyond the first, whatever became of that."""
    first = AttemptEnded(RPC, 1, 0.25, reason="WALLET_NOT_PROCESSED")
    assert counted(first).by("wallet_bridge_retries_total", "reason") == {}


def test_the_state_is_the_last_one() -> None:
    """Gauges say what was sampled last."""
    page = counted(StateSampled(9, 9, 9, 9, 9), StateSampled(1, 2, 3, 4, 5))
    gauges = ("calls_in_flight", "calls_queued", "calls_detached", "connections", "streams")
    assert [page.value(f"wallet_bridge_{name}") for name in gauges] == [1, 2, 3, 4, 5]


def test_a_reload_fails_until_one_works() -> None:
    """The gauge stands for the one file, and comes down when its content can be used again."""
    bad, good = ReloadFailed("wallet.ca_file", "must be a PEM certificate"), Reloaded("wallet.ca_file")
    other = ReloadFailed("wallet.client_key_file", "must be a PEM key")
    assert counted(bad, other).by("wallet_bridge_reload_failing", "key") == {
        "wallet.ca_file": 1,
        "wallet.client_key_file": 1,
    }
    assert counted(bad, other, good).by("wallet_bridge_reload_failing", "key") == {"wallet.client_key_file": 1}


def test_what_runs_is_reported() -> None:
    """The version is a label of a metric that is always 1."""
    assert counted().by("wallet_bridge_build_info", "version") == {__version__: 1}


def test_the_process_is_reported() -> None:
    """CPU, memory, files and start, from the beginning and again at every sample."""
    page = counted(StateSampled(0, 0, 0, 0, 0))
    assert page.value("process_cpu_seconds_total") > 0
    assert page.value("process_resident_memory_bytes") > 2**20
    assert 0 < page.value("process_open_fds") <= page.value("process_max_fds")
    assert page.value("process_start_time_seconds") > 1_700_000_000
    assert counted().value("process_start_time_seconds") == page.value("process_start_time_seconds")


def test_cpu_time_is_not_counted_twice() -> None:
    """Each sample adds what the process used since the last one."""
    once, often = counted(), counted(*[StateSampled(0, 0, 0, 0, 0)] * 50)
    assert often.value("process_cpu_seconds_total") < once.value("process_cpu_seconds_total") + 10


def test_other_events_are_no_matter() -> None:
    """What has no metric is ignored, by both who count."""
    assert counted(Stopped()).by("wallet_bridge_calls_total", "reason") == {}
    assert supervised(Stopped(), call()).value("wallet_bridge_workers") == 0
