"""What a payload states of itself: in the request's fields, and in its reader's message if it is one."""

from dataclasses import dataclass, replace
from typing import TypeVar

from payment_token.domain.device_payload import EncryptedPayload, Scheme
from payment_token.domain.enrolment import normalised_ksn
from payment_token.domain.errors import InvalidFieldError
from payment_token.domain.reader_frames.open_frame import open_frame
from payment_token.domain.reader_frames.opened_frame import OpenedFrame

Statement = TypeVar("Statement")

_AES_KSN_DIGITS = 24


@dataclass(frozen=True, slots=True)
class StatedPayload:
    """``payload`` is the request's, with what its message states in the fields that the request left out."""

    payload: EncryptedPayload
    frame: OpenedFrame | None


def stated_payload(payload: EncryptedPayload) -> StatedPayload:
    """Opens the message. Raises InvalidFieldError also where it and the request state different things."""
    if payload.frame is None:
        return StatedPayload(payload, None)
    frame = open_frame(payload.frame)
    if payload.ksn is not None and normalised_ksn(payload.ksn) != normalised_ksn(frame.ksn):
        raise _differs("ksn")
    aes = len(frame.ksn) == _AES_KSN_DIGITS
    scheme = Scheme.DUKPT_AES if aes else Scheme.DUKPT_TDES
    return StatedPayload(
        replace(
            payload,
            ksn=frame.ksn,
            scheme=_agree("scheme", payload.scheme, scheme),
            key_variant=_agree("key_variant", payload.key_variant, frame.key_variant),
            cipher=_agree("cipher", payload.cipher, frame.cipher),
        ),
        frame,
    )


def _agree(name: str, requested: Statement | None, found: Statement | None) -> Statement | None:
    if requested is not None and found is not None and requested != found:
        raise _differs(name)
    return found if requested is None else requested


def _differs(name: str) -> InvalidFieldError:
    return InvalidFieldError(f"encrypted_payload.{name}", "differs from what the frame states")
