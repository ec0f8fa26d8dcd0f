"""The benchmarks run, in their short form. What they measure is nobody's concern here."""

import json
import subprocess
import sys
from pathlib import Path

from payment_token.settings import SERVICE_FOLDER

SHORT = ("--records", "200", "--runs", "1", "--load", "20")


def test_the_benchmark_of_reencryption_runs(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"

    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.reencrypt", *SHORT, "--json", str(figures)],
        cwd=SERVICE_FOLDER,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "records a second" in run.stdout
    rates = json.loads(figures.read_text())["rates"]
    assert len(rates) == 3
    assert all(rate > 0 for found in rates.values() for rate in found)
