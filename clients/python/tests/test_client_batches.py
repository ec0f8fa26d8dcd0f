"""Many in few requests: what is sent, what is sent again of it, and what each item is told."""

import json
from collections.abc import Iterator

import pytest
from test_client_over_http import HANG_UP, PAYLOAD, TOKEN, Scripted, problem, scripted

from payment_token_client import (
    AsyncClient,
    Client,
    ClientError,
    CreateItem,
    DecryptItem,
    PaymentToken,
    RetryBudget,
    RetryPolicy,
)
from payment_token_client.answers import Answer
from payment_token_client.batches import MOST_ITEMS, creates, decrypts
from payment_token_client.errors import (
    ConnectionFailedError,
    DecryptionFailedError,
    OverloadedError,
    ServiceError,
    UnauthenticatedError,
    UnexpectedAnswerError,
)
from payment_token_client.exchanges import batch

PAN = "4111111111111111"
POLICY = RetryPolicy(first_backoff=0.001)
DONE = {"status": 201, "body": json.loads(TOKEN)}
REPLAYED = {"status": 200, "idempotency_replayed": True, "body": json.loads(TOKEN)}


def refused(status: int, code: str, retry_after: int | None = None) -> dict[str, object]:
    document: dict[str, object] = {"code": code, "detail": "why", "request_id": "r-9:item1"}
    if retry_after is not None:
        document["retry_after_seconds"] = retry_after
    return {"status": status, "problem": document}


LATE = refused(503, "overloaded", 0)


def answer(*results: object) -> tuple[int, bytes, str | None]:
    return 200, json.dumps({"results": results}).encode(), None


def items(number: int) -> list[CreateItem]:
    return [CreateItem("m_1", PAYLOAD, "T-1", metadata={"place": str(n)}) for n in range(number)]


def sent(server: Scripted) -> list[list[str]]:
    """The keys in each request."""
    return [
        [item["idempotency_key"] for item in json.loads(given.body)["items"]]
        for given in server.given
    ]


def test_only_what_may_succeed_later_is_sent_again_under_its_key() -> None:
    given = items(5)
    keys = [item.idempotency_key for item in given]
    failed = refused(422, "decryption_failed")
    with (
        scripted(
            answer(DONE, LATE, failed, refused(409, "idempotency_in_progress", 0), DONE),
            answer(LATE, REPLAYED),
            answer(DONE),
        ) as server,
        Client(server.url, "ptk_test", policy=POLICY) as client,
    ):
        found = list(client.create_many(given))

    assert sent(server) == [keys, [keys[1], keys[3]], [keys[1]]]
    assert [type(one) for one in found] == [
        PaymentToken,
        PaymentToken,
        DecryptionFailedError,
        PaymentToken,
        PaymentToken,
    ]
    assert [one.idempotency_key for one in found] == keys
    assert [one.replayed for one in found if isinstance(one, PaymentToken)] == [
        False,
        False,
        True,
        False,
    ]
    assert isinstance(found[2], ClientError)
    assert (found[2].status, found[2].request_id) == (422, "r-9:item1")


def test_a_batch_without_an_answer_is_sent_again_as_it_was() -> None:
    with (
        scripted(
            problem(503, "database_unavailable"),
            (HANG_UP, b"", None),
            problem(429, "rate_limited"),
            answer(DONE, DONE),
        ) as server,
        Client(server.url, "ptk_test", policy=POLICY) as client,
    ):
        found = list(client.create_many(items(2)))

    assert all(isinstance(one, PaymentToken) for one in found)
    assert len(server.given) == 4
    assert len({given.body for given in server.given}) == 1
    assert {given.path for given in server.given} == {"/v1/payment-tokens:batch"}


@pytest.mark.parametrize("number", [0, 1, 500, 501, 1200])
def test_any_number_goes_five_hundred_at_a_time(number: int) -> None:
    full, rest = divmod(number, MOST_ITEMS)
    sizes = [MOST_ITEMS] * full + [rest] * bool(rest)
    with (
        scripted(*(answer(*[DONE] * size) for size in sizes)) as server,
        Client(server.url, "ptk_test", policy=POLICY) as client,
    ):
        given = items(number)
        found = [one.idempotency_key for one in client.create_many(iter(given))]

    assert found == [item.idempotency_key for item in given]
    assert [len(keys) for keys in sent(server)] == sizes


