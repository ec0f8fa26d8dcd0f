"""The main job: ciphertext in, token out, card data back to a worker, and nothing to anybody else."""

import re
import time
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from payment_token.cli.published_cards import PUBLISHED_CARDS
from payment_token.domain.device_payload import PartFormat
from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService

CARD = PUBLISHED_CARDS[0]
BDKS = ("default-tdes-2key", "default-aes-128", "default-aes-192", "default-aes-256")
FORMATS = (PartFormat.TRACK1, PartFormat.TRACK2, PartFormat.EMV_TLV, PartFormat.CARD_JSON)


@pytest.mark.parametrize("part", FORMATS)
@pytest.mark.parametrize("bdk_id", BDKS)
def test_a_read_becomes_a_token_and_comes_back(
    deployment: Deployment,
    service: RunningService,
    pos: httpx.Client,
    worker: httpx.Client,
    bdk_id: str,
    part: PartFormat,
) -> None:
    body = deployment.terminal(bdk_id).create_body(MERCHANT, CARD, part) | {
        "metadata": {"order": "A-100"}
    }

    created = service.create(pos, body)

    assert created.status_code == 201, created.text
    token = created.json()
    assert re.fullmatch(r"pt_[a-z]{36}", token["payment_token"])
    assert token["merchant_id"] == MERCHANT
    assert token["status"] == "active"
    assert token["metadata"] == {"order": "A-100"}
    assert token["card"] == {
        "brand": "visa",
        "bin": "411111",
        "last4": "1111",
        "exp_month": 12,
        "exp_year": 2030,
        "entry_mode": {
            "track1": "swipe",
            "track2": "swipe",
            "emv-tlv": "chip",
            "card-json": "manual",
        }[part],
        "checks": {"luhn": True, "expired": False, "expiry_valid": True},
    }
    assert pos.get(f"/v1/payment-tokens/{token['payment_token']}").json() == token

    released = service.release(
        worker, token["payment_token"], fields=["pan", "expiry", "cardholder_name", "sad"]
    )

    assert released.status_code == 200, released.text
    data = released.json()["payment_data"]
    assert data["pan"] == CARD.pan
    assert (data["exp_month"], data["exp_year"]) == (12, 2030)
    assert data["cardholder_name"] == (CARD.name if part in ("track1", "card-json") else None)
    assert data["sad_status"] == "live"
    expected_sad = {
        "track1": {"track1": CARD.track1, "service_code": "201"},
        "track2": {"track2": CARD.track2, "service_code": "201"},
        "emv-tlv": {"service_code": "201"},
        "card-json": {"cvv": "123"},
    }[part]
    assert expected_sad.items() <= data["sad"].items()
    assert released.json()["metadata"] == {"order": "A-100"}


def test_what_was_not_asked_for_is_null(
    deployment: Deployment, service: RunningService, pos: httpx.Client, worker: httpx.Client
) -> None:
    token = service.create(pos, deployment.body()).json()["payment_token"]

    by_default = service.release(worker, token).json()["payment_data"]
    only_expiry = service.release(worker, token, fields=["expiry"]).json()["payment_data"]

    assert by_default["pan"] == CARD.pan
    assert by_default["sad"] is None
    assert by_default["sad_status"] == "live"
    assert only_expiry["pan"] is None
    assert only_expiry["exp_year"] == 2030


def test_a_release_is_repeatable_and_every_one_is_audited(
    deployment: Deployment, service: RunningService, pos: httpx.Client, worker: httpx.Client
) -> None:
    token = service.create(pos, deployment.body()).json()["payment_token"]

    receipts = [service.release(worker, token).json()["audit_receipt"] for _ in range(3)]

    assert len(set(receipts)) == 3
    assert all(len(receipt) <= 512 for receipt in receipts)
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        rows = database.execute(
            "SELECT outcome, code, identity, merchant_id, purpose, fields, key_name, length(certificate_sha256)"
            "  FROM audit_records WHERE token_id = %s",
            (token,),
        ).fetchall()
    assert (
        rows
        == [
            (
                "released",
                "ok",
                "spiffe://payment-token.example/worker/demo",
                MERCHANT,
                "authorization",
                ["expiry", "pan"],
                "v1",
                64,
            )
        ]
        * 3
    )


