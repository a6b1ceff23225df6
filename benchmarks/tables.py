"""The figures as tables: for the screen as they are, for docs/performance.md as Markdown."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.cells import Cells, markdown, plain
from benchmarks.contestants import BY_NAME, ENVOY, FLOOR, OURS, TEXTBOOK
from benchmarks.figures import InFlightPoint, Profile, Results, Scaling, cost_ratio
from benchmarks.form_table import forms_text
from benchmarks.policy_table import policies_text
from benchmarks.targets import verdicts, workers_gain

COMPARED_WITH = (FLOOR, ENVOY)
"""A column for each: what a call of the row costs in calls of that one."""


def tables(results: Results) -> dict[str, str]:
    """Return every part of the document that a run writes, by its name."""
    return {
        "run": _run(results),
        "rows": markdown(_row_cells(results)),
        "curves": markdown(_curve_cells(results)),
        "workers": markdown(_workers_cells(results.scaling)),
        "in flight": markdown(_in_flight_cells(results.scaling)),
        "wallet": markdown(_wallet_cells(results.scaling)),
        "added": markdown(_added_cells(results.scaling)),
        "forms": forms_text(results.forms),
        "policies": policies_text(results.policies),
        "steps": markdown(_step_cells(results.profile)),
        "targets": markdown(_target_cells(results)),
    }


def row_table(results: Results) -> str:
    """Return the rows side by side for a terminal."""
    return plain(_row_cells(results))


def _run(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    count = len(next(iter(results.rounds.values())))
    machine = f"{results.machine}, load average {results.load_average:.1f}"
    rows = f"every row under SCHED_{results.policy.upper()}, {count} rounds"
    return f"Measured {results.taken} on {machine}; {versions}. All in one run: {rows}."


def _row_cells(results: Results) -> list[Cells]:
    others = [name for name in COMPARED_WITH if name in results.rounds]
    head = (
        "row",
        "form",
        "CPU µs/call",
        "calls/s",
        "p50 ms",
        "p99 ms",
        "errors",
        "memory MB",
        *(f"/ {name}" for name in others),
    )
    return [[*head, f"{TEXTBOOK} /"], *(list(_row(results, name, others)) for name in results.rounds)]


def _row(results: Results, name: str, others: Sequence[str]) -> Iterator[str]:
    measured = results.rounds
    rounds = measured[name]
    yield name
    yield results.form if BY_NAME[name] in OURS else "-"
    yield f"{statistics.median(one.cpu_us for one in rounds):.0f}"
    yield f"{statistics.median(one.calls_per_s for one in rounds):.0f}"
    yield f"{statistics.median(one.p50_ms for one in rounds):.1f}"
    yield f"{statistics.median(one.p99_ms for one in rounds):.1f}"
    yield f"{sum(one.errors for one in rounds)} of {sum(one.calls for one in rounds)}"
    yield f"{statistics.median(one.memory_mb for one in rounds):.0f}"
    for other in others:
        yield str(cost_ratio(rounds, measured[other]))
    yield str(cost_ratio(measured[TEXTBOOK], rounds)) if TEXTBOOK in measured else "-"


def _curve_cells(results: Results) -> list[Cells]:
    shares = [point.share for point in next(iter(results.curves.values()), ())]
    head = ("p50 / p99 in ms at", *(f"{share:.0%}" for share in shares))
    return [
        head,
        *((name, *(f"{p.p50_ms:.1f} / {p.p99_ms:.1f}" for p in curve)) for name, curve in results.curves.items()),
    ]


def _workers_cells(scaling: Mapping[str, Scaling]) -> list[Cells]:
    head = ("row", "workers", "calls/s", "times one", "CPU µs/call", "memory MB", "errors")
    cells = (
        (
            *(name, str(p.workers), f"{p.calls_per_s:.0f}", f"{workers_gain(p, each.workers[0]):.2f}"),
            *(f"{p.cpu_us:.0f}", f"{p.memory_mb:.0f}", str(p.errors)),
        )
        for name, each in scaling.items()
        for p in each.workers
    )
    return [head, *cells]


def _in_flight_cells(scaling: Mapping[str, Scaling]) -> list[Cells]:
    head = ("row", "in flight", "CPU µs/call", "calls/s", "p99 ms", "memory MB", "errors")
    return [head, *((name, str(p.in_flight), *_point(p)) for name, each in scaling.items() for p in each.in_flight)]


def _wallet_cells(scaling: Mapping[str, Scaling]) -> list[Cells]:
    head = ("row", "wallet takes ms", "CPU µs/call", "calls/s", "p99 ms", "memory MB", "errors")
    return [head, *((name, str(p.wallet_ms), *_point(p)) for name, each in scaling.items() for p in each.wallet)]


def _point(point: InFlightPoint) -> Cells:
    return (
        *(f"{point.cpu_us:.0f}", f"{point.calls_per_s:.0f}", f"{point.p99_ms:.1f}"),
        *(f"{point.memory_mb:.0f}", str(point.errors)),
    )


def _added_cells(scaling: Mapping[str, Scaling]) -> list[Cells]:
    head = (
        "row",
        "calls/s",
        "wallet p50 ms",
        "wallet p99 ms",
        "bridge p50 ms",
        "bridge p99 ms",
        "p99 added ms",
        "errors",
    )
    cells = (
        (
            *(name, f"{a.calls_per_s:.0f}", f"{a.wallet_p50_ms:.1f}", f"{a.wallet_p99_ms:.1f}"),
            *(f"{a.bridge_p50_ms:.1f}", f"{a.bridge_p99_ms:.1f}", f"{a.p99_ms:.1f}", str(a.errors)),
        )
        for name, a in ((name, each.added) for name, each in scaling.items())
    )
    return [head, *cells]


def step_table(profile: Profile) -> str:
    """Return the steps for a terminal."""
    return plain(_step_cells(profile))


def _step_cells(profile: Profile | None) -> list[Cells]:
    head = ("step", "CPU µs", "share")
    if profile is None:
        return [head]
    steps = ((step.name, f"{step.cpu_us:.1f}", f"{step.cpu_us / profile.cpu_us:.1%}") for step in profile.steps)
    whole = (f"a call (of it {profile.system_us:.0f} µs in the kernel)", f"{profile.cpu_us:.1f}", "100.0%")
    floor = ("beside it: the floor", f"{profile.floor_us:.1f}", f"{profile.floor_us / profile.cpu_us:.1%}")
    return [head, *steps, whole, floor]


def _target_cells(results: Results) -> list[Cells]:
    head = ("target", "measured", "wanted", "reached")
    return [head, *((v.what, v.figure, v.limit, "yes" if v.is_reached else "**no**") for v in verdicts(results))]


def legend() -> str:
    """Return what each row is, in Markdown."""
    return "\n".join(f"- **{row.name}**: {row.what}." for row in BY_NAME.values())
