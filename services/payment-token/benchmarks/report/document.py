"""Everything that was found, as JSON: each run with all its figures, and on what it ran."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measurement import Results
from benchmarks.options import Options
from benchmarks.report.machine import commit, machine, versions
from benchmarks.report.targets import GOALS


@dataclass(frozen=True, slots=True)
class Setup:
    """What the figures depend on beside the machine."""

    options: Options
    postgres: dict[str, str]
    service: dict[str, str]


def write_document(results: Results, setup: Setup, path: Path) -> None:
    document = {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        **asdict(setup),
        "goals": [
            {"name": goal.name, "measured": value, "asked": goal.bound, "hoped": goal.hoped}
            for goal in GOALS
            if (value := goal.figure(results)) is not None
        ],
        "measurements": [asdict(each) for each in results.measurements],
    }
    path.write_text(json.dumps(document, indent=1, default=_plain))


def _plain(value: Any) -> str:
    return str(value)
