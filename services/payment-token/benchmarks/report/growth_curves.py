"""How creates fare as the tables grow, and while many tokens end: as PNG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.expiry import Expiry
from benchmarks.measurement import Results

mpl.use("Agg")


def draw_growth(sizes: dict[int, Results], case: str, path: Path) -> Path:
    figure, (rates, latencies) = plt.subplots(1, 2, figsize=(11, 4.5), dpi=110)
    peaks = [
        (size, series.rate)
        for size, results in sizes.items()
        if (series := results.peak(case)) is not None and series.rate is not None
    ]
    millions = [size / 1e6 for size, _ in peaks]
    rates.plot(millions, [rate.median for _, rate in peaks], marker="o")
    rates.fill_between(
        millions,
        [rate.least for _, rate in peaks],
        [rate.most for _, rate in peaks],
        alpha=0.15,
    )
    rates.set_ylabel("creates a second, closed loop")
    for level, name in ((0.5, "p50"), (0.99, "p99")):
        points = [
            (size / 1e6, spread.median)
            for size, results in sizes.items()
            for series in results.of(case)
            if series.offered is not None and (spread := series.latency(level)) is not None
        ]
        latencies.plot(
            [size for size, _ in points], [took for _, took in points], marker="o", label=name
        )
    latencies.set_ylabel("milliseconds at a fixed rate")
    latencies.legend()
    for axes in (rates, latencies):
        axes.set_xlabel("million tokens in the table")
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return path


def draw_expiry(expiries: Sequence[Expiry], path: Path) -> Path:
    figure, rows = plt.subplots(
        len(expiries), 1, figsize=(9, 4 * len(expiries)), dpi=110, squeeze=False
    )
    for (axes,), expiry in zip(rows, expiries, strict=True):
        times = [moment[0] for moment in expiry.curve]
        for at, name in enumerate(("p50", "p99", "slowest"), 1):
            axes.plot(times, [moment[at] for moment in expiry.curve], label=name)
        axes.axvspan(expiry.began, expiry.ended, alpha=0.15, label="payment-token maintain")
        axes.set_title(f"{expiry.what}, at {expiry.rate:g} creates/s")
        axes.set_xlabel("seconds")
        axes.set_ylabel("milliseconds")
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return path
