"""Does a create become slower as the tables grow, and does the end of many tokens disturb anybody?

    python -m benchmarks.growth --tokens 1000000,5000000,20000000 --expire 5000000

The tables are filled by SQL, with the rows of a deployment that keeps tokens for a day, their idempotency keys among
them: about 1.2 GB for each million. Creates are measured on the empty tables and at each size, by the same service.
With --expire, a partition with so many tokens becomes due, and ``payment-token maintain`` drops it while creates come in
at a fixed rate; then it deletes as many expired idempotency keys as --expired-keys says.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.bench import Bench, running
from benchmarks.cases.create import CREATE_AES
from benchmarks.expiry import Expiry, measure_expiry
from benchmarks.fill import due_tokens, expired_claims, tokens_with_claims
from benchmarks.generator import ClosedLoop, OpenLoop
from benchmarks.measurement import Results, Series
from benchmarks.options import DEFAULT_OUT, WORKERS, Options, parse
from benchmarks.postgres import settings_of, settle
from benchmarks.report.growth_curves import draw_expiry, draw_growth
from benchmarks.report.machine import commit, machine, versions
from benchmarks.report.progress import said_of

_Sizes = dict[int, Results]


def main() -> None:
    given = _arguments()
    options = _options(given)
    sizes: _Sizes = {}
    expiries: list[Expiry] = []
    print("Starting PostgreSQL and the service", flush=True)
    with running(options) as bench:
        settings = settings_of(bench.server.url)
        if given.tokens:
            sizes = _grown(bench, (0, *given.tokens), given.rate)
        if given.expire:
            expiries = _expired(bench, given)
    print("\n" + "\n".join((*_size_lines(sizes, given.rate), *map(str, expiries))))
    _write(given.out, options, settings, sizes, expiries)
    errors = [error for results in sizes.values() for error in results.errors]
    errors += [error for expiry in expiries for error in expiry.errors]
    if errors:
        sys.exit("The figures are worth nothing, because there were errors:\n" + "\n".join(errors))


def _grown(bench: Bench, targets: tuple[int, ...], rate: float) -> _Sizes:
    sizes: _Sizes = {}
    filled = 0
    for target in targets:
        tokens_with_claims(bench.server.url, target - filled, _progress(target - filled, "tokens"))
        filled = target
        results = sizes[target] = Results()
        for _ in range(bench.options.runs):
            settle(bench.server.url)
            for shape in (ClosedLoop(bench.options.clients[0]), OpenLoop(rate)):
                found = CREATE_AES.measure(bench, shape)
                results.measurements.append(found)
                print(f"{target:,} tokens: {said_of(found)}", flush=True)
    return sizes


def _expired(bench: Bench, given: argparse.Namespace) -> list[Expiry]:
    url, tokens, keys = bench.server.url, given.expire, given.expired_keys
    load = (given.rate, given.expire_seconds)
    due_tokens(url, tokens, _progress(tokens, "tokens that are due"))
    settle(url)
    expiries = [measure_expiry(bench, f"a partition of {tokens:,} tokens", *load)]
    print(expiries[-1], flush=True)
    if keys:
        expired_claims(url, keys, _progress(keys, "expired idempotency keys"))
        settle(url)
        expiries.append(measure_expiry(bench, f"{keys:,} expired idempotency keys", *load))
        print(expiries[-1], flush=True)
    return expiries


def _progress(whole: int, what: str) -> Callable[[int], None]:
    done, began = 0, time.monotonic()

    def progress(more: int) -> None:
        nonlocal done
        done += more
        seconds = time.monotonic() - began
        left = (whole - done) * seconds / done
        print(f"filling: {done:,} of {whole:,} {what}, {left:.0f} s left", flush=True)

    return progress


def _size_lines(sizes: _Sizes, rate: float) -> list[str]:
    lines = []
    for size, results in sizes.items():
        peak, offered = results.peak(CREATE_AES.name), results.offered(CREATE_AES.name, rate)
        lines.append(
            f"{size:>12,} tokens: {_rate(peak):8,.0f} creates/s ({_rate(peak) / _rate(sizes[0].peak(CREATE_AES.name)):.2f}"
            f" of empty), at {rate:g}/s p50 {_latency(offered, 0.5):.2f} ms, p99 {_latency(offered, 0.99):.2f} ms"
        )
    return lines


def _rate(series: Series | None) -> float:
    return series.rate.median if series and series.rate else float("nan")


def _latency(series: Series | None, level: float) -> float:
    spread = series.latency(level) if series else None
    return spread.median if spread else float("nan")


def _write(
    out: Path, options: Options, settings: dict[str, str], sizes: _Sizes, expiries: list[Expiry]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "options": asdict(options),
        "postgres": settings,
        "sizes": {
            size: [asdict(each) for each in results.measurements] for size, results in sizes.items()
        },
        "expiries": [asdict(expiry) for expiry in expiries],
    }
    (out / "growth.json").write_text(json.dumps(document, indent=1, default=str))
    written = [out / "growth.json"]
    if sizes:
        written.append(draw_growth(sizes, CREATE_AES.name, out / "growth.png"))
    if expiries:
        written.append(draw_expiry(expiries, out / "expiry.png"))
    print("Written: " + ", ".join(str(path) for path in written))


def _options(given: argparse.Namespace) -> Options:
    whole = parse("", {CREATE_AES.name: CREATE_AES.title}, [])
    return replace(
        whole,
        runs=given.runs,
        seconds=given.seconds,
        clients=(given.clients,),
        workers=given.workers,
        tokens=200,
        out=given.out,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--tokens", type=_sizes, default=(), help="sizes of the table, such as 1000000,5000000")
    add("--expire", type=int, default=0, help="tokens in a partition that is due (default: none)")
    add("--expired-keys", type=int, default=0, help="then so many expired idempotency keys")
    add("--expire-seconds", type=float, default=60.0, help="of creates meanwhile (default: 60)")
    add("--rate", type=float, default=1000.0, help="open loop, a second (default: 1000)")
    add("--runs", type=int, default=3, help="at each size (default: 3)")
    add("--seconds", type=float, default=5.0, help="measured time of each run (default: 5)")
    add("--clients", type=int, default=64, help="closed loop (default: 64)")
    add("--workers", type=int, default=WORKERS, help=f"of the service (default: {WORKERS})")
    add("--out", type=Path, default=DEFAULT_OUT, help=f"folder (default: {DEFAULT_OUT.name})")
    return parser.parse_args()


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(part.replace("_", "")) for part in text.split(",")))


if __name__ == "__main__":
    main()
