"""Metrics: what each event adds."""

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
    WorkerEnded,
    WorkerStarted,
)
from tests.support.metrics_page import METHOD, RPC, SERVICE, call, counted, failed, supervised

SINGLE = {"http_request_method": "POST", "rpc_method": RPC}

ADDED: dict[str, tuple[Event, str, dict[str, str], float]] = {
    "start of a call": (CallStarted(SERVICE, RPC), "grpc_server_call_started_total", {"grpc_method": METHOD}, 1),
    "end of a call, which is no start": (call(), "grpc_server_call_started_total", {"grpc_method": METHOD}, 0),
    "duration of a call": (
        call(),
        "grpc_server_call_duration_seconds_sum",
        {"grpc_method": METHOD, "grpc_status": "OK"},
        0.08,
    ),
    "bucket of a call": (
        failed("WALLET_TIMEOUT", grpc_code="DEADLINE_EXCEEDED"),
        "grpc_server_call_duration_seconds_bucket",
        {"grpc_method": METHOD, "grpc_status": "DEADLINE_EXCEEDED", "le": "0.08"},
        1,
    ),
    "OK": (call(), "wallet_bridge_calls_total", {"grpc_method": METHOD, "outcome": "OK", "reason": "OK"}, 1),
    "failure": (
        failed("WALLET_TIMEOUT"),
        "wallet_bridge_calls_total",
        {"grpc_method": METHOD, "outcome": "UNKNOWN", "reason": "WALLET_TIMEOUT"},
        1,
    ),
    "an operator's reason": (
        failed("TOKEN_NOT_FOUND", "REJECTED", "NOT_FOUND"),
        "wallet_bridge_calls_total",
        {"grpc_method": METHOD, "outcome": "REJECTED", "reason": "TOKEN_NOT_FOUND"},
        1,
    ),
    "cancelled": (
        call(grpc_code="CANCELLED", outcome="NOT_SENT"),
        "wallet_bridge_calls_total",
        {"grpc_method": METHOD, "outcome": "NOT_SENT", "reason": "CANCELLED"},
        1,
    ),
    "code": (call(wallet_code=1), "wallet_bridge_wallet_codes_total", {"code": "1"}, 1),
    "code 0": (failed("WALLET_REJECTED", wallet_code=0), "wallet_bridge_wallet_codes_total", {"code": "0"}, 1),
    "missing field": (
        call(missing_fields=("balance", "message")),
        "wallet_bridge_missing_fields_total",
        {"grpc_method": METHOD, "field": "message"},
        1,
    ),
    "unknown members": (
        call(unknown_count=3),
        "wallet_bridge_unknown_members_total",
        {"grpc_method": METHOD},
        3,
    ),
    "queued": (call(queue_s=0.25), "wallet_bridge_admission_queue_seconds_sum", {}, 0.25),
    "not queued": (call(), "wallet_bridge_admission_queue_seconds_count", {}, 0),
    "detached, OK": (call(is_detached=True), "wallet_bridge_detached_ends_total", {"outcome": "OK"}, 1),
    "detached, failed": (
        failed("WALLET_TIMEOUT", is_detached=True),
        "wallet_bridge_detached_ends_total",
        {"outcome": "UNKNOWN"},
        1,
    ),
    "status of a detached call": (
        call(is_detached=True),
        "grpc_server_call_duration_seconds_count",
        {"grpc_method": METHOD, "grpc_status": "CANCELLED"},
        1,
    ),
    "end of a detached call": (
        call(is_detached=True),
        "wallet_bridge_calls_total",
        {"grpc_method": METHOD, "outcome": "OK", "reason": "OK"},
        1,
    ),
    "not detached": (failed("WALLET_TIMEOUT"), "wallet_bridge_detached_ends_total", {"outcome": "UNKNOWN"}, 0),
    "answered attempt": (
        AttemptEnded(RPC, 1, 0.25, http_status=200),
        "http_client_request_duration_seconds_sum",
        {**SINGLE, "http_response_status_code": "200", "error_type": ""},
        0.25,
    ),
    "redirected attempt": (
        AttemptEnded(RPC, 1, 0.25, http_status=302),
        "http_client_request_duration_seconds_count",
        {**SINGLE, "http_response_status_code": "302", "error_type": ""},
        1,
    ),
    "refused attempt": (
        AttemptEnded(RPC, 1, 0.25, http_status=409),
        "http_client_request_duration_seconds_count",
        {**SINGLE, "http_response_status_code": "409", "error_type": "409"},
        1,
    ),
    "attempt without an answer": (
        AttemptEnded(RPC, 1, 0.25, reason="WALLET_TIMEOUT"),
        "http_client_request_duration_seconds_count",
        {**SINGLE, "http_response_status_code": "", "error_type": "WALLET_TIMEOUT"},
        1,
    ),
    "attempt without a connection": (
        AttemptEnded(RPC, 1, 0.25, reason="WALLET_UNREACHABLE", cause="dns"),
        "wallet_bridge_unreachable_attempts_total",
        {"cause": "dns"},
        1,
    ),
    "attempt that was lost": (
        AttemptEnded(RPC, 1, 0.25, reason="WALLET_TIMEOUT", cause="timeout"),
        "wallet_bridge_unreachable_attempts_total",
        {"cause": "timeout"},
        0,
    ),
    "answered retry": (
        AttemptEnded(RPC, 2, 0.25, http_status=200),
        "wallet_bridge_retries_total",
        {"reason": "ANSWERED"},
        1,
    ),
    "failed retry": (
        AttemptEnded(RPC, 3, 0.25, reason="WALLET_NOT_PROCESSED"),
        "wallet_bridge_retries_total",
        {"reason": "WALLET_NOT_PROCESSED"},
        1,
    ),
    "reload": (Reloaded("wallet.ca_file"), "wallet_bridge_reloads_total", {"key": "wallet.ca_file"}, 1),
    "failed reload": (
        ReloadFailed("wallet.ca_file", "must be a PEM certificate"),
        "wallet_bridge_reload_failures_total",
        {"key": "wallet.ca_file"},
        1,
    ),
    "draining": (Draining(5.0), "wallet_bridge_draining", {}, 1),
    "serving": (Serving("a", "b"), "wallet_bridge_draining", {}, 0),
}


