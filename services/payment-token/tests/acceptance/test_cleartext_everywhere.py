"""A card number in every place that a caller or an operator can write in: refused, counted, an event, and stored nowhere.

The card is used in no other test, and is looked for in the log and in every table afterwards.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import psycopg
import pytest

from payment_token.infrastructure.database.location import deployment_url
from tests.support.both_protocols import Answer, Sent, SentBatch, new_key
from tests.support.card_number_scanner import find
from tests.support.deployment import MERCHANT, Deployment
from tests.support.two_merchants import World, good, two_merchants

CARD = "4917610000000000"
SPACED = "4917 6100 0000 0000"
TRACK1 = f"%B{CARD}^LILAC/LEO^30122010000012345678?"
TRACK2 = f";{CARD}=30122010000012345678?"
PACKED = bytes.fromhex(f"{CARD}D30122010000012345678F")
SECRETS = (CARD, "LILAC/LEO", "=30122010000012345678")


@dataclass(frozen=True)
class Place:
    """``field`` is what the answer and the event name, as REST says it."""

    name: str
    operation: str
    field: str
    sent: Callable[[World], Sent | SentBatch]
    key: str = "own"
    protocols: tuple[str, ...] = ("REST", "gRPC")


def create(name: str, field: str, **changes: Any) -> list[Place]:
    """Alone, and as an item of a batch."""

    def sent(world: World) -> Sent:
        return good(world, **changes)

    return _alone_and_in_a_batch(name, "create", field, sent)


def create_by_key(name: str, key: str) -> list[Place]:
    return _alone_and_in_a_batch(
        name, "create", "Idempotency-Key", lambda world: replace(good(world), idempotency_key=key)
    )


def ciphertext(name: str, data: bytes) -> list[Place]:
    def sent(world: World) -> Sent:
        found = good(world)
        payload = dict(found.body["encrypted_payload"])
        part = {"format": "track2", "ciphertext": base64.b64encode(data).decode()}
        payload["parts"] = [*payload["parts"], part]
        return replace(found, body=found.body | {"encrypted_payload": payload})

    field = "encrypted_payload.parts.1.ciphertext"
    return _alone_and_in_a_batch(name, "create", field, sent)


def _alone_and_in_a_batch(
    name: str, operation: str, field: str, sent: Callable[[World], Sent]
) -> list[Place]:
    return [
        Place(name, operation, field, sent),
        Place(name, f"{operation}_batch", field, lambda world: SentBatch([sent(world)], new_key())),
    ]


def with_id(operation: str, sent: Callable[[World], Sent]) -> Place:
    return Place(
        "request id",
        operation,
        "X-Request-ID",
        lambda world: replace(sent(world), request_id=f"r-{CARD}"),
    )


def with_batch_id(operation: str, sent: Callable[[World], Sent]) -> Place:
    return Place(
        "request id", operation, "X-Request-ID", lambda world: SentBatch([sent(world)], CARD)
    )


def of_token(**more: Any) -> Callable[[World], Sent]:
    return lambda world: Sent({"payment_token": world.tokens["active"]} | more)


DECRYPT = {"merchant_id": MERCHANT, "purpose": "capture"}
COMPLETE = {"merchant_id": MERCHANT, "outcome": "approved"}

PLACES = [
    *create("metadata", "metadata", metadata={"note": CARD}),
    *create("metadata, spaced", "metadata", metadata={"note": f"card {SPACED}, please"}),
    *create("metadata, in JSON", "metadata", metadata={"note": json.dumps({"pan": CARD})}),
    *create("metadata, track 1", "metadata", metadata={"note": TRACK1}),
    *create("metadata, track 2", "metadata", metadata={"note": TRACK2}),
    *create("metadata, packed track 2", "metadata", metadata={"note": PACKED.hex()}),
    *create("name of metadata", "metadata", metadata={CARD: ""}),
    *create("device", "device_id", device_id=CARD),
    *create("device, track", "device_id", device_id=TRACK2),
    *create("merchant", "merchant_id", merchant_id=CARD),
    *create_by_key("idempotency key", CARD),
    *create_by_key("idempotency key, within", f"order-{CARD}-1"),
    *ciphertext("ciphertext, track 1", TRACK1.encode()),
    *ciphertext("ciphertext, track 2", TRACK2.encode().ljust(48, b"\0")),
    *ciphertext("ciphertext, packed track 2", PACKED.ljust(24, b"\0")),
    *ciphertext("ciphertext, EMV", b"\x57\x13" + PACKED + bytes.fromhex("9F2608") + b"\x8d" * 8),
    *ciphertext("ciphertext, hexadecimal", TRACK2.encode().hex().encode()),
    *ciphertext("ciphertext, base64", base64.b64encode(TRACK2.encode())),
    with_id("create", good),
    with_batch_id("create_batch", good),
    Place("merchant", "view", "merchant_id", of_token(merchant_id=CARD)),
    Place("merchant", "revoke", "merchant_id", of_token(merchant_id=CARD)),
    with_id("view", of_token()),
    with_id("revoke", of_token()),
    *_alone_and_in_a_batch(
        "purpose", "decrypt", "purpose", of_token(**DECRYPT | {"purpose": CARD})
    ),
    *_alone_and_in_a_batch(
        "merchant", "decrypt", "merchant_id", of_token(**DECRYPT | {"merchant_id": CARD})
    ),
    with_id("decrypt", of_token(**DECRYPT)),
    with_batch_id("decrypt_batch", of_token(**DECRYPT)),
    Place("merchant", "complete", "merchant_id", of_token(**COMPLETE | {"merchant_id": CARD})),
    with_id("complete", of_token(**COMPLETE)),
    *(
        Place(
            name,
            "device_events",
            field,
            lambda _, field=field: Sent({"merchant_id": MERCHANT} | {field: CARD}),
            key="admin",
            protocols=("REST",),
        )
        for name, field in (("merchant", "merchant_id"), ("device", "device_id"))
    ),
]

EVERY = [
    pytest.param(place, protocol, id=f"{place.operation}, {place.name}, {protocol}")
    for place in PLACES
    for protocol in place.protocols
]

COMMANDS = {
    "name of an API key": ("api-keys", "create", "--merchant", MERCHANT, "--name", f"card {SPACED}"),
    "merchant of an API key": ("api-keys", "create", "--merchant", CARD),
    "device": ("devices", "register", "--device-id", CARD, "--merchant", MERCHANT, "--bdk", "b"),
    "merchant of a device": ("devices", "register", "--device-id", "d", "--merchant", CARD, "--bdk", "b"),
    "reason of a hold": ("audit", "hold", "place", "case-1", "--reason", f"about {CARD}"),
    "id of a hold": ("audit", "hold", "place", CARD, "--reason", "a case"),
    "search of the audit log": ("audit", "search", "--token", CARD),
    "identity that is searched for": ("audit", "search", "--identity", CARD),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(
    new_deployment: Callable[[], Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with two_merchants(new_deployment(), tmp_path_factory.mktemp("cleartext")) as world:
        yield world


def counted(world: World) -> int:
    text = httpx.get(f"{world.service.urls['metrics']}/metrics").text
    found = re.search(
        r'^payment_token_device_events_total\{kind="cleartext_card_data"\} (\S+)$',
        text,
        re.MULTILINE,
    )
    return int(float(found[1])) if found else 0


def kept(world: World, when: str = "true") -> int:
    with psycopg.connect(deployment_url(world.deployment.settings)) as database:
        row = database.execute(
            f"SELECT coalesce(sum(count), 0)::int FROM device_events WHERE kind = 'cleartext_card_data' AND {when}"
        ).fetchone()
    assert row is not None
    found: int = row[0]
    return found


@pytest.mark.parametrize(("place", "protocol"), EVERY)
def test_it_is_refused_counted_and_answered_without_it(
    world: World, place: Place, protocol: str
) -> None:
    before = counted(world)
    client = world.over(protocol, place.key, "known")
    answer: Answer = getattr(client, place.operation)(place.sent(world))
    refused = answer.results[0] if answer.results else answer

    assert refused.code == "cleartext_card_data"
    field = place.field if protocol == "REST" else place.field.replace("X-Request-ID", "request_id")
    assert refused.detail.startswith(f"{field}: holds what looks like card data in clear")
    assert not any(find(secret, repr(answer).encode()) for secret in SECRETS)
    assert counted(world) == before + 1


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_command_refuses_it(world: World, arguments: tuple[str, ...]) -> None:
    refused = world.deployment.run_here(*arguments, check=False)

    assert refused.returncode == 1
    assert "holds what looks like" in refused.stderr
    assert CARD not in refused.stdout + refused.stderr
    assert SPACED not in refused.stdout + refused.stderr


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_nobody_fills_the_list_of_another_merchant(world: World, protocol: str) -> None:
    """Whose key it is has the event, whatever merchant the request claims."""
    sent = good(world, MERCHANT, metadata={"note": CARD}, device_id=f"claimed-{protocol}")
    assert world.over(protocol, "other", "known").create(sent).code == "cleartext_card_data"
    when = f"device_id = 'claimed-{protocol}'"

    _until(lambda: kept(world, when) == 1)
    assert kept(world, f"{when} AND merchant_id = 'm_other'") == 1


def test_every_one_is_an_event_and_the_card_is_nowhere(world: World) -> None:
    """After all the others of this module."""
    total = counted(world)
    assert total
    _until(lambda: kept(world) == total)
    seen = {"log": "".join(world.service.log_lines).encode()}
    with psycopg.connect(deployment_url(world.deployment.settings)) as database:
        tables = database.execute(
            "SELECT oid::regclass::text FROM pg_class"
            " WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (table,) in tables:
            rows = database.execute(f"SELECT t::text FROM {table} AS t").fetchall()  # type: ignore[arg-type]
            seen[table] = repr(rows).encode()
        activity = database.execute("SELECT query FROM pg_stat_activity").fetchall()
    seen["activity"] = repr(activity).encode()
    seen["metrics"] = httpx.get(f"{world.service.urls['metrics']}/metrics").content

    assert "device_events" in seen
    assert b"cleartext_card_data" in seen["device_events"]
    assert b"cleartext_card_data" in seen["audit_records"]
    hits = {
        (secret, name) for secret in SECRETS for name, text in seen.items() if find(secret, text)
    }
    assert hits == set()


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)
