"""What the command takes."""

import argparse
from dataclasses import dataclass
from pathlib import Path

WORKERS = 2  # one for each core of the machine that the goals are set for
DEFAULT_OUT = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Options:
    short: bool
    runs: int
    seconds: float
    warm_up_seconds: float
    clients: tuple[int, ...]
    rates: tuple[float, ...]
    workers: int
    batch: int
    tokens: int
    records: int
    cases: tuple[str, ...]
    out: Path
    markdown: bool


def parse(description: str, cases: dict[str, str], arguments: list[str] | None = None) -> Options:
    """``cases`` are the names that may be chosen, with their titles."""
    listed = "\n".join(f"  {name:16} {title}" for name, title in cases.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{description}\ncases:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--short", action="store_true", help="does everything work? one short run; no figures")
    add("--case", action="append", choices=cases, metavar="CASE", help="only this; repeatable")
    add("--runs", type=int, help="of each case, in turns (default: 3)")
    add("--seconds", type=float, help="measured time of each run (default: 4)")
    add("--clients", type=_numbers(int), help="closed loop; several: 32,64,128 (default: 64)")
    add("--rates", type=_numbers(float), help="open loop (default: 250,500,1000,2000,3000)")
    add("--peak", action="store_true", help="closed loop only")
    add(
        "--batch",
        type=int,
        default=100,
        help="cards in a request of the batch cases (default: 100)",
    )
    add("--workers", type=int, help=f"of the service (default: {WORKERS})")
    add("--out", type=Path, default=DEFAULT_OUT, help=f"folder (default: {DEFAULT_OUT.name})")
    add("--markdown", action="store_true", help="also print the table as Markdown")
    given = parser.parse_args(arguments)
    short = given.short
    return Options(
        short=short,
        runs=given.runs or (1 if short else 3),
        seconds=given.seconds or (0.6 if short else 4.0),
        warm_up_seconds=0.2 if short else 1.0,
        clients=given.clients or ((8,) if short else (64,)),
        rates=() if given.peak else given.rates or ((50.0, 100.0) if short else _RATES),
        workers=given.workers or (1 if short else WORKERS),
        batch=given.batch,
        tokens=200 if short else 5000,
        records=200 if short else 20_000,
        cases=tuple(given.case or cases),
        out=given.out,
        markdown=given.markdown,
    )


_RATES = (250.0, 500.0, 1000.0, 2000.0, 3000.0)


def _numbers(kind: type) -> object:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(kind(part) for part in text.split(","))

    return numbers
