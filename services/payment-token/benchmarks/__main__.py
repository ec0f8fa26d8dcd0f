"""How fast the service is on this machine, beside what PostgreSQL and a bare HTTP server do on it.

It starts its own PostgreSQL and its own service, in a folder that is gone afterwards. Every case runs several times,
in turns, so that a noisy minute of the machine hits all of them alike. The whole takes less than ten minutes; nothing
else should run meanwhile. docs/performance.md says what each figure means.
"""

import sys
import time
from collections.abc import Sequence

from benchmarks.bench import Bench, running
from benchmarks.cases import CASES
from benchmarks.cases.case import Case
from benchmarks.generator import OpenLoop, Shape
from benchmarks.measurement import Results
from benchmarks.options import Options, parse
from benchmarks.postgres import settings_of, settle
from benchmarks.report.curves import draw_latency
from benchmarks.report.document import Setup, write_document
from benchmarks.report.progress import said_of, setup_of
from benchmarks.report.table import tables_of

Step = tuple[Case, Shape | str]


def main() -> None:
    options = parse(__doc__ or "", {case.name: case.title for case in CASES})
    results, setup = _measured(options)
    print(f"\n{setup_of(setup)}\n\n{tables_of(results)}\n")
    if options.markdown:
        print(f"{tables_of(results, markdown=True)}\n")
    _write(results, setup)
    if results.errors:
        sys.exit(
            "The figures are worth nothing, because there were errors:\n"
            + "\n".join(results.errors)
        )


def _measured(options: Options) -> tuple[Results, Setup]:
    results = Results()
    steps: list[Step] = [
        (case, shape)
        for case in CASES
        if case.name in options.cases
        for shape in case.shapes(options)
    ]
    print("Starting PostgreSQL and the service, and filling them", flush=True)
    with running(options) as bench:
        setup = Setup(options, settings_of(bench.server.url), bench.service_settings)
        for run in range(options.runs):
            settle(bench.server.url)
            _run(bench, run, steps, results)
    return results, setup


def _run(bench: Bench, run: int, steps: Sequence[Step], results: Results) -> None:
    """One turn through all cases. Rates above what the service answers in this very turn are not offered to it."""
    peaks: dict[str, float] = {}
    began = time.monotonic()
    for number, (case, shape) in enumerate(steps, 1):
        where = f"[run {run + 1} of {bench.options.runs}, {number} of {len(steps)}, {time.monotonic() - began:.0f} s]"
        if isinstance(shape, OpenLoop) and shape.rate > peaks.get(case.name, float("inf")):
            print(f"{where} {case.name}, {shape}: above its peak", flush=True)
            continue
        found = case.measure(bench, shape)
        if found.offered is None:
            peaks[case.name] = max(found.rate, peaks.get(case.name, 0.0))
        results.measurements.append(found)
        print(f"{where} {said_of(found)}", flush=True)


def _write(results: Results, setup: Setup) -> None:
    out = setup.options.out
    out.mkdir(parents=True, exist_ok=True)
    write_document(results, setup, out / "results.json")
    written = [out / "results.json", *draw_latency(results, out)]
    print("Written: " + ", ".join(str(path) for path in written))


if __name__ == "__main__":
    main()
