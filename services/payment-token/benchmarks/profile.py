"""Where a worker's time goes while it is busy: a flame graph of one process, by py-spy.

    python -m benchmarks.profile [--case create-aes] [--seconds 10] [--out FOLDER]

One worker answers as many requests of the case as it can, and py-spy looks at its stack meanwhile. Reading another
process needs root, or kernel.yama.ptrace_scope=0. The figures of such a run are worth nothing: py-spy takes its share.
"""

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Bench, running
from benchmarks.cases import CASES
from benchmarks.cases.case import LoadCase, Run
from benchmarks.generator import ClosedLoop, run_load
from benchmarks.options import DEFAULT_OUT, parse

_WARM_UP_SECONDS = 1.0
_SAMPLES_A_SECOND = 200


def main() -> None:
    cases = {case.name: case for case in CASES if isinstance(case, LoadCase)}
    given = _arguments(sorted(cases))
    options = replace(parse("", {}, []), workers=1, tokens=1000)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"flame-{given.case}.svg"
    print("Starting PostgreSQL and the service", flush=True)
    with running(options) as bench:
        _profile(bench, cases[given.case], given.seconds, given.clients, path)
    print(f"Written: {path}")


def _profile(bench: Bench, case: LoadCase, seconds: float, clients: int, path: Path) -> None:
    # py-spy needs some time to begin and to write, and the worker stays busy meanwhile.
    run = Run(ClosedLoop(case.clients(clients)), seconds + 2, _WARM_UP_SECONDS)
    load = case.make_load(bench, run)
    watching: list[subprocess.Popen[bytes]] = []

    def observe(moment: str) -> None:
        if moment == "begin":
            watching.append(_watch(bench.service.pid, seconds, path))

    run_load(load, observe)
    for spy in watching:
        if spy.wait(timeout=60):
            raise SystemExit("py-spy could not read the worker; see above")


def _watch(pid: int, seconds: float, path: Path) -> subprocess.Popen[bytes]:
    program = Path(sys.executable).with_name("py-spy")
    # By function: a flame for each line of each would be as many.
    options = ("--function", "--rate", str(_SAMPLES_A_SECOND), "--duration", str(round(seconds)))
    return subprocess.Popen(
        [program, "record", "--pid", str(pid), "--output", path, *options],
        stdout=subprocess.DEVNULL,
    )


def _arguments(cases: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--case", choices=cases, default="create-aes")
    add("--seconds", type=float, default=10.0, help="default: 10")
    add("--clients", type=int, default=64, help="default: 64")
    add("--out", type=Path, default=DEFAULT_OUT, help=f"folder (default: {DEFAULT_OUT.name})")
    return parser.parse_args()


if __name__ == "__main__":
    main()
