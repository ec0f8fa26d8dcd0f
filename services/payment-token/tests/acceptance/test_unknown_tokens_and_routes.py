"""What is no token of this merchant, no route, or no method of it."""

import httpx
import pytest

from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import PAN, check_problem
from tests.support.requests import exchange

UNKNOWN_TOKENS = {
    "well-formed": "pt_" + "b" * 36,
    "empty id": "pt_",
    "a card number": PAN,
    "upper case": "PT_" + "B" * 36,
    "too long": "pt_" + "b" * 5000,
    "percent-encoded NUL": "pt_%00",
    "percent-encoded line break": "pt_%0d%0aX",
    "not ASCII": "pt_ü",
    "SQL": "pt_';--",
    "dots": "..pt",
}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", UNKNOWN_TOKENS)
def test_what_is_no_token_of_this_merchant(
    deployment: Deployment, service: RunningService, pos: httpx.Client, method: str, name: str
) -> None:
    answer = pos.request(method, f"/v1/payment-tokens/{UNKNOWN_TOKENS[name]}")

    assert (answer.status_code, answer.json()["code"]) == (404, "token_not_found"), answer.text
    check_problem(answer)


def test_another_merchants_token_looks_unknown(
    deployment: Deployment, service: RunningService, pos: httpx.Client
) -> None:
    token = service.create(pos, deployment.body()).json()["payment_token"]
    secret = deployment.run_here(
        "api-keys", "create", "--merchant", "m_other", "--merchant", "m_more"
    ).stdout.strip()
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as other:
        theirs = other.get(f"/v1/payment-tokens/{token}", params={"merchant_id": "m_other"})
        unknown = other.get(f"/v1/payment-tokens/pt_{'b' * 36}", params={"merchant_id": "m_other"})
        ours = other.get(f"/v1/payment-tokens/{token}", params={"merchant_id": MERCHANT})
        unnamed = other.get(f"/v1/payment-tokens/{token}")
        malformed = other.get(f"/v1/payment-tokens/{token}", params={"merchant_id": "a/b"})
        deleted = other.delete(f"/v1/payment-tokens/{token}", params={"merchant_id": "m_other"})

    assert theirs.status_code == 404
    assert {**theirs.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}
    assert (ours.status_code, ours.json()["code"]) == (403, "forbidden")
    assert (unnamed.status_code, unnamed.json()["code"]) == (422, "invalid_field")
    assert (malformed.status_code, malformed.json()["code"]) == (422, "invalid_field")
    assert deleted.status_code == 404
    assert pos.get(f"/v1/payment-tokens/{token}").status_code == 200


ROUTES = [
    ("GET", "/", 404, "route_not_found"),
    ("GET", "/v1", 404, "route_not_found"),
    ("POST", "/v1/payment-tokens/", 404, "route_not_found"),
    ("POST", "/internal/v1/decrypt", 404, "route_not_found"),
    ("GET", "/v1/payment-tokens", 405, "method_not_allowed"),
    ("PUT", "/v1/payment-tokens", 405, "method_not_allowed"),
    ("PATCH", "/v1/payment-tokens/pt_x", 405, "method_not_allowed"),
    ("OPTIONS", "/v1/payment-tokens", 405, "method_not_allowed"),
    ("TRACE", "/v1/payment-tokens", 405, "method_not_allowed"),
    ("POST", "/v1/payment-tokens/pt_x", 405, "method_not_allowed"),
    ("GET", "/v1/payment-tokens/pt_x/", 404, "route_not_found"),
    ("GET", "/V1/payment-tokens/pt_x", 404, "route_not_found"),
    ("GET", "//v1/payment-tokens/pt_x", 404, "route_not_found"),
    ("GET", f"/{PAN}", 404, "route_not_found"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), ROUTES)
def test_routes_and_methods(
    service: RunningService, method: str, path: str, status: int, code: str
) -> None:
    # Without a key: the route is looked at before the caller.
    answer = httpx.request(method, service.urls["public"] + path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)
    assert bool(answer.headers.get("Allow")) == (status == 405)


@pytest.mark.parametrize("path", ["/v1/payment-tokens", "/v1/payment-tokens/pt_x"])
def test_head(service: RunningService, path: str) -> None:
    answer = httpx.head(service.urls["public"] + path)

    assert answer.status_code == 405
    assert answer.headers["Allow"]
    assert answer.content == b""


ENCODED_TOKENS = {
    # An encoded slash is a slash to the router: the path has one step too many, and is no route.
    "path traversal": ("..%2f..%2fhealthz", b"route_not_found"),
    "a slash in the middle": ("pt_a%2Fb", b"route_not_found"),
    "encoded dots": ("%2e%2e", b"token_not_found"),
    "NUL alone": ("%00", b"token_not_found"),
    "a byte that is not UTF-8": ("pt_%ff", b"token_not_found"),
    "four bytes": ("pt_%F0%9F%92%B3", b"token_not_found"),
    "a parameter": ("pt_b;a=1", b"token_not_found"),
    "20,000 characters": ("x" * 20_000, b"token_not_found"),
}


@pytest.mark.parametrize("name", ENCODED_TOKENS)
def test_an_encoded_path_reaches_nothing_else(
    deployment: Deployment, service: RunningService, name: str
) -> None:
    path, code = ENCODED_TOKENS[name]
    answer = exchange(
        service.urls["public"],
        f"GET /v1/payment-tokens/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        f"Authorization: Bearer {deployment.api_key}\r\n\r\n".encode(),
    )

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"application/problem+json" in answer
    assert b'"code": "' + code + b'"' in answer


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("merchant_id=", 422, "invalid_field"),
        ("merchant_id=m_demo&merchant_id=m_demo", 422, "invalid_field"),
        ("merchant_id=m_demo%0a", 422, "invalid_field"),
        ("merchant_id=%00", 422, "invalid_field"),
        ("merchant_id=%ff", 422, "invalid_field"),
        (f"merchant_id={'m' * 65}", 422, "invalid_field"),
        (f"merchant_id={PAN}", 422, "cleartext_card_data"),
        ("merchant_id=M_DEMO", 403, "forbidden"),
    ],
)
def test_a_bad_merchant_in_the_query(
    pos: httpx.Client, method: str, query: str, status: int, code: str
) -> None:
    answer = pos.request(method, f"/v1/payment-tokens/pt_{'b' * 36}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    check_problem(answer)