def test_nothing_is_sent_before_its_results_are_asked_for() -> None:
    taken: list[CreateItem] = []

    def endless() -> Iterator[CreateItem]:
        while True:
            taken.extend(items(1))
            yield taken[-1]

    with (
        scripted(answer(*[DONE] * MOST_ITEMS)) as server,
        Client(server.url, "ptk_test", policy=POLICY) as client,
    ):
        found = client.create_many(endless())
        assert server.given == []
        for _ in range(MOST_ITEMS):
            next(found)
        assert len(server.given) == 1
    # One more, to know that the first batch is full.
    assert len(taken) == MOST_ITEMS + 1


def test_bytes_bound_a_batch_as_well() -> None:
    large = {"note": "n" * 100_000}
    some = list(creates(CreateItem("m_1", large, "T-1") for _ in range(200)))
    lengths = [len(one.operation(one.items).body or b"") for one in some]

    assert sum(len(one.items) for one in some) == 200
    assert all(8_000_000 < length <= 8 * 1024 * 1024 for length in lengths[:-1])
    names = list(decrypts((DecryptItem("pt_" + "b" * 4000, "m_1", "x") for _ in range(400)), None))
    assert all(len(one.operation(one.items).body or b"") <= 1024 * 1024 for one in names)
    alone = list(creates([CreateItem("m_1", {"note": "n" * 9_000_000}, "T-1"), *items(2)]))
    assert [len(one.items) for one in alone] == [1, 2]


def test_what_fails_as_a_whole_is_the_failure_of_each_and_of_no_other_batch() -> None:
    given = items(502)
    with (
        scripted(problem(401, "unauthenticated"), answer(DONE, DONE)) as server,
        Client(server.url, "ptk_test", policy=POLICY) as client,
    ):
        found = list(client.create_many(given))

    failures = [one for one in found if isinstance(one, UnauthenticatedError)]
    assert len(failures) == 500
    assert len({id(one) for one in failures}) == 500
    assert [one.idempotency_key for one in found] == [item.idempotency_key for item in given]
    assert all(one.request_id == "r-9" for one in failures)


def test_the_policy_bounds_what_is_sent_again() -> None:
    policy = RetryPolicy(first_backoff=0.001, attempts=3)
    with (
        scripted(*[answer(DONE, LATE), answer(LATE), answer(LATE)]) as server,
        Client(server.url, "ptk_test", policy=policy) as client,
    ):
        found = list(client.create_many(items(2)))
    assert [type(one) for one in found] == [PaymentToken, OverloadedError]
    assert len(server.given) == 3


def test_a_wait_that_the_deadline_does_not_allow_is_not_begun_and_holds_up_no_other() -> None:
    with (
        scripted(
            answer(LATE, refused(503, "encryption_key_overdue", 60)),
            answer(DONE),
            problem(503, "overloaded", "60"),
        ) as server,
        Client(server.url, "ptk_test", policy=POLICY) as client,
    ):
        made, overdue = client.create_many(items(2))
        (overloaded,) = client.create_many(items(1))
    assert isinstance(made, PaymentToken)
    for failure in (overdue, overloaded):
        assert isinstance(failure, ClientError)
        assert failure.retry_after == 60
    assert [len(keys) for keys in sent(server)] == [2, 1, 1]


def test_a_spent_budget_ends_the_retries_of_batches_too() -> None:
    budget = RetryBudget(ratio=0, per_second=0, capacity=1, now=0)
    with (
        scripted(*[answer(LATE)] * 3) as server,
        Client(server.url, "ptk_test", policy=POLICY, budget=budget) as client,
    ):
        for _ in range(2):
            (found,) = client.create_many(items(1))
            assert isinstance(found, OverloadedError)
    assert len(server.given) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"results": []}',
        json.dumps({"results": [DONE, DONE, DONE]}).encode(),
        json.dumps({"results": [{"status": 200, "body": {"pan": PAN}}, DONE]}).encode(),
        json.dumps({"results": [PAN, DONE]}).encode(),
        json.dumps({"results": [{"status": 422, "problem": PAN}, DONE]}).encode(),
        f'{{"results": [{PAN}'.encode(),
    ],
)
def test_an_answer_that_is_none_to_these_items_shows_nothing(body: bytes) -> None:
    with (
        scripted((200, body, None)) as server,
        Client(server.url, "ptk_test", policy=POLICY) as client,
    ):
        found = list(client.create_many(items(2)))

    assert [type(one) for one in found] == [UnexpectedAnswerError] * 2
    for one in found:
        assert isinstance(one, ClientError)
        assert one.__cause__ is one.__context__ is None
        assert PAN not in str(one) + repr(one) + repr(vars(one))
        assert one.idempotency_key


