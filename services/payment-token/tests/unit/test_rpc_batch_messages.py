"""The envelope of a batch is read as the library reads it, and what is none is refused, whatever comes in."""

import contextlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from payment_token.api.rest.batch_models import CREATE_LIMIT_BYTES, CreateBatchBody
from payment_token.api.rpc.batch_messages import items_of, results_of
from payment_token.api.rpc.call import Call, message_of
from payment_token.api.rpc.generated import token_service_pb2 as pb
from payment_token.domain.errors import (
    ForbiddenError,
    InvalidFieldError,
    MalformedRequestError,
    PayloadTooLargeError,
    PaymentTokenError,
)
from tests.support.rpc import UNKNOWN_FIELD, batch_message, of_status

PAN = "4111111111111111"
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
creates = st.builds(
    pb.CreateTokenItem,
    idempotency_key=names,
    merchant_id=names,
    metadata=st.dictionaries(names, names, max_size=3),
)


def items(message, limit=CREATE_LIMIT_BYTES):
    call = Call(message)
    return items_of(call, pb.BatchCreateTokensRequest, CreateBatchBody, limit), call.request_id


@given(st.lists(creates, min_size=1, max_size=20), st.sampled_from(["", "settle-7"]))
def test_what_the_library_writes_is_read(given, request_id):
    message = pb.BatchCreateTokensRequest(request_id=request_id, items=given)

    found, named = items(message.SerializeToString())

    assert [message_of(pb.CreateTokenItem, item) for item in found] == given
    assert not request_id or named == request_id


@given(st.binary(max_size=60))
@example(b"\x12\x80\x80\x80\x80\x80\x00")
@example(b"\x12\xff\xff\xff\xff\x7f")
@example(b"\x12")
@example(b"\x12\x05abcd")
@example(b"\x0a\x01\xff\x12\x00")
def test_whatever_comes_in_is_read_or_refused(data):
    """Where the library reads it as well, it reads the same."""
    found = outcome(data)

    if isinstance(found, str):
        assert found in ("malformed_request", "invalid_field")
        return
    with contextlib.suppress(DecodeError):
        assert len(pb.BatchCreateTokensRequest.FromString(data).items) == len(found)


def outcome(data):
    """The items, or the error's code."""
    try:
        return items(data)[0]
    except PaymentTokenError as error:
        return error.code


@pytest.mark.parametrize("number", [0, 501, 3_000_000])
def test_none_and_too_many_are_refused_before_they_are_looked_at(number):
    with pytest.raises(InvalidFieldError, match="items"):
        items(b"\x12\x00" * number)


def test_the_limit_is_that_of_the_method():
    message = batch_message([b"\x1a\x05" + b"a" * 5])
    assert items(message, limit=len(message))
    with pytest.raises(PayloadTooLargeError):
        items(message, limit=len(message) - 1)


@pytest.mark.parametrize(
    "message",
    [
        batch_message([b""]) + UNKNOWN_FIELD,
        batch_message([b""]) + b"\x08\x01",
        b"\x10\x01" + batch_message([b""]),
        b"\x13\x14" + batch_message([b""]),
    ],
    ids=["another field", "a number as id", "a number as item", "a group"],
)
def test_a_field_that_nobody_knows_is_refused(message):
    with pytest.raises(InvalidFieldError, match="does not know") as refused:
        items(message)
    assert PAN not in str(refused.value)


def test_an_item_has_no_request_id_of_its_own():
    with_id = pb.CreateTokenRequest(request_id="r", merchant_id="m").SerializeToString()
    with pytest.raises(InvalidFieldError, match="does not know"):
        message_of(pb.CreateTokenItem, with_id)


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (b"\x1a\x01\xff", MalformedRequestError),
        (b"\x1a\x05a", MalformedRequestError),
        (b"\x2a\x00" * 40_000, PayloadTooLargeError),
    ],
    ids=["not UTF-8", "half of one", "beyond the limit of one"],
)
def test_an_item_that_is_none_is_found_when_it_is_its_turn(item, error):
    (found,), _ = items(batch_message([item]))
    with pytest.raises(error):
        message_of(pb.CreateTokenItem, found)


def test_results_are_in_order_and_tell_nothing_of_a_defect():
    outcomes = {0: "a", 2: ForbiddenError("Not this one."), 3: ValueError(PAN)}
    found = list(results_of(5, outcomes, lambda done: done, of_status, "settle-7", hints=False))

    assert found[0] == "a"
    assert [(one.status, one.code, one.request_id) for one in found[1:]] == [
        ("UNAVAILABLE", "overloaded", "settle-7:item1"),
        ("PERMISSION_DENIED", "forbidden", "settle-7:item2"),
        ("INTERNAL", "internal_error", "settle-7:item3"),
        ("UNAVAILABLE", "overloaded", "settle-7:item4"),
    ]
    assert PAN not in str(found)
    assert found[1].retry_after_seconds == 1
