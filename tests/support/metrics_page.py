"""What Prometheus reads from the bridge: GET /metrics, parsed by the library's own parser."""

import http.client
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bridge import events
from bridge.telemetry.metrics import Metrics, SupervisorMetrics

PATIENCE_S = 60.0
METHOD = "wallet.v1.WalletService/Terminate"
SERVICE, RPC = METHOD.split("/")
METRICS = partial(Metrics, [METHOD])


class Page:
    """A page of metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.families, "a metric is there once"
            self.families[family.name] = family

    @property
    def samples(self) -> Iterable[Sample]:
        """Every line with a value."""
        return (sample for family in self.families.values() for sample in family.samples)

    @property
    def names(self) -> set[str]:
        """The names of all lines with a value: histograms with their suffixes."""
        return {sample.name for sample in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """Return the value of exactly this series."""
        (found,) = (sample.value for sample in self.samples if (sample.name, sample.labels) == (name, labels))
        return found

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the values of a metric by one label, summed over the others; those that are 0 are left out."""
        sums: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == name and sample.value:
                sums[sample.labels[label]] = sums.get(sample.labels[label], 0) + sample.value
        return sums


def get(address: str, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    """Return the HTTP status and the text of an answer."""
    with closing(http.client.HTTPConnection(address, timeout=PATIENCE_S)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def scrape(address: str) -> Page:
    """Return the page at this address."""
    status, text = get(address)
    assert status == http.client.OK
    return Page(text)


def call(**facts: Any) -> events.CallEnded:
    """Return the end of a Terminate that was OK, but for these facts."""
    ended = events.CallEnded(service=SERVICE, method=RPC, provider_id=1, grpc_code="OK", duration_s=0.08)
    return msgspec.structs.replace(ended, **facts)


def failed(reason: str, outcome: str = "UNKNOWN", grpc_code: str = "UNKNOWN", **facts: Any) -> events.CallEnded:
    """Return the end of a Terminate that failed."""
    return call(grpc_code=grpc_code, reason=reason, outcome=outcome, **facts)


def page_of(registry: CollectorRegistry) -> Page:
    """Return what a scrape of this registry would read."""
    return Page(generate_latest(registry).decode())


def counted(*seen: events.Event, by: Callable[[CollectorRegistry], events.Emit] = METRICS) -> Page:
    """Count the events in a process of their own, so to speak, and return the page."""
    registry = CollectorRegistry()
    emit = by(registry)
    for event in seen:
        emit(event)
    return page_of(registry)


def supervised(*seen: events.Event) -> Page:
    """Count the events as a supervisor and return the page."""
    return counted(*seen, by=SupervisorMetrics)


EVERY_EVENT: tuple[events.Event, ...] = (
    events.Serving("127.0.0.1:50051", "https://wallet.example"),
    events.CallStarted(SERVICE, RPC),
    call(attempts=1, wallet_code=1, missing_fields=("balance",), unknown_count=2, queue_s=0.02, is_detached=True),
    failed("BRIDGE_OVERLOADED", "NOT_SENT", "RESOURCE_EXHAUSTED", cause="provider"),
    events.AttemptEnded(RPC, 1, 0.3, reason="WALLET_UNREACHABLE", cause="refused"),
    events.AttemptEnded(RPC, 2, 0.08, http_status=200),
    events.StateSampled(in_flight=3, queued=2, detached=1, connections=4, streams=5),
    events.Reloaded("wallet.ca_file"),
    events.ReloadFailed("wallet.providers.1.private_key_file", "must be the text of a UUID"),
    events.CertificateInUse("server.tls_certificate_file", "2030-01-01T00:00:00Z", 1_893_456_000.0),
    events.LogLinesDropped(7),
    events.SettlementChanged(
        "e", "c", METHOD, 1, "REJECTED", "WALLET_REJECTED", wallet_code=7, attempts=2, duration_s=3.5
    ),
    events.SettlementChanged("e", "c", METHOD, 1, "SETTLED", attempts=2, duration_s=3.5),
    events.SettlementNotWritten("c", METHOD, 1, "WALLET_TIMEOUT", "the memory queue is full"),
    events.SettlementOff("settlement.key_file: must be another one"),
    events.SettlementSampled({"PENDING": 3, "SETTLED": 2}, oldest_pending_s=40.0, paused=(1,), queued=5),
    events.SettlementStore(is_failing=True, problem="it is full"),
    events.SettlementStoreFailed(),
    events.Draining(5.0),
)
"""Each kind of event that a process which serves counts, such that every metric of it has a series."""

WORKER_EVENTS: tuple[events.Event, ...] = (
    events.WorkerStarted(1, 4711),
    events.WorkerStarted(2, 4712),
    events.WorkerEnded(1, 4711, -9, 0.0),
    events.WorkerStarted(1, 4713),
)
"""The same for the supervisor."""