def test_a_retry_gives_the_same_token(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    body = deployment.body()

    first = service.create(pos, body, key="retry-1")
    again = service.create(pos, body, key="retry-1")

    assert (first.status_code, again.status_code) == (201, 200)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


def test_a_revoked_token_is_gone_for_everybody(
    deployment: Deployment, service: RunningService, pos: httpx.Client, worker: httpx.Client
) -> None:
    body = deployment.body()
    token = service.create(pos, body, key="revoked-1").json()["payment_token"]
    path = f"/v1/payment-tokens/{token}"

    assert [pos.delete(path).status_code for _ in range(2)] == [204, 204]

    for answer in (
        pos.get(path),
        service.release(worker, token),
        service.create(pos, body, key="revoked-1"),
    ):
        assert answer.status_code == 410
        assert answer.json()["code"] == "token_revoked"
        assert answer.json()["payment_token"] == token
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        sealed = database.execute(
            "SELECT sealed_pan, sealed_sad FROM payment_tokens WHERE token_id = %s", (token,)
        ).fetchone()
    assert sealed == (None, None)


def test_an_expired_token_is_gone_at_its_instant(
    deployment: Deployment, service: RunningService, pos: httpx.Client, worker: httpx.Client
) -> None:
    body = deployment.body(ttl_seconds=1)
    created = service.create(pos, body, key="expired-1").json()
    left = (datetime.fromisoformat(created["expires_at"]) - datetime.now(UTC)).total_seconds()
    time.sleep(max(0, left) + 0.1)

    token = created["payment_token"]
    for answer in (
        pos.get(f"/v1/payment-tokens/{token}"),
        service.release(worker, token),
        service.create(pos, body, key="expired-1"),
    ):
        assert answer.status_code == 410
        assert answer.json()["code"] == "token_expired"
        assert answer.json()["payment_token"] == token


def test_sad_ends_at_its_deadline_and_the_card_number_stays(deployment: Deployment) -> None:
    with (
        deployment.serving(SAD_TTL_SECONDS="1") as service,
        service.public() as pos,
        service.worker() as worker,
    ):
        token = service.create(pos, deployment.body()).json()["payment_token"]
        time.sleep(1.1)
        data = service.release(worker, token, fields=["pan", "sad"]).json()["payment_data"]

    assert data["pan"] == CARD.pan
    assert data["sad"] is None
    assert data["sad_status"] == "expired"


def test_health_and_metrics_need_no_key(service: RunningService) -> None:
    with httpx.Client(base_url=service.urls["public"]) as anybody:
        assert anybody.get("/healthz").json() == {"status": "alive"}
        assert anybody.get("/readyz").json() == {"status": "ready"}
        counts = anybody.get("/metrics").text
    assert (
        'payment_token_requests_total{code="ok",listener="public",method="GET",route="/healthz"'
        in counts
    )


def test_openapi_describes_both_listeners(service: RunningService, worker: httpx.Client) -> None:
    with httpx.Client(base_url=service.urls["public"]) as anybody:
        public = anybody.get("/openapi.json").json()
        assert anybody.get("/docs").status_code == 200
    internal = worker.get("/openapi.json").json()

    create = public["paths"]["/v1/payment-tokens"]["post"]
    assert create["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "/CreateTokenBody"
    )
    assert {"201", "200", "400", "401", "403", "409", "410", "413", "415", "422", "503"} <= create[
        "responses"
    ].keys()
    assert public["components"]["schemas"]["CreateTokenBody"]["examples"]
    assert "/internal/v1/decrypt" in internal["paths"]
    assert "/internal/v1/decrypt" not in public["paths"]