@pytest.mark.parametrize("nonsense", ["1", [], -1, float("nan"), float("inf"), {}])
def test_a_delay_that_is_none_counts_as_none(nonsense: object) -> None:
    late = refused(503, "overloaded")
    late["problem"]["retry_after_seconds"] = nonsense  # type: ignore[index]
    with (
        scripted(answer(late), answer(DONE)) as server,
        Client(server.url, "ptk_test", policy=POLICY) as client,
    ):
        (found,) = client.create_many(items(1))
    assert isinstance(found, PaymentToken)


def test_releases_show_no_card_data_and_each_request_has_an_id_of_its_own() -> None:
    released = {
        "payment_token": "pt_1",
        "payment_data": {
            "pan": PAN,
            "exp_month": 12,
            "exp_year": 2030,
            "cardholder_name": None,
            "sad": None,
            "sad_status": "none",
        },
        "metadata": {},
        "audit_receipt": "ar2.1",
    }
    (given,) = decrypts([DecryptItem("pt_1", "m_1", "capture")] * 2, "settle-7")
    exchange = batch(given, POLICY, RetryBudget(now=0))
    first = next(exchange).operation
    results = {"results": [{"status": 200, "body": released}, LATE]}
    again = exchange.send(Answer(200, {}, json.dumps(results).encode())).operation
    with pytest.raises(StopIteration) as ended:
        exchange.send(Answer(200, {}, json.dumps({"results": results["results"][:1]}).encode()))

    assert [one.headers["X-Request-ID"] for one in (first, again)] == [
        "settle-7:batch0",
        "settle-7:batch1",
    ]
    assert json.loads(first.body or b"")["items"][0] == {
        "payment_token": "pt_1",
        "merchant_id": "m_1",
        "purpose": "capture",
        "fields": ["pan", "expiry"],
    }
    found = ended.value.value
    assert [one.pan.reveal() for one in found] == [PAN] * 2
    assert PAN not in repr(found)
    assert "pt_1" not in repr(first)


def test_a_payload_shows_in_no_text_of_an_item() -> None:
    assert "track2" not in repr(items(1)) + repr(list(creates(items(1))))


@pytest.mark.parametrize("key", ["", "a b", "é", "k" * 256])
def test_a_key_that_the_service_would_not_take_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        CreateItem("m_1", {}, "T-1", idempotency_key=key)
    with pytest.raises(ValueError, match="visible ASCII"):
        decrypts([], "a b")


async def test_over_asyncio_it_is_the_same() -> None:
    given = items(3)
    keys = [item.idempotency_key for item in given]
    with scripted(
        (HANG_UP, b"", None),
        answer(DONE, LATE, refused(422, "decryption_failed")),
        answer(DONE),
        problem(500, "internal_error"),
    ) as server:
        async with AsyncClient(server.url, "ptk_test", policy=POLICY) as client:
            found = [one async for one in client.create_many(given)]
            (failed,) = [one async for one in client.create_many(items(1))]

    assert sent(server)[:3] == [keys, keys, [keys[1]]]
    assert [type(one) for one in found] == [PaymentToken, PaymentToken, DecryptionFailedError]
    assert [one.idempotency_key for one in found] == keys
    assert isinstance(failed, ServiceError)
    assert failed.code == "internal_error"


async def test_over_asyncio_nobody_who_listens_is_a_failed_connection_for_each() -> None:
    with scripted() as server:
        url = server.url
    policy = RetryPolicy(attempts=2, first_backoff=0.001)
    async with AsyncClient(url, "ptk_test", policy=policy) as client:
        found = [one async for one in client.create_many(items(2))]
    assert [type(one) for one in found] == [ConnectionFailedError] * 2
