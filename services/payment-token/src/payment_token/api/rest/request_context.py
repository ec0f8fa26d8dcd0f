"""The headers of a request, and its id: the caller's own if it is well-formed, else a new one."""

import os

from starlette.requests import Request
from starlette.types import Scope

from payment_token.api.batch import check_names_items, names_an_item
from payment_token.domain.api_key import APIKey
from payment_token.domain.audit import Actor
from payment_token.domain.cleartext_guard import find_card_number, refuse_card_number
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.identifiers import REQUEST_ID, RequestId

HEADER = b"x-request-id"
_STATE = "payment_token.request_id"
_RANDOM_BYTES = 16

REQUEST_ID_RULE = "must be 1 to 128 of A-Z a-z 0-9 . _ : -, without a card number, and not end as the items of batches do"


def is_request_id(text: str) -> bool:
    return (
        REQUEST_ID.fullmatch(text) is not None
        and not names_an_item(text)
        and not find_card_number(text)
    )


def new_request_id() -> RequestId:
    return RequestId(os.urandom(_RANDOM_BYTES).hex())


def header_values(request: Request, name: bytes) -> list[str]:
    """Every value of a header, in order; ``name`` in lower case.

    A busy route asks for six: Starlette's ``headers`` encodes each name anew.
    """
    return [value.decode("latin-1") for given, value in request.scope["headers"] if given == name]


def assign_request_id(scope: Scope) -> RequestId:
    given = [value for name, value in scope["headers"] if name == HEADER]
    text = given[0].decode("latin-1") if len(given) == 1 else ""
    request_id = RequestId(text) if is_request_id(text) else new_request_id()
    scope[_STATE] = request_id
    return request_id


def request_id_of(request: Request) -> RequestId:
    request_id: RequestId = request.scope[_STATE]
    return request_id


def check_request_id(request: Request) -> None:
    """Raises InvalidFieldError when the caller sent an id that was not taken: it is what the audit would name.

    Raises CleartextCardDataError when that is because it holds a card number.
    """
    given = header_values(request, HEADER)
    if given and given != [request_id_of(request)]:
        for text in given:
            refuse_card_number("X-Request-ID", text)
        raise InvalidFieldError("X-Request-ID", REQUEST_ID_RULE)


def check_batch_id(request: Request) -> None:
    """Raises InvalidFieldError likewise, and when the items could not be named after it."""
    check_request_id(request)
    check_names_items(request_id_of(request), "X-Request-ID")


def caller_of(request: Request, api_key: APIKey) -> Actor:
    client = request.scope.get("client") or ("unknown", 0)
    return Actor(f"api-key:{api_key.key_id}", f"{client[0]}:{client[1]}")
