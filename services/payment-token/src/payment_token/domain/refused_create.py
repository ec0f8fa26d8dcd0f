"""Which refusals of a create an operator hears of, as events of the terminal."""

from payment_token.domain.device_events import DeviceEvent, DeviceEventKind
from payment_token.domain.enrolment import normalised_ksn
from payment_token.domain.errors import (
    CleartextCardDataError,
    DecryptionFailedError,
    DeviceSuspendedError,
    InvalidInputError,
    KSNBarredError,
    KSNBehindWindowError,
    KSNReplayedError,
    UnknownDeviceError,
)
from payment_token.domain.tokenise_request import TokeniseRequest

# A kind of an error stands before what it is a kind of.
_KINDS: dict[type[InvalidInputError], DeviceEventKind] = {
    KSNBarredError: DeviceEventKind.KSN_BARRED,
    KSNBehindWindowError: DeviceEventKind.KSN_BEHIND_WINDOW,
    KSNReplayedError: DeviceEventKind.KSN_REPLAYED,
    DecryptionFailedError: DeviceEventKind.DECRYPTION_FAILED,
    UnknownDeviceError: DeviceEventKind.UNKNOWN_DEVICE,
    DeviceSuspendedError: DeviceEventKind.DEVICE_NOT_ACTIVE,
    CleartextCardDataError: DeviceEventKind.CLEARTEXT_CARD_DATA,
}


def event_of(
    error: InvalidInputError, request: TokeniseRequest, ksn: str | None
) -> DeviceEvent | None:
    """``ksn`` is what request or message state. ``None`` for what is no news of a terminal, such as a field that is not valid."""
    for kind_of_error, kind in _KINDS.items():
        if isinstance(error, kind_of_error):
            return device_event(kind, request, ksn, _detail_of(error))
    return None


def device_event(
    kind: DeviceEventKind, request: TokeniseRequest, ksn: str | None, detail: str
) -> DeviceEvent:
    return DeviceEvent(
        kind,
        request.merchant_id,
        request.device_id,
        normalised_ksn(ksn) if ksn else "",
        request.api_key_id,
        detail,
    )


def _detail_of(error: InvalidInputError) -> str:
    match error:
        case DecryptionFailedError():
            return error.stage
        case DeviceSuspendedError():
            return error.state
        case CleartextCardDataError():
            return error.field
        case _:
            return ""
