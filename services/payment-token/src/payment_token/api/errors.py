"""The one table that maps every error of the domain to what a caller sees. ``docs/errors.md`` is generated from it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from payment_token.domain import errors
from payment_token.domain.errors import PaymentTokenError


class RPCStatus(StrEnum):
    """Those of gRPC that an error has. Client libraries send again what is UNAVAILABLE, and nothing else."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    UNAVAILABLE = "UNAVAILABLE"
    DATA_LOSS = "DATA_LOSS"
    UNAUTHENTICATED = "UNAUTHENTICATED"


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` is HTTP's, ``rpc`` gRPC's. ``retry_after_seconds`` is set where waiting helps."""

    status: int
    title: str
    rpc: RPCStatus
    retry_after_seconds: int | None = None


ANSWERS: dict[type[PaymentTokenError], Answer] = {
    errors.MalformedRequestError: Answer(400, "Malformed request", RPCStatus.INVALID_ARGUMENT),
    errors.IdempotencyKeyMissingError: Answer(
        400, "Idempotency key missing", RPCStatus.INVALID_ARGUMENT
    ),
    errors.PayloadTooLargeError: Answer(413, "Payload too large", RPCStatus.RESOURCE_EXHAUSTED),
    errors.UnsupportedMediaTypeError: Answer(
        415, "Unsupported media type", RPCStatus.INVALID_ARGUMENT
    ),
    errors.InvalidFieldError: Answer(422, "Invalid field", RPCStatus.INVALID_ARGUMENT),
    errors.IdempotencyKeyReusedError: Answer(
        422, "Idempotency key reused", RPCStatus.ALREADY_EXISTS
    ),
    errors.UnknownDeviceError: Answer(422, "Unknown device", RPCStatus.FAILED_PRECONDITION),
    errors.DeviceSuspendedError: Answer(422, "Device suspended", RPCStatus.FAILED_PRECONDITION),
    errors.BadKSNError: Answer(422, "Bad key serial number", RPCStatus.INVALID_ARGUMENT),
    errors.KSNReplayedError: Answer(422, "Key serial number replayed", RPCStatus.ALREADY_EXISTS),
    errors.DecryptionFailedError: Answer(422, "Decryption failed", RPCStatus.INVALID_ARGUMENT),
    errors.CleartextCardDataError: Answer(422, "Card data in clear", RPCStatus.INVALID_ARGUMENT),
    errors.UnauthenticatedError: Answer(401, "Unauthenticated", RPCStatus.UNAUTHENTICATED),
    errors.ForbiddenError: Answer(403, "Forbidden", RPCStatus.PERMISSION_DENIED),
    errors.RouteNotFoundError: Answer(404, "Route not found", RPCStatus.UNIMPLEMENTED),
    errors.TokenNotFoundError: Answer(404, "Payment token not found", RPCStatus.NOT_FOUND),
    errors.DeviceNotFoundError: Answer(404, "Device not found", RPCStatus.NOT_FOUND),
    errors.MethodNotAllowedError: Answer(405, "Method not allowed", RPCStatus.UNIMPLEMENTED),
    errors.IdempotencyInProgressError: Answer(
        409, "Request in progress", RPCStatus.ABORTED, retry_after_seconds=1
    ),
    errors.DeviceStateConflictError: Answer(
        409, "Device state conflict", RPCStatus.FAILED_PRECONDITION
    ),
    errors.DeviceExistsError: Answer(409, "Device exists", RPCStatus.ALREADY_EXISTS),
    errors.TokenExpiredError: Answer(410, "Payment token expired", RPCStatus.FAILED_PRECONDITION),
    errors.TokenRevokedError: Answer(410, "Payment token revoked", RPCStatus.FAILED_PRECONDITION),
    errors.RateLimitedError: Answer(
        429, "Rate limited", RPCStatus.RESOURCE_EXHAUSTED, retry_after_seconds=1
    ),
    errors.DatabaseUnavailableError: Answer(
        503, "Database unavailable", RPCStatus.UNAVAILABLE, retry_after_seconds=1
    ),
    errors.KeyCustodianUnavailableError: Answer(
        503, "Key custodian unavailable", RPCStatus.UNAVAILABLE, retry_after_seconds=2
    ),
    errors.AuditUnavailableError: Answer(
        503, "Audit unavailable", RPCStatus.UNAVAILABLE, retry_after_seconds=1
    ),
    errors.EncryptionKeyOverdueError: Answer(
        503, "Encryption key overdue", RPCStatus.UNAVAILABLE, retry_after_seconds=60
    ),
    errors.OverloadedError: Answer(503, "Overloaded", RPCStatus.UNAVAILABLE, retry_after_seconds=1),
    errors.RecordIntegrityFailureError: Answer(
        500, "Record integrity failure", RPCStatus.DATA_LOSS
    ),
}


def answer_to(error: PaymentTokenError) -> Answer:
    """That of its class; a kind of an error that has no code of its own answers as that error does.

    A rate says itself when it will let the same request through.
    """
    answer = next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
    if isinstance(error, errors.RateLimitedError) and error.retry_after_seconds is not None:
        return replace(answer, retry_after_seconds=error.retry_after_seconds)
    return answer
