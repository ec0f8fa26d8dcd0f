"""The benchmarks run, in their short form. What they measure is nobody's concern here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import CASES
from payment_token.settings import SERVICE_FOLDER

SHORTER = ("--short", "--seconds", "0.3")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("benchmark") / "results"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", *SHORTER, "--markdown", "--out", out],
        cwd=SERVICE_FOLDER,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return run, out


def test_it_ends_well_and_prints_every_case(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    run, _ = finished

    assert run.returncode == 0, run.stdout + run.stderr
    table = run.stdout.partition("p99.9 ms")[2]
    assert all(f"\n{case.name} " in table for case in CASES)
    assert all(f"\n| {case.name} | " in table for case in CASES)
    assert "create ÷ pgbench create" in table


def test_its_json_has_every_case_and_what_it_ran_on(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    document = json.loads((finished[1] / "results.json").read_text())

    measured = {each["case"]: each for each in document["measurements"]}
    assert set(measured) == {case.name for case in CASES}
    assert all(each["rate"] > 0 and each["operations"] > 0 for each in measured.values())
    assert not any(each["errors"] for each in document["measurements"])
    assert document["postgres"]["fsync"] == document["postgres"]["synchronous_commit"] == "on"
    assert document["machine"]["cores"] >= 1
    memory = measured["create-aes"]["usage"]["service"]["memory"]
    assert len(memory) > document["options"]["workers"] - 1


def test_it_draws_the_latencies(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    pictures = [finished[1] / f"latency-{case}.png" for case in ("create-aes", "decrypt")]

    for picture in pictures:
        drawn = picture.read_bytes()
        assert drawn.startswith(PNG)
        assert len(drawn) > 10_000


def test_the_one_of_the_audit_log_ends_well(tmp_path: Path) -> None:
    short = ("--runs", "1", "--seconds", "0.3", "--rate", "50", "--tokens", "50", "--workers", "1")
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.audit", *short, "--out", tmp_path],
        cwd=SERVICE_FOLDER,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "the audit's share of the median" in run.stdout
    document = json.loads((tmp_path / "audit.json").read_text())
    assert all(rate > 0 for rates in document["records a second"].values() for rate in rates)
