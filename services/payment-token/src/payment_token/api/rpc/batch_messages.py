"""Batches as messages: a request id and items, and a result for each of them.

The items come out as the bytes that they are. Each is read by itself, as the message of a single call is read, with its
limit: a batch made of millions of empty parts would take hundreds of megabytes if all of it were read at once.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from payment_token.api.batch import MOST, check_names_items, in_order, item_id
from payment_token.api.rest.batch_models import CreateBatchBody, DecryptBatchBody
from payment_token.api.rest.request_body import UNKNOWN_FIELD_RULE, validated
from payment_token.api.rpc.call import Call, check_size, malformed
from payment_token.api.rpc.status import refusal_of
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.identifiers import RequestId

Outcome = TypeVar("Outcome")
Result = TypeVar("Result")

# Field numbers, and that a length comes next (https://protobuf.dev/programming-guides/encoding).
_REQUEST_ID = 1 << 3 | 2
_ITEM = 2 << 3 | 2

# Numbers of 35 bits are more than any tag or length here. The last byte of one has no such bit.
_VARINT_BYTES = 5
_MORE = 0x80


def items_of(
    call: Call,
    kind: type[Message],
    model: type[CreateBatchBody | DecryptBatchBody],
    limit: int,
) -> list[bytes]:
    """The items of the call's message, which is one of ``kind``. Its request id is the call's from here on.

    ``model`` has the rules. Raises PayloadTooLargeError, MalformedRequestError, InvalidFieldError.
    """
    check_size(call.message, limit)
    read = None
    try:
        read = _read(call.message)
    except (_NoMessageError, UnicodeDecodeError):
        pass
    if read is None:
        raise malformed(kind)
    request_id, items = read
    call.take_request_id(request_id)
    validated(model, {"items": items})
    call.check_request_id()
    check_names_items(call.request_id, "request_id")
    return items


def results_of(
    count: int,
    outcomes: Mapping[int, Outcome | Exception],
    render: Callable[[Outcome], Result],
    refused: Callable[[Status], Result],
    request_id: str,
    *,
    hints: bool,
) -> Iterator[Result]:
    """``outcomes`` by place. ``render`` makes the result of one that succeeded, ``refused`` of one that did not."""
    for place, outcome in enumerate(in_order(count, outcomes)):
        if isinstance(outcome, Exception):
            status, _ = refusal_of(outcome, RequestId(item_id(request_id, place)), hints=hints)
            yield refused(status)
        else:
            yield render(outcome)


class _NoMessageError(Exception):
    pass


def _read(message: bytes) -> tuple[str, list[bytes]]:
    request_id, items = "", list[bytes]()
    for tag, data in _fields(message):
        if tag == _REQUEST_ID:
            request_id = data.decode("utf-8")
        else:
            items.append(data)
    return request_id, items


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each field, up to one item more than there may be.

    Raises InvalidFieldError for any other field.
    """
    at = items = 0
    while at < len(message) and items <= MOST:
        tag, at = _varint(message, at)
        if tag not in (_REQUEST_ID, _ITEM):
            raise InvalidFieldError("body", UNKNOWN_FIELD_RULE)
        length, at = _varint(message, at)
        if at + length > len(message):
            raise _NoMessageError
        yield tag, message[at : at + length]
        at += length
        items += tag == _ITEM


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that stands there, and where it ends."""
    number = 0
    for shift, byte in enumerate(message[at : at + _VARINT_BYTES]):
        number |= (byte & ~_MORE) << 7 * shift
        if not byte & _MORE:
            return number, at + shift + 1
    raise _NoMessageError
