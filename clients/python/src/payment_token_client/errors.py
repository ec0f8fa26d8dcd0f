"""One class for each code of the service's ``docs/errors.md``, so that a caller catches what it can act on.

>>> raise TokenRevokedError("The payment token was revoked.", status=410, request_id="r-1")
Traceback (most recent call last):
payment_token_client.errors.TokenRevokedError: token_revoked (410): The payment token was revoked. [request r-1]
"""

from typing import ClassVar


class ClientError(Exception):
    """Base of all.

    ``retry_after`` is in seconds. ``idempotency_key`` is the one that a create was sent under: send the same create again
    under it, and no second token comes of it.
    """

    code: str = "client_error"

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        payment_token: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.payment_token = payment_token
        self.idempotency_key: str | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, without a change by anybody."""
        return False

    def __str__(self) -> str:
        status = "" if self.status is None else f" ({self.status})"
        request = "" if self.request_id is None else f" [request {self.request_id}]"
        return f"{self.code}{status}: {self.detail}{request}"


class ConnectionFailedError(ClientError):
    """No answer came: no connection, one that broke, or a timeout. What was sent may have been done."""

    code = "connection_failed"

    @property
    def retryable(self) -> bool:
        return True


class TLSRefusedError(ClientError):
    """One side did not accept the other's certificate. Waiting does not help."""

    code = "tls_refused"


class UnexpectedAnswerError(ClientError):
    """An answer that is not of the contract. It is not shown, since it could hold card data."""

    code = "unexpected_answer"


class ServiceError(ClientError):
    """The service refused. Codes that this version does not know, and answers of proxies, are of this class itself."""

    _RETRYABLE_STATUSES: ClassVar[frozenset[int]] = frozenset({429, 503})

    @property
    def retryable(self) -> bool:
        return self.status in self._RETRYABLE_STATUSES


class IdempotencyKeyMissingError(ServiceError):
    code = "idempotency_key_missing"


class MalformedRequestError(ServiceError):
    code = "malformed_request"


class UnauthenticatedError(ServiceError):
    code = "unauthenticated"


class ForbiddenError(ServiceError):
    code = "forbidden"


class RouteNotFoundError(ServiceError):
    code = "route_not_found"


class TokenNotFoundError(ServiceError):
    """Also a malformed id, a purged token, and another merchant's."""

    code = "token_not_found"


class MethodNotAllowedError(ServiceError):
    code = "method_not_allowed"


class IdempotencyInProgressError(ServiceError):
    code = "idempotency_in_progress"

    @property
    def retryable(self) -> bool:
        return True


class TokenExpiredError(ServiceError):
    code = "token_expired"


class TokenRevokedError(ServiceError):
    code = "token_revoked"


class PayloadTooLargeError(ServiceError):
    code = "payload_too_large"


class UnsupportedMediaTypeError(ServiceError):
    code = "unsupported_media_type"


class BadKSNError(ServiceError):
    code = "bad_ksn"


class CleartextCardDataError(ServiceError):
    code = "cleartext_card_data"


class DecryptionFailedError(ServiceError):
    code = "decryption_failed"


class DeviceSuspendedError(ServiceError):
    code = "device_suspended"


class DeviceNotFoundError(ServiceError):
    """Of the routes for administrators, which this client does not call itself; so are the next two."""

    code = "device_not_found"


class DeviceExistsError(ServiceError):
    code = "device_exists"


class DeviceStateConflictError(ServiceError):
    code = "device_state_conflict"


class IdempotencyKeyReusedError(ServiceError):
    code = "idempotency_key_reused"


class InvalidFieldError(ServiceError):
    """``detail`` names the field."""

    code = "invalid_field"


class KSNReplayedError(ServiceError):
    code = "ksn_replayed"


class UnknownDeviceError(ServiceError):
    code = "unknown_device"


class RateLimitedError(ServiceError):
    code = "rate_limited"


class RecordIntegrityFailureError(ServiceError):
    """The stored record does not open. Operators have been alerted; a retry cannot help."""

    code = "record_integrity_failure"


class AuditUnavailableError(ServiceError):
    code = "audit_unavailable"


class DatabaseUnavailableError(ServiceError):
    code = "database_unavailable"


class EncryptionKeyOverdueError(ServiceError):
    code = "encryption_key_overdue"


class KeyCustodianUnavailableError(ServiceError):
    code = "key_custodian_unavailable"


class OverloadedError(ServiceError):
    code = "overloaded"


ERRORS: dict[str, type[ServiceError]] = {kind.code: kind for kind in ServiceError.__subclasses__()}
