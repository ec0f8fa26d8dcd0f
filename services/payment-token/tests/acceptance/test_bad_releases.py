"""Releases that are refused, each on record."""

import json
import uuid

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import PAN, check_problem

DECRYPT = {
    "not JSON": (b"{", 400, "malformed_request"),
    "no token": ({"merchant_id": MERCHANT, "purpose": "p"}, 422, "invalid_field"),
    "unknown field": ({"fields": ["pin"]}, 422, "invalid_field"),
    "no field": ({"fields": []}, 422, "invalid_field"),
    "a field twice": ({"fields": ["pan", "pan"]}, 422, "invalid_field"),
    "purpose in capitals": ({"purpose": "Capture"}, 422, "invalid_field"),
    "long purpose": ({"purpose": "p" * 65}, 422, "invalid_field"),
    "something else": ({"amount": 1}, 422, "invalid_field"),
    "a token that is none": ({"payment_token": PAN}, 404, "token_not_found"),
    "a card number as purpose": ({"purpose": PAN}, 422, "cleartext_card_data"),
    "a card number as merchant": ({"merchant_id": PAN}, 422, "cleartext_card_data"),
    "a token far too long": ({"payment_token": "pt_" + "b" * 9000}, 404, "token_not_found"),
    "an unknown token": ({"payment_token": "pt_" + "b" * 36}, 404, "token_not_found"),
    "another merchant": ({"merchant_id": "m_other"}, 403, "forbidden"),
    "empty body": (b"", 400, "malformed_request"),
    "an array": (b"[]", 422, "invalid_field"),
    "duplicate names": (b'{"purpose": "a", "purpose": "b"}', 400, "malformed_request"),
    "a huge body": (b" " * 70_000, 413, "payload_too_large"),
    "a token of another type": ({"payment_token": 1}, 422, "invalid_field"),
    "a token with other characters": ({"payment_token": "pt_\u00fc'--"}, 404, "token_not_found"),
    "a merchant with a newline": ({"merchant_id": "m_demo\n"}, 422, "invalid_field"),
    "an empty purpose": ({"purpose": ""}, 422, "invalid_field"),
    "fields as text": ({"fields": "pan"}, 422, "invalid_field"),
    "fields null": ({"fields": None}, 422, "invalid_field"),
}


@pytest.mark.parametrize("name", DECRYPT)
def test_a_bad_release_is_refused_and_recorded(
    deployment: Deployment,
    service: RunningService,
    pos: httpx.Client,
    worker: httpx.Client,
    name: str,
) -> None:
    change, status, code = DECRYPT[name]
    body = {"payment_token": "pt_" + "c" * 36, "merchant_id": MERCHANT, "purpose": "capture"}
    if name == "no token":
        content = json.dumps(change).encode()
    else:
        content = change if isinstance(change, bytes) else json.dumps(body | change).encode()
    request_id = uuid.uuid4().hex

    answer = worker.post(
        "/internal/v1/decrypt",
        content=content,
        headers={"Content-Type": "application/json", "X-Request-ID": request_id},
    )

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        rows = database.execute(
            "SELECT outcome, code FROM audit_records WHERE request_id = %s", (request_id,)
        ).fetchall()
    assert rows == [("refused", code)]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"X-Request-ID": "a b"}, 422, "invalid_field"),
        ({"X-Request-ID": PAN}, 422, "cleartext_card_data"),
        ({"X-Request-ID": "r" * 129}, 422, "invalid_field"),
    ],
)
def test_bad_headers_of_a_release_are_refused_and_recorded(
    deployment: Deployment,
    worker: httpx.Client,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    body = {"payment_token": "pt_" + "c" * 36, "merchant_id": MERCHANT, "purpose": "capture"}

    answer = worker.post(
        "/internal/v1/decrypt",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"} | headers,
    )

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        rows = database.execute(
            "SELECT outcome, code FROM audit_records WHERE request_id = %s",
            (answer.json()["request_id"],),
        ).fetchall()
    assert rows == [("refused", code)]
