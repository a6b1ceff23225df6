"""What all tests share."""

import gc
import os
import signal
import tempfile
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.support import engines
from tests.support.examples import register

ROOT = Path(__file__).parents[1]
LONG_FOLDERS = ("benchmarks", "tests/deploy", "tests/release", "tests/second_operation", "tests/unit/tools")
"""All tests in them are marked `long`: they are about what stands beside the bridge."""

register()

# argparse looks for translations of each word of each command's help, and there are none: a third of the time of tests
# that run commands in this process. Its English is what they compare with.
os.environ["LANGUAGE"] = "C"

# A shell that runs tests in the background has them ignore SIGINT, and with them all processes that they start: what
# those do at Ctrl-C would never be seen.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say how many processes run the tests: two for each core, because tests wait for much of their time."""
    return 2 * (os.cpu_count() or 1)


@cache
def _is_in_long_folder(path: Path) -> bool:
    """Say whether a file is in one; kept, as each of thousands of tests asks."""
    return any(path.is_relative_to(ROOT / folder) for folder in LONG_FOLDERS)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import what `-m "not long"` would leave out: each process that runs tests would."""
    is_left_out = "not long" in config.option.markexpr and _is_in_long_folder(collection_path)
    return True if is_left_out else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected: they all stay, and to look at all of them takes a tenth longer."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Mark all tests of the long folders, and the cases that `short` leaves out, before `-m` chooses."""
    for item in items:
        if _is_in_long_folder(item.path):
            item.add_marker(pytest.mark.long)
    mark_other_cases(items, are_all_collected=not any("::" in argument for argument in config.args))


def mark_other_cases(items: Sequence[pytest.Item], *, are_all_collected: bool) -> None:
    """Mark as `long` the cases that are not short; raise pytest.UsageError for a part that no case of its test has.

    `@pytest.mark.short("grpcio-json", "native")` keeps those whose id has one of these parts between hyphens; a mark of
    a module holds for its tests that have none of their own, and `short` without parts keeps all cases of such a test.

    `are_all_collected`: not only single cases that a command line names.
    """
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if "[" in item.name:
            tests[item.nodeid.partition("[")[0]].append(item)
    for name, cases in tests.items():
        mark = cases[0].get_closest_marker("short")
        if mark is None or not mark.args:
            continue
        if are_all_collected:
            _check(name, mark.args, cases)
        for item in cases:
            if not any(_has(item, part) for part in mark.args):
                item.add_marker(pytest.mark.long)


def _check(name: str, parts: Sequence[str], cases: Sequence[pytest.Item]) -> None:
    unknown = [part for part in parts if not any(_has(item, part) for item in cases)]
    if unknown:
        raise pytest.UsageError(f"{name}: mark `short` names {unknown}, which no case has")


def _has(item: pytest.Item, part: str) -> bool:
    case = item.name.partition("[")[2].removesuffix("]")
    return f"-{part}-" in f"-{case}-"


def pytest_collection_finish() -> None:
    """Overlook what all modules and thousands of tests consist of."""
    _overlook_what_stays()


@pytest.fixture(scope="module", autouse=True)
def _earlier_modules_stay() -> None:
    """Overlook what the tests of earlier modules have left: reports, caches, modules that were imported."""
    _overlook_what_stays()


def _overlook_what_stays() -> None:
    """Let the garbage collector overlook all that is there, as it stays to the end.

    Many tests collect garbage to see what is left; each time it took longer than the rest of such a test.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(name="engine", params=engines.NAMES)
def _engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the bridges of a test each engine in turn."""
    with engines.served_by(request.param):
        yield request.param


@pytest.fixture(name="short_path")
def _short_path() -> Iterator[Path]:
    """Give a folder whose path is short enough for a Unix socket in it: pytest's own grow with each run."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)
