"""Metrics of several workers: what each has sent its supervisor, on one page of sums."""

import contextlib
import threading
from collections.abc import Iterable, Iterator

import pytest
from prometheus_client import CollectorRegistry

import bridge
from bridge.events import Draining, Event, LogLinesDropped, ReloadFailed, StateSampled, WorkerEnded, WorkerStarted
from bridge.telemetry.families import MODES
from bridge.telemetry.metrics import Metrics, SupervisorMetrics
from bridge.telemetry.metrics_server import registry_of, serve_metrics
from bridge.telemetry.worker_counts import WorkerCounts, snapshot
from tests.support.metrics_page import EVERY_EVENT, METHOD, Page, call, counted, get, page_of, scrape


class Worker:
    """What one worker counts."""

    def __init__(self, counts: WorkerCounts, pid: int) -> None:
        self.pid = pid
        self._counts = counts
        self._registry = CollectorRegistry()
        self._metrics = Metrics([METHOD], self._registry)

    def count(self, calls: int, in_flight: int) -> None:
        """Count so many calls, and so many in flight, and report to the supervisor."""
        for _ in range(calls):
            self._metrics(call(wallet_code=1))
        self._metrics(StateSampled(in_flight, queued=0, detached=0, connections=1, streams=0))
        self._metrics(ReloadFailed("wallet.ca_file", "must be a PEM certificate"))
        self._metrics(Draining(5.0))
        self._metrics(LogLinesDropped(1))
        self._counts.received(self.pid, snapshot(self._registry) + b"\n")


@pytest.fixture
def counts() -> WorkerCounts:
    """Return the sums of a supervisor that has seen nothing."""
    return supervising()


def supervising(*events: Event) -> WorkerCounts:
    """Return the sums of a supervisor that knows of these events."""
    registry = CollectorRegistry()
    supervisor = SupervisorMetrics(registry)
    for event in events:
        supervisor(event)
    return WorkerCounts(registry)


@contextlib.contextmanager
def serving(counts: WorkerCounts) -> Iterator[str]:
    """Serve the sums; yield where."""
    with contextlib.closing(serve_metrics("127.0.0.1:0", registry_of(counts))) as endpoint:
        yield endpoint.address


def page(counts: WorkerCounts) -> Page:
    """Return the page of sums."""
    return page_of(registry_of(counts))


def calls(page: Page) -> tuple[float, float, float]:
    """Return the calls by the counter and by both ends of the histogram."""
    labels = {"grpc_method": METHOD, "grpc_status": "OK"}
    return (
        page.by("wallet_bridge_calls_total", "reason").get("OK", 0),
        page.value("grpc_server_call_duration_seconds_bucket", **labels, le="0.08"),
        page.value("grpc_server_call_duration_seconds_count", **labels),
    )


def test_one_page_for_all_workers(counts: WorkerCounts) -> None:
    """Counts and gauges are added up; a flag is up where it is up in one of them."""
    Worker(counts, 1).count(calls=3, in_flight=5)
    Worker(counts, 2).count(calls=4, in_flight=7)
    with serving(counts) as address:
        found = scrape(address)
    assert calls(found) == (7, 7, 7)
    assert found.value("wallet_bridge_calls_in_flight") == 12
    assert found.value("wallet_bridge_connections") == 2
    assert found.value("wallet_bridge_log_lines_dropped_total") == 2
    assert found.by("wallet_bridge_reload_failing", "key") == {"wallet.ca_file": 1}
    assert found.value("wallet_bridge_draining") == 1
    assert 1_700_000_000 < found.value("process_start_time_seconds") < 3_000_000_000, "a time, not the sum of two"


def test_the_sum_of_one_is_its_page(counts: WorkerCounts) -> None:
    """Every metric, type, label and value of a worker is on the page as it would be on the worker's own."""
    registry = CollectorRegistry()
    metrics = Metrics([METHOD], registry)
    for event in EVERY_EVENT:
        metrics(event)
    counts.received(1, snapshot(registry))
    alone, summed = page_of(registry), page(counts)
    assert {family.name: family.type for family in alone.families.values()} == {
        family.name: family.type for family in summed.families.values() if "worker" not in family.name
    }
    process = "process_"  # sampled at the moment
    assert {
        (each.name, *sorted(each.labels.items())): each.value
        for each in alone.samples
        if not each.name.startswith(process)
    } == {
        (each.name, *sorted(each.labels.items())): each.value
        for each in summed.samples
        if not each.name.startswith(process) and "worker" not in each.name
    }


