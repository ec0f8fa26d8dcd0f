"""An API key that was in use a moment ago, and is revoked."""

import time

import httpx

from payment_token.infrastructure.recognised_api_keys import REVOKED_WITHIN_SECONDS
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import check_problem


def test_a_revoked_key_is_refused_within_five_seconds(
    deployment: Deployment, service: RunningService
) -> None:
    secret = deployment.run_here("api-keys", "create", "--merchant", MERCHANT).stdout.strip()
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as client:
        assert unknown_token(client).status_code == 404
        said = deployment.run_here("api-keys", "revoke", secret.split("_")[1]).stdout
        revoked = time.monotonic()

        while (answer := unknown_token(client)).status_code == 404:
            assert time.monotonic() - revoked < REVOKED_WITHIN_SECONDS
            time.sleep(0.05)

    assert "Running processes refuse it within 5 seconds." in said
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    check_problem(answer)


def unknown_token(client: httpx.Client) -> httpx.Response:
    return client.get("/v1/payment-tokens/unknown")
