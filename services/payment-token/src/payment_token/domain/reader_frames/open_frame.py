"""The one way into a reader's message: by the container that profile or request name, never by a guess at its bytes."""

from collections.abc import Callable

from payment_token.domain.cleartext_guard import find_card_number
from payment_token.domain.device_payload import Container, ReaderFrame
from payment_token.domain.errors import CleartextCardDataError, InvalidFieldError
from payment_token.domain.reader_frames.frame_refusal import FRAME_FIELD
from payment_token.domain.reader_frames.idtech_msr import read_idtech_msr
from payment_token.domain.reader_frames.magtek_swipe import read_magtek_swipe
from payment_token.domain.reader_frames.opened_frame import OpenedFrame

_READERS: dict[Container, Callable[[bytes], OpenedFrame]] = {
    Container.IDTECH_MSR: read_idtech_msr,
    Container.MAGTEK_SWIPE: read_magtek_swipe,
}


def open_frame(frame: ReaderFrame) -> OpenedFrame:
    """Raises InvalidFieldError for a message that is not of its container, CleartextCardDataError for one in clear."""
    read = _READERS.get(frame.container)
    if read is None:
        raise InvalidFieldError(
            "encrypted_payload.parts.format", f"{frame.container} is not read by this service"
        )
    opened = read(frame.frame.reveal())
    # A reader may say that it encrypts, and not do it.
    if any(find_card_number(text.decode("latin-1")) for text in opened.ciphertexts):
        raise CleartextCardDataError(FRAME_FIELD)
    return opened
