"""A line for each measurement, while the benchmark runs, and the lines above the table at its end."""

from benchmarks.measurement import ECHO, GENERATOR, POSTGRES, SERVICE, Measurement
from benchmarks.report.document import Setup
from benchmarks.report.machine import commit, machine, versions

_LATE_MILLISECONDS = 1.0  # of which the latency holds something that is not the service's


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
    late = found.lateness.at.get(0.99, 0.0)
    lateness = f", generator late by {late:.1f} ms at p99" if late > _LATE_MILLISECONDS else ""
    wrong = f", ERRORS: {found.errors}" if found.errors else ""
    return f"{found.case}, {found.shape}: {found.rate:,.0f}/s{times}{cpu}{memory}{lateness}{wrong}"


def setup_of(setup: Setup) -> str:
    """What the table stands on."""
    here = machine()
    server = ", ".join(f"{name}={value}" for name, value in setup.postgres.items())
    options = setup.options
    return "\n".join(
        (
            f"{here['processor']}, {here['cores']} cores, {here['memory']}, {here['system']}",
            f"commit {commit()}; {', '.join(f'{name} {text}' for name, text in versions().items())}",
            f"PostgreSQL: {server}",
            f"service: {options.workers} worker(s); {', '.join(f'{name}={text}' for name, text in setup.service.items())}",
            f"{options.runs} run(s) of {options.seconds:g} s after {options.warm_up_seconds:g} s of warm-up; medians",
            "CPU is per request; MB is the largest process",
        )
    )
