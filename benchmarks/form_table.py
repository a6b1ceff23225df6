"""The table of the bridge's two forms: medians of each, and what a compiled call costs in pure ones, round by round."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.cells import Cells, markdown, plain
from benchmarks.figures import FormRounds, Round, cost_ratio
from benchmarks.forms import Form

HEAD = ("row", "form", "CPU µs/call", "/ pure", "calls/s", "p99 ms", "memory MB", "errors")


def form_table(forms: FormRounds) -> str:
    """Return the table for a terminal."""
    return plain(_cells(forms))


def forms_text(forms: FormRounds | None) -> str:
    """Return the table in Markdown, with the circumstances above it; that there is none where nothing was measured."""
    if forms is None:
        return "Not measured yet."
    circumstances = f"load average {forms.load_average:.1f} before it; Python {forms.python}"
    return f"Measured {forms.taken}, {circumstances}.\n\n{markdown(_cells(forms))}"


def _cells(forms: FormRounds) -> list[Cells]:
    return [HEAD, *(cells for row, by_form in forms.rounds.items() for cells in _lines(row, by_form))]


def _lines(row: str, by_form: Mapping[str, Sequence[Round]]) -> Iterator[Cells]:
    for form in Form:
        rounds = by_form[form]
        errors = f"{sum(one.errors for one in rounds)} of {sum(one.calls for one in rounds)}"
        yield (
            *(row, str(form), _median(rounds, "cpu_us", 0), str(cost_ratio(rounds, by_form[Form.PURE]))),
            *(_median(rounds, "calls_per_s", 0), _median(rounds, "p99_ms", 1), _median(rounds, "memory_mb", 0), errors),
        )


def _median(rounds: Sequence[Round], figure: str, digits: int) -> str:
    return f"{statistics.median(getattr(one, figure) for one in rounds):.{digits}f}"
