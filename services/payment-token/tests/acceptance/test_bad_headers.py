"""Headers that are wrong, missing, or there twice; and in which order a request is looked at."""

import time
import uuid

import httpx
import pytest

from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import PAN, PAYLOAD, case, check_problem
from tests.support.requests import Attempt

HEADERS = [
    case("no content type", 415, "unsupported_media_type", Attempt(headers={"Content-Type": None})),
    case("text", 415, "unsupported_media_type", Attempt(headers={"Content-Type": "text/plain"})),
    case(
        "a form",
        415,
        "unsupported_media_type",
        Attempt(headers={"Content-Type": "multipart/form-data"}),
    ),
    case(
        "another charset",
        415,
        "unsupported_media_type",
        Attempt(headers={"Content-Type": "application/json; charset=latin-1"}),
    ),
    case("gzip", 415, "unsupported_media_type", Attempt(headers={"Content-Encoding": "gzip"})),
    case(
        "no idempotency key",
        400,
        "idempotency_key_missing",
        Attempt(headers={"Idempotency-Key": None}),
    ),
    case(
        "empty idempotency key",
        400,
        "idempotency_key_missing",
        Attempt(headers={"Idempotency-Key": ""}),
    ),
    case(
        "long idempotency key",
        422,
        "invalid_field",
        Attempt(headers={"Idempotency-Key": "k" * 256}),
    ),
    case(
        "space in the idempotency key",
        422,
        "invalid_field",
        Attempt(headers={"Idempotency-Key": "a b"}),
    ),
    case(
        "two keys that differ",
        422,
        "invalid_field",
        Attempt(headers={"Idempotency-Key": "a", "X-Idempotency-Key": "b"}),
    ),
    case(
        "card number as idempotency key",
        422,
        "cleartext_card_data",
        Attempt(headers={"Idempotency-Key": PAN}),
    ),
    case(
        "idempotency key not ASCII",
        422,
        "invalid_field",
        Attempt(headers={"Idempotency-Key": None}, more_headers=[("Idempotency-Key", "schlüssel")]),
    ),
    case(
        "the same header twice with keys that differ",
        422,
        "invalid_field",
        Attempt(more_headers=[("Idempotency-Key", "another")]),
    ),
    case(
        "card number in groups as idempotency key",
        422,
        "cleartext_card_data",
        Attempt(headers={"Idempotency-Key": "order-4111-1111-1111-1111"}),
    ),
    case(
        "two content types",
        415,
        "unsupported_media_type",
        Attempt(more_headers=[("Content-Type", "text/plain")]),
    ),
    case(
        "two content codings",
        415,
        "unsupported_media_type",
        Attempt(more_headers=[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]),
    ),
    case(
        "a list of codings",
        415,
        "unsupported_media_type",
        Attempt(headers={"Content-Encoding": "identity, gzip"}),
    ),
    case(
        "two request ids",
        422,
        "invalid_field",
        Attempt(more_headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")]),
    ),
    case(
        "line break in the request id, encoded",
        422,
        "invalid_field",
        Attempt(headers={"X-Request-ID": "a%0d%0ab"}),
    ),
    case("long request id", 422, "invalid_field", Attempt(headers={"X-Request-ID": "r" * 129})),
    case(
        "card number as request id",
        422,
        "cleartext_card_data",
        Attempt(headers={"X-Request-ID": PAN}),
    ),
    case("no API key", 401, "unauthenticated", Attempt(headers={"Authorization": None})),
    case(
        "another scheme", 401, "unauthenticated", Attempt(headers={"Authorization": "Basic YTpi"})
    ),
    case(
        "malformed API key",
        401,
        "unauthenticated",
        Attempt(headers={"Authorization": "Bearer nonsense"}),
    ),
    case(
        "unknown API key",
        401,
        "unauthenticated",
        Attempt(headers={"Authorization": f"Bearer ptk_{'0' * 16}_{'a' * 43}"}),
    ),
    case("no credentials", 401, "unauthenticated", Attempt(headers={"Authorization": "Bearer"})),
    case(
        "very long API key",
        401,
        "unauthenticated",
        Attempt(headers={"Authorization": "Bearer " + "k" * 9000}),
    ),
    case(
        "API key not ASCII",
        401,
        "unauthenticated",
        Attempt(headers={"Authorization": None}, more_headers=[("Authorization", "Bearer ü")]),
    ),
    case(
        "no API key and a huge body",
        401,
        "unauthenticated",
        Attempt(raw=b" " * 1_000_000, headers={"Authorization": None}),
    ),
    case(
        "another type and a huge body",
        415,
        "unsupported_media_type",
        Attempt(raw=b" " * 1_000_000, headers={"Content-Type": "text/plain"}),
    ),
    case(
        "huge, no JSON and no idempotency key",
        413,
        "payload_too_large",
        Attempt(raw=b"{" * 1_000_000, headers={"Idempotency-Key": None}),
    ),
    case(
        "another merchant and a wrong field",
        422,
        "invalid_field",
        Attempt(lambda body: body.update(merchant_id="m_other", metadata={"n": 1})),
    ),
    case(
        "another merchant and a wrong KSN",
        403,
        "forbidden",
        Attempt(
            lambda body: (
                body.update(merchant_id="m_other"),
                body[PAYLOAD].update(ksn="0"),
            )
        ),
    ),
    case(
        "no API key and no JSON",
        401,
        "unauthenticated",
        Attempt(raw=b"{", headers={"Authorization": None}),
    ),
    case(
        "another type and no JSON",
        415,
        "unsupported_media_type",
        Attempt(raw=b"{", headers={"Content-Type": "text/plain"}),
    ),
    case(
        "no JSON and no idempotency key",
        400,
        "malformed_request",
        Attempt(raw=b"{", headers={"Idempotency-Key": None}),
    ),
]


@pytest.mark.parametrize(("attempt", "status", "code"), HEADERS)
def test_a_bad_header(
    deployment: Deployment, pos: httpx.Client, attempt: Attempt, status: int, code: str
) -> None:
    answer = attempt.send(deployment, pos)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    check_problem(answer)


def test_two_authorizations(deployment: Deployment, pos: httpx.Client) -> None:
    headers = [
        ("Authorization", f"Bearer {deployment.api_key}"),
        ("Authorization", f"Bearer {deployment.api_key}"),
        ("Idempotency-Key", "k"),
    ]
    answer = httpx.post(
        f"{pos.base_url}/v1/payment-tokens", json=deployment.body(), headers=headers
    )

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_api_key(deployment: Deployment, service: RunningService) -> None:
    secret = deployment.run_here("api-keys", "create", "--merchant", MERCHANT).stdout.strip()
    deployment.run_here("api-keys", "revoke", secret.split("_")[1])
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as pos:
        refused = service.create(pos, deployment.body())

    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


def test_an_api_key_that_is_revoked_while_it_is_in_use(
    deployment: Deployment, service: RunningService
) -> None:
    secret = deployment.run_here("api-keys", "create", "--merchant", MERCHANT).stdout.strip()
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as pos:
        assert service.create(pos, deployment.body()).status_code == 201
        deployment.run_here("api-keys", "revoke", secret.split("_")[1])
        # A key that proved itself is remembered for so long.
        time.sleep(5)
        refused = service.create(pos, deployment.body())

    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


def test_a_known_api_key_with_another_secret(
    deployment: Deployment, service: RunningService
) -> None:
    *known, _ = deployment.api_key.rpartition("_")
    forged = "".join(known) + "A" * 43
    with service.public(headers={"Authorization": f"Bearer {forged}"}) as pos:
        answer = service.create(pos, deployment.body())

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_the_alias_of_the_idempotency_key(deployment: Deployment, pos: httpx.Client) -> None:
    key = str(uuid.uuid4())
    body = deployment.body()
    first = pos.post("/v1/payment-tokens", json=body, headers={"X-Idempotency-Key": key})
    again = pos.post(
        "/v1/payment-tokens", json=body, headers={"Idempotency-Key": key, "X-Idempotency-Key": key}
    )

    assert (first.status_code, again.status_code) == (201, 200)
