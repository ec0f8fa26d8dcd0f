"""Another merchant's keys and tokens, on every route of both protocols: refused, and each time on record or counted.

A route that is not attacked here fails the test.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.both_protocols import Answer, Sent, SentBatch, new_key
from tests.support.deployment import MERCHANT, Deployment, client_context
from tests.support.rpc import DECRYPTION, TOKENS
from tests.support.two_merchants import OTHER, World, good, two_merchants


@dataclass(frozen=True)
class Route:
    """``rpc`` is ``None`` for what administrators have in REST alone."""

    rest: tuple[str, str]
    rpc: str | None


ROUTES = {
    "create": Route(("POST", "/v1/payment-tokens"), "CreateToken"),
    "create_batch": Route(("POST", "/v1/payment-tokens:batch"), "BatchCreateTokens"),
    "view": Route(("GET", "/v1/payment-tokens/{payment_token}"), "GetToken"),
    "revoke": Route(("DELETE", "/v1/payment-tokens/{payment_token}"), "DeleteToken"),
    "decrypt": Route(("POST", "/internal/v1/decrypt"), "Decrypt"),
    "decrypt_batch": Route(("POST", "/internal/v1/decrypt:batch"), "BatchDecrypt"),
    "complete": Route(
        ("POST", "/internal/v1/payment-tokens/{payment_token}/authorization-complete"),
        "CompleteAuthorization",
    ),
    "device_events": Route(("GET", "/v1/device-events"), None),
}
OPEN = {"/healthz", "/readyz", "/metrics"}

# Administrative routes are of REST alone: (method, path, body).
DEVICE_ROUTES: list[tuple[str, str, dict[str, str] | None]] = [
    ("POST", "/v1/devices", {"device_id": "d_new", "bdk_id": "default-aes-128"}),
    ("GET", "/v1/devices", None),
    ("GET", "/v1/devices/{device_id}", None),
    *(
        ("POST", f"/v1/devices/{{device_id}}/{change}", {"reason": "mine"})
        for change in ("suspend", "reactivate", "report-stolen", "retire", "reset-counter")
    ),
]


@dataclass(frozen=True)
class Attack:
    """``key`` is of the other merchant, ``certificate`` of a worker that may act for the one merchant alone."""

    name: str
    operation: str
    code: str
    sent: Callable[[World], Sent | SentBatch]
    key: str = "other"
    certificate: str = "known"

    def run(self, world: World, protocol: str) -> Answer:
        client = world.over(protocol, self.key, self.certificate)
        answer: Answer = getattr(client, self.operation)(self.sent(world))
        return answer


def of_token(which: str, **more: object) -> Callable[[World], Sent]:
    return lambda world: Sent({"payment_token": world.tokens[which]} | more, request_id=new_key())


def in_batch(item: Callable[[World], Sent]) -> Callable[[World], SentBatch]:
    def sent(world: World) -> SentBatch:
        one = item(world)
        return SentBatch([Sent(one.body, one.idempotency_key)], new_key())

    return sent


def events_of(world: World) -> Sent:
    return Sent({"merchant_id": MERCHANT}, request_id=new_key())


RELEASE = {"purpose": "capture"}
END = {"outcome": "approved"}
DENIED = of_token("others", merchant_id=OTHER, **RELEASE)
FOREIGN = of_token("others", merchant_id=MERCHANT, **RELEASE)

ATTACKS = [
    Attack("for its merchant", "create", "forbidden", good),
    Attack("for its merchant", "create_batch", "forbidden", in_batch(good)),
    Attack("its token", "view", "token_not_found", of_token("active")),
    Attack("its token, named", "view", "forbidden", of_token("active", merchant_id=MERCHANT)),
    Attack("its token", "revoke", "token_not_found", of_token("active")),
    Attack("its token, named", "revoke", "forbidden", of_token("active", merchant_id=MERCHANT)),
    Attack("its token", "decrypt", "forbidden", DENIED),
    Attack("its token as one's own", "decrypt", "token_not_found", FOREIGN),
    Attack("its token", "decrypt_batch", "forbidden", in_batch(DENIED)),
    Attack("its token as one's own", "decrypt_batch", "token_not_found", in_batch(FOREIGN)),
    Attack("its SAD", "complete", "forbidden", of_token("others", merchant_id=OTHER, **END)),
    Attack("its terminals' events", "device_events", "forbidden", events_of, key="others_admin"),
    Attack(
        "its SAD as one's own",
        "complete",
        "token_not_found",
        of_token("others", merchant_id=MERCHANT, **END),
    ),
]


@pytest.fixture(scope="module")
def world(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_merchants(deployment, tmp_path_factory.mktemp("routes")) as world:
        yield world


def test_no_route_is_forgotten(world: World) -> None:
    found = set()
    for listener, verify in (("public", True), ("internal", client_context(world.folder, "known"))):
        document = httpx.get(f"{world.service.urls[listener]}/openapi.json", verify=verify).json()
        found |= {
            (method.upper(), path)
            for path, operations in document["paths"].items()
            for method in operations
            if path not in OPEN
        }
    attacked = {attack.operation for attack in ATTACKS}

    assert found == {ROUTES[operation].rest for operation in attacked} | {
        (method, path) for method, path, _ in DEVICE_ROUTES
    }
    methods = {method.name for service in (TOKENS, DECRYPTION) for method in service.methods}
    assert methods == {ROUTES[operation].rpc for operation in attacked} - {None}


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.operation}, {attack.name}")
def test_another_merchants_keys_and_tokens(world: World, attack: Attack, protocol: str) -> None:
    if protocol == "gRPC" and ROUTES[attack.operation].rpc is None:
        pytest.skip("REST alone has it")
    counted = refusals(world)
    answer = attack.run(world, protocol)

    refused = answer.results[0] if answer.results else answer
    assert refused.code == attack.code
    assert refused.body is None
    if attack.operation in ("decrypt", "decrypt_batch", "complete"):
        request_id = answer.request_id + (":item0" if answer.results else "")
        ((_, outcome, code, *_),) = world.records(request_id)
        assert (outcome, code) == ("refused", attack.code)
    else:
        assert refusals(world) == counted + 1
    owner = world.over(protocol, "own", "known").view(of_token("active")(world))
    assert owner.code == ""


@pytest.fixture(scope="module")
def device(world: World) -> dict[str, Any]:
    body = {"device_id": "d_own", "bdk_id": "default-aes-128", "merchant_id": MERCHANT}
    with as_key(world, "admin") as admin:
        answer = admin.post("/v1/devices", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@contextmanager
def as_key(world: World, key: str) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=world.service.urls["public"],
        headers={"Authorization": world.keys[key]} if world.keys[key] else {},
        timeout=20,
    ) as client:
        yield client


def asked(
    client: httpx.Client, route: tuple[str, str, dict[str, str] | None], merchant: str | None
) -> httpx.Response:
    method, path, body = route
    named = {} if merchant is None else {"merchant_id": merchant}
    path = path.format(device_id="d_own")
    if body is None:
        return client.request(method, path, params=named)
    return client.request(method, path, json=body | named)


@pytest.mark.parametrize("route", DEVICE_ROUTES, ids=lambda route: " ".join(route[:2]))
def test_another_merchants_administrator(
    world: World, device: dict[str, Any], route: tuple[str, str, dict[str, str] | None]
) -> None:
    counted = refusals(world)
    with as_key(world, "others_admin") as other:
        unnamed, named = asked(other, route, None), asked(other, route, MERCHANT)

    assert (named.status_code, named.json()["code"]) == (403, "forbidden")
    if "{device_id}" in route[1]:
        assert (unnamed.status_code, unnamed.json()["code"]) == (404, "device_not_found")
        assert refusals(world) == counted + 2
    else:
        # Of its own merchant, which has no such device.
        assert unnamed.is_success
        assert MERCHANT not in unnamed.text
        assert refusals(world) == counted + 1
    with as_key(world, "admin") as admin:
        assert admin.get("/v1/devices/d_own").json() == device


@pytest.mark.parametrize("route", DEVICE_ROUTES, ids=lambda route: " ".join(route[:2]))
@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("none", 401),
        ("unknown", 401),
        ("revoked", 401),
        ("expired", 401),
        ("own", 403),
        ("reads", 403),
        ("writes", 403),
    ],
)
def test_who_is_no_administrator(
    world: World,
    device: dict[str, Any],
    route: tuple[str, str, dict[str, str] | None],
    key: str,
    status: int,
) -> None:
    with as_key(world, key) as client:
        assert asked(client, route, MERCHANT).status_code == status
    with as_key(world, "admin") as admin:
        assert admin.get("/v1/devices/d_own").json() == device


def refusals(world: World) -> float:
    """Of the public side, as its metrics count requests and items of batches."""
    text = httpx.get(f"{world.service.urls['metrics']}/metrics").text
    line = re.compile(
        r'payment_token_(requests|batch_items)_total\{code="(forbidden|token_not_found|device_not_found)",'
        r'(listener="public(_grpc)?"|side="public").*\} (\S+)'
    )
    return sum(float(found[5]) for found in line.finditer(text))