@pytest.mark.parametrize(("event", "name", "labels", "value"), ADDED.values(), ids=ADDED)
def test_an_event_is_counted(event: Event, name: str, labels: dict[str, str], value: float) -> None:
    """Each kind of event moves the series of it, by as much as it says."""
    assert counted(event).value(name, **labels) == value


def test_counts_add_up() -> None:
    """Equal events are one series."""
    page = counted(*[call()] * 3, *[failed("WALLET_TIMEOUT")] * 2)
    assert page.by("wallet_bridge_calls_total", "reason") == {"OK": 3, "WALLET_TIMEOUT": 2}
    assert page.by("grpc_server_call_duration_seconds_count", "grpc_status") == {"OK": 3, "UNKNOWN": 2}


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


def test_the_supervisor_counts_workers() -> None:
    """Those under way, and those that had to be replaced."""
    page = supervised(WorkerStarted(1, 11), WorkerStarted(2, 12), WorkerEnded(1, 11, -9, 0.5))
    assert page.value("wallet_bridge_workers") == 1
    assert page.value("wallet_bridge_worker_restarts_total") == 1
    assert page.by("wallet_bridge_build_info", "version") == {__version__: 1}


def test_other_events_are_no_matter() -> None:
    """What has no metric is ignored, by both who count."""
    assert counted(Stopped()).by("wallet_bridge_calls_total", "reason") == {}
    assert supervised(Stopped(), call()).value("wallet_bridge_workers") == 0
