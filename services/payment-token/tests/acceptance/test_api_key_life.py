"""An API key from its making to its end: what it may do, until when, how often, and what operators see of it."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.location import deployment_url
from payment_token.infrastructure.recognised_api_keys import REVOKED_WITHIN_SECONDS
from tests.support.deployment import MERCHANT, Deployment, RunningService
from tests.support.problems import check_problem

WRITE, READ, ADMIN = "tokens:write", "tokens:read", "admin"
UNKNOWN = "pt_" + "b" * 36

ROUTES = {
    "create": (WRITE, "POST", "/v1/payment-tokens", 400),
    "batch": (WRITE, "POST", "/v1/payment-tokens:batch", 400),
    "delete": (WRITE, "DELETE", f"/v1/payment-tokens/{UNKNOWN}", 404),
    "view": (READ, "GET", f"/v1/payment-tokens/{UNKNOWN}", 404),
}


def made(deployment: Deployment, *options: str, merchant: str = MERCHANT) -> str:
    done = deployment.run_here("api-keys", "create", "--merchant", merchant, *options)
    return done.stdout.strip()


def id_of(secret: str) -> str:
    return secret.split("_")[1]


def listed(deployment: Deployment, secret: str) -> dict[str, Any]:
    found = json.loads(deployment.run_here("api-keys", "list", "--json").stdout)
    (one,) = (key for key in found if key["key_id"] == id_of(secret))
    return dict(one)


@pytest.fixture(scope="module")
def scoped(deployment: Deployment) -> dict[str, str]:
    return {scope: made(deployment, "--scope", scope) for scope in (WRITE, READ, ADMIN)}


@pytest.fixture
def asking(service: RunningService) -> Callable[..., httpx.Response]:
    def ask(secret: str, route: str) -> httpx.Response:
        """Nothing of a body is well-formed: what is said of the key must come first."""
        _, method, path, _ = ROUTES[route]
        with service.public(headers={"Authorization": f"Bearer {secret}"}) as client:
            return client.request(
                method, path, content=b"{", headers={"Content-Type": "application/json"}
            )

    return ask


@pytest.mark.parametrize("scope", [WRITE, READ, ADMIN])
@pytest.mark.parametrize("route", ROUTES)
def test_a_key_reaches_the_routes_of_its_scopes(
    scoped: dict[str, str], asking: Callable[..., httpx.Response], route: str, scope: str
) -> None:
    needed, _, _, status = ROUTES[route]
    answer = asking(scoped[scope], route)

    if scope == needed:
        assert answer.status_code == status
        return
    check_problem(answer)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["detail"] == f"This API key lacks the scope {needed}."


@pytest.mark.parametrize("route", ROUTES)
def test_an_expired_key_is_like_one_that_never_was(
    deployment: Deployment, asking: Callable[..., httpx.Response], route: str
) -> None:
    expired = made(deployment, "--expires-in", "1s")
    time.sleep(1.1)
    answers = [asking(secret, route) for secret in (expired, f"ptk_{'0' * 16}_{'a' * 43}")]

    said = []
    for answer in answers:
        check_problem(answer)
        said.append(answer.json() | {"request_id": ""})
    assert said[0] == said[1]
    assert said[0]["code"] == "unauthenticated"
    assert answers[0].headers.keys() == answers[1].headers.keys()


def test_another_merchants_key_reaches_nothing_on_any_route(
    deployment: Deployment, service: RunningService
) -> None:
    with service.public() as own:
        token = service.create(own, deployment.body()).json()["payment_token"]
    thief = made(deployment, merchant="m_thief")
    item = deployment.body() | {"idempotency_key": str(uuid.uuid4())}
    path = f"/v1/payment-tokens/{token}"
    with service.public(headers={"Authorization": f"Bearer {thief}"}) as client:
        assert service.create(client, deployment.body()).status_code == 403
        (result,) = client.post("/v1/payment-tokens:batch", json={"items": [item]}).json()[
            "results"
        ]
        assert result["status"] == 403
        for method in ("GET", "DELETE"):
            assert client.request(method, path).status_code == 404
            named = client.request(method, path, params={"merchant_id": MERCHANT})
            assert named.status_code == 403
    with service.public() as own:
        assert own.get(path).json()["status"] == "active"


def test_a_key_is_rotated_while_it_is_in_use(
    deployment: Deployment, service: RunningService
) -> None:
    old = made(deployment, "--scope", READ, "--rate", "100")
    path = f"/v1/payment-tokens/{UNKNOWN}"
    with service.public(headers={"Authorization": f"Bearer {old}"}) as before:
        assert before.get(path).status_code == 404
        done = deployment.run_here("api-keys", "rotate", id_of(old), "--overlap", "8s")
        rotated = time.monotonic()
        new = done.stdout.strip()
        assert f"replaces {id_of(old)}, which works until" in done.stderr
        assert new.startswith("ptk_")
        assert new not in done.stderr
        with service.public(headers={"Authorization": f"Bearer {new}"}) as after:
            assert after.get(path).status_code == 404
            assert before.get(path).status_code == 404
            while before.get(path).status_code == 404:
                assert time.monotonic() - rotated < 8 + REVOKED_WITHIN_SECONDS
                time.sleep(0.1)
            assert after.get(path).status_code == 404
            assert after.delete(path).status_code == 403

    was, is_now = listed(deployment, old), listed(deployment, new)
    assert (was["state"], was["replaced_by"]) == ("expired", id_of(new))
    assert is_now["state"] == "active"
    assert is_now["scopes"] == [READ]
    assert is_now["rate"] == {"per_second": 100, "burst": 100}

    again = deployment.run_here("api-keys", "rotate", id_of(old), check=False)
    assert again.returncode == 1
    assert "has expired at" in again.stderr
    assert again.stdout == ""


def test_a_key_of_a_year_is_the_default_and_others_are_asked_for(deployment: Deployment) -> None:
    def life(*options: str) -> timedelta | None:
        key = listed(deployment, made(deployment, *options))
        if key["expires_at"] is None:
            return None
        made_at, ends = map(datetime.fromisoformat, (key["created_at"], key["expires_at"]))
        return ends - made_at

    day, slack = timedelta(days=1), timedelta(minutes=2)
    for options, expected in (((), 365 * day), (("--expires-in", "90d"), 90 * day)):
        found = life(*options)
        assert found is not None
        assert expected - slack < found <= expected
    assert life("--never-expires") is None
    secret = made(deployment, "--expires-at", "2040-02-03T04:05:06+02:00")
    assert listed(deployment, secret)["expires_at"] == "2040-02-03T02:05:06Z"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--expires-in", "soon"), "--expires-in: say how long"),
        (("--expires-in", "999999w"), "no more than 10 years"),
        (("--expires-in", "0d"), "must be in the future"),
        (("--expires-at", "2020-01-01"), "must be in the future"),
        (("--expires-at", "tomorrow"), "--expires-at: say a time"),
        (("--expires-in", "1d", "--never-expires"), "one of them"),
        (("--rate", "0"), "1 to 1,000,000 requests"),
        (("--rate", "5", "--burst", "-1"), "1 to 1,000,000 requests"),
        (("--burst", "5"), "goes with --rate"),
        (("--scope", "tokens:all"), "tokens:all"),
        (("--merchant", "a b"), "--merchant: 1 to 64"),
    ],
)
def test_what_makes_no_sense_is_refused_and_makes_no_key(
    deployment: Deployment, options: tuple[str, ...], said: str
) -> None:
    before = deployment.run_here("api-keys", "list", "--json").stdout

    refused = deployment.run_here(
        "api-keys", "create", "--merchant", MERCHANT, *options, check=False
    )

    assert refused.returncode != 0
    assert refused.stdout == ""
    assert said in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    assert len(json.loads(deployment.run_here("api-keys", "list", "--json").stdout)) == len(
        json.loads(before)
    )


def test_an_end_is_given_and_moved_nearer_only(deployment: Deployment) -> None:
    secret = made(deployment, "--never-expires")

    deployment.run_here("api-keys", "expire", id_of(secret), "--in", "10d")
    later = deployment.run_here("api-keys", "expire", id_of(secret), "--in", "20d", check=False)
    neither = deployment.run_here("api-keys", "expire", id_of(secret), check=False)
    nobody = deployment.run_here("api-keys", "expire", "0" * 16, "--in", "1d", check=False)

    assert listed(deployment, secret)["state"] == "expires_soon"
    assert "its end cannot be put off" in later.stderr
    assert "Say when" in neither.stderr
    assert "There is no API key of that id" in nobody.stderr


def test_doctor_names_the_keys_that_want_attention(deployment: Deployment) -> None:
    soon, unused, replaced, gone = (
        made(deployment, *options)
        for options in (("--expires-in", "3d"), (), ("--expires-in", "3d"), ("--expires-in", "3d"))
    )
    deployment.run_here("api-keys", "rotate", id_of(replaced))
    deployment.run_here("api-keys", "revoke", id_of(gone))
    with psycopg.connect(deployment_url(deployment.settings)) as database:
        database.execute(
            "UPDATE api_keys SET created_at = created_at - interval '91 days' WHERE key_id = %s",
            (id_of(unused),),
        )

    checked = deployment.run_here("doctor")

    said = " ".join(checked.stdout.split())
    assert f"API key {id_of(soon)} expires at" in said
    assert f"API key {id_of(unused)} was never used for 91 days" in said
    assert id_of(replaced) not in said
    assert id_of(gone) not in said
    assert "never expires" not in said
    deployment.run_here("api-keys", "revoke", id_of(unused))


def test_a_batch_costs_as_many_permits_as_it_has_items(
    deployment: Deployment, service: RunningService
) -> None:
    secret = made(deployment, "--rate", "1", "--burst", "4")
    began = time.monotonic()
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as client:
        answer = client.post("/v1/payment-tokens:batch", json={"items": [{}] * 40})
        took = time.monotonic() - began
        results = answer.json()["results"]
        statuses = Counter(result["status"] for result in results)
        refused = client.get(f"/v1/payment-tokens/{UNKNOWN}")

    assert set(statuses) == {422, 429}
    assert 4 <= statuses[422] <= 4 + took + 1
    limited = [result["problem"] for result in results if result["status"] == 429]
    assert {problem["code"] for problem in limited} == {"rate_limited"}
    assert all(problem["retry_after_seconds"] == 1 for problem in limited)
    assert refused.status_code == 429
    check_problem(refused)


def test_a_request_beyond_its_scope_costs_no_permit(
    deployment: Deployment, service: RunningService
) -> None:
    secret = made(deployment, "--scope", WRITE, "--rate", "1", "--burst", "1")
    with service.public(headers={"Authorization": f"Bearer {secret}"}) as client:
        for _ in range(5):
            assert client.get(f"/v1/payment-tokens/{UNKNOWN}").status_code == 403
        assert client.delete(f"/v1/payment-tokens/{UNKNOWN}").status_code == 404


@pytest.fixture(scope="module")
def two_workers(
    new_deployment: Callable[[], Deployment],
) -> Iterator[tuple[Deployment, RunningService]]:
    deployment = new_deployment()
    with deployment.serving("--workers", "2") as running:
        yield deployment, running


def test_a_rate_holds_over_two_workers(
    two_workers: tuple[Deployment, RunningService],
) -> None:
    deployment, service = two_workers
    secret = made(deployment, "--rate", "20", "--burst", "40")
    address = urlsplit(service.urls["public"]).netloc

    def ask(_: int) -> tuple[int, str | None]:
        # On a connection of its own, so that either worker may have it.
        with closing(HTTPConnection(address, timeout=30)) as connection:
            connection.request(
                "GET",
                f"/v1/payment-tokens/{UNKNOWN}",
                headers={"Authorization": f"Bearer {secret}"},
            )
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Retry-After")

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(400)))
    took = time.monotonic() - began

    statuses = Counter(status for status, _ in answers)
    assert set(statuses) == {404, 429}
    # What a worker has left of a lease is good for a second, and then lost.
    assert 20 <= statuses[404] <= 40 + 20 * (took + 1)
    assert {retry for status, retry in answers if status == 429} == {"1"}
    served = {
        json.loads(line).get("serving_process")
        for line in list(service.log_lines)
        if '"request"' in line
    }
    assert served == {1, 2}


def test_a_last_use_is_seen_once_the_service_has_said_so(
    two_workers: tuple[Deployment, RunningService],
) -> None:
    deployment, _ = two_workers
    used, unused = made(deployment), made(deployment)
    with deployment.serving("--only", "public") as service:
        for secret in (used, used.replace(used[-43:], "A" * 43)):
            with service.public(headers={"Authorization": f"Bearer {secret}"}) as client:
                client.get(f"/v1/payment-tokens/{UNKNOWN}")
        with service.public(headers={"Authorization": f"Bearer {unused}x"}) as client:
            client.get(f"/v1/payment-tokens/{UNKNOWN}")
        deadline = time.monotonic() + 60
        while (last_used_at := listed(deployment, used)["last_used_at"]) is None:
            assert time.monotonic() < deadline
            time.sleep(0.5)

    last_used = datetime.fromisoformat(last_used_at)
    assert timedelta() <= datetime.now(UTC) - last_used < timedelta(minutes=5)
    assert listed(deployment, unused)["last_used_at"] is None
