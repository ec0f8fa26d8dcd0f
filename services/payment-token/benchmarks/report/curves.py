"""Curves of the figures, as PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.measurement import Results, Series

_LEVELS = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"))


def draw_latency(results: Results, folder: Path) -> list[Path]:
    """A picture for each case that was offered fixed rates: how latency grows with the rate."""
    drawn = []
    for case in dict.fromkeys(series.case for series in results.series()):
        offered = [series for series in results.of(case) if series.offered is not None]
        if offered:
            path = folder / f"latency-{case}.png"
            _draw_case(case, offered, results.peak(case), path)
            drawn.append(path)
    return drawn


def _draw_case(case: str, offered: Sequence[Series], peak: Series | None, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 5), dpi=110)
    for level, name in _LEVELS:
        _line(axes, offered, level, name)
    if peak is not None and peak.rate is not None:
        axes.axvline(peak.rate.median, color="grey", linestyle=":", label="peak of the closed loop")
    axes.set_title(f"{case}: latency at a fixed rate")
    axes.set_xlabel("requests offered a second")
    axes.set_ylabel("milliseconds, from when the request was due")
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(left=0)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _line(axes: Any, offered: Sequence[Series], level: float, name: str) -> None:
    """The median of the runs, in a band from the least to the most."""
    points = [
        (series.offered, spread)
        for series in offered
        if (spread := series.latency(level)) is not None
    ]
    rates = [rate for rate, _ in points]
    (line,) = axes.plot(rates, [spread.median for _, spread in points], marker="o", label=name)
    axes.fill_between(
        rates,
        [spread.least for _, spread in points],
        [spread.most for _, spread in points],
        alpha=0.15,
        color=line.get_color(),
    )
