"""What can go wrong, by what the caller can do about it.

Each error has a stable ``code``. Its text names fields and limits, never values, because it may be shown to a caller
and written to a log. ``api/errors.py`` maps every class with a code once to HTTP; a test walks all subclasses. A class
without a code of its own is a kind of its parent: callers see no difference, operators do.
"""

from typing import ClassVar


class PaymentTokenError(Exception):
    """The root. ``code`` is the stable name of the failure; ``str(error)`` is its detail for people."""

    code: ClassVar[str]
    default_detail: ClassVar[str]

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.default_detail)

    @property
    def detail(self) -> str:
        return str(self)


# --- The request is wrong: correct it before sending it again -------------------------------------------------------


class InvalidInputError(PaymentTokenError):
    code = "invalid_input"
    default_detail = "The request is not valid."


class MalformedRequestError(InvalidInputError):
    code = "malformed_request"
    default_detail = "The body is not well-formed JSON."


class IdempotencyKeyMissingError(InvalidInputError):
    code = "idempotency_key_missing"
    default_detail = "An idempotency key is required: the header Idempotency-Key, in gRPC the field idempotency_key."


class PayloadTooLargeError(InvalidInputError):
    code = "payload_too_large"
    default_detail = "The body is larger than this route takes."


class UnsupportedMediaTypeError(InvalidInputError):
    code = "unsupported_media_type"
    default_detail = "Send the body as application/json, without a content coding."


class InvalidFieldError(InvalidInputError):
    code = "invalid_field"
    default_detail = "A field is not valid."

    def __init__(self, field: str, rule: str) -> None:
        """``field`` is a path such as ``encrypted_payload.ksn``; ``rule`` says what it must be, never what it was."""
        self.field = field
        super().__init__(f"{field}: {rule}")


class IdempotencyKeyReusedError(InvalidInputError):
    code = "idempotency_key_reused"
    default_detail = "This idempotency key was used before with another request. Use a new key for a new request."


class UnknownDeviceError(InvalidInputError):
    code = "unknown_device"
    default_detail = (
        "The device is not registered for this merchant, or no base derivation key serves it."
    )


class DeviceSuspendedError(InvalidInputError):
    """``state`` is for the device's event record: a caller need not know which of them it is."""

    code = "device_suspended"
    default_detail = "The device is suspended, stolen or retired."

    def __init__(self, state: str = "") -> None:
        self.state = state
        super().__init__()


class BadKSNError(InvalidInputError):
    code = "bad_ksn"
    default_detail = "The key serial number is not one that a terminal of this scheme can produce."


class KSNReplayedError(InvalidInputError):
    code = "ksn_replayed"
    default_detail = "This key serial number was used before."


class KSNBehindWindowError(KSNReplayedError):
    """Whether it was used, nobody remembers."""

    default_detail = "This key serial number is too far behind the newest of its terminal to tell whether it was used before."


class KSNBarredError(KSNReplayedError):
    """CBC without a MAC can be probed bit by bit by whoever may send one ciphertext after another under one key."""

    default_detail = (
        "Too many payloads under this key serial number did not decrypt: this API key may not use it any more."
        " Send a read with the next one."
    )


class DecryptionFailedError(InvalidInputError):
    """A well-formed payload that did not turn into acceptable card data.

    Wrong key, bad padding, not card data, Luhn: one error with one text, because CBC is malleable and a finer answer
    would be an oracle. ``stage`` is for the device's event record and for development only.
    """

    code = "decryption_failed"
    default_detail = (
        "The payload did not decrypt to card data. Check key, KSN, key variant, cipher and format."
    )

    def __init__(self, stage: str) -> None:
        self.stage = stage
        super().__init__()


class CleartextCardDataError(InvalidInputError):
    code = "cleartext_card_data"
    default_detail = (
        "A field holds what looks like card data in clear. Nothing of the request was stored."
    )

    def __init__(self, field: str, merchant_id: str = "", device_id: str = "") -> None:
        """``merchant_id`` and ``device_id`` are what the request claims, unless it is in them: for the device's event record."""
        self.field = field
        self.merchant_id = merchant_id
        self.device_id = device_id
        super().__init__(
            f"{field}: holds what looks like card data in clear. Nothing of the request was stored."
        )


# --- The caller may not ---------------------------------------------------------------------------------------------


class NotPermittedError(PaymentTokenError):
    code = "not_permitted"
    default_detail = "This caller may not do that."


class UnauthenticatedError(NotPermittedError):
    code = "unauthenticated"
    default_detail = "Send a valid API key as 'Authorization: Bearer …'."


class ForbiddenError(NotPermittedError):
    code = "forbidden"
    default_detail = "This caller may not do that."


