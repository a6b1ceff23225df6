"""Metrics of several workers: real processes that count, one that is killed, and one page of sums."""

import asyncio
import contextlib
import json
import os
import sys
import threading
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict, mmap_key

import bridge
import counting_worker
from bridge.telemetry.events import Event, WorkerEnded, WorkerStarted
from bridge.telemetry.metrics import DIRECTORY_VARIABLE, SupervisorMetrics
from bridge.telemetry.metrics_server import serve_metrics, worker_gone
from metrics_page import Page, get, scrape

_MmapedDict: Any = MmapedDict
"""The library has no annotations there."""


class Worker:
    """A process that counts."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.pid = process.pid

    async def said(self, word: str) -> None:
        """Wait until it has said this."""
        assert self.process.stdout is not None
        assert (await self.process.stdout.readline()).decode() == f"{word}\n"

    async def count(self, calls: int, in_flight: int) -> None:
        """Have it count so many calls, and so many in flight."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"calls": calls, "in_flight": in_flight}).encode() + b"\n")
        await self.said("counted")

    async def kill(self) -> None:
        """End it as nothing can that gives it time to tidy up."""
        self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def workers(directory: Path, count: int) -> AsyncIterator[list[Worker]]:
    """Start so many, all counting in this directory; end those that are left."""
    # The bridge that this test imports, which an installed one must not stand before.
    environ = {**os.environ, DIRECTORY_VARIABLE: str(directory), "PYTHONPATH": str(Path(bridge.__file__).parents[1])}
    command = (sys.executable, counting_worker.__file__)
    found = [Worker(await create_subprocess_exec(*command, env=environ, stdin=PIPE, stdout=PIPE)) for _ in range(count)]
    try:
        for worker in found:
            await worker.said("ready")
        yield found
    finally:
        for worker in found:
            if worker.process.returncode is None:
                worker.process.kill()
            await worker.process.communicate()


@contextlib.contextmanager
def serving(directory: Path, *events: Event) -> Iterator[str]:
    """Serve the sums, and what a supervisor knows after these events."""
    registry = CollectorRegistry()
    supervisor = SupervisorMetrics(registry)
    for event in events:
        supervisor(event)
    with contextlib.closing(serve_metrics("127.0.0.1:0", directory, registry)) as endpoint:
        yield endpoint.address


async def page_at(address: str) -> Page:
    """Scrape without holding up the loop, which reads what workers say."""
    return await asyncio.to_thread(scrape, address)


def calls(page: Page) -> tuple[float, float, float]:
    """Return the calls by the counter and by both ends of the histogram."""
    labels = {"grpc_method": counting_worker.METHOD, "grpc_status": "OK"}
    return (
        page.by("wallet_bridge_calls_total", "reason").get("OK", 0),
        page.value("grpc_server_call_duration_seconds_bucket", **labels, le="0.08"),
        page.value("grpc_server_call_duration_seconds_count", **labels),
    )


def names_in(directory: Path) -> list[str]:
    """Return the names of the files there."""
    return sorted(file.name for file in directory.iterdir())


async def test_one_page_for_all_workers(tmp_path: Path) -> None:
    """Counts and gauges are added up; a flag is up where it is up in one of them."""
    async with workers(tmp_path, 2) as (first, second):
        await first.count(calls=3, in_flight=5)
        await second.count(calls=4, in_flight=7)
        with serving(tmp_path) as address:
            page = await page_at(address)
    assert calls(page) == (7, 7, 7)
    assert page.value("wallet_bridge_calls_in_flight") == 12
    assert page.value("wallet_bridge_connections") == 2
    assert page.by("wallet_bridge_reload_failing", "key") == {"wallet.ca_file": 1}
    assert page.value("wallet_bridge_draining") == 1
    assert 1_700_000_000 < page.value("process_start_time_seconds") < 3_000_000_000, "a time, not the sum of two"
    assert not [sample for sample in page.samples if "pid" in sample.labels]