def test_a_worker_that_has_gone_leaves_its_counts_and_no_gauge(counts: WorkerCounts) -> None:
    """Sums never go back, and what is in flight in a process that is gone is not in flight."""
    first, second = Worker(counts, 1), Worker(counts, 2)
    first.count(calls=3, in_flight=5)
    second.count(calls=4, in_flight=7)
    counts.gone(first.pid)
    found = page(counts)
    second.count(calls=1, in_flight=2)
    later = page(counts)
    assert (calls(found), found.value("wallet_bridge_calls_in_flight")) == ((7, 7, 7), 7)
    assert (calls(later), later.value("wallet_bridge_calls_in_flight")) == ((8, 8, 8), 2)


def test_a_successor_counts_on(counts: WorkerCounts) -> None:
    """Ended workers are summed up one after the other, also where a process id comes again."""
    for calls_each, pid in ((1, 1), (2, 2), (3, 1)):
        Worker(counts, pid).count(calls_each, in_flight=9)
        counts.gone(pid)
    found = page(counts)
    assert calls(found) == (6, 6, 6)
    assert "wallet_bridge_calls_in_flight" not in found.families


def test_the_supervisors_own_word_counts() -> None:
    """It alone knows how many workers there are; what both report is there once."""
    counts = supervising(WorkerStarted(1, 1), WorkerEnded(1, 1, 1, 0.0), WorkerStarted(1, 2), LogLinesDropped(3))
    Worker(counts, 2).count(calls=1, in_flight=1)
    found = page(counts)
    assert found.value("wallet_bridge_workers") == 1
    assert found.value("wallet_bridge_worker_restarts_total") == 1
    assert found.value("wallet_bridge_log_lines_dropped_total") == 4
    assert found.by("wallet_bridge_build_info", "version") == {bridge.__version__: 1}
    assert calls(found) == (1, 1, 1)


def test_a_scrape_may_ask_for_some_names(counts: WorkerCounts) -> None:
    """Of the sums, too."""
    Worker(counts, 1).count(calls=1, in_flight=3)
    with serving(counts) as address:
        _, text = get(address, "/metrics?name[]=wallet_bridge_calls_in_flight")
    assert text.splitlines()[-1] == "wallet_bridge_calls_in_flight 3.0"
    assert text.count("# HELP") == 1


def all_gone(counts: WorkerCounts, pids: Iterable[int]) -> None:
    """End all of these."""
    for pid in pids:
        counts.gone(pid)


def test_no_scrape_sees_a_worker_go(counts: WorkerCounts) -> None:
    """However a scrape falls between the steps by which counts are put together, the sum is the same."""
    pids = range(1, 101)
    for pid in pids:
        Worker(counts, pid).count(calls=1, in_flight=1)
    going = threading.Thread(target=all_gone, args=(counts, pids))
    going.start()
    sums = {calls(page(counts))}
    while going.is_alive():
        sums.add(calls(page(counts)))
    going.join()
    sums.add(calls(page(counts)))
    assert sums == {(100, 100, 100)}


def test_counts_that_cannot_be_read_are_lost_and_logged(counts: WorkerCounts, caplog: pytest.LogCaptureFixture) -> None:
    """The supervisor goes on, and so does the page: metrics are worth no bridge."""
    Worker(counts, 1).count(calls=1, in_flight=1)
    for text in (b"", b"[[1]]", b"\xff", b"{}", b"serving"):
        counts.received(2, text)
        assert calls(page(counts)) == (1, 1, 1)
        counts.gone(2)
    assert calls(page(counts)) == (1, 1, 1)
    assert set(caplog.messages) <= {
        "a worker's counts cannot be read: DecodeError",
        "a worker's counts cannot be read: ValidationError",
    }
    assert len(caplog.messages) == 10


def test_a_worker_that_said_nothing_is_no_matter(counts: WorkerCounts) -> None:
    """It may have died before it began."""
    counts.gone(4711)
    assert "wallet_bridge_calls_total" not in page(counts).names


def test_every_gauge_has_its_mode() -> None:
    """What a supervisor makes of it is decided for each metric, by its name on the page."""
    gauges = {family.name for family in counted(*EVERY_EVENT).families.values() if family.type == "gauge"}
    assert gauges <= set(MODES)
