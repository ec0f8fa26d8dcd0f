"""The one table that maps every error of the domain to what a caller sees. ``docs/errors.md`` is generated from it."""

from dataclasses import dataclass

from payment_token.domain import errors
from payment_token.domain.errors import PaymentTokenError


@dataclass(frozen=True, slots=True)
class Answer:
    """``retry_after_seconds`` is set where waiting helps."""

    status: int
    title: str
    retry_after_seconds: int | None = None


ANSWERS: dict[type[PaymentTokenError], Answer] = {
    errors.MalformedRequestError: Answer(400, "Malformed request"),
    errors.IdempotencyKeyMissingError: Answer(400, "Idempotency key missing"),
    errors.PayloadTooLargeError: Answer(413, "Payload too large"),
    errors.UnsupportedMediaTypeError: Answer(415, "Unsupported media type"),
    errors.InvalidFieldError: Answer(422, "Invalid field"),
    errors.IdempotencyKeyReusedError: Answer(422, "Idempotency key reused"),
    errors.UnknownDeviceError: Answer(422, "Unknown device"),
    errors.DeviceSuspendedError: Answer(422, "Device suspended"),
    errors.BadKSNError: Answer(422, "Bad key serial number"),
    errors.KSNReplayedError: Answer(422, "Key serial number replayed"),
    errors.DecryptionFailedError: Answer(422, "Decryption failed"),
    errors.CleartextCardDataError: Answer(422, "Card data in clear"),
    errors.UnauthenticatedError: Answer(401, "Unauthenticated"),
    errors.ForbiddenError: Answer(403, "Forbidden"),
    errors.RouteNotFoundError: Answer(404, "Route not found"),
    errors.TokenNotFoundError: Answer(404, "Payment token not found"),
    errors.MethodNotAllowedError: Answer(405, "Method not allowed"),
    errors.IdempotencyInProgressError: Answer(409, "Request in progress", retry_after_seconds=1),
    errors.TokenExpiredError: Answer(410, "Payment token expired"),
    errors.TokenRevokedError: Answer(410, "Payment token revoked"),
    errors.RateLimitedError: Answer(429, "Rate limited", retry_after_seconds=1),
    errors.DatabaseUnavailableError: Answer(503, "Database unavailable", retry_after_seconds=1),
    errors.KeyCustodianUnavailableError: Answer(
        503, "Key custodian unavailable", retry_after_seconds=2
    ),
    errors.AuditUnavailableError: Answer(503, "Audit unavailable", retry_after_seconds=1),
    errors.EncryptionKeyOverdueError: Answer(503, "Encryption key overdue", retry_after_seconds=60),
    errors.OverloadedError: Answer(503, "Overloaded", retry_after_seconds=1),
    errors.RecordIntegrityFailureError: Answer(500, "Record integrity failure"),
}


def answer_to(error: PaymentTokenError) -> Answer:
    """That of its class; a kind of an error that has no code of its own answers as that error does."""
    return next(ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS)
