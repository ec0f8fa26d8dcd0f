"""The OpenAPI of both listeners says what they do: requests are made from it, good and bad, and every answer is held against it."""

import re
import subprocess
import sys
from pathlib import Path

from payment_token.cli.development import WORKER_IDENTITY
from payment_token.domain.api_key import Scope
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.long_form import usual_or_long
from tests.support.problems import check_nothing_was_a_defect

EXAMPLES = usual_or_long(10, 300)
SECONDS = 3_600
OPERATIONS = re.compile(r"Selected: (?P<selected>\d+)/(?P<total>\d+)\n\s*Tested: (?P<tested>\d+)\n")
# Whatever is made up is granted, so that answers go beyond the policy's.
POLICY = f"""
[[worker]]
identity = "{WORKER_IDENTITY}"
merchants = ["*"]
purposes = ["*"]
fields = ["pan", "expiry", "cardholder_name", "sad"]
operations = ["decrypt", "authorization-complete"]
"""
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def check(folder: Path, url: str, *options: str) -> None:
    program = Path(sys.executable).with_name("st")
    ran = subprocess.run(
        [
            program,
            "--config-file",
            CONFIGURATION,
            "run",
            f"{url}/openapi.json",
            "--checks=all",
            f"--max-examples={EXAMPLES}",
            "--continue-on-failure",
            "--no-color",
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    check_none_was_left_out(ran.stdout)


def check_none_was_left_out(report: str) -> None:
    """A run that could make no request for an operation passes as well."""
    counts = OPERATIONS.search(report)
    assert counts is not None, report
    assert int(counts["total"]) > 0, report
    assert counts["selected"] == counts["total"] == counts["tested"], report


def test_the_public_api(service: RunningService, deployment: Deployment, tmp_path: Path) -> None:
    scopes = [word for scope in Scope for word in ("--scope", scope)]
    made = deployment.run_here("api-keys", "create", "--merchant", MERCHANT, *scopes)
    check(tmp_path, service.urls["public"], f"--header=Authorization: Bearer {made.stdout.strip()}")
    check_nothing_was_a_defect(service)


def test_the_internal_api(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    with deployment.serving(WORKER_POLICY_FILE=str(tmp_path / "policy.toml")) as service:
        check(
            tmp_path,
            service.urls["internal"],
            f"--tls-verify={deployment.folder / 'ca.pem'}",
            f"--request-cert={deployment.folder / 'worker.pem'}",
            f"--request-cert-key={deployment.folder / 'worker-key.pem'}",
        )
        check_nothing_was_a_defect(service)
