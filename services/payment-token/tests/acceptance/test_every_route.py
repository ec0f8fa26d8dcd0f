"""Another merchant's keys and tokens, on every route of both protocols: refused, and each time on record or counted.

A route that is not attacked here fails the test.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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

    assert found == {ROUTES[operation].rest for operation in attacked}
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


def refusals(world: World) -> float:
    """Of the public side, as its metrics count requests and items of batches."""
    text = httpx.get(f"{world.service.urls['metrics']}/metrics").text
    line = re.compile(
        r'payment_token_(requests|batch_items)_total\{code="(forbidden|token_not_found)",'
        r'(listener="public(_grpc)?"|side="public").*\} (\S+)'
    )
    return sum(float(found[5]) for found in line.finditer(text))
