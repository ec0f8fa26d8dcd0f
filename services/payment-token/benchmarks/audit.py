"""What does the audit log cost, and what does writing it in batches bring?

    python -m benchmarks.audit

Two comparisons, each in one run and in turns. Decrypts at a fixed rate, by the service as it is and by one that releases
without a record (a thing that exists in this benchmark only): the difference of their latencies is the audit's share. And
records a second: by the service's own writers, each a process with a chain of its own; and by pgbench on a chain with one
head, a row that each transaction locks, hashes onto and changes.
"""

import argparse
import json
import statistics
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.baselines.single_chain import prepare_single_chain, single_chain_rate
from benchmarks.bench import running
from benchmarks.cases.decrypt import DECRYPT
from benchmarks.chain_writers import chain_writers_rate
from benchmarks.deployment import make_deployment, serving
from benchmarks.generator import OpenLoop
from benchmarks.measurement import Results, Series
from benchmarks.options import DEFAULT_OUT, WORKERS, Options, parse
from benchmarks.postgres import settle, tuned_server
from benchmarks.report.machine import commit, machine, versions
from benchmarks.report.progress import said_of

WITHOUT_AUDIT = ("-m", "benchmarks.without_audit")
_NAMES = ("with audit", "without audit")


def main() -> None:
    given = _arguments()
    latencies = _decrypts(given)
    rates = _records(given)
    print("\n" + "\n".join((*_latency_lines(latencies, given.rate), *_rate_lines(rates))))
    _write(given, latencies, rates)
    errors = [error for results in latencies.values() for error in results.errors]
    if errors:
        sys.exit("The figures are worth nothing, because there were errors:\n" + "\n".join(errors))


def _decrypts(given: argparse.Namespace) -> dict[str, Results]:
    found = {name: Results() for name in _NAMES}
    with running(_options(given)) as bench, ExitStack() as stack:
        audited = bench.service
        free = stack.enter_context(serving(bench.env_file, workers=WORKERS, program=WITHOUT_AUDIT))
        for _ in range(given.runs):
            for name, service in zip(_NAMES, (audited, free), strict=True):
                bench.service = service
                settle(bench.server.url)
                measured = DECRYPT.measure(bench, OpenLoop(given.rate))
                found[name].measurements.append(measured)
                print(f"{name}: {said_of(measured)}", flush=True)
        bench.service = audited
    return found


def _records(given: argparse.Namespace) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {"single chain": [], "chains by batch": []}
    with TemporaryDirectory(prefix="pt-benchmark-") as folder:
        env_file = make_deployment(Path(folder) / "deployment")
        with tuned_server(env_file.parent) as server:
            prepare_single_chain(server.url)
            for _ in range(given.runs):
                settle(server.url)
                rates["single chain"].append(
                    single_chain_rate(server.url, Path(folder), given.seconds)
                )
                settle(server.url)
                rates["chains by batch"].append(
                    chain_writers_rate(server.url, given.workers, given.seconds)
                )
                for name, of_runs in rates.items():
                    print(f"{name}: {of_runs[-1]:,.0f} records/s", flush=True)
    return rates


def _latency_lines(latencies: dict[str, Results], rate: float) -> list[str]:
    lines, medians = [], []
    for name, results in latencies.items():
        series = results.offered(DECRYPT.name, rate)
        medians.append(_milliseconds(series, 0.5))
        lines.append(
            f"decrypts at {rate:g}/s {name}: p50 {medians[-1]:.2f} ms, p99 {_milliseconds(series, 0.99):.2f} ms"
        )
    return [*lines, f"the audit's share of the median: {medians[0] - medians[1]:.2f} ms"]


def _rate_lines(rates: dict[str, list[float]]) -> list[str]:
    single, batches = (statistics.median(of_runs) for of_runs in rates.values())
    return [
        f"records: {batches:,.0f}/s by batch, {single:,.0f}/s on a single chain: {batches / single:.1f} times"
    ]


def _milliseconds(series: Series | None, level: float) -> float:
    spread = series.latency(level) if series else None
    return spread.median if spread else float("nan")


def _write(
    given: argparse.Namespace, latencies: dict[str, Results], rates: dict[str, list[float]]
) -> None:
    given.out.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "decrypt p50 and p99, ms": {
            name: [
                [run.latency.at.get(0.5), run.latency.at.get(0.99)] for run in results.measurements
            ]
            for name, results in latencies.items()
        },
        "records a second": rates,
    }
    path = given.out / "audit.json"
    path.write_text(json.dumps(document, indent=1, default=str))
    print(f"Written: {path}")


def _options(given: argparse.Namespace) -> Options:
    return replace(
        parse("", {DECRYPT.name: DECRYPT.title}, []),
        runs=given.runs,
        seconds=given.seconds,
        workers=WORKERS,
        tokens=given.tokens,
        out=given.out,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rate", type=float, default=1000.0, help="of decrypts, a second (default: 1000)")
    add("--runs", type=int, default=3, help="of each, in turns (default: 3)")
    add("--seconds", type=float, default=5.0, help="measured time of each run (default: 5)")
    add("--tokens", type=int, default=2000, help="to decrypt (default: 2000)")
    add("--workers", type=int, default=WORKERS, help=f"that write records (default: {WORKERS})")
    add("--out", type=Path, default=DEFAULT_OUT, help=f"folder (default: {DEFAULT_OUT.name})")
    return parser.parse_args()


if __name__ == "__main__":
    main()
