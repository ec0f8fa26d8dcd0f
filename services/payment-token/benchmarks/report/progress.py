"""A line for each measurement, while the benchmark runs."""

from benchmarks.measurement import ECHO, GENERATOR, POSTGRES, SERVICE, Measurement


def said_of(found: Measurement) -> str:
    latency = found.latency.at
    times = f", p50 {latency[0.5]:.2f} ms, p99 {latency[0.99]:.2f} ms" if latency else ""
    used = [
        f"{name} {value:.0f}"
        for name in (SERVICE, POSTGRES, ECHO, GENERATOR)
        if (value := found.cpu_microseconds(name)) is not None
    ]
    cpu = f", CPU µs each: {', '.join(used)}" if used else ""
    resident = found.largest_resident_megabytes(SERVICE)
    memory = f", largest process {resident:.0f} MB" if resident else ""
    wrong = f", ERRORS: {found.errors}" if found.errors else ""
    return f"{found.case}, {found.shape}: {found.rate:,.0f}/s{times}{cpu}{memory}{wrong}"
