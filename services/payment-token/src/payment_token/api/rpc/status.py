"""Errors as ``google.rpc.Status``, with the details that Google's API design guide names (AIP-193)."""

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from payment_token.api.alarms import log_alarm
from payment_token.api.errors import answer_to
from payment_token.domain.errors import (
    DecryptionFailedError,
    InvalidFieldError,
    PaymentTokenError,
    TokenGoneError,
)
from payment_token.domain.identifiers import RequestId

DOMAIN = "payment-token"
DETAILS = "grpc-status-details-bin"
"""The trailing metadata that carries it."""

_DEFECT = "A defect of the service. Operators can find it by the request id."


def refusal_of(error: Exception, request_id: RequestId, *, hints: bool) -> tuple[Status, str]:
    """What the caller is told, and the code that is counted."""
    log_alarm(error, request_id)
    if not isinstance(error, PaymentTokenError):
        return defect(request_id), "internal_error"
    return status_of(error, request_id, hints=hints), error.code


def status_of(error: PaymentTokenError, request_id: RequestId, *, hints: bool) -> Status:
    """``hints`` adds the stage of a failed decryption: in development only, because a finer answer is an oracle."""
    answer = answer_to(error)
    info: dict[str, str] = {}
    if isinstance(error, TokenGoneError):
        info["payment_token"] = error.payment_token
    if hints and isinstance(error, DecryptionFailedError):
        info["hint"] = error.stage
    details: list[Message] = [_info(error.code, info), RequestInfo(request_id=request_id)]
    if isinstance(error, InvalidFieldError):
        violation = BadRequest.FieldViolation(field=error.field, description=error.detail)
        details.append(BadRequest(field_violations=[violation]))
    if answer.retry_after_seconds is not None:
        details.append(RetryInfo(retry_delay=Duration(seconds=answer.retry_after_seconds)))
    return _status(StatusCode[answer.rpc], error.detail, details)


def defect(request_id: RequestId) -> Status:
    """Of an exception that is no answer. Nothing of it is in here."""
    details = [_info("internal_error", {}), RequestInfo(request_id=request_id)]
    return _status(StatusCode.INTERNAL, _DEFECT, details)


def _info(code: str, metadata: dict[str, str]) -> ErrorInfo:
    return ErrorInfo(reason=code.upper(), domain=DOMAIN, metadata=metadata)


def _status(code: StatusCode, text: str, details: list[Message]) -> Status:
    number, _ = code.value
    status = Status(code=number, message=text)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status
