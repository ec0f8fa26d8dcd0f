"""The audit log as people read it: by the commands, on a deployment whose service has done something."""

import json

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import Deployment, RunningService

WORKER = "spiffe://payment-token.example/worker/demo"


@pytest.fixture(scope="module")
def token(deployment: Deployment, service: RunningService) -> str:
    """One that was released once, and asked for once by a merchant that the policy does not grant."""
    with service.public() as pos, service.worker() as worker:
        made: str = service.create(pos, deployment.body()).json()["payment_token"]
        assert service.release(worker, made).status_code == httpx.codes.OK
        refused = service.release(worker, made, merchant_id="m_other")
        assert refused.status_code == httpx.codes.FORBIDDEN
    return made


def found(deployment: Deployment, *options: str) -> list[dict[str, object]]:
    lines = deployment.run_here("audit", "search", "--json", *options).stdout.splitlines()
    return [json.loads(line)["record"] for line in lines]


def test_by_token(deployment: Deployment, token: str) -> None:
    refused, released = found(deployment, "--token", token, "--event", "decrypt")
    line = deployment.run_here(
        "audit", "search", "--json", "--token", token, "--outcome", "released"
    )
    as_hashed = line.stdout.strip().partition('"record":')[2].removesuffix("}")
    url = deployment_url(deployment.settings)
    with psycopg.connect(url) as database:
        (stored,) = database.execute(
            "SELECT record FROM audit_records WHERE token_id = %s AND outcome = 'released'",
            (token,),
        ).fetchone() or ("",)
    assert as_hashed == stored

    assert (released["outcome"], released["fields"]) == ("released", ["expiry", "pan"])
    assert (refused["outcome"], refused["code"]) == ("refused", "forbidden")
    assert released["identity"] == refused["identity"] == WORKER


@pytest.mark.parametrize(
    "options",
    [
        ("--merchant", "m_other"),
        ("--identity", WORKER, "--code", "forbidden"),
        ("--outcome", "refused", "--since", "1h"),
    ],
)
def test_by_who_and_what(deployment: Deployment, token: str, options: tuple[str, ...]) -> None:
    records = found(deployment, *options)

    assert [record["outcome"] for record in records if record.get("token_id") == token] == [
        "refused"
    ]


def test_by_time(deployment: Deployment, token: str) -> None:
    assert found(deployment, "--token", token, "--until", "2020-01-01") == []
    assert len(found(deployment, "--limit", "1")) == 1


@pytest.mark.parametrize(
    "options", [("--since", "yesterday"), ("--until", "24"), ("--outcome", "maybe")]
)
def test_options_that_are_no_time_or_outcome(
    deployment: Deployment, options: tuple[str, ...]
) -> None:
    failed = deployment.run_here("audit", "search", *options, check=False)

    assert failed.returncode in (1, 2)
    assert options[0] in failed.stderr


def test_a_table_for_people(deployment: Deployment, token: str) -> None:
    shown = deployment.run_here("audit", "search", "--token", token).stdout

    assert token in shown
    assert "refused: forbidden" in shown
    nothing = deployment.run_here("audit", "search", "--merchant", "m_nobody").stdout
    assert "No record" in nothing


def test_who_reads_is_in_the_log(deployment: Deployment, token: str) -> None:
    found(deployment, "--token", token)

    first, *_ = found(deployment, "--event", "audit_read")
    # The search that found it is one, and comes first.
    assert first["details"]["command"] == "search"
    assert any(
        record["details"].get("token") == token
        for record in found(deployment, "--event", "audit_read")
    )


def test_nothing_is_shown_when_the_reading_cannot_be_recorded(
    deployment: Deployment, token: str
) -> None:
    url = deployment_url(deployment.settings)
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(
            "ALTER TABLE decrypt_audit_log ADD CONSTRAINT full_up CHECK (false) NOT VALID"
        )
        try:
            failed = deployment.run_here("audit", "search", "--token", token, check=False)
        finally:
            database.execute("ALTER TABLE decrypt_audit_log DROP CONSTRAINT full_up")

    assert failed.returncode == 1
    assert token not in failed.stdout
    assert "audit record could not be written" in failed.stderr


def test_a_review_of_a_day(deployment: Deployment, token: str) -> None:
    reviewed = deployment.run_here("audit", "review", "--json", check=False)

    content = json.loads(reviewed.stdout)
    assert content["workers"][WORKER]["released"] >= 1
    assert content["events"]["decrypt"] >= 2
    assert reviewed.returncode == (1 if content["findings"] else 0)
    shown = deployment.run_here("audit", "review", check=False).stdout
    assert WORKER in shown
