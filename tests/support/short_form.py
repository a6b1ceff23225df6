"""The mark `short`: which cases of a test `make test` tries, where a few show the kind. The others are `long`.

    @pytest.mark.short("grpcio-json", "native")

keeps those whose id has one of these parts between hyphens; a module's mark holds for its tests that have none of their
own, and `short` without parts keeps all cases of such a test. A test without cases is not concerned.
"""

from collections import defaultdict
from collections.abc import Sequence

import pytest


def mark_other_cases(items: Sequence[pytest.Item], *, are_all_collected: bool) -> None:
    """Mark as `long` what is not short; raise pytest.UsageError for a part that no case of its test has.

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
