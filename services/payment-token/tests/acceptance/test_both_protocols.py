"""REST and gRPC give the same answer to the same request: one table, run through both."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.both_protocols import (
    Answer,
    Sent,
    SentBatch,
    new_key,
)
from tests.support.deployment import MERCHANT, Deployment
from tests.support.problems import PAN
from tests.support.requests import Change, adding, setting, without
from tests.support.rpc import UNKNOWN_FIELD, batch_message
from tests.support.two_merchants import OTHER, UNKNOWN, World, good, two_merchants

PART = "encrypted_payload.parts.0"


@pytest.fixture(scope="module")
def world(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_merchants(deployment, tmp_path_factory.mktemp("both")) as world:
        yield world


# --- The table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """``code`` is empty where it succeeds. ``own_words``: each protocol speaks of its own names or formats."""

    name: str
    operation: str
    code: str
    sent: Callable[[World], Sent]
    key: str = "own"
    certificate: str = "known"
    own_words: bool = False

    def run(self, world: World, protocol: str) -> Answer:
        client = world.over(protocol, self.key, self.certificate)
        answer: Answer = getattr(client, self.operation)(self.sent(world))
        return answer


def create(name: str, code: str, change: Change = lambda _: None, **case: Any) -> Case:
    def sent(world: World) -> Sent:
        made = good(world)
        change(made.body)
        return made

    return Case(f"create, {name}", "create", code, sent, **case)


def create_by_key(name: str, code: str, key: str | None) -> Case:
    def sent(world: World) -> Sent:
        return Sent(good(world).body, key)

    return Case(f"create, {name}", "create", code, sent, own_words=True)


def create_raw(name: str, code: str, raw: tuple[bytes, bytes], **case: Any) -> Case:
    return Case(f"create, {name}", "create", code, lambda _: Sent({}, "k", raw=raw), **case)


def on_token(name: str, operation: str, token: str, code: str = "", **case: Any) -> Case:
    more = case.pop("more", {})
    return Case(
        f"{operation}, {name}",
        operation,
        code,
        lambda world: Sent({"payment_token": world.tokens.get(token, token)} | more),
        **case,
    )


def decrypt(name: str, code: str = "", which: str = "active", **case: Any) -> Case:
    options = {
        option: case.pop(option) for option in ("certificate", "own_words") if option in case
    }

    def sent(world: World) -> Sent:
        body = {"merchant_id": MERCHANT, "purpose": "capture"} | case
        body = {name: value for name, value in body.items() if value is not None}
        return Sent({"payment_token": world.tokens.get(which, which)} | body)

    return Case(f"decrypt, {name}", "decrypt", code, sent, **options)


def decrypt_sent(name: str, code: str, **sent: Any) -> Case:
    body = {"payment_token": UNKNOWN, "merchant_id": MERCHANT, "purpose": "capture"}
    return Case(f"decrypt, {name}", "decrypt", code, lambda _: Sent(body, **sent), own_words=True)


def complete(name: str, code: str = "", which: str = "active", **case: Any) -> Case:
    options = {
        option: case.pop(option) for option in ("certificate", "own_words") if option in case
    }
    more = {
        option: case.pop(option) for option in ("request_id", "unknown", "raw") if option in case
    }

    def sent(world: World) -> Sent:
        body = {"merchant_id": MERCHANT, "outcome": "approved"} | case
        body = {name: value for name, value in body.items() if value is not None}
        return Sent({"payment_token": world.tokens.get(which, which)} | body, **more)

    return Case(f"complete, {name}", "complete", code, sent, **options)


NOT_A_MESSAGE = (b"{", b"\xff\xff")
NOT_UTF_8 = (b'{"merchant_id": "\xff"}', b"\x1a\x01\xff")
TOO_LARGE = (b" " * 70_000, b"\x1a" * 70_000)

CASES = [
    create("good", ""),
    create("with metadata and a life of its own", "", adding("metadata", {"a": "b", "c": "ü"})),
    create("for two days", "", adding("ttl_seconds", 172_800)),
    create("by a key for two merchants", "", key="both"),
    create_by_key("no idempotency key", "idempotency_key_missing", None),
    create_by_key("an idempotency key that is too long", "invalid_field", "k" * 256),
    create_by_key("an idempotency key with a space", "invalid_field", "a b"),
    create_by_key("a card number as idempotency key", "cleartext_card_data", f"order-{PAN}"),
    create("no merchant", "invalid_field", without("merchant_id")),
    create("merchant with a line break", "invalid_field", setting("merchant_id", "m_demo\n")),
    create("merchant that is too long", "invalid_field", setting("merchant_id", "m" * 65)),
    create("merchant of another key", "forbidden", setting("merchant_id", OTHER)),
    create("a card number as merchant", "cleartext_card_data", setting("merchant_id", PAN)),
    create("no device", "invalid_field", without("device_id")),
    create("device with a space", "invalid_field", setting("device_id", "T 1")),
    create("a card number as device", "cleartext_card_data", setting("device_id", PAN)),
    create("a card number in metadata", "cleartext_card_data", adding("metadata", {"n": PAN})),
    create("a card number as metadata key", "cleartext_card_data", adding("metadata", {PAN: ""})),
    create(
        "21 metadata entries",
        "invalid_field",
        adding("metadata", {str(number): "" for number in range(21)}),
    ),
    create("long metadata key", "invalid_field", adding("metadata", {"k" * 41: ""})),
    create("empty metadata key", "invalid_field", adding("metadata", {"": "v"})),
    create("long metadata value", "invalid_field", adding("metadata", {"k": "v" * 501})),
    create("NUL in metadata", "malformed_request", adding("metadata", {"k": "a\0b"})),
    create("no life at all", "invalid_field", adding("ttl_seconds", 0)),
    create("a negative life", "invalid_field", adding("ttl_seconds", -1)),
    create("a life beyond all bounds", "invalid_field", adding("ttl_seconds", 2**62)),
    create("no payload", "invalid_field", without("encrypted_payload")),
    create("no parts", "invalid_field", setting("encrypted_payload.parts", [])),
    create(
        "nine parts",
        "invalid_field",
        lambda body: body["encrypted_payload"].update(parts=body["encrypted_payload"]["parts"] * 9),
    ),
    create("part without a format", "invalid_field", without(f"{PART}.format")),
    create("unknown format", "invalid_field", setting(f"{PART}.format", "track4")),
    create("no ciphertext", "invalid_field", setting(f"{PART}.ciphertext", "")),
    create("unknown scheme", "invalid_field", setting("encrypted_payload.scheme", "rot13")),
    create("unknown variant", "invalid_field", setting("encrypted_payload.key_variant", "mac")),
    create("unknown cipher", "invalid_field", setting("encrypted_payload.cipher", "des")),
    create("unknown mode", "invalid_field", setting("encrypted_payload.mode", "gcm")),
    create(
        "another cipher than the key's",
        "invalid_field",
        setting("encrypted_payload.cipher", "aes-256"),
    ),
    create("no KSN", "invalid_field", without("encrypted_payload.ksn")),
    create("long KSN", "invalid_field", setting("encrypted_payload.ksn", "0" * 65)),
    create("KSN that is none", "bad_ksn", setting("encrypted_payload.ksn", "0" * 24)),
    create("IV that is no hexadecimal", "invalid_field", setting("encrypted_payload.iv", "z" * 32)),
    create("short IV", "invalid_field", setting("encrypted_payload.iv", "00")),
    create(
        "ciphertext of another key",
        "decryption_failed",
        setting(f"{PART}.ciphertext", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ),
    create("half a cipher block", "invalid_field", setting(f"{PART}.ciphertext", "AAAA")),
    Case(
        "create, unknown field",
        "create",
        "invalid_field",
        lambda world: Sent(good(world).body, new_key(), unknown=True),
    ),
    create_raw("not a message", "malformed_request", NOT_A_MESSAGE, own_words=True),
    create_raw("not UTF-8", "malformed_request", NOT_UTF_8, own_words=True),
    create_raw("too large", "payload_too_large", TOO_LARGE, own_words=True),
    *(
        create_raw(f"{key} API key, and no message", "unauthenticated", NOT_A_MESSAGE, key=key)
        for key in ("none", "basic", "empty", "malformed", "unknown", "revoked", "expired")
    ),
    *(
        create_raw(f"{key} API key, and no message", "forbidden", NOT_A_MESSAGE, key=key)
        for key in ("reads", "admin")
    ),
    *(create(f"{key} API key", "", key=key) for key in ("writes", "rotated", "successor")),
    create("API key of another merchant", "forbidden", key="other"),
    *(
        on_token(f"{key} API key", operation, "active", "forbidden", key=key)
        for operation, keys in (("view", ("writes", "admin")), ("revoke", ("reads", "admin")))
        for key in keys
    ),
    *(
        on_token(f"{key} API key", "view", "active", key=key)
        for key in ("reads", "rotated", "successor")
    ),
    *(
        on_token("API key of another merchant", operation, "active", "token_not_found", key="other")
        for operation in ("view", "revoke")
    ),
    on_token("writes API key", "revoke", "revoked", key="writes"),
    *(
        on_token("expired API key", operation, "active", "unauthenticated", key="expired")
        for operation in ("view", "revoke")
    ),
    *(
        Case(
            f"create, {name} as request id",
            "create",
            code,
            lambda world, given=given: Sent(good(world).body, new_key(), request_id=given),
            own_words=True,
        )
        for name, given, code in (
            ("a space", "a b", "invalid_field"),
            ("a card number", PAN, "cleartext_card_data"),
            ("a long text", "r" * 129, "invalid_field"),
        )
    ),
    on_token("active", "view", "active"),
    on_token("of a named merchant", "view", "active", more={"merchant_id": MERCHANT}),
    *(
        on_token(
            f"a card number as merchant, {operation}",
            operation,
            "active",
            "cleartext_card_data",
            more={"merchant_id": PAN},
        )
        for operation in ("view", "revoke")
    ),
    on_token("unknown", "view", "unknown", "token_not_found"),
    on_token("none", "view", "nonsense", "token_not_found"),
    on_token("a card number", "view", PAN, "token_not_found"),
    on_token("of another merchant", "view", "others", "token_not_found"),
    on_token(
        "of another merchant, named", "view", "others", "forbidden", more={"merchant_id": OTHER}
    ),
    on_token("revoked", "view", "revoked", "token_revoked"),
    on_token("expired", "view", "expired", "token_expired"),
    on_token("of which of two merchants", "view", "active", "invalid_field", key="both"),
    on_token("merchant that is none", "view", "active", "invalid_field", more={"merchant_id": "?"}),
    on_token("revoked API key", "view", "active", "unauthenticated", key="revoked"),
    on_token("no API key", "view", "active", "unauthenticated", key="none"),
    on_token("unknown", "revoke", "unknown", "token_not_found"),
    on_token("of another merchant", "revoke", "others", "token_not_found"),
    on_token(
        "of another merchant, named", "revoke", "others", "forbidden", more={"merchant_id": OTHER}
    ),
    on_token("again", "revoke", "revoked"),
    on_token("no API key", "revoke", "active", "unauthenticated", key="none"),
    decrypt("what is the default"),
    decrypt(
        "all that there is",
        certificate="known-dns",
        fields=["pan", "expiry", "cardholder_name", "sad"],
    ),
    decrypt("the name only", fields=["cardholder_name"]),
    decrypt("unknown token", "token_not_found", "unknown"),
    decrypt("no token at all", "token_not_found", "pt_\u00fc'--"),
    decrypt("a token far too long", "token_not_found", "pt_" + "b" * 9000),
    decrypt("NUL in a token", "malformed_request", "pt_\0"),
    decrypt("revoked token", "token_revoked", "revoked"),
    decrypt("expired token", "token_expired", "expired"),
    decrypt("token of another merchant", "token_not_found", "others"),
    decrypt("another merchant that is granted", "token_not_found", merchant_id="m_4711"),
    decrypt("merchant that is not granted", "forbidden", "others", merchant_id=OTHER),
    decrypt("purpose that is not granted", "forbidden", purpose="refund"),
    decrypt("field that is not granted", "forbidden", fields=["pan", "sad"]),
    decrypt("no merchant", "invalid_field", merchant_id=None),
    decrypt("no purpose", "invalid_field", purpose=None),
    decrypt("purpose in capitals", "invalid_field", purpose="Capture"),
    decrypt("long purpose", "invalid_field", purpose="p" * 65),
    decrypt("a card number as purpose", "cleartext_card_data", purpose=PAN),
    decrypt("a card number as merchant", "cleartext_card_data", merchant_id=PAN),
    decrypt("a field twice", "invalid_field", fields=["pan", "pan"]),
    decrypt("unknown field of card data", "invalid_field", fields=["pin"]),
    decrypt("stranger", "forbidden", certificate="stranger"),
    decrypt("certificate without a name", "unauthenticated", certificate="name-only"),
    decrypt("certificate with two names", "unauthenticated", certificate="two-names"),
    decrypt("certificate with a wildcard", "unauthenticated", certificate="wildcard"),
    decrypt_sent("unknown field", "invalid_field", unknown=True),
    decrypt_sent("not a message", "malformed_request", raw=NOT_A_MESSAGE),
    decrypt_sent("not UTF-8", "malformed_request", raw=NOT_UTF_8),
    decrypt_sent("too large", "payload_too_large", raw=TOO_LARGE),
    decrypt_sent("a card number as request id", "cleartext_card_data", request_id=PAN),
    decrypt_sent("a request id with a space", "invalid_field", request_id="a b"),
    decrypt_sent("a request id as of an item", "invalid_field", request_id="settle-7:item3"),
    complete("approved"),
    complete("declined", outcome="declined"),
    complete("cancelled", outcome="cancelled"),
    complete("revoked token", which="revoked"),
    complete("expired token", which="expired"),
    complete("unknown token", "token_not_found", "unknown"),
    complete("no token at all", "token_not_found", "pt_\u00fc'--"),
    complete("token of another merchant", "token_not_found", "others"),
    complete("another merchant that is granted", "token_not_found", merchant_id="m_4711"),
    complete("merchant that is not granted", "forbidden", "others", merchant_id=OTHER),
    complete("by who may only decrypt", "forbidden", certificate="known-dns"),
    complete("stranger", "forbidden", certificate="stranger"),
    complete("certificate without a name", "unauthenticated", certificate="name-only"),
    complete("no merchant", "invalid_field", merchant_id=None),
    complete("a card number as merchant", "cleartext_card_data", merchant_id=PAN),
    complete("no outcome", "invalid_field", outcome=None),
    complete("an outcome that nobody knows", "invalid_field", outcome="reversed"),
    complete("unknown field", "invalid_field", unknown=True, own_words=True),
    complete("not a message", "malformed_request", raw=NOT_A_MESSAGE, own_words=True),
    complete("too large", "payload_too_large", raw=TOO_LARGE, own_words=True),
    complete("a card number as request id", "cleartext_card_data", request_id=PAN, own_words=True),
]

# Those whose item says all of it. A batch has one caller and one id, and where its JSON is wrong, all of it is.
ITEMS = {
    operation: [
        case
        for case in CASES
        if case.operation == operation
        and (case.key, case.certificate) == ("own", "known")
        and case.code not in ("malformed_request", "payload_too_large")
        and "request id" not in case.name
    ]
    for operation in ("create", "decrypt")
}


def batch(name: str, operation: str, code: str, **case: Any) -> Any:
    made = {option: case.pop(option) for option in ("key", "certificate") if option in case}
    more = {"own_words": True} | made
    return Case(f"{operation}, {name}", operation, code, lambda _: SentBatch(**case), **more)


def batches(operation: str, item: Sent) -> list[Case]:
    """``item`` is a good one."""
    return [
        batch("no items", operation, "invalid_field"),
        batch("501 items", operation, "invalid_field", items=[item] * 501),
        batch("not a message", operation, "malformed_request", raw=NOT_A_MESSAGE),
        batch("half an item", operation, "malformed_request", raw=(b'{"items": [{', b"\x12\x05a")),
        batch("an unknown field", operation, "invalid_field", raw=UNKNOWN_BESIDE_ITEMS),
        Case(
            f"{operation}, a request id that leaves no room for places",
            operation,
            "invalid_field",
            lambda _: SentBatch([item], f"{new_key()}{'r' * 85}"),
            own_words=True,
        ),
        batch(
            "a card number as id", operation, "cleartext_card_data", items=[item], request_id=PAN
        ),
        batch("an id of an item", operation, "invalid_field", items=[item], request_id="r:item0"),
    ]


UNKNOWN_BESIDE_ITEMS = (
    b'{"items": [{}], "x": "4111111111111111"}',
    batch_message([b""]) + UNKNOWN_FIELD,
)
TOO_MANY_BYTES = (b" " * 8_400_000, batch_message([b"\x1a" * 30_000] * 281))
TOO_MANY_BYTES_OF_NAMES = (b" " * 1_100_000, batch_message([b"\x1a" * 30_000] * 36))
A_CREATE = Sent({"merchant_id": MERCHANT})
A_DECRYPT = Sent({"payment_token": UNKNOWN, "merchant_id": MERCHANT, "purpose": "capture"})

BATCHES = [
    *batches("create_batch", A_CREATE),
    *batches("decrypt_batch", A_DECRYPT),
    batch("too large", "create_batch", "payload_too_large", raw=TOO_MANY_BYTES),
    batch("too large", "decrypt_batch", "payload_too_large", raw=TOO_MANY_BYTES_OF_NAMES),
    batch(
        "no API key, and no message",
        "create_batch",
        "unauthenticated",
        raw=NOT_A_MESSAGE,
        key="none",
    ),
    batch("revoked API key", "create_batch", "unauthenticated", items=[A_CREATE], key="revoked"),
    batch("stranger", "decrypt_batch", "forbidden", raw=NOT_A_MESSAGE, certificate="stranger"),
    batch(
        "no name", "decrypt_batch", "unauthenticated", items=[A_DECRYPT], certificate="name-only"
    ),
]

# What two answers of one service never have in common.
_VARYING = ("audit_receipt", "payment_token", "created_at", "expires_at")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_the_same(world: World, case: Case) -> None:
    rest, grpc = case.run(world, "REST"), case.run(world, "gRPC")

    assert (rest.code, grpc.code) == (case.code, case.code), (rest, grpc)
    assert rest.more == grpc.more
    if not case.own_words:
        assert rest.detail == grpc.detail
    for answer in (rest, grpc):
        assert PAN not in answer.detail
        assert answer.request_id
    _check_same_body(case, rest.body, grpc.body)
    if case.operation in ("decrypt", "complete"):
        records = [world.records(answer.request_id) for answer in (rest, grpc)]
        assert len(records[0]) == 1
        assert records[0] == records[1]
        assert records[0][0][2] == (case.code or "ok")


@pytest.mark.parametrize("case", BATCHES, ids=lambda case: case.name)
def test_a_batch_that_is_refused_as_a_whole_is_so_in_both_protocols(
    world: World, case: Case
) -> None:
    rest, grpc = case.run(world, "REST"), case.run(world, "gRPC")

    assert (rest.code, grpc.code) == (case.code, case.code), (rest, grpc)
    assert rest.more == grpc.more
    assert PAN not in rest.detail + grpc.detail
    if case.operation == "decrypt_batch":
        records = [world.records(answer.request_id) for answer in (rest, grpc)]
        assert len(records[0]) == 1
        assert records[0] == records[1]
        assert records[0][0][2] == case.code


@pytest.mark.parametrize("operation", ["create", "decrypt"])
def test_an_item_of_a_batch_is_answered_as_it_is_alone(world: World, operation: str) -> None:
    """All of the table in one batch for each protocol: what is wrong with one fails no other, and order is kept."""
    cases = ITEMS[operation]
    assert len(cases) > 20
    answers = {}
    for protocol in ("REST", "gRPC"):
        request_id = f"all-{new_key()}"
        sent = SentBatch([case.sent(world) for case in cases], request_id)
        client = world.over(protocol, "own", "known")
        answers[protocol] = getattr(client, f"{operation}_batch")(sent)
        assert answers[protocol].request_id == request_id

    both = zip(cases, answers["REST"].results, answers["gRPC"].results, strict=True)
    for place, (case, rest, grpc) in enumerate(both):
        assert (rest.code, grpc.code) == (case.code, case.code), (case.name, rest, grpc)
        assert rest.more == grpc.more
        assert case.own_words or rest.detail == grpc.detail
        assert PAN not in rest.detail + grpc.detail
        _check_same_body(case, rest.body, grpc.body)
        ids = [f"{answer.request_id}:item{place}" for answer in answers.values()]
        if case.code:
            assert [rest.request_id, grpc.request_id] == ids
        if operation == "decrypt":
            records = [world.records(request_id) for request_id in ids]
            assert len(records[0]) == 1
            assert records[0] == records[1]
            assert records[0][0][2] == (case.code or "ok")


def _check_same_body(case: Case, rest: dict[str, Any] | None, grpc: dict[str, Any] | None) -> None:
    if rest is None or grpc is None:
        assert rest is grpc
        return
    assert set(rest) == set(grpc)
    varying = _VARYING if case.operation == "create" else ("audit_receipt", "receipt")
    for name in set(rest) - set(varying):
        assert rest[name] == grpc[name], name


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_a_key_that_comes_too_often_hears_when_to_come_again(world: World, protocol: str) -> None:
    """Other keys of the same merchant go on, in both protocols."""
    created = world.deployment.run_here(
        "api-keys", "create", "--merchant", MERCHANT, "--rate", "1", "--burst", "1"
    )
    name = f"rate over {protocol}"
    world.keys[name] = f"Bearer {created.stdout.strip()}"
    named = Sent({"payment_token": world.tokens["active"]})

    answers = [world.over(protocol, name, "known").view(named) for _ in range(20)]

    assert answers[0].code == ""
    limited = [answer for answer in answers if answer.code == "rate_limited"]
    assert limited
    assert {answer.more["retry_after_seconds"] for answer in limited} == {1}
    for other in ("REST", "gRPC"):
        assert world.over(other, "own", "known").view(named).code == ""


def test_an_item_is_replayed_over_the_other_protocol(world: World) -> None:
    first, second = good(world), good(world, metadata={"place": "1"})
    reused = Sent(second.body, first.idempotency_key)
    items = SentBatch([first, second, first, reused])

    over = {protocol: world.over(protocol, "own", "known") for protocol in ("REST", "gRPC")}
    made = over["gRPC"].create_batch(items).results
    again = over["REST"].create_batch(items).results

    assert [one.code for one in made] == ["", "", "", "idempotency_key_reused"]
    assert [one.more["replayed"] for one in made[:3]] == [False, False, True]
    assert [one.more["replayed"] for one in again[:3]] == [True, True, True]
    assert [one.body for one in again] == [one.body for one in made]
    assert made[2].body == made[0].body != made[1].body


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_items_of_two_merchants_have_keys_of_their_own(world: World, protocol: str) -> None:
    key = new_key()
    items = [
        Sent(good(world, merchant).body, key) for merchant in (MERCHANT, OTHER, "m_third", MERCHANT)
    ]

    made = world.over(protocol, "both", "known").create_batch(SentBatch(items)).results

    # The last one is another read under the first one's key.
    assert [one.code for one in made] == ["", "", "forbidden", "idempotency_key_reused"]
    merchants = [one.body["merchant_id"] for one in made if one.body is not None]
    assert merchants == [MERCHANT, OTHER]


def test_a_retry_over_the_other_protocol_gives_the_same_token(world: World) -> None:
    sent = good(world)
    first = world.over("REST", "own", "known").create(sent)
    again = world.over("gRPC", "own", "known").create(sent)
    once_more = world.over("REST", "own", "known").create(sent)

    assert first.body == again.body == once_more.body
    replays = [answer.more["replayed"] for answer in (first, again, once_more)]
    assert replays == [False, True, True]


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_a_key_that_is_used_again_for_something_else(world: World, protocol: str) -> None:
    other = {"REST": "gRPC", "gRPC": "REST"}[protocol]
    sent = good(world)
    assert world.over(other, "own", "known").create(sent).code == ""

    reused = world.over(protocol, "own", "known").create(
        Sent(good(world).body, sent.idempotency_key)
    )

    assert reused.code == "idempotency_key_reused"


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_a_request_id_names_the_request_everywhere(world: World, protocol: str) -> None:
    request_id = f"worker-{uuid.uuid4()}"
    body = {"payment_token": world.tokens["active"], "merchant_id": MERCHANT, "purpose": "capture"}
    released = world.over(protocol, "own", "known").decrypt(Sent(body, request_id=request_id))

    assert released.request_id == request_id
    assert [record[1] for record in world.records(request_id)] == ["released"]
    # The line may be a moment behind the answer.
    deadline = time.monotonic() + 10
    while not any(request_id in line for line in list(world.service.log_lines)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_a_token_that_is_revoked_is_gone_for_the_other_protocol(
    world: World, protocol: str
) -> None:
    other = {"REST": "gRPC", "gRPC": "REST"}[protocol]
    named = Sent({"payment_token": world.create(good(world))})
    assert world.over(protocol, "own", "known").revoke(named).code == ""

    assert world.over(other, "own", "known").view(named).code == "token_revoked"
    body = named.body | {"merchant_id": MERCHANT, "purpose": "capture"}
    assert world.over(other, "own", "known").decrypt(Sent(body)).code == "token_revoked"


def test_a_budget_is_one_for_both_protocols(world: World) -> None:
    rest, grpc = (world.over(protocol, "own", "sparing") for protocol in ("REST", "gRPC"))
    first, second = ({"payment_token": world.create(good(world))} for _ in range(2))
    more = {"merchant_id": MERCHANT, "purpose": "capture"}

    assert rest.decrypt(Sent(first | more)).code == ""
    refused = [over.decrypt(Sent(second | more)) for over in (rest, grpc)]
    again = grpc.decrypt(Sent(first | more))

    _check_both_are_over("budget is used up: 1 different tokens in 86,400 seconds", *refused)
    assert again.code == ""


def test_a_rate_is_one_for_both_protocols(world: World) -> None:
    rest, grpc = (world.over(protocol, "own", "hurried") for protocol in ("REST", "gRPC"))
    sent = Sent(
        {
            "payment_token": world.tokens["active"],
            "merchant_id": MERCHANT,
            "purpose": "capture",
        }
    )
    left = 3600 - time.time() % 3600
    time.sleep(left if left < 20 else 0)

    assert [over.decrypt(sent).code for over in (rest, grpc)] == ["", ""]
    refused = [over.decrypt(sent) for over in (rest, grpc)]

    _check_both_are_over("rate is 2 requests in 3,600 seconds", *refused)


def _check_both_are_over(said: str, rest: Answer, grpc: Answer) -> None:
    assert (rest.code, grpc.code) == ("rate_limited", "rate_limited")
    assert said in rest.detail
    assert rest.detail == grpc.detail
    waits = [answer.more["retry_after_seconds"] for answer in (rest, grpc)]
    assert all(wait >= 1 for wait in waits)
    assert 0 <= waits[0] - waits[1] <= 10