class RateLimitedError(NotPermittedError):
    """``retry_after_seconds`` is when waiting has an end; ``None`` is the usual time of the error table."""

    code = "rate_limited"
    default_detail = "Too many requests. Wait before trying again."

    def __init__(self, detail: str | None = None, retry_after_seconds: int | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(detail)


class OverWorkerLimitError(RateLimitedError):
    """A worker has used up what the policy gives it for now. ``limit`` names which of the two: its rate or its budget."""

    def __init__(
        self, limit: str = "rate", detail: str | None = None, retry_after_seconds: int | None = None
    ) -> None:
        self.limit = limit
        super().__init__(detail, retry_after_seconds)


# --- There is no such thing -----------------------------------------------------------------------------------------


class NotFoundError(PaymentTokenError):
    code = "not_found"
    default_detail = "There is no such thing."


class RouteNotFoundError(NotFoundError):
    code = "route_not_found"
    default_detail = "There is no such route."


class MethodNotAllowedError(NotFoundError):
    code = "method_not_allowed"
    default_detail = "This route does not take this method."


class TokenNotFoundError(NotFoundError):
    """Also for malformed ids, purged tokens and another merchant's token: all look alike from outside."""

    code = "token_not_found"
    default_detail = "This merchant has no such payment token."


class DeviceNotFoundError(NotFoundError):
    """Also for malformed ids and another merchant's device: all look alike from outside."""

    code = "device_not_found"
    default_detail = "This merchant has no such device."


# --- The state does not allow it ------------------------------------------------------------------------------------


class ConflictError(PaymentTokenError):
    code = "conflict"
    default_detail = "The state does not allow that now."


class IdempotencyInProgressError(ConflictError):
    code = "idempotency_in_progress"
    default_detail = (
        "A request with this idempotency key is still being worked on. Send the same request again."
    )


class DeviceStateConflictError(ConflictError):
    code = "device_state_conflict"
    default_detail = "The state of the device does not allow that."


class DeviceExistsError(ConflictError):
    code = "device_exists"
    default_detail = (
        "This merchant has a device of this id already, and what it is registered with differs."
    )


class InitialKeyTakenError(DeviceExistsError):
    """An initial key belongs to one device of one merchant; whose it is, nobody is told."""

    default_detail = "An initial key of this device is another device's."


class TokenGoneError(PaymentTokenError):
    code = "token_gone"
    default_detail = "The payment token has ended."

    def __init__(self, payment_token: str) -> None:
        self.payment_token = payment_token
        super().__init__()


class TokenExpiredError(TokenGoneError):
    code = "token_expired"
    default_detail = "The payment token has expired."


class TokenRevokedError(TokenGoneError):
    code = "token_revoked"
    default_detail = "The payment token was revoked."


# --- Not now: the same request may succeed later --------------------------------------------------------------------


class TemporarilyUnavailableError(PaymentTokenError):
    code = "temporarily_unavailable"
    default_detail = "Not available now. Send the same request again."


class DatabaseUnavailableError(TemporarilyUnavailableError):
    code = "database_unavailable"
    default_detail = "The database does not answer. Send the same request again."


class KeyCustodianUnavailableError(TemporarilyUnavailableError):
    code = "key_custodian_unavailable"
    default_detail = "The custodian of the keys does not answer. Send the same request again."


class KeyCustodianThrottledError(KeyCustodianUnavailableError):
    """The custodian refuses more calls for now: its quota is used up."""

    default_detail = (
        "The custodian of the keys is at its limit. Send the same request again, later."
    )


class KeyCustodianRefusedError(KeyCustodianUnavailableError):
    """The custodian answers, and refuses: a key is missing or disabled, or a permission is.

    ``advice`` says which to an operator; a caller of the API gets the general text.
    """

    def __init__(self, advice: str) -> None:
        self.advice = advice
        super().__init__()


class SelfTestFailedError(KeyCustodianUnavailableError):
    """A self-test of this process has failed, so it uses no key any more. Another process may serve the same request."""

    default_detail = (
        "This process has stopped its cryptography, because a self-test failed."
        " Send the same request again; operators have been alerted."
    )


class AuditUnavailableError(TemporarilyUnavailableError):
    code = "audit_unavailable"
    default_detail = "The audit record could not be written, so nothing was released. Send the same request again."


class EncryptionKeyOverdueError(TemporarilyUnavailableError):
    code = "encryption_key_overdue"
    default_detail = "The encryption key is past its cryptoperiod. An operator must rotate it."


class OverloadedError(TemporarilyUnavailableError):
    code = "overloaded"
    default_detail = "Too much work is waiting. Send the same request again."


# --- An alarm -------------------------------------------------------------------------------------------------------


class RecordIntegrityFailureError(PaymentTokenError):
    """A stored record does not open under the key that it names: it was changed, moved, or the key is not the one."""

    code = "record_integrity_failure"
    default_detail = (
        "The stored record does not open. Operators have been alerted; a retry cannot help."
    )
