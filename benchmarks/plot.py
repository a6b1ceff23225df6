"""The plot of docs/performance.md: latency against offered load. Needs matplotlib, of the extra `bench`."""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.figures import Results

SIZE_INCHES = (9.0, 8.0)


def draw(results: Results, file: Path) -> None:
    """Write p50 and p99 of every row as an SVG, the same bytes for the same figures."""
    mpl.use("svg")
    # Without these, each run would give its elements other ids, and text would be outlines.
    mpl.rcParams.update({"svg.hashsalt": "bridge", "svg.fonttype": "none"})
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=SIZE_INCHES, layout="constrained")
    for axis, name in zip(axes, ("p50_ms", "p99_ms"), strict=True):
        for row, curve in results.curves.items():
            offered = [point.offered_per_s for point in curve]
            axis.plot(offered, [getattr(point, name) for point in curve], marker="o", markersize=3, label=row)
        axis.set(xscale="log", yscale="log", ylabel=f"{name.removesuffix('_ms')} in ms")
        axis.grid(visible=True, which="both", alpha=0.25)
    axes[0].legend()
    axes[0].set_title("Latency against offered load, 10 % to 110 % of what each row carries on one core")
    axes[1].set_xlabel("calls offered per second")
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
