"""How fast the service is on this machine, beside what PostgreSQL and a bare HTTP server do on it.

It starts its own PostgreSQL and its own service, in a folder that is gone afterwards. Every case runs several times,
in turns, so that a noisy minute of the machine hits all of them alike.
"""

from benchmarks.bench import running
from benchmarks.cases import CASES
from benchmarks.measurement import Results
from benchmarks.options import Options, parse
from benchmarks.report.progress import said_of


def main() -> None:
    options = parse(__doc__ or "", {case.name: case.title for case in CASES})
    results = measured(options)
    for error in results.errors:
        print("ERROR", error)


def measured(options: Options) -> Results:
    results = Results()
    chosen = [case for case in CASES if case.name in options.cases]
    steps = [(case, shape) for case in chosen for shape in case.shapes(options)]
    whole = options.runs * len(steps)
    print("Starting PostgreSQL and the service, and filling them", flush=True)
    with running(options) as bench:
        for run in range(options.runs):
            for case, shape in steps:
                found = case.measure(bench, shape)
                results.measurements.append(found)
                print(
                    f"[{len(results.measurements)}/{whole}] run {run + 1}: {said_of(found)}",
                    flush=True,
                )
    return results


if __name__ == "__main__":
    main()
