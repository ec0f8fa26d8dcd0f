"""Reading a body: its media type, then its size, then its syntax, then its fields. Nothing is echoed."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from payment_token.api.rest.request_context import header_values
from payment_token.api.strict_json import parse_json
from payment_token.domain.errors import (
    InvalidFieldError,
    MalformedRequestError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)

SINGLE_LIMIT_BYTES = 64 * 1024
UNKNOWN_FIELD_RULE = "has a field that this route does not know"

Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, model: type[Body], limit: int = SINGLE_LIMIT_BYTES) -> Body:
    _check_media_type(request)
    return validated(model, parse_json(await _read_bounded(request, limit)))


def validated(model: type[Body], document: object) -> Body:
    """Raises InvalidFieldError for the first field that breaks a rule."""
    problem = None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        # The rejected value stands in the error; only the place and the rule leave this function.
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        problem = InvalidFieldError(
            _place(first["loc"], first["type"]), _rule(first["type"], first["msg"])
        )
    raise problem


def _check_media_type(request: Request) -> None:
    # A header that comes twice is one that two readers could read differently.
    media_types = header_values(request, b"content-type")
    media_type, _, parameters = (media_types[0] if len(media_types) == 1 else "").partition(";")
    charset = parameters.strip().lower()
    if media_type.strip().lower() != "application/json" or charset not in (
        "",
        "charset=utf-8",
        'charset="utf-8"',
    ):
        raise UnsupportedMediaTypeError
    codings = header_values(request, b"content-encoding")
    if any(coding.lower() != "identity" for coding in codings):
        raise UnsupportedMediaTypeError


async def _read_bounded(request: Request, limit: int) -> bytes:
    # A stated length that is too large is refused before anything is read.
    stated = next(iter(header_values(request, b"content-length")), "0")
    if stated.isdecimal() and int(stated[:20]) > limit:
        raise PayloadTooLargeError(f"The body is larger than {limit} bytes.")
    chunks: list[bytes] = []
    length = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise MalformedRequestError("The body ended before its stated length.")
        chunk: bytes = message.get("body", b"")
        chunks.append(chunk)
        length += len(chunk)
        if length > limit:
            raise PayloadTooLargeError(f"The body is larger than {limit} bytes.")
        if not message.get("more_body", False):
            return b"".join(chunks)


def _place(location: tuple[int | str, ...], kind: str) -> str:
    # Names that the caller made up (unknown fields, metadata keys) are values: they could hold a card number.
    steps = list(location[:-1] if kind == "extra_forbidden" else location)
    # The tag of a union is no field: it stands in angle brackets.
    steps = [step for step in steps if not str(step).startswith("<")]
    if "metadata" in steps:
        steps = steps[: steps.index("metadata") + 1]
    return ".".join(str(step) for step in steps) or "body"


def _rule(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return UNKNOWN_FIELD_RULE
    if kind == "missing":
        return "is required"
    message = message.removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    return message[:1].lower() + message[1:]
