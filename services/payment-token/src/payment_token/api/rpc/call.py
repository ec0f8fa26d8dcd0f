"""One call while it is worked on: who calls, with what message, under which request id."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self, TypeVar, cast
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message

from payment_token.api.batch import SECONDS
from payment_token.api.rest.bounds import DEADLINE_SECONDS
from payment_token.api.rest.request_body import SINGLE_LIMIT_BYTES, UNKNOWN_FIELD_RULE
from payment_token.api.rest.request_context import (
    REQUEST_ID_RULE,
    is_request_id,
    new_request_id,
)
from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.errors import (
    CleartextCardDataError,
    InvalidFieldError,
    MalformedRequestError,
    PayloadTooLargeError,
    PaymentTokenError,
)
from payment_token.domain.identifiers import RequestId

Context = grpc.aio.ServicerContext[bytes, bytes]
Read = TypeVar("Read", bound=Message)


@dataclass(slots=True)
class Call:
    """``message`` is as it came: who calls is settled before anything of it is read.

    ``source`` is the peer's address and port, ``certificate`` the client's in PEM that the handshake verified.
    ``ends_at`` is when its answer must have left, by the monotonic clock: at our deadline, or at the caller's before it.
    ``given_up`` says that nothing of the answer reaches the caller any more.
    """

    message: bytes
    metadata: Sequence[tuple[str, str | bytes]] = ()
    source: str = ""
    certificate: str | None = None
    request_id: RequestId = field(default_factory=new_request_id)
    ends_at: float = field(default_factory=lambda: time.monotonic() + DEADLINE_SECONDS)
    given_up: bool = False
    _request_id_refused: PaymentTokenError | None = None

    @classmethod
    def begun(cls, message: bytes, context: Context) -> Self:
        """All that is ever asked of the context: work may outlive its call, and the library's memory of it does not."""
        certificates = [*context.auth_context().get("x509_pem_cert", ())]
        return cls(
            message,
            metadata=tuple(context.invocation_metadata() or ()),
            source=_source(context.peer()),
            certificate=certificates[0].decode("ascii") if certificates else None,
            ends_at=time.monotonic() + _seconds_left(context),
        )

    def seconds_for_items(self) -> float:
        """How long a batch may work on its items from now on: of what is left, the part that REST's batches have."""
        return max(0.0, self.ends_at - time.monotonic()) * (SECONDS / DEADLINE_SECONDS)

    def values(self, name: str) -> list[str]:
        """Of the metadata, every value under this name. What is binary is no text."""
        return [
            value if isinstance(value, str) else ""
            for given, value in self.metadata
            if given == name
        ]

    def take_request_id(self, given: str) -> None:
        """From here on logs and records have it, if it is one. ``check_request_id`` says so if not."""
        if is_request_id(given):
            self.request_id = RequestId(given)
        elif find_card_number(given):
            self._request_id_refused = CleartextCardDataError("request_id")
        elif given:
            self._request_id_refused = InvalidFieldError("request_id", REQUEST_ID_RULE)

    def check_request_id(self) -> None:
        """Raises InvalidFieldError, CleartextCardDataError."""
        if self._request_id_refused is not None:
            raise self._request_id_refused

    def read(self, kind: type[Read], limit: int = SINGLE_LIMIT_BYTES) -> Read:
        """Raises what ``message_of`` raises."""
        return message_of(kind, self.message, limit)


def message_of(kind: type[Read], data: bytes, limit: int = SINGLE_LIMIT_BYTES) -> Read:
    """Raises PayloadTooLargeError, MalformedRequestError, and InvalidFieldError for a field that nobody knows."""
    check_size(data, limit)
    message = None
    try:
        message = kind.FromString(data)
    except DecodeError:
        pass
    if message is None:
        raise malformed(kind)
    whole = message.ByteSize()
    message.DiscardUnknownFields()
    # What is not known is not looked at either, and could be a card number in clear.
    if message.ByteSize() != whole:
        raise InvalidFieldError("body", UNKNOWN_FIELD_RULE)
    return message


def check_size(data: bytes, limit: int) -> None:
    """Raises PayloadTooLargeError."""
    if len(data) > limit:
        raise PayloadTooLargeError(f"The message is larger than {limit} bytes.")


def malformed(kind: type[Message]) -> MalformedRequestError:
    return MalformedRequestError(f"This is not a well-formed {kind.__name__}.")


def _seconds_left(context: Context) -> float:
    # Its type does not say so, but a caller without a deadline has none.
    left = cast("float | None", context.time_remaining())
    return DEADLINE_SECONDS if left is None else min(DEADLINE_SECONDS, left)


@lru_cache(maxsize=1024)
def _source(peer: str) -> str:
    """``ipv4:127.0.0.1:5000`` and ``ipv6:%5B::1%5D:5000`` as REST writes them."""
    return unquote(peer).partition(":")[2].replace("[", "").replace("]", "")
