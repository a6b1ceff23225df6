"""The table of scheduling policies: medians under each, and the ratio of their costs, round by round."""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.cells import Cells, markdown, plain
from benchmarks.figures import Policies, PolicyRound, spread

HEAD = (
    *("row", "where", "policy", "CPU µs/call", "batch / other", "calls/s"),
    *("a third: CPU µs/call", "p50 ms", "p99 ms", "errors"),
)


def policy_table(policies: Policies) -> str:
    """Return the table for a terminal."""
    return plain(_cells(policies))


def policies_text(policies: Policies | None) -> str:
    """Return the table in Markdown, with the circumstances above it; "" where nothing was measured."""
    if policies is None:
        return ""
    circumstances = f"load average {policies.load_average:.1f} before it; Python {policies.python}"
    return f"Measured {policies.taken}, {circumstances}.\n\n{markdown(_cells(policies))}"


def _cells(policies: Policies) -> list[Cells]:
    cases = dict.fromkeys((one.row, one.situation) for one in policies.rounds)
    return [HEAD, *(cells for case in cases for cells in _case(*case, policies.rounds))]


def _case(row: str, situation: str, rounds: Sequence[PolicyRound]) -> Iterator[Cells]:
    mine = [one for one in rounds if (one.row, one.situation) == (row, situation)]
    by_policy = {name: [one for one in mine if one.policy == name] for name in ("other", "batch")}
    pairs = zip(by_policy["batch"], by_policy["other"], strict=True)
    ratio = str(spread([batch.cpu_us / other.cpu_us for batch, other in pairs]))
    for policy, ones in by_policy.items():
        yield (
            *(row, situation, policy, _median(ones, "cpu_us", 0), ratio if policy == "batch" else "1"),
            *(_median(ones, "calls_per_s", 0), _median(ones, "third_cpu_us", 0)),
            *(_median(ones, "third_p50_ms", 2), _median(ones, "third_p99_ms", 2)),
            str(sum(one.errors for one in ones)),
        )


def _median(ones: Sequence[PolicyRound], figure: str, digits: int) -> str:
    return f"{statistics.median(getattr(one, figure) for one in ones):.{digits}f}"
