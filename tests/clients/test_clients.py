"""What callers are given: the Python sample against bridge and sandbox, the service config, the document's samples.

The samples in Go, Java and Node.js need their toolchains: tests/clients/run.py checks them against the same text.
"""

import json
from collections import Counter
from typing import Any

import pytest

import contract
from bridge.server.handlers import SERVICES
from tests.clients import docs, run
from wallet.v1.wallet_error_pb2 import Outcome

SERVICE_CONFIG = json.loads(run.CONFIGS["shipped"].read_text())
METHOD_CONFIGS: list[dict[str, Any]] = SERVICE_CONFIG["methodConfig"]
CALLERS = docs.CALLERS.read_text(encoding="utf-8")


@pytest.mark.long
async def test_python_sample() -> None:
    """The Python sample prints what every sample must print, and causes no POST too many."""
    assert run.objections(*await run.observe(run.CLIENTS["python"], run.cases())) == ""


@pytest.mark.long
# By milliseconds: two calls in ten may be late, which beside other tests may be more.
@pytest.mark.parametrize("group", [pytest.param("timed", marks=pytest.mark.alone), "short"])
async def test_python_sample_at_its_edges(group: str) -> None:
    """Details arrive before Python's own deadline, no setting cuts one short, no call dies with an old connection."""
    todo = run.edges(group)
    assert run.objections(*await run.observe_edges(run.CLIENTS["python"], todo), run.expected_edges(todo), todo) == ""


@pytest.mark.long
async def test_python_sample_asks_health() -> None:
    """With the shipped config no call reaches a bridge whose health says NOT_SERVING."""
    _, posts = await run.observe(run.CLIENTS["python"], [run.DRAINING_CASE])
    assert not posts


EXPECTED_POSTS = run.wanted_posts(run.cases())


@pytest.mark.parametrize(
    ("printed", "posts", "says"),
    [
        (run.EXPECTED.read_text().replace("18446744073709551615", "-1"), EXPECTED_POSTS, "player_id=-1"),
        (run.EXPECTED.read_text().replace("\n", "\r\n"), EXPECTED_POSTS, "the ends of lines differ"),
        (
            run.EXPECTED.read_text(),
            EXPECTED_POSTS + Counter({("wallet", "test-echo-player"): 1}),
            "POSTs of test-echo-player at wallet: 3, wanted 2",
        ),
        (run.EXPECTED.read_text(), Counter(), "POSTs of test-unavailable at wallet: 0, wanted 3"),
    ],
    ids=["another text", "other line ends", "a POST too many", "no POST"],
)
def test_differences_are_seen(printed: str, posts: Counter[tuple[str, str]], says: str) -> None:
    """A sample that prints anything else, or causes another number of POSTs, is refused."""
    assert says in run.objections(printed, posts)


TIMED = run.CASE_DEFAULTS | {"name": "n", "calls": 10, "atLeast": 8}


@pytest.mark.parametrize(
    ("case", "printed", "read_as"),
    [
        (TIMED, "# n\n10 x A\n", "# n\n10 x A\n"),
        (TIMED, f"# n\n8 x A\n2 x {run.TOO_LATE}", "# n\n10 x A\n"),
        (TIMED, f"# n\n7 x A\n3 x {run.TOO_LATE}", f"# n\n7 x A\n3 x {run.TOO_LATE}"),
        (TIMED, "# n\n8 x A\n2 x B\n", "# n\n8 x A\n2 x B\n"),
        (TIMED | {"atLeast": None}, f"# n\n9 x A\n1 x {run.TOO_LATE}", f"# n\n9 x A\n1 x {run.TOO_LATE}"),
    ],
    ids=["all in time", "two late", "three late", "two otherwise", "one late, where none may be"],
)
def test_only_a_few_calls_may_be_late(case: run.Case, printed: str, read_as: str) -> None:
    """Of a case that is timed, two calls in ten may be too late for their details, and nothing else may differ."""
    assert run.in_time_or_not(case, printed) == read_as


@pytest.mark.parametrize("outcome", sorted(set(Outcome.keys()) - {"OUTCOME_UNSPECIFIED"}))
def test_cases_show_every_outcome(outcome: str) -> None:
    """The samples meet every outcome that a failure can have."""
    assert f" outcome={outcome} " in run.EXPECTED.read_text()


def test_service_config_retries_unavailable_only() -> None:
    """UNAVAILABLE is the one code that means "safe to repeat", three attempts at most."""
    policies = [config["retryPolicy"] for config in METHOD_CONFIGS]
    assert [(policy["retryableStatusCodes"], policy["maxAttempts"]) for policy in policies] == [(["UNAVAILABLE"], 3)]


def test_service_config_retries_idempotent_methods_only() -> None:
    """A broken connection to the bridge is UNAVAILABLE too: exactly what may be done twice has a policy."""
    named = [(name["service"], name["method"]) for config in METHOD_CONFIGS for name in config["name"]]
    repeatable = [rpc for rpc in contract.rpcs(contract.load()) if rpc.repeatable]
    assert named == [(rpc.service, rpc.method) for rpc in repeatable]
    assert ("wallet.v1.WalletService", "Terminate") in named


def test_service_config_names_a_service_with_health() -> None:
    """The bridge's health knows the service that the config asks for."""
    assert SERVICE_CONFIG["healthCheckConfig"]["serviceName"] in {service.full_name for service in SERVICES}


def test_service_config_sets_no_deadline() -> None:
    """A deadline is the caller's own: a timeout here would cut it short, and C core ends calls before it has passed."""
    assert [config for config in METHOD_CONFIGS if "timeout" in config] == []


def test_document_includes_the_tested_files() -> None:
    """docs/callers.md shows the service config and the four samples, byte for byte as they are tested."""
    assert {name.split("/")[2] for name in docs.included(CALLERS) if name.startswith("tests/")} == set(run.CLIENTS)
    assert docs.render(CALLERS) == CALLERS, "run python -m tests.clients.docs"


def test_lock_files_name_no_registry() -> None:
    """A lock file holds hashes, not the addresses of the servers of the packages."""
    locks = [run.HERE / "node" / "package-lock.json", run.ROOT / "tools" / "node" / "package-lock.json"]
    packages = [package for lock in locks for package in json.loads(lock.read_text())["packages"].values()]
    assert [package["resolved"] for package in packages if "://" in package.get("resolved", "")] == []
