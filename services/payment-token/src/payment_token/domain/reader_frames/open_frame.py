"""The one way into a reader's message: by the container that profile or request name, never by a guess at its bytes."""

from collections.abc import Callable

from payment_token.domain.device_payload import Container, ReaderFrame
from payment_token.domain.reader_frames.bbpos_tlv import read_bbpos_tlv
from payment_token.domain.reader_frames.frame_refusal import FRAME_FIELD
from payment_token.domain.reader_frames.idtech_emv import read_idtech_emv
from payment_token.domain.reader_frames.idtech_msr import read_idtech_msr
from payment_token.domain.reader_frames.magtek_emv import read_magtek_emv
from payment_token.domain.reader_frames.magtek_swipe import read_magtek_swipe
from payment_token.domain.reader_frames.miura_tlv import read_miura_tlv
from payment_token.domain.reader_frames.opened_frame import OpenedFrame
from payment_token.domain.unencrypted import refuse_unencrypted

_READERS: dict[Container, Callable[[bytes], OpenedFrame]] = {
    Container.IDTECH_MSR: read_idtech_msr,
    Container.MAGTEK_SWIPE: read_magtek_swipe,
    Container.IDTECH_EMV: read_idtech_emv,
    Container.MAGTEK_EMV: read_magtek_emv,
    Container.MIURA_TLV: read_miura_tlv,
    Container.BBPOS_TLV: read_bbpos_tlv,
}


def open_frame(frame: ReaderFrame) -> OpenedFrame:
    """Raises InvalidFieldError for a message that is not of its container, CleartextCardDataError for one in clear."""
    opened = _READERS[frame.container](frame.frame.reveal())
    # A reader may say that it encrypts, and not do it.
    refuse_unencrypted(FRAME_FIELD, opened.ciphertexts)
    return opened