async def test_a_killed_worker_leaves_its_counts_and_no_gauge(tmp_path: Path) -> None:
    """Sums never go back, and what is in flight in a process that is gone is not in flight."""
    async with workers(tmp_path, 2) as (first, second):
        await first.count(calls=3, in_flight=5)
        await second.count(calls=4, in_flight=7)
        await first.kill()
        worker_gone(tmp_path, first.pid)
        with serving(tmp_path) as address:
            page = await page_at(address)
            await second.count(calls=1, in_flight=2)
            later = await page_at(address)
    assert (calls(page), page.value("wallet_bridge_calls_in_flight")) == ((7, 7, 7), 7)
    assert (calls(later), later.value("wallet_bridge_calls_in_flight")) == ((8, 8, 8), 2)


async def test_a_successor_counts_on(tmp_path: Path) -> None:
    """Ended workers are summed up one after the other, and do not fill the directory."""
    for calls_each in (1, 2, 3):
        async with workers(tmp_path, 1) as (worker,):
            await worker.count(calls_each, in_flight=9)
            await worker.kill()
        worker_gone(tmp_path, worker.pid)
    with serving(tmp_path) as address:
        page = await page_at(address)
    assert calls(page) == (6, 6, 6)
    assert names_in(tmp_path) == ["counter_ended.db", "histogram_ended.db"]
    assert "wallet_bridge_calls_in_flight" not in page.families


async def test_the_supervisors_own_word_counts(tmp_path: Path) -> None:
    """It alone knows how many workers there are; what both tell is there once."""
    async with workers(tmp_path, 1) as (worker,):
        await worker.count(calls=1, in_flight=1)
        with serving(tmp_path, WorkerStarted(1, 1), WorkerEnded(1, 1, 1, 0.0), WorkerStarted(1, 2)) as address:
            page = await page_at(address)
    assert page.value("wallet_bridge_workers") == 1
    assert page.value("wallet_bridge_worker_restarts_total") == 1
    assert page.by("wallet_bridge_build_info", "version") == {bridge.__version__: 1}
    assert calls(page) == (1, 1, 1)


def test_a_scrape_may_ask_for_some_names(tmp_path: Path) -> None:
    """Of the sums, too."""
    file_with(tmp_path, "counter_1.db", 3)
    with serving(tmp_path) as address:
        _, text = get(address, "/metrics?name[]=a_total")
    assert text.splitlines()[-1] == "a_total 3.0"
    assert text.count("# HELP") == 1


def file_with(directory: Path, name: str, value: float) -> None:
    """Write what a worker would: one counter with this value."""
    counts = _MmapedDict(str(directory / name))
    counts.write_value(mmap_key("a", "a_total", [], [], "help"), value, 0.0)
    counts.close()


def all_gone(directory: Path, pids: Iterable[int]) -> None:
    """Put together what all of these have counted."""
    for pid in pids:
        worker_gone(directory, pid)


def test_no_scrape_sees_a_worker_go(tmp_path: Path) -> None:
    """However a scrape falls between the steps by which counts are put together, the sum is the same."""
    pids = range(1, 201)
    for pid in pids:
        file_with(tmp_path, f"counter_{pid}.db", 1)
    with serving(tmp_path) as address:
        going = threading.Thread(target=all_gone, args=(tmp_path, pids))
        going.start()
        sums = {scrape(address).value("a_total")}
        while going.is_alive():
            sums.add(scrape(address).value("a_total"))
        going.join()
        sums.add(scrape(address).value("a_total"))
    assert sums == {200}


def test_a_file_that_is_being_made_is_no_obstacle(tmp_path: Path) -> None:
    """A worker that has just opened its file, or died just then, has counted nothing."""
    file_with(tmp_path, "counter_1.db", 3)
    (tmp_path / "counter_2.db").touch()
    with serving(tmp_path) as address:
        assert scrape(address).value("a_total") == 3
        worker_gone(tmp_path, 2)
        assert scrape(address).value("a_total") == 3
    assert names_in(tmp_path) == ["counter_1.db"]


def test_a_worker_that_counted_nothing_is_no_matter(tmp_path: Path) -> None:
    """It may have died before it began."""
    worker_gone(tmp_path, 4711)
    assert names_in(tmp_path) == []


def test_counts_that_cannot_be_read_are_lost_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The supervisor goes on: metrics are worth no bridge."""
    (tmp_path / "counter_4711.db").mkdir()
    worker_gone(tmp_path, 4711)
    assert caplog.messages == ["counts of worker 4711 are lost: IsADirectoryError"]
