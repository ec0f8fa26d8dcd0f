"""Many requests in one call: each item has its own answer, in order, and what is wrong with one fails no other."""

import uuid
from typing import Any

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.location import deployment_url
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import PAN, check_problem

CREATE = "/v1/payment-tokens:batch"
DECRYPT = "/internal/v1/decrypt:batch"


def item(deployment: Deployment, **changes: Any) -> dict[str, Any]:
    return deployment.body() | {"idempotency_key": uuid.uuid4().hex} | changes


def results(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    found: list[dict[str, Any]] = answer.json()["results"]
    for result in found:
        assert ("problem" in result) == (result["status"] not in (200, 201))
        if "problem" in result:
            assert result["problem"]["status"] == result["status"]
            assert PAN not in str(result)
    return found


def said(found: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
    return [(one["status"], one.get("problem", {}).get("code")) for one in found]


def made(deployment: Deployment, pos: httpx.Client, number: int) -> list[str]:
    items = [item(deployment) for _ in range(number)]
    return [
        one["body"]["payment_token"] for one in results(pos.post(CREATE, json={"items": items}))
    ]


def asked(token: str, **changes: Any) -> dict[str, Any]:
    return {"payment_token": token, "merchant_id": MERCHANT, "purpose": "capture"} | changes


def test_good_and_bad_items_keep_their_order(deployment: Deployment, pos: httpx.Client) -> None:
    items: list[Any] = [
        item(deployment, metadata={"place": "0"}),
        "no object",
        item(deployment, ttl_seconds=0),
        item(deployment, merchant_id="m_other"),
        item(deployment, metadata={"place": "4"}),
        {key: value for key, value in item(deployment).items() if key != "idempotency_key"},
        item(deployment, idempotency_key=7),
        item(deployment, idempotency_key="with space"),
        item(deployment, surprise=1),
        None,
        item(deployment, idempotency_key="4111111111111111"),
        item(deployment, metadata={"place": "11"}),
    ]

    found = results(pos.post(CREATE, json={"items": items}, headers={"X-Request-ID": "b-1"}))

    assert said(found) == [
        (201, None),
        (422, "invalid_field"),
        (422, "invalid_field"),
        (403, "forbidden"),
        (201, None),
        (400, "idempotency_key_missing"),
        (422, "invalid_field"),
        (422, "invalid_field"),
        (422, "invalid_field"),
        (422, "invalid_field"),
        (422, "cleartext_card_data"),
        (201, None),
    ]
    for place in (0, 4, 11):
        assert found[place]["body"]["metadata"] == {"place": str(place)}
    assert found[1]["problem"]["request_id"] == "b-1:item1"


def test_a_key_that_comes_again_is_a_replay_or_another_request(
    deployment: Deployment, pos: httpx.Client
) -> None:
    first, second, other = item(deployment), item(deployment), item(deployment)
    again = other | {"idempotency_key": first["idempotency_key"]}
    items = [first, second, first, again, second]

    found = results(pos.post(CREATE, json={"items": items}))
    once_more = results(pos.post(CREATE, json={"items": items}))

    assert said(found) == [
        (201, None),
        (201, None),
        (200, None),
        (422, "idempotency_key_reused"),
        (200, None),
    ]
    assert found[2]["idempotency_replayed"] is True
    assert "idempotency_replayed" not in found[0]
    assert found[2]["body"] == found[0]["body"]
    assert [one["status"] for one in once_more] == [200, 200, 200, 422, 200]
    assert once_more[1]["body"] == found[1]["body"]
    single = pos.post(
        "/v1/payment-tokens",
        json={key: value for key, value in first.items() if key != "idempotency_key"},
        headers={"Idempotency-Key": first["idempotency_key"]},
    )
    assert (single.status_code, single.json()) == (200, found[0]["body"])


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed_request"),
        (b"[]", 422, "invalid_field"),
        (b"{}", 422, "invalid_field"),
        (b'{"items": []}', 422, "invalid_field"),
        (b'{"items": {}}', 422, "invalid_field"),
        (b'{"items": [' + b",".join([b"{}"] * 501) + b"]}", 422, "invalid_field"),
        (b'{"items": [{}], "more": 1}', 422, "invalid_field"),
        (b'{"items": [{"a": 1, "a": 2}]}', 400, "malformed_request"),
        (b'{"items": [' + b"[" * 20 + b"]" * 20 + b"]}", 400, "malformed_request"),
        (b'{"items": [' + b"[]," * 300_000 + b"1]}", 400, "malformed_request"),
        (b'{"items": ["' + b"[" * 9_000_000 + b'"]}', 413, "payload_too_large"),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("route", [CREATE, DECRYPT])
def test_an_envelope_that_is_wrong_fails_as_a_whole(
    pos: httpx.Client, worker: httpx.Client, route: str, content: bytes, status: int, code: str
) -> None:
    client = pos if route == CREATE else worker

    answer = client.post(route, content=content, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)


def test_whoever_may_not_gets_nothing_done(deployment: Deployment, pos: httpx.Client) -> None:
    items = {"items": [item(deployment)]}

    refused = pos.post(CREATE, json=items, headers={"Authorization": "Bearer nobody"})
    with_header = pos.post(CREATE, json=items, headers={"Idempotency-Key": "k"})

    assert refused.status_code == 401
    assert (with_header.status_code, with_header.json()["code"]) == (422, "invalid_field")
    assert said(results(pos.post(CREATE, json=items))) == [(201, None)]


def test_five_hundred_come_and_go(
    deployment: Deployment, pos: httpx.Client, worker: httpx.Client
) -> None:
    items = [body | {"idempotency_key": uuid.uuid4().hex} for body in deployment.bodies(500)]
    # A slow machine does what it can in time; the rest is sent again, under the same keys.
    tokens: dict[int, str] = {}
    for _ in range(10):
        left = [place for place in range(500) if place not in tokens]
        found = results(pos.post(CREATE, json={"items": [items[place] for place in left]}))
        for place, one in zip(left, found, strict=True):
            assert one["status"] in (200, 201, 503), one
            if one["status"] != 503:
                tokens[place] = one["body"]["payment_token"]
            else:
                assert one["problem"]["retry_after_seconds"] >= 1
        if len(tokens) == 500:
            break
    assert len(set(tokens.values())) == 500

    released: dict[str, str] = {}
    for _ in range(10):
        wanted = [token for token in tokens.values() if token not in released]
        found = results(worker.post(DECRYPT, json={"items": [asked(token) for token in wanted]}))
        for token, one in zip(wanted, found, strict=True):
            if one["status"] == 200:
                assert one["body"]["payment_token"] == token
                released[token] = one["body"]["audit_receipt"]
        if len(released) == 500:
            break
    assert len(set(released.values())) == 500


def test_each_release_and_each_refusal_is_on_record(
    deployment: Deployment, pos: httpx.Client, worker: httpx.Client
) -> None:
    first, revoked, last = made(deployment, pos, 3)
    assert pos.delete(f"/v1/payment-tokens/{revoked}").status_code == 204
    request_id = uuid.uuid4().hex
    items: list[Any] = [
        asked(first),
        asked(revoked),
        asked("pt_" + "b" * 36),
        asked(last, merchant_id="m_other"),
        17,
        asked(last, fields=["pan"], purpose="refund"),
        asked(first),
    ]

    found = results(
        worker.post(DECRYPT, json={"items": items}, headers={"X-Request-ID": request_id})
    )

    assert said(found) == [
        (200, None),
        (410, "token_revoked"),
        (404, "token_not_found"),
        (403, "forbidden"),
        (422, "invalid_field"),
        (200, None),
        (200, None),
    ]
    assert found[0]["body"]["payment_data"]["pan"] == PAN
    assert found[5]["body"]["payment_data"]["exp_year"] is None
    assert found[1]["problem"]["payment_token"] == revoked
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        records = database.execute(
            "SELECT request_id, outcome, code, token_id FROM audit_records WHERE request_id LIKE %s ORDER BY request_id",
            (f"{request_id}%",),
        ).fetchall()
    assert records == [
        (f"{request_id}:item0", "released", "ok", first),
        (f"{request_id}:item1", "refused", "token_revoked", revoked),
        (f"{request_id}:item2", "refused", "token_not_found", "pt_" + "b" * 36),
        (f"{request_id}:item3", "refused", "forbidden", last),
        (f"{request_id}:item4", "refused", "invalid_field", None),
        (f"{request_id}:item5", "released", "ok", last),
        (f"{request_id}:item6", "released", "ok", first),
    ]


def test_a_batch_that_is_refused_as_a_whole_is_one_record(
    deployment: Deployment, worker: httpx.Client
) -> None:
    request_id = uuid.uuid4().hex

    answer = worker.post(DECRYPT, json={"items": []}, headers={"X-Request-ID": request_id})

    assert answer.status_code == 422
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        records = database.execute(
            "SELECT request_id, outcome, code FROM audit_records WHERE request_id LIKE %s",
            (f"{request_id}%",),
        ).fetchall()
    assert records == [(request_id, "refused", "invalid_field")]


def test_items_of_several_merchants(deployment: Deployment, service: RunningService) -> None:
    key = deployment.run_here(
        "api-keys", "create", "--merchant", MERCHANT, "--merchant", "m_second"
    ).stdout.strip()
    same_key = uuid.uuid4().hex
    items = [
        item(deployment, idempotency_key=same_key),
        item(deployment, idempotency_key=same_key, merchant_id="m_second"),
        item(deployment, merchant_id="m_third"),
    ]
    with service.public(headers={"Authorization": f"Bearer {key}"}) as client:
        found = results(client.post(CREATE, json={"items": items}))

    # Each merchant has idempotency keys of its own.
    assert said(found) == [(201, None), (201, None), (403, "forbidden")]
    assert [one["body"]["merchant_id"] for one in found[:2]] == [MERCHANT, "m_second"]
