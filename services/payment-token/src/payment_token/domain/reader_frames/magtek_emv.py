"""A chip, contactless or stripe read of a MagTek reader that does EMV (eDynamo, DynaPro, tDynamo): its ARQC message.

Public sources: MagTek's programmer's manuals D998200115 (eDynamo, appendix D) and D99875629 (DynaPro Mini, appendix A).

::

    length       2 bytes, big-endian, of F9 alone; some interfaces leave it out
    F9           DFDF54 KSN of the MAC · DFDF55 how it is made · DFDF25 serial number
      FA / 70    DFDF4D masked track 2 and other elements in clear: dropped
        F8       DFDF59 ciphertext · DFDF56 its KSN · DFDF57 how it is encrypted · DFDF58 how many bytes of it are padding
    zeros        to whole blocks of 8 bytes
    MAC          4 bytes; zeros where the reader makes none

Decrypted it is FC with the elements of the chip, or with F4 and in it the tracks of a stripe (DFDF37, DFDF39, DFDF3B).

The MAC covers everything before it, from the length on where there is one. A reader that makes none sends zeros, so that nobody
can demand a MAC of a frame; where one is stated, it is checked. No published message proves how it is made: retail MAC under
the MAC request key, as the manuals say.
"""

from collections.abc import Sequence

from payment_token.domain.device_payload import PartFormat
from payment_token.domain.errors import DecryptionFailedError
from payment_token.domain.reader_frames.decrypted_tlv import decrypted_message, parts_of
from payment_token.domain.reader_frames.frame_refusal import refused
from payment_token.domain.reader_frames.opened_frame import ClearParts, FrameMAC, OpenedFrame
from payment_token.domain.reader_frames.reader_tlv import (
    check_nothing_in_clear,
    ksn_of,
    message_bytes,
    not_tlv,
    reader_elements,
    required,
    serial_of,
    value_of,
)
from payment_token.domain.sensitive import SensitiveBytes
from payment_token.domain.tlv import TLVElement, TLVError, end_of_element

_CONTAINER = 0xF9
_LENGTH_BYTES = 2
_MAC_BYTES = 4
_BLOCK = 8

_MAC_KSN = bytes.fromhex("DFDF54")
_SERIAL = bytes.fromhex("DFDF25")
_CIPHERTEXT = bytes.fromhex("DFDF59")
_KSN = bytes.fromhex("DFDF56")
_ENCRYPTION_TYPE = bytes.fromhex("DFDF57")
_PADDING = bytes.fromhex("DFDF58")
# TDES DUKPT, the only one that the manuals show. Which variant of the key it is, the device's profile says.
_TDES = b"\x80"
_TRACKS = {
    bytes.fromhex("DFDF37"): PartFormat.TRACK1,
    bytes.fromhex("DFDF39"): PartFormat.TRACK2,
    bytes.fromhex("DFDF3B"): PartFormat.TRACK3,
}


def read_magtek_emv(frame: bytes) -> OpenedFrame:
    """Raises InvalidFieldError."""
    data = message_bytes(frame)
    start = 0 if data[:1] == bytes([_CONTAINER]) else _LENGTH_BYTES
    end = _end_of_container(data, start)
    elements = reader_elements(data[start:end])
    check_nothing_in_clear(elements)
    if value_of(elements, _ENCRYPTION_TYPE) not in (None, _TDES):
        raise refused("DFDF57 (the encryption type) must be 80")
    padding = _stated_padding(elements)

    def assemble(plaintexts: Sequence[SensitiveBytes]) -> ClearParts:
        (plaintext,) = plaintexts
        return parts_of(_without_padding(plaintext, padding), _TRACKS)

    return OpenedFrame(
        ksn=ksn_of(elements, _KSN),
        ciphertexts=(required(elements, _CIPHERTEXT, "the ciphertext"),),
        assemble=assemble,
        serial=serial_of(elements, _SERIAL),
        mac=_mac(data, end - start, data[end:], elements),
    )


def _end_of_container(data: bytes, start: int) -> int:
    if data[start : start + 1] != bytes([_CONTAINER]):
        raise refused("does not begin with F9, nor with a length of two bytes and F9")
    fault = ""
    try:
        end = end_of_element(data, start)
    except TLVError as error:
        fault = error.fault
    if fault:
        raise not_tlv(fault)
    if start and int.from_bytes(data[:start], "big") != end - start:
        raise refused("states another length than it has")
    return end


def _stated_padding(elements: Sequence[TLVElement]) -> int:
    stated = value_of(elements, _PADDING) or b"\x00"
    if len(stated) != 1 or stated[0] >= _BLOCK:
        raise refused(f"DFDF58 (the padding) must be from 0 to {_BLOCK - 1}")
    return stated[0]


def _without_padding(plaintext: SensitiveBytes, padding: int) -> SensitiveBytes:
    """Raises:
    DecryptionFailedError: ``frame-padding``: the elements end elsewhere than the message says.
    """
    clear = plaintext.reveal()
    content = decrypted_message(plaintext).content
    if len(content.reveal()) != len(clear) - padding:
        raise DecryptionFailedError("frame-padding")
    return content


def _mac(
    data: bytes, container: int, rest: bytes, elements: Sequence[TLVElement]
) -> FrameMAC | None:
    if not rest:
        return None
    padding, mac = rest[:-_MAC_BYTES], rest[-_MAC_BYTES:]
    padded = container + len(padding)
    # The manuals differ in whether the length in front counts towards whole blocks; some interfaces then leave it out.
    in_blocks = padded % _BLOCK == 0 or (padded + _LENGTH_BYTES) % _BLOCK == 0
    if len(mac) < _MAC_BYTES or len(padding) >= _BLOCK or any(padding) or not in_blocks:
        raise refused("has more after F9 than zeros up to a block and a MAC of 4 bytes")
    if not any(mac):
        return None
    return FrameMAC(ksn_of(elements, _MAC_KSN), SensitiveBytes(data[:-_MAC_BYTES]), mac)
