"""The matrix's verdict can fail: each thing that must never happen is seen, and only what is explained is let pass."""

from pathlib import Path

import pytest

from tests.interop.calls import Ended, body
from tests.interop.expectations import EXPECTATIONS
from tests.interop.ledger import Entry, Ledger, read
from tests.interop.matrix import ROWS, Line, Matrix
from tests.interop.results import merge
from tests.interop.servers import SERVERS
from tests.interop.tally import Tally, tally

GOOD = Entry("", body("t"))
OK = Ended("t", "OK")


@pytest.mark.parametrize(
    ("ended", "ledger", "wrong"),
    [
        (OK, {"t": [GOOD]}, {}),
        (OK, {"t": [GOOD, GOOD]}, {"duplicated": 1}),
        (OK, {}, {"false_certainty": 1}),
        (Ended("t", "UNAVAILABLE", "NOT_SENT", "r"), {}, {"failed": 1}),
        (Ended("t", "UNAVAILABLE", "NOT_SENT", "r"), {"t": [GOOD]}, {"failed": 1, "false_certainty": 1}),
        (Ended("t", "UNAVAILABLE", "NOT_PROCESSED", "r"), {"t": [GOOD]}, {"failed": 1, "false_certainty": 1}),
        (Ended("t", "INTERNAL", "REJECTED", "r"), {"t": [GOOD]}, {"failed": 1, "false_certainty": 1}),
        (Ended("t", "UNKNOWN", "UNKNOWN", "r"), {"t": [GOOD]}, {"failed": 1}),
        (Ended("t", "UNKNOWN", "UNKNOWN", "r"), {}, {"failed": 1}),
        (Ended("t", "INTERNAL", "REJECTED", "r"), {"t": [Entry("signature", body("t"))]}, {"failed": 1, "inexact": 1}),
        (OK, {"t": [Entry("", body("t") + b" ")]}, {"inexact": 1}),
        (Ended("t", "DEADLINE_EXCEEDED", "UNKNOWN", "r", is_healthy=False), {"t": [GOOD]}, {"calls": 0, "expired": 1}),
        (
            Ended("t", "UNAVAILABLE", "NOT_SENT", "r", is_healthy=False),
            {"t": [GOOD]},
            {"calls": 0, "expired": 1, "false_certainty": 1},
        ),
    ],
)
def test_tally(ended: Ended, ledger: Ledger, wrong: dict[str, int]) -> None:
    """A call's end and the wallet's log give these counts, and zero for all others."""
    found = tally([ended], ledger)
    counts = {"calls": 1, "failed": 0, "duplicated": 0, "false_certainty": 0, "inexact": 0, "expired": 0} | wrong
    assert {name: getattr(found, name) for name in counts} == counts
    assert bool(found.seen) is not found.is_true


def test_ledger(tmp_path: Path) -> None:
    """A ledger is read by token, faults and bodies included; an empty body leaves an empty field."""
    (tmp_path / "ledger").write_text("a - eA==\na signature eQ==\nnone content-length \n")
    assert read(tmp_path / "ledger") == {
        "a": [Entry("", b"x"), Entry("signature", b"y")],
        "none": [Entry("content-length", b"")],
    }


@pytest.mark.parametrize(
    ("found", "is_good"),
    [
        (Tally(10, 0, 0, 0, 0), True),
        (Tally(10, 1, 0, 0, 0, reasons={"WALLET_TIMEOUT": 1}), False),
        (Tally(10, 0, 1, 0, 0), False),
        (Tally(10, 0, 0, 1, 0), False),
        (Tally(10, 0, 0, 0, 1), False),
    ],
    ids=["all well", "failed without an explanation", "duplicated", "false certainty", "not exact"],
)
def test_line(found: Tally, is_good: bool) -> None:  # noqa: FBT001 - a case's verdict
    """A row is good only if nothing failed without an explanation, and all that must be zero is."""
    assert Line("nginx", "TLS", "load", found).is_good is is_good


@pytest.mark.parametrize("expectation", EXPECTATIONS, ids=lambda each: f"{each.server}, {each.row}, {each.reason}")
def test_expectation_has_its_limit(expectation: object) -> None:
    """An explained failure is let pass up to its share of the calls, not beyond, and never with a false word."""
    each = next(one for one in EXPECTATIONS if one is expectation)
    most = int(1000 * each.most)
    reasons = {each.reason: most}
    line = Line(each.server, "TLS", each.row, Tally(1000, most, 0, 0, 0, reasons=reasons))
    assert line.is_good
    assert each.why in line.remark
    assert not Line(each.server, "TLS", each.row, Tally(1000, most, 0, 1, 0, reasons=reasons)).is_good
    beyond = {each.reason: most + 1}
    assert not Line(each.server, "TLS", each.row, Tally(1000, most + 1, 0, 0, 0, reasons=beyond)).is_good


def test_expectations_name_what_exists() -> None:
    """Each explanation is about a server and a row of the matrix."""
    names = {server.name for server in SERVERS}
    assert {each.server for each in EXPECTATIONS} <= names
    assert {each.row for each in EXPECTATIONS} <= set(ROWS)
    assert {row for server in SERVERS for row in server.left_out} <= set(ROWS)


def test_document_shows_everything() -> None:
    """The document has each row, what was left out with its reason, what broke off, and what was not installed."""
    server = SERVERS[0]
    matrix = Matrix(
        [
            Line(server.name, "h2c", "load", Tally(300, 1, 0, 0, 2, reasons={"WALLET_TIMEOUT": 1})),
            Line(server.name, "h2c", "expiring", left_out="a reason"),
            Line(server.name, "TLS", "load", broken="an error"),
        ],
        {server.name: "1.2.3"},
        {"another": "apt-get install another"},
    )
    text = matrix.document(SERVERS)
    for words in (
        f"### {server.name}: 1.2.3",
        "| h2c | load | 300 | 1 | 0 | 0 | 2 NOT EXACT | NOT EXPLAINED; 1 WALLET_TIMEOUT |",
        "left out: a reason",
        "BROKEN OFF: an error",
        "- another: apt-get install another",
        "1 of 3 rows",
    ):
        assert words in text


def test_results_are_merged(tmp_path: Path) -> None:
    """A run of some servers replaces what is known about these and leaves what is known about the others."""
    failed = Tally(3, 1, 0, 0, 0, reasons={"WALLET_TIMEOUT": 1})
    old, other = Line("nginx", "TLS", "load", failed), Line("Envoy", "h2c", "load", failed)
    new = Line("nginx", "TLS", "load", Tally(4, 0, 0, 0, 0))
    merge(Matrix([old, other], {"nginx": "1", "Envoy": "2"}, {"Jetty": "why"}), tmp_path / "results")
    merged = merge(Matrix([new], {"nginx": "3"}), tmp_path / "results")
    assert merged == Matrix([other, new], {"nginx": "3", "Envoy": "2"}, {"Jetty": "why"})
    assert merge(Matrix(), tmp_path / "results") == merged
