"""The TLV of a decrypted chip read, with bounds of its own."""

from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.tlv import TLVError, TLVMessage, read_elements

_MAX_BYTES = 4096


def read_tlv(data: bytes) -> TLVMessage:
    """Raises:
    DecryptionFailedError: ``tlv-size``, ``tlv-count``, ``tlv-depth``, ``tlv-tag``, ``tlv-length``, or
        ``tlv-truncated`` for an element that reaches past the end of what holds it.
    """
    if len(data) > _MAX_BYTES:
        raise DecryptionFailedError("tlv-size")
    fault = ""
    try:
        return read_elements(data)
    except TLVError as error:
        fault = error.fault
    raise DecryptionFailedError(f"tlv-{fault}")
