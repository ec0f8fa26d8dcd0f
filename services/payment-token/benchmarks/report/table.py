"""The figures as a table: plain for a terminal, or Markdown for the documents."""

from collections.abc import Iterable, Sequence

from benchmarks.measurement import ECHO, GENERATOR, POSTGRES, SERVICE, Results, Series, Spread
from benchmarks.report.targets import GOALS

_FIGURES = (
    "case",
    "load",
    "a second (least to most)",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "p99.9 ms",
    "CPU µs: server",
    "PostgreSQL",
    "generator",
    "MB",
)
_LEVELS = (0.5, 0.9, 0.99, 0.999)

Row = Sequence[str]


def tables_of(results: Results, *, markdown: bool = False) -> str:
    draw = _markdown if markdown else _plain
    figures = [_row(series) for series in results.series()]
    goals = _goal_rows(results)
    parts = [draw(_FIGURES, figures)]
    if goals:
        parts.append(draw(("goal", "measured", "asked", "hoped for", ""), goals))
    return "\n\n".join(parts)


def _row(series: Series) -> Row:
    rate = series.rate
    return (
        series.case,
        series.shape,
        "" if rate is None else f"{rate.median:,.0f} ({rate.least:,.0f} to {rate.most:,.0f})",
        *(_number(series.latency(level), 2) for level in _LEVELS),
        _number(series.cpu(SERVICE) or series.cpu(ECHO)),
        _number(series.cpu(POSTGRES)),
        _number(series.cpu(GENERATOR)),
        _number(series.resident(SERVICE) or series.resident(ECHO)),
    )


def _goal_rows(results: Results) -> list[Row]:
    rows = []
    for goal in GOALS:
        value = goal.figure(results)
        if value is not None:
            sign = "≥" if goal.at_least else "≤"
            rows.append(
                (
                    goal.name,
                    f"{_brief(value)}{goal.unit}",
                    f"{sign} {_brief(goal.bound)}{goal.unit}",
                    f"{sign} {_brief(goal.hoped)}{goal.unit}",
                    goal.verdict(value),
                )
            )
    return rows


def _brief(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004


def _number(spread: Spread | None, digits: int = 0) -> str:
    return "" if spread is None else f"{spread.median:,.{digits}f}"


def _plain(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    # The first two columns are words, the rest are numbers.
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)  # noqa: PLR2004
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _markdown(head: Row, rows: Iterable[Row]) -> str:
    rule = ["---" if at < 2 else "--:" for at in range(len(head))]  # noqa: PLR2004
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))
